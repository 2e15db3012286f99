"""Writing tokens in another runtime: the same tokens in float32, near logits in int8, the same settings."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.runtimes import choices

needs_openvino = pytest.mark.skipif(
    not choices.is_installed("openvino"), reason="openvino or nncf is not installed (pip install 'kzoo[openvino]')"
)
needs_litert = pytest.mark.skipif(
    not choices.is_installed("litert"), reason="ai-edge-litert is not installed (pip install 'kzoo[litert]')"
)
PROMPTS = [[3, 5, 7, 9], [4, 4], [1, 2, 3, 4, 5, 6, 7, 8]]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    sizes = {"num_layers": 2, "hidden_dim": 32, "num_heads": 2, "vocabulary_size": 97, "max_length": 64}
    model = kzoo.build("gpt2", **sizes)
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.3 * random.normal(size=variable.shape))
    return model


@pytest.fixture(scope="module", params=[
    pytest.param("openvino", marks=needs_openvino), pytest.param("litert", marks=needs_litert)])  # fmt: skip
def writer(model, request):
    return kzoo.fast_writer(model, "float32", request.param)


@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 1.0, "top_k": 5, "seed": 3}, {"repetition_penalty": 1.3}, {"stop": list(range(40))}],
    ids=["greedy", "sampled", "penalised", "stopped"],
)
def test_it_writes_what_the_model_writes(settings, model, writer):
    wanted = kzoo.generate(model, PROMPTS, max_new_tokens=20, **settings)
    assert kzoo.generate(writer, PROMPTS, max_new_tokens=20, **settings) == wanted


def test_pieces_are_the_whole(writer):
    pieces = []
    (whole,) = kzoo.generate(writer, PROMPTS[:1], max_new_tokens=13, stream=pieces.append)
    assert [i for piece in pieces for i in piece] == whole.ids and len(whole.ids) == 13


def test_int8_weights_move_the_logits_a_little_and_are_smaller(model, writer):
    report = kzoo.fast_writer(model, runtime=writer.report["runtime"]).report
    assert report["precision"] == "int8_weights" and report["bytes"] < writer.report["bytes"]
    assert writer.report["max_difference"] < 1e-5 * writer.report["scale"]
    assert 0 < report["max_difference"] < 0.05 * report["scale"]


@needs_openvino
def test_a_translator_reads_its_source_once(monkeypatch):
    keras.utils.set_random_seed(1)
    model = kzoo.build("transformer_tiny", num_layers=1, hidden_dim=16, num_heads=2, vocabulary_size=32)
    writer = kzoo.fast_writer(model, "float32")
    sources = [[3, 5, 7, 9, 2], [4, 2]]
    wanted = kzoo.generate(model, sources, start=1, max_new_tokens=12)
    num_reads, read = [], writer.programs.decoder.read
    monkeypatch.setattr(writer.programs.decoder, "read", lambda given: num_reads.append(1) or read(given))
    assert kzoo.generate(writer, sources, start=1, max_new_tokens=12) == wanted
    assert num_reads == [1]


def test_later_changes_of_the_weights_do_not_show(model, writer):
    before = kzoo.generate(writer, PROMPTS, max_new_tokens=5)
    variable = model.trainable_variables[0]
    value = variable.numpy()
    variable.assign(value * 0)
    assert kzoo.generate(writer, PROMPTS, max_new_tokens=5) == before
    variable.assign(value)


@needs_openvino
def test_what_it_cannot_do_is_said(model, writer):
    with pytest.raises(ValueError, match="no beam search; pass num_beams=1"):
        kzoo.generate(writer, PROMPTS, max_new_tokens=5, num_beams=2)
    with pytest.raises(
        ValueError, match="writes in 'openvino', precision float32 or bfloat16 or int8_weights; 'litert', "
    ):
        kzoo.fast_writer(model, "float32", "tensorflow")
    with pytest.raises(ValueError, match="unknown runtime .open_vino.; did you mean openvino"):
        kzoo.fast_writer(model, runtime="open_vino")
    with pytest.raises(ValueError, match="is recurrent"):
        kzoo.fast_writer(kzoo.build("seq2seq", hidden_dim=8, vocabulary_size=16))
    with pytest.raises(ValueError, match="writes no tokens"):
        kzoo.fast_writer(kzoo.build("mlp"))


@needs_litert
def test_litert_takes_no_translator():
    with pytest.raises(ValueError, match="reads a source, and LiteRT writes with language models alone"):
        kzoo.fast_writer(kzoo.build("transformer_tiny", num_layers=1, hidden_dim=16, num_heads=2), runtime="litert")
