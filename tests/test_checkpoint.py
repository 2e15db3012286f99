import concurrent.futures
import json
import resource

import fresh_processes
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import kzoo
from kzoo.building import saving
from kzoo.version import __version__
from kzoo.weights import files


@pytest.fixture
def model():
    return kzoo.build("rnn", units=3, num_features=2)


@pytest.fixture
def weights(model, tmp_path):
    kzoo.save_weights(model, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def refuses(model, path, *words):
    """Loading fails with all the words in the message and leaves every array as it was."""
    before = [value.copy() for value in model.get_weights()]
    with pytest.raises(ValueError) as caught:
        kzoo.load_weights(model, path)
    for then, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(then, now)
    for word in words:
        assert word in str(caught.value), caught.value


def test_truncated_anywhere(model, weights):
    content = weights.read_bytes()
    for share in (0, 1, len(content) // 10, len(content) // 2, len(content) - len(content) // 100, len(content) - 1):
        weights.write_bytes(content[:share])
        refuses(model, weights, str(weights), "empty" if not share else "damaged")


def test_truncated_says_both_sizes(model, weights):
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    refuses(model, weights, f"{len(content) - 1:,} bytes", f"{len(content):,}")


def test_a_flipped_bit_anywhere(model, weights):
    content = weights.read_bytes()
    random = np.random.default_rng(0)
    header_end = 8 + int.from_bytes(content[:8], "little")
    for position in [*random.integers(0, header_end, 150), *random.integers(header_end, len(content), 150)]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(random.integers(8))
        weights.write_bytes(damaged)
        refuses(model, weights, str(weights))


def test_a_flipped_weight_is_told_by_its_sha256(model, weights):
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    refuses(model, weights, "sha256")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML page"),
        (b"\n <html><head></head></html>", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "git-lfs pointer"),
        (b"PK\x03\x04" + bytes(60), "no pickles"),
        (b"\x80\x04\x95" + bytes(60), "no pickles"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "HDF5"),
        (b"", "empty"),
    ],
)
def test_other_kinds_of_file(content, word, model, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    refuses(model, path, str(path), word)


def header(entries, length=None, data=b""):
    text = json.dumps(entries).encode()
    return (length or len(text)).to_bytes(8, "little") + text + data


PAIR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        header({}, length=100_000_001),
        header({}, length=2**63),
        header({"a": PAIR, "b": {**PAIR, "data_offsets": [4, 12]}}, data=bytes(12)),
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, data=bytes(12)),
        header({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 8]}}, data=bytes(8)),
        header({"a": {"dtype": "X99", "shape": [2], "data_offsets": [0, 8]}}, data=bytes(8)),
        header({"a": {"dtype": "F32", "shape": [1_000_000_000], "data_offsets": [0, 4_000_000_000]}}),
        header([1, 2, 3]),
        b"[" * 100_000,
    ],
    ids=["header too long", "length overflows", "overlap", "hole", "shape overflows", "unknown dtype", "shape bomb",
         "not a dict", "nested"],
)  # fmt: skip
def test_malformed_headers(content, model, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refuses(model, path, str(path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_tensor_names_are_never_paths(model, weights):
    arrays = safetensors.numpy.load_file(weights)
    arrays["../escaped"] = arrays["fc.bias"]
    safetensors.numpy.save_file(arrays, weights)
    refuses(model, weights, "unexpected", "../escaped")
    assert not (weights.parent.parent / "escaped").exists()


def test_fp8_is_refused(model, weights):
    arrays = safetensors.numpy.load_file(weights)
    arrays["fc.bias"] = arrays["fc.bias"].astype(ml_dtypes.float8_e4m3fn)
    safetensors.numpy.save_file(arrays, weights)
    refuses(model, weights, "float8", "fc.bias", "F8_E4M3")


def test_another_models_weights(model, tmp_path):
    kzoo.save_weights(kzoo.build("perceptron"), tmp_path / "other.safetensors")
    refuses(model, tmp_path / "other.safetensors", "10 missing", "rnn.weight_ih_l0", "2 unexpected", "linear.weight")


def test_fewer_and_more_layers(model, tmp_path):
    for num_layers, word in ((1, "missing: rnn.weight_ih_l1"), (3, "unexpected: rnn.bias_hh_l2")):
        other = kzoo.build("rnn", units=3, num_features=2, num_layers=num_layers)
        kzoo.save_weights(other, tmp_path / "other.safetensors")
        refuses(model, tmp_path / "other.safetensors", word)


def test_another_number_of_classes_says_the_fix(model, tmp_path):
    kzoo.save_weights(kzoo.build("rnn", units=3, num_features=2, num_classes=5), tmp_path / "five.safetensors")
    refuses(model, tmp_path / "five.safetensors", "fc.weight (5, 3), wanted (2, 3)", "num_classes=5")


def test_integers_are_not_weights(model, weights):
    arrays = safetensors.numpy.load_file(weights)
    arrays["fc.bias"] = arrays["fc.bias"].astype("int64")
    safetensors.numpy.save_file(arrays, weights)
    refuses(model, weights, "not floating point", "fc.bias I64")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_float_widths_load(dtype, model, weights):
    wanted = {key: value.astype(dtype) for key, value in safetensors.numpy.load_file(weights).items()}
    safetensors.numpy.save_file(wanted, weights)
    kzoo.load_weights(model, weights)
    kzoo.save_weights(model, weights)
    for key, value in safetensors.numpy.load_file(weights).items():
        np.testing.assert_array_equal(value, wanted[key].astype("float32"))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype="float32").reshape(3, 4).T,
        np.arange(12, dtype="float32")[::-2],
        np.broadcast_to(np.float32([1, 2, 3]), (4, 3)),
        np.arange(12, dtype=">f4").reshape(3, 4),
        np.asfortranarray(np.arange(6, dtype="float64").reshape(2, 3)),
        np.arange(6).astype(ml_dtypes.bfloat16).reshape(3, 2)[:, ::-1],
        np.float32(3),
    ],
    ids=["transposed", "strided", "broadcast", "big-endian", "fortran", "bfloat16", "scalar"],
)
def test_any_array_is_written_as_its_values(array, tmp_path):
    files.write(tmp_path / "a.safetensors", {"a": array}, {})
    got = files.File(tmp_path / "a.safetensors").read()["a"]
    assert got.shape == np.shape(array)
    np.testing.assert_array_equal(got, array)


