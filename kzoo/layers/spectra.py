"""Spectra of sound inside the graph: log spectrogram, log-mel spectrogram and MFCC of a raw waveform.

Frames come from reshaping the waveform to hops, putting neighbouring hops side by side and multiplying by the matrix of
the windowed discrete Fourier transform: `keras.ops.stft` cannot be exported to ONNX, these three steps can be exported
everywhere. All tables are made in float64, and the layers compute in float32 whatever the policy is.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

# periodic windows: a + b cos(2 pi n / length)
WINDOWS = {"hann": (0.5, -0.5), "hamming": (0.54, -0.46), "ones": (1.0, 0.0)}
PADDINGS = ("reflect", "zeros", None)
NORMALIZATIONS = (None, "clip", "feature")
MEL_SCALES = ("htk", "slaney")
_BREAK, _STEP, _LINEAR = 1000.0, np.log(6.4) / 27, 200 / 3  # Slaney's scale: linear below the break, in Hz


def fourier_basis(window_length, fft_length, window) -> np.ndarray:
    """Matrix (window_length, 2 * bins) of the windowed transform: cosines of bins 0 ... fft_length // 2, then sines."""
    constant, cosine = WINDOWS[window]
    places = np.arange(window_length)
    weights = constant + cosine * np.cos(2 * np.pi * places / window_length)
    # Whole turns are left out as integers, so that the angle is exact for any product.
    turns = places[:, None] * np.arange(fft_length // 2 + 1) % fft_length
    angles = 2 * np.pi * turns / fft_length
    return weights[:, None] * np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def hertz_to_mel(frequency, scale="htk") -> np.ndarray:
    """Mels of frequencies in Hz: O'Shaughnessy's formula as in HTK, or that of Slaney's Auditory Toolbox."""
    frequency = np.asarray(frequency, "float64")
    if scale == "htk":
        return 2595 * np.log10(1 + frequency / 700)
    above = _BREAK / _LINEAR + np.log(np.maximum(frequency, _BREAK) / _BREAK) / _STEP
    return np.where(frequency < _BREAK, frequency / _LINEAR, above)


def mel_to_hertz(mels, scale="htk") -> np.ndarray:
    """Frequencies in Hz of mels: the inverse of `hertz_to_mel`."""
    mels = np.asarray(mels, "float64")
    if scale == "htk":
        return 700 * (10 ** (mels / 2595) - 1)
    return np.where(mels < _BREAK / _LINEAR, mels * _LINEAR, _BREAK * np.exp(_STEP * (mels - _BREAK / _LINEAR)))


def mel_filterbank(
    num_mels, fft_length, sample_rate, min_frequency=0.0, max_frequency=None, scale="htk", area_norm=False
) -> np.ndarray:
    """Matrix (fft_length // 2 + 1, num_mels) of triangles that overlap by half, as torchaudio's `melscale_fbanks`.

    Their corners are evenly spaced in mels and their sides straight in Hz. Without `area_norm` every peak is 1; with it
    a triangle is divided by half its width in Hz, which is torchaudio's and librosa's norm="slaney".

    Raises ValueError for an unknown scale, or a range of frequencies that is empty or exceeds half the sample rate.
    """
    if scale not in MEL_SCALES:
        raise ValueError(f"mel_scale must be one of {', '.join(MEL_SCALES)}, got {scale!r}")
    half = sample_rate // 2  # rounded for odd rates, as torchaudio does
    highest = half if max_frequency is None else max_frequency
    if not 0 <= min_frequency < highest <= sample_rate / 2:
        raise ValueError(
            f"min_frequency and max_frequency must satisfy 0 <= min < max <= sample_rate / 2 = {sample_rate / 2:g}, "
            f"got {min_frequency!r} and {max_frequency!r}"
        )
    mels = np.linspace(hertz_to_mel(min_frequency, scale), hertz_to_mel(highest, scale), num_mels + 2)
    corners = mel_to_hertz(mels, scale)
    distances = corners - np.linspace(0, half, fft_length // 2 + 1)[:, None]
    widths = np.diff(corners)
    triangles = np.maximum(0, np.minimum(-distances[:, :-2] / widths[:-1], distances[:, 2:] / widths[1:]))
    return triangles * 2 / (corners[2:] - corners[:-2]) if area_norm else triangles


def cosine_basis(num_mels, num_coefficients) -> np.ndarray:
    """Matrix (num_mels, num_coefficients) of the orthonormal discrete cosine transform of type II."""
    angles = np.pi / num_mels * (np.arange(num_mels)[:, None] + 0.5) * np.arange(num_coefficients)
    basis = np.cos(angles) * np.sqrt(2 / num_mels)
    basis[:, 0] /= np.sqrt(2)
    return basis


@keras.saving.register_keras_serializable("kzoo")
class NumWindows(layers.Layer):
    """How many windows a sequence has: int32 (batch,) lengths to int32 (batch,), at least 0; no weights.

    The length after a convolution, or after framing: (length + 2 * padding - window_length) // strides + 1.
    """

    def __init__(self, window_length, strides=1, padding=0, **kwargs):
        super().__init__(**kwargs)
        self.window_length, self.strides, self.padding = window_length, strides, padding

    def call(self, inputs) -> Any:
        return num_windows(inputs, self.window_length, self.strides, self.padding)

    def compute_output_spec(self, inputs) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, inputs.dtype)


def num_windows(length, window_length, strides, padding) -> Any:
    """`NumWindows` of an int or a tensor."""
    count = (length + 2 * padding - window_length) // strides + 1
    return max(count, 0) if isinstance(length, int) else ops.maximum(count, 0)


@keras.saving.register_keras_serializable("kzoo")
class ClipLength(layers.Layer):
    """How many samples a clip has before the zeros after its end: waveform (batch, samples) to int32 (batch,)."""

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, waveform) -> Any:
        places = ops.arange(1, ops.shape(waveform)[1] + 1, dtype="int32")
        return ops.max(ops.where(ops.equal(waveform, 0), 0, places), axis=1)

    def compute_output_spec(self, waveform) -> keras.KerasTensor:
        return keras.KerasTensor(waveform.shape[:1], "int32")


