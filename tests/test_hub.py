import contextlib
import hashlib
import http.server
import json
import pathlib
import shutil
import subprocess
import sys
import threading

import fresh_processes
import numpy as np
import pytest
import safetensors.numpy
from golden_files import GOLDEN

import kzoo
from kzoo.weights import hub

FOLDERS = GOLDEN / "configs"


@pytest.fixture
def model():
    return kzoo.build("rnn", units=3, num_features=2)


@pytest.fixture
def sharded(model, tmp_path):
    """A folder with the model's weights in two files and their index."""
    kzoo.save_weights(model, tmp_path / "whole.safetensors")
    arrays = safetensors.numpy.load_file(tmp_path / "whole.safetensors")
    (tmp_path / "whole.safetensors").unlink()
    folder = tmp_path / "sharded"
    folder.mkdir()
    names = sorted(arrays)
    weight_map = {}
    for number, part in enumerate((names[:4], names[4:]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        safetensors.numpy.save_file({name: arrays[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


def test_several_files_load_as_one(model, sharded):
    for weights in (sharded, str(sharded), sharded / "model.safetensors.index.json"):
        assert equal(kzoo.build("rnn", weights, units=3, num_features=2), model)


def test_a_missing_shard_is_named(model, sharded):
    (sharded / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        ValueError, match=r"lacks 1 of the 2 files of its index: \['model-00002-of-00002.safetensors'\]"
    ):
        kzoo.load_weights(model, sharded)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"weight_map": 3}', '{"weight_map": {"a": "../../etc/passwd"}}', '{"weight_map": {"a": 3}}']
)
def test_a_damaged_index(text, model, sharded):
    (sharded / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ValueError, match=r"index\.json"):
        kzoo.load_weights(model, sharded)


def test_a_tensor_in_two_files_is_refused(model, sharded):
    first, second = sorted(sharded.glob("*.safetensors"))
    arrays = safetensors.numpy.load_file(second)
    name, array = next(iter(safetensors.numpy.load_file(first).items()))
    safetensors.numpy.save_file({**arrays, name: array}, second)
    with pytest.raises(ValueError, match=f"holds {name} twice"):
        kzoo.load_weights(model, sharded)


def test_folders(model, tmp_path):
    with pytest.raises(ValueError, match="found none"):
        kzoo.load_weights(model, tmp_path)
    kzoo.save_weights(model, tmp_path / "any_name.safetensors")
    for hidden in ("._any_name.safetensors", "._model.safetensors.index.json"):  # as macOS leaves them
        (tmp_path / hidden).write_bytes(b"Mac OS X")
    assert equal(kzoo.build("rnn", tmp_path, units=3, num_features=2), model)
    kzoo.save_weights(kzoo.build("rnn"), tmp_path / "another.safetensors")
    with pytest.raises(ValueError, match=r"found 2 of them: another\.safetensors, any_name\.safetensors"):
        kzoo.load_weights(model, tmp_path)
    kzoo.save_weights(model, tmp_path / "model.safetensors")
    assert equal(kzoo.build("rnn", tmp_path, units=3, num_features=2), model)


@pytest.mark.parametrize("address", ["hf://", "hf://name", "hf://a/b/c", "hf://a/b@", "hf://../../x", "hf://a/b c",
                                     "hf://a/b@../../..", "hf://a/b@x/../..", "hf://a/..", "hf://a/b..c"])  # fmt: skip
def test_bad_addresses(address):
    with pytest.raises(ValueError, match=r"should be hf://owner/name"):
        hub.find_files(address)


def load_in_child(address, *, build="'rnn', sys.argv[1], units=3, num_features=2", **environment):
    """Loads an address in a fresh process (the hub's library reads its settings once) and prints a weight's sum."""
    code = (
        "import sys, kzoo\n"
        f"try: model = kzoo.build({build})\n"
        "except ValueError as error: print('ValueError:', error)\n"
        "else: print(sum(float(abs(weight).sum()) for weight in model.get_weights()))"
    )
    done = fresh_processes.run(address, code=code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def total(model):
    return sum(float(abs(weight).sum()) for weight in model.get_weights())


def test_offline_use_of_the_hubs_cache(model, tmp_path):
    pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    repository = tmp_path / "hub" / "models--someone--net"
    snapshot = repository / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    kzoo.save_weights(model, snapshot / "model.safetensors")
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    assert float(load_in_child("hf://someone/net", **environment)) == pytest.approx(total(model))
    assert float(load_in_child("hf://someone/net@main", **environment)) == pytest.approx(total(model))
    told = load_in_child("hf://someone/other", **environment)
    assert told.startswith("ValueError: hf://someone/other is not in the local cache") and "\n" not in told


class Hub(http.server.BaseHTTPRequestHandler):
    """Just enough of the hub's protocol to list and serve one repository from a folder."""

    folder = None
    commit = "89abcdef0123456789abcdef0123456789abcdef"

    def files(self):
        paths = [path for path in pathlib.Path(self.folder).rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path for path in paths}

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/someone/net/tree/"):
            rows = [
                {"type": "file", "path": n, "size": f.stat().st_size, "oid": "0" * 40} for n, f in self.files().items()
            ]
            return self.send(200, json.dumps(rows).encode(), body)
        if path.startswith("/api/models/someone/net"):
            siblings = [{"rfilename": name} for name in self.files()]
            content = json.dumps({"id": "someone/net", "sha": self.commit, "siblings": siblings, "private": False})
            return self.send(200, content.encode(), body)
        file = self.files().get(path.partition("/someone/net/resolve/")[2].partition("/")[2])
        if file:
            tag = f'"{hashlib.sha256(file.read_bytes()).hexdigest()}"'
            return self.send(200, file.read_bytes(), body, {"ETag": tag, "X-Repo-Commit": self.commit})
        return self.send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})

    def send(self, status, content, body, headers=None):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder, home):
    """The environment of a child for which a server on loopback is the hub that has the folder as someone/net."""
    handler = type("Handler", (Hub,), {"folder": folder})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield {
            "HF_HOME": str(home), "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_TELEMETRY": "1",
        }  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_download_from_a_loopback_server(model, tmp_path):
    pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    folder = tmp_path / "served"
    kzoo.save_weights(model, folder / "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")
    with served(folder, tmp_path / "home") as environment:
        assert float(load_in_child("hf://someone/net", **environment)) == pytest.approx(total(model))
        told = load_in_child("hf://someone/absent", **environment)
        assert told.startswith("ValueError: hf://someone/absent"), told
    assert not list((tmp_path / "home").rglob("pytorch_model.bin"))
    assert float(load_in_child("hf://someone/net", **environment)) == pytest.approx(total(model)), "now from the cache"


def test_an_address_alone_is_a_model(tmp_path):
    """Whatever says what the model is comes along: its parts, its tokenizer and how images are prepared."""
    pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    folder = tmp_path / "served"
    shutil.copytree(FOLDERS / "sentence", folder)
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "vocab.txt").write_text("a")
    with served(folder, tmp_path / "home") as environment:
        given = load_in_child("hf://someone/net", build="sys.argv[1]", **environment)
    assert float(given) == pytest.approx(total(kzoo.build(FOLDERS / "sentence")))
    fetched = {path.name for path in (tmp_path / "home").rglob("*") if path.is_symlink() or path.is_file()}
    assert {"preprocessor_config.json", "vocab.txt", "tokenizer.json", "modules.json"} <= fetched


@pytest.mark.parametrize("weights", ["imagenet", "IMAGENET1K_V2", "DEFAULT", True, 3, ["a"]])
def test_weights_that_other_libraries_bring(weights):
    with pytest.raises((ValueError, TypeError), match=r"kzoo brings none: pass .*hf://timm/resnet50"):
        kzoo.build("rnn", weights)


def test_without_the_library(model):
    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from kzoo.weights import hub\n"
        "try: hub.find_files('hf://a/b')\nexcept ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'kzoo[hub]'" in done.stdout
