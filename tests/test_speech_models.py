"""Deep Speech and Deep Speech 2 equal their references, clip by clip whatever a batch is padded to."""

import keras
import numpy as np
import pytest
import safetensors.numpy
from golden_files import GOLDEN, assert_close
from seeded_weights import draw_clips, load_drawn_weights

import kzoo
from kzoo.rewrites import masking
from kzoo.rewrites.unrolling import unroll

FIRST = {"sample_rate": 8000, "hidden_dim": 24}
SECOND = {"sample_rate": 2000, "hidden_dim": 12, "num_layers": 2}
CASES = {
    "deepspeech": ((6000, 3320), FIRST),
    "deepspeech_context9": ((6000, 3320), FIRST),
    "deepspeech2": ((1500, 830), {**SECOND, "num_layers": 3}),
    "deepspeech2_gru": ((1500, 830), SECOND),
    "deepspeech2_lookahead": ((1500, 830), {**SECOND, "lookahead": 7}),
}


def model_of(name, folder):
    return load_drawn_weights(kzoo.build(name, **CASES[name][1]), folder)


def run(model, waveform, lengths):
    return keras.ops.convert_to_numpy(model({"waveform": waveform, "num_samples": lengths}, training=False))


def tap(model, tensor):
    """The model as far as one tensor."""
    return keras.Model(model.input, tensor)


def compare(folder, name):
    """(ours, the reference's) for every clip: logits, or their logarithms of probabilities as torchaudio has them."""
    waveform, lengths = draw_clips(CASES[name][0])
    ours = run(model_of(name, folder), np.pad(waveform, ((0, 0), (0, 213))), lengths)
    for index, row in enumerate(ours):
        wanted = safetensors.numpy.load_file(GOLDEN / f"{name}.safetensors")[f"logits{index}"]
        row = row[: len(wanted)]
        gives_logits = name.startswith("deepspeech2")
        yield row if gives_logits else row - np.logaddexp.reduce(row, -1, keepdims=True), wanted


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_reference(name, tmp_path):
    for got, wanted in compare(tmp_path, name):
        assert_close(got, wanted)


@pytest.mark.parametrize("name", CASES)
def test_writes_what_the_reference_loads(name, tmp_path):
    """Names and shapes are the reference's; scripts/golden/deepspeech.py --check-back loads them into it, strictly."""
    model = model_of(name, tmp_path)
    kzoo.save_weights(model, tmp_path / "once.safetensors")
    again = kzoo.build(name, tmp_path / "once.safetensors", **CASES[name][1])
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_convolutions_agree_with_the_reference(tmp_path):
    model = model_of("deepspeech2", tmp_path)
    waveform, lengths = draw_clips(CASES["deepspeech2"][0])
    taps = tap(model, model.get_layer("conv.seq_module.5").output)
    wanted = safetensors.numpy.load_file(GOLDEN / "deepspeech2.safetensors")["conv"]
    got = run(taps, waveform, lengths).transpose(0, 3, 1, 2)
    assert_close(got, wanted)
    assert not got[1, :, :, 21:].any() and wanted.shape[3] > 21


@pytest.mark.parametrize("name", CASES)
def test_frames_after_the_end_are_certain_blanks_and_cost_nothing(name, tmp_path):
    model = model_of(name, tmp_path)
    waveform, lengths = draw_clips(CASES[name][0])
    together = run(model, waveform, lengths)
    counts = run(tap(model, model.get_layer("logits").input[1]), waveform, lengths)
    for row, clip, length, count in zip(together, waveform, lengths, counts, strict=True):
        alone = run(model, clip[None, :length], np.array([length], "int32"))[0]
        assert len(alone) == count
        assert_close(row[:count], alone)
        assert (row[count:, 0] == 0).all() and (row[count:, 1:] == -1e9).all()


def test_a_wrong_cell_is_named():
    with pytest.raises(ValueError, match="deepspeech2: cell must be one of lstm, gru, simple, got 'rnn'"):
        kzoo.build("deepspeech2", cell="rnn")


@pytest.mark.parametrize(("runtime", "length"), [("litert", 1600), ("onnx", None)])
def test_leaves_keras_from_the_waveform_on(runtime, length, tmp_path):
    pytest.importorskip({"litert": "ai_edge_litert", "onnx": "tf2onnx"}.get(runtime, runtime))
    model = kzoo.build("deepspeech", sample_rate=8000, hidden_dim=4)
    report = kzoo.export(model, tmp_path / "out", format=runtime, length=length)
    assert report["scale"] < 100, "what pads the logits is no scale"
    assert report["max_difference"] < 1e-5 * report["scale"]
    assert report["interface"]["outputs"]["logits"]["shape"] == [None, length and 11, 29]


@pytest.mark.parametrize(
    ("runtime", "words"), [("litert", "has no loops over one: pass length="), ("openvino", "unrolled: pass length=")]
)
def test_formats_without_open_lengths_say_so(runtime, words, tmp_path):
    pytest.importorskip({"litert": "ai_edge_litert"}.get(runtime, runtime))
    with pytest.raises(ValueError, match=words):
        kzoo.export(kzoo.build("deepspeech", sample_rate=8000, hidden_dim=4), tmp_path / "out", format=runtime)


def test_unrolled_recurrence_is_the_rolled_one():
    model = kzoo.build("deepspeech2", sample_rate=2000, hidden_dim=4, num_layers=2, cell="gru")
    waveform, lengths = draw_clips((400, 250))
    assert_close(run(unroll(model, 400), waveform, lengths), run(model, waveform, lengths))


def test_multiply_accumulates_of_recurrent_layers_by_hand():
    model = kzoo.build("deepspeech2", sample_rate=2000, hidden_dim=4, num_layers=1)
    rows = {row["name"]: row["macs"] for row in kzoo.info(model, length=1000, layers=True)["layers"]}
    assert rows["rnns.0.rnn"] == 26 * 2 * (32 * 6 * 16 + 4 * 16)


def test_blanks_after_the_end_are_no_range_for_eight_bits():
    """-1e9 beside logits would make all of them the same number; LiteRT's quantiser crashes on the loops."""
    model = kzoo.build("deepspeech2", sample_rate=8000, num_layers=1, hidden_dim=8)
    assert masking.has_extremes(model) and not masking.attends(model)
    assert not masking.has_extremes(kzoo.build("mnist_cnn"))
    x = {"waveform": np.zeros((2, 4000), np.float32), "num_samples": np.array([4000, 4000], np.int32)}
    with pytest.raises(ValueError, match="quantiser of activations crashes.*int8_weights"):
        kzoo.fast(model, runtime="litert", precision="int8", length=4000, calibration=x)