class Spectrum(layers.Layer):
    """What the layers below share: waveform (batch, samples) to features (batch, frames, features), float32.

    Call arguments:
        waveform: (batch, samples).
        num_samples: int32 (batch,), the samples of each clip without the zeros after its end; None if all are its own.
            Frames beyond a clip's own are zeros, and nothing about its own depends on what it is padded to.

    Args:
        window_length: samples of the window.
        hop: samples between the beginnings of two windows.
        fft_length: samples that are transformed, with the window in their middle; by default `window_length`.
        window: "hann" or "hamming", both periodic, or "ones".
        padding: what lies before and after a clip, so that frame t has its middle at sample t * hop, as
            `torch.stft(center=True)`: "reflect", which repeats the first or last sample in clips that are shorter than
            half a window, or "zeros". With None the first frame begins at the first sample.
        normalize: "clip" subtracts the mean of all of a clip's features and divides by their standard deviation, as
            torch computes it (count - 1); "feature" does that for each feature; None leaves them as they are.

    Raises ValueError for values other than these.
    """

    def __init__(self, window_length, hop, fft_length=None, window="hann", padding="reflect", normalize=None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        fft_length = window_length if fft_length is None else fft_length
        for name, value in {"window_length": window_length, "hop": hop, "fft_length": fft_length}.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be an int of at least 1, got {value!r}")
        if fft_length < window_length:
            raise ValueError(f"fft_length must be at least window_length, {window_length}, got {fft_length}")
        for name, value, known in (
            ("window", window, WINDOWS),
            ("padding", padding, PADDINGS),
            ("normalize", normalize, NORMALIZATIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
        self.window_length, self.hop, self.fft_length = window_length, hop, fft_length
        self.padding, self.normalize = padding, normalize
        self.pad = fft_length // 2 if padding else 0
        # A window of whole hops, whose last rows are zeros where the hop does not divide it.
        self.num_hops = math.ceil(window_length / hop)
        basis = fourier_basis(window_length, fft_length, window)
        self.basis = np.pad(basis, ((0, self.num_hops * hop - window_length), (0, 0))).astype("float32")

    def num_frames(self, num_samples) -> Any:
        """The frames of so many samples, an int or a tensor."""
        return num_windows(num_samples, self.fft_length, self.hop, self.pad)

    def call(self, waveform, num_samples=None) -> Any:
        batch, samples = ops.shape(waveform)
        num_samples = ops.broadcast_to(samples, (batch,)) if num_samples is None else num_samples
        power = self._power(waveform, num_samples)
        own = ops.arange(ops.shape(power)[1], dtype="int32")[None] < self.num_frames(num_samples)[:, None]
        own = own[..., None]
        x = self.features(power, own)
        return ops.where(own, self._normalized(x, own) if self.normalize else x, 0.0)

    def _power(self, waveform, num_samples):
        """|transform|^2, (batch, frames, bins)."""
        batch, samples = ops.shape(waveform)
        start = (self.fft_length - self.window_length) // 2 - self.pad  # of the first window
        end = self.pad - (self.fft_length - self.window_length) // 2  # samples that the last one may need after a clip
        if self.padding == "reflect":
            waveform = _reflected(waveform, num_samples, -start, max(0, end))
        else:
            waveform = ops.pad(waveform, ((0, 0), (max(0, -start), max(0, end))))[:, max(0, start) :]
        num_frames = self.num_frames(samples)
        num_blocks = num_frames + self.num_hops - 1
        waveform = ops.pad(waveform, ((0, 0), (0, self.num_hops * self.hop)))[:, : num_blocks * self.hop]
        blocks = ops.reshape(waveform, (batch, num_blocks, self.hop))
        frames = [blocks[:, index : index + num_frames] for index in range(self.num_hops)]
        transform = ops.matmul(ops.concatenate(frames, axis=-1), self.basis)
        cosines, sines = ops.split(transform, 2, axis=-1)
        return ops.square(cosines) + ops.square(sines)

    def _normalized(self, x, own):
        axes = (1, 2) if self.normalize == "clip" else (1,)
        count = ops.sum(ops.cast(own, "float32"), axis=1, keepdims=True)
        count = count * x.shape[-1] if self.normalize == "clip" else count
        mean = ops.sum(ops.where(own, x, 0.0), axis=axes, keepdims=True) / ops.maximum(count, 1.0)
        x = x - mean
        variance = ops.sum(ops.where(own, ops.square(x), 0.0), axis=axes, keepdims=True) / ops.maximum(count - 1, 1.0)
        return x / ops.sqrt(ops.maximum(variance, 1e-10))  # silence stays silence

    def compute_output_shape(self, waveform_shape, num_samples_shape=None) -> tuple:
        batch, samples = waveform_shape
        return (batch, None if samples is None else self.num_frames(samples), self.num_features)


def _reflected(waveform, num_samples, before, after):
    """A clip with its own samples mirrored before its first and after its last one, wherever in the row that is."""
    batch, samples = ops.shape(waveform)
    last = ops.maximum(num_samples[:, None] - 1, 0)
    places = ops.abs(ops.arange(-before, samples + after, dtype="int32"))[None]
    places = ops.clip(ops.where(places > last, 2 * last - places, places), 0, last)
    rows = ops.arange(batch, dtype="int32")[:, None] * samples
    return ops.take(ops.reshape(waveform, (-1,)), places + rows)


@keras.saving.register_keras_serializable("kzoo")
class LogSpectrogram(Spectrum):
    """log(1 + |transform|), `fft_length // 2 + 1` features a frame; see `Spectrum` for arguments and shapes."""

    @property
    def num_features(self) -> int:
        return self.fft_length // 2 + 1

    def features(self, power, own) -> Any:
        # A root has no gradient at 0, and log1p no form in ONNX.
        return ops.log(1 + ops.sqrt(ops.maximum(power, 1e-30)))


@keras.saving.register_keras_serializable("kzoo")
class LogMelSpectrogram(Spectrum):
    """log(mel + offset) of the power in `num_mels` bands; see `Spectrum` for further arguments and shapes.

    Args:
        sample_rate: samples a second.
        num_mels, min_frequency, max_frequency, mel_scale, area_norm: see `mel_filterbank`.
        offset: what keeps the logarithm of silence finite.
    """

    def __init__(
        self,
        sample_rate,
        window_length,
        hop,
        num_mels=80,
        min_frequency=0.0,
        max_frequency=None,
        mel_scale="htk",
        area_norm=False,
        offset=1e-6,
        **kwargs,
    ):
        super().__init__(window_length, hop, **kwargs)
        bands = num_mels, self.fft_length, sample_rate, min_frequency, max_frequency, mel_scale, area_norm
        self.num_features, self.offset = num_mels, offset
        self.filters = mel_filterbank(*bands).astype("float32")

    def features(self, power, own) -> Any:
        return ops.log(ops.matmul(power, self.filters) + self.offset)


@keras.saving.register_keras_serializable("kzoo")
class MFCC(Spectrum):
    """Mel-frequency cepstral coefficients as torchaudio's MFCC; see `Spectrum` for further arguments and shapes.

    The cosine transform of mel power in decibels, cut off `top_decibels` below a clip's own highest.

    Args:
        sample_rate: samples a second.
        num_coefficients: features a frame, at most `num_mels`.
        num_mels, min_frequency, max_frequency, mel_scale, area_norm: see `mel_filterbank`.
        top_decibels: the range that is kept, 80 in torchaudio.

    Raises ValueError for more coefficients than bands.
    """

    def __init__(
        self,
        sample_rate,
        window_length,
        hop,
        num_coefficients=40,
        num_mels=128,
        min_frequency=0.0,
        max_frequency=None,
        mel_scale="htk",
        area_norm=False,
        top_decibels=80.0,
        **kwargs,
    ):
        super().__init__(window_length, hop, **kwargs)
        if num_coefficients > num_mels:
            raise ValueError(f"num_coefficients must be at most num_mels, {num_mels}, got {num_coefficients!r}")
        bands = num_mels, self.fft_length, sample_rate, min_frequency, max_frequency, mel_scale, area_norm
        self.num_features, self.top_decibels = num_coefficients, top_decibels
        self.filters = mel_filterbank(*bands).astype("float32")
        self.cosines = cosine_basis(num_mels, num_coefficients).astype("float32")

    def features(self, power, own) -> Any:
        decibels = 10 / math.log(10) * ops.log(ops.maximum(ops.matmul(power, self.filters), 1e-10))
        highest = ops.max(ops.where(own, decibels, -math.inf), axis=(1, 2), keepdims=True)
        return ops.matmul(ops.maximum(decibels, highest - self.top_decibels), self.cosines)