def test_equal_weights_are_equal_files(model, tmp_path):
    files = {(kzoo.save_weights(model, tmp_path / "a"), (tmp_path / "a").read_bytes())[1] for _ in range(8)}
    assert len(files) == 1


FULL_DISK = """
import resource, sys
import kzoo
model = kzoo.build("mlp", hidden_dims=(64,))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    kzoo.save_weights(model, sys.argv[1])
except OSError as error:
    print(error)
"""


def test_full_disk_keeps_what_was_there(weights):
    content = weights.read_bytes()
    done = fresh_processes.run(weights, code=FULL_DISK)
    assert f"while writing {weights}" in done.stdout, done.stdout + done.stderr
    assert "needs 203,560 bytes" in done.stdout and "intact" in done.stdout, done.stdout
    assert weights.read_bytes() == content
    assert [path.name for path in weights.parent.iterdir()] == [weights.name]


def test_folder_needs_a_newer_kzoo(model, tmp_path):
    kzoo.save(model, tmp_path / "saved")
    path = tmp_path / "saved" / saving.MODEL_FILE
    description = json.loads(path.read_text())
    assert description["kzoo"] == __version__ and description["overrides"] == {"units": 3, "num_features": 2}
    path.write_text(json.dumps({**description, "kzoo": "99.1.0"}))
    with pytest.raises(ValueError, match=r"needs kzoo >= 99\.1\.0"):
        kzoo.load(tmp_path / "saved")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": "rnn"}', '{"name": "nothing", "kzoo": "0.1.0"}', "\0"])
def test_damaged_description(text, model, tmp_path):
    kzoo.save(model, tmp_path / "saved")
    (tmp_path / "saved" / saving.MODEL_FILE).write_text(text)
    with pytest.raises(ValueError, match=r"model\.json is damaged"):
        kzoo.load(tmp_path / "saved")


def test_not_a_saved_folder(tmp_path):
    with pytest.raises(ValueError, match=r"holds no model\.json"):
        kzoo.load(tmp_path)


def test_only_catalogue_models_are_saved_as_folders(tmp_path):
    import keras

    x = keras.Input((2,))
    with pytest.raises(ValueError, match="not built by kzoo"):
        kzoo.save(keras.Model(x, keras.layers.Dense(1)(x)), tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_two_processes_write_one_file(model, tmp_path):
    path = tmp_path / "shared.safetensors"
    code = "import sys, kzoo; m = kzoo.build('rnn'); [kzoo.save_weights(m, sys.argv[1]) for _ in range(30)]"
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(fresh_processes.run, path, code=code) for _ in range(2)]
    assert [writer.result().returncode for writer in writers] == [0, 0]
    kzoo.load_weights(kzoo.build("rnn"), path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
