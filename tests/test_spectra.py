"""Spectra of waveforms equal torch's and torchaudio's, whatever a clip is padded to."""

import pathlib

import keras
import numpy as np
import pytest
import safetensors.numpy
from backends import compiled, gradients, outputs_of

from kzoo import measure
from kzoo.layers.spectra import MFCC, ClipLength, LogMelSpectrogram, LogSpectrogram, NumWindows, mel_filterbank

GOLDEN = safetensors.numpy.load_file(pathlib.Path(__file__).with_name("golden") / "spectra.safetensors")
LAYERS = {
    "log_whole": lambda: LogSpectrogram(200, 100, window="hamming"),
    "log_uneven": lambda: LogSpectrogram(203, 90, 256, window="hamming"),
    "zeros": lambda: LogSpectrogram(203, 90, 256, padding="zeros"),
    "none": lambda: LogSpectrogram(203, 90, 256, padding=None),
    "clip_norm": lambda: LogSpectrogram(200, 100, window="hamming", normalize="clip"),
    "mel": lambda: LogMelSpectrogram(8000, 203, 90, 20, mel_scale="slaney", area_norm=True, fft_length=256),
    "mfcc": lambda: MFCC(8000, 203, 90, 13, 26, fft_length=256),
}


def padded(extra=0):
    clips = [GOLDEN["clip0"], GOLDEN["clip1"]]
    x = np.zeros((2, max(map(len, clips)) + extra), "float32")
    for row, clip in zip(x, clips, strict=True):
        row[: len(clip)] = clip
    return x, np.array([len(clip) for clip in clips], "int32")


def model_of(layer, samples=None):
    waveform, num_samples = keras.Input((samples,)), keras.Input((), dtype="int32")
    count = NumWindows(layer.fft_length, layer.hop, layer.pad)(num_samples)
    return keras.Model([waveform, num_samples], [layer(waveform, num_samples), count])


@pytest.mark.parametrize("name", LAYERS)
def test_equals_the_reference_clip_by_clip(name):
    features, counts = outputs_of(model_of(LAYERS[name]()), [*padded(70)])
    for index, (row, count) in enumerate(zip(features, counts, strict=True)):
        wanted = GOLDEN[f"{name}{index}"]
        assert count == len(wanted)
        np.testing.assert_allclose(row[:count], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
        assert not row[count:].any()


@pytest.mark.parametrize("name", LAYERS)
def test_shape_is_known_beforehand_and_a_lone_clip_needs_no_length(name):
    x, _ = padded()
    layer = LAYERS[name]()
    symbolic = layer(keras.Input((x.shape[1],), 2))
    got = keras.ops.convert_to_numpy(layer(x))
    assert symbolic.shape == got.shape and symbolic.dtype == "float32"
    wanted = GOLDEN[f"{name}0"]
    np.testing.assert_allclose(got[0], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("area", [False, True])
@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_filterbanks_equal_torchaudio(scale, area):
    wanted = GOLDEN["filters_" + {"htk": "htk_area" if area else "htk", "slaney": "area" if area else "slaney"}[scale]]
    got = mel_filterbank(20, 256, 8000, 50.0, 3800.0, scale, area)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_each_feature_normalised_over_its_own_frames():
    plain, each = (
        outputs_of(model_of(MFCC(8000, 200, 100, 5, 20, normalize=how)), [*padded(70)]) for how in (None, "feature")
    )
    for row, got, count in zip(plain[0], each[0], plain[1], strict=True):
        own = row[:count]
        wanted = (own - own.mean(0)) / own.std(0, ddof=1)
        np.testing.assert_allclose(got[:count], wanted, rtol=0, atol=1e-5)


def test_silence_and_clips_shorter_than_a_window_are_finite_with_their_gradients():
    layer = LogSpectrogram(200, 100, normalize="clip")
    x = np.zeros((3, 50), "float32")
    x[1, :3] = 0.5
    lengths = np.array([50, 3, 1], "int32")
    assert np.abs(keras.ops.convert_to_numpy(layer(x, lengths))[0]).max() < 1e-9
    (slope,) = gradients(lambda waveform: layer(waveform, lengths), x)
    assert np.isfinite(keras.ops.convert_to_numpy(slope)).all()


def test_float32_under_any_policy_and_from_its_config():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = LAYERS["mfcc"]()
    finally:
        keras.config.set_dtype_policy("float32")
    again = MFCC.from_config(layer.get_config())
    x, lengths = padded()
    assert again(x, lengths).dtype == "float32"
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(one(x, lengths)) for one in (layer, again)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LogSpectrogram(0, 10), "window_length must be an int of at least 1, got 0"),
        (lambda: LogSpectrogram(20, 10.0), "hop must be an int"),
        (lambda: LogSpectrogram(20, 10, 16), "fft_length must be at least window_length, 20, got 16"),
        (
            lambda: LogSpectrogram(20, 10, window="kaiser"),
            "window must be one of 'hann', 'hamming', 'ones', got 'kaiser'",
        ),
        (lambda: LogSpectrogram(20, 10, padding="same"), "padding must be one of"),
        (lambda: LogSpectrogram(20, 10, normalize=True), "normalize must be one of"),
        (lambda: LogMelSpectrogram(8000, 20, 10, mel_scale="bark"), "mel_scale must be one of htk, slaney, got 'bark'"),
        (lambda: LogMelSpectrogram(8000, 20, 10, max_frequency=4001.0), "max_frequency must satisfy"),
        (lambda: MFCC(8000, 20, 10, 27, 26), "num_coefficients must be at most num_mels, 26, got 27"),
    ],
)
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_multiply_accumulates_by_hand():
    layer = MFCC(8000, 200, 90, 13, 26, fft_length=256)
    model = keras.Sequential([keras.Input((9000,)), layer])
    frames = 9000 // 90 + 1
    assert measure.measure(model)["macs"] == frames * (3 * 90 * 2 * 129 + 129 * 26 + 26 * 13)


def test_a_clip_ends_where_zeros_begin():
    waveform = np.zeros((4, 7), "float32")
    waveform[0, 2], waveform[1, 6], waveform[2, :3] = 0.1, -1e-30, -0.5
    assert keras.ops.convert_to_numpy(compiled(ClipLength())(waveform)).tolist() == [3, 7, 3, 0]
