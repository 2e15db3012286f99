"""Random changes to training sounds, a whole batch at once, as a pure function of one row of numbers per example.

What SpecAugment does to spectrograms (Park et al. 2019, https://arxiv.org/abs/1904.08779, section 2) is done to the
waveform, since models take that: stretches of time become silent, and bands of frequency are filtered out. Speed as in
Ko et al. 2015, https://www.isca-archive.org/interspeech_2015/ko15_interspeech.html.
"""

import dataclasses

import tensorflow as tf

from kzoo.data.splits import fold

NUM_TAPS = 256  # of the filter that removes bands
RANGES = {"speed": 0.5, "shift": 1, "gain": 40, "noise": 1, "time_width": 1, "band_width": 1}


@dataclasses.dataclass(frozen=True)
class SoundAugmentation:
    """How sounds are changed at random; amounts are the largest change in either direction, drawn uniformly.

    Args:
        speed: share by which a clip becomes faster or slower, its pitch with it.
        shift: seconds of silence that may come before a clip of a fixed length, or that it loses there.
        gain: decibels.
        noise: the largest standard deviation of white noise, as a share of the clip's own.
        num_times, time_width: how many stretches become silent, and the longest of them as a share of the clip.
        num_bands, band_width: how many bands of frequency are removed, and the widest of them as a share of all.

    Raises ValueError that names the field and its range.
    """

    speed: float = 0.1
    shift: float = 0.0
    gain: float = 6.0
    noise: float = 0.05
    num_times: int = 2
    time_width: float = 0.08
    num_bands: int = 2
    band_width: float = 0.1

    mixes = False

    def __post_init__(self):
        for name, limit in RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limit:
                raise ValueError(f"augmentation {name} must be from 0 to {limit}, got {value!r}")
        for name in ("num_times", "num_bands"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"augmentation {name} must be an int of at least 0, got {value!r}")

    def draw(self, key, count) -> dict:
        """All random numbers of an epoch's `count` clips: uniform tensors (count, ...) by name, and a seed each."""

        def uniform(purpose, *shape):
            return tf.random.stateless_uniform((count, *shape), fold(key, purpose), alg="philox")

        return {
            "whole": uniform(0, 4),
            "times": uniform(1, self.num_times, 2),
            "bands": uniform(2, self.num_bands, 2),
            "seeds": tf.random.stateless_uniform((count, 2), fold(key, 3), None, None, tf.int32, "philox"),
        }

    def lengths(self, num_samples, drawn) -> tf.Tensor:
        """How many samples clips have after the change of speed, int32 (batch,)."""
        return tf.cast(tf.math.ceil(tf.cast(num_samples, tf.float32) / self._speeds(drawn)), tf.int32)

    def shortest(self, num_samples) -> int:
        """How many samples a clip has at least after the change of speed."""
        return int(num_samples / (1 + self.speed))

    def apply(self, waveform, num_samples, drawn, sample_rate) -> tuple:
        """Clips (batch, samples) with zeros after their end and their lengths (batch,), changed by their rows of
        `draw`; they may become longer."""
        if self.speed:
            lengths = self.lengths(num_samples, drawn)
            waveform = _faster(waveform, self._speeds(drawn), tf.reduce_max(lengths))
            num_samples = lengths
            waveform *= tf.sequence_mask(lengths, tf.shape(waveform)[1], tf.float32)  # it ends where the clip does
        whole = 2 * drawn["whole"] - 1
        if self.shift:
            most = round(self.shift * sample_rate)
            shifts = tf.cast(whole[:, 1] * most, tf.int32)
            waveform, num_samples = _shifted(tf.pad(waveform, [[0, 0], [0, most]]), num_samples, shifts)
        if self.num_bands:
            waveform = _without_bands(waveform, drawn["bands"] * [1.0, self.band_width])
        real = tf.sequence_mask(num_samples, tf.shape(waveform)[1], tf.float32)
        if self.noise:
            power = tf.reduce_sum((waveform * real) ** 2, 1) / tf.cast(tf.maximum(num_samples, 1), tf.float32)
            scale = drawn["whole"][:, 3] * self.noise * tf.sqrt(power)
            shape = tf.shape(waveform)[1:]
            noise = tf.map_fn(
                lambda seed: tf.random.stateless_normal(shape, seed, alg="philox"),
                drawn["seeds"],
                fn_output_signature=tf.TensorSpec((None,), tf.float32),
            )
            waveform += scale[:, None] * noise
        if self.num_times:
            real *= _outside(drawn["times"] * [1.0, self.time_width], num_samples, tf.shape(waveform)[1])
        waveform *= real
        if self.gain:
            waveform *= 10 ** (whole[:, 2:3] * self.gain / 20)
        return tf.clip_by_value(waveform, -1, 1), num_samples

    def _speeds(self, drawn):
        return 1 + self.speed * (2 * drawn["whole"][:, 0] - 1)


def _faster(waveform, speeds, length):
    """Clips read at `speeds` times their rate, by cubic interpolation (Catmull and Rom 1974)."""
    places = tf.cast(tf.range(length), tf.float32)[None] * speeds[:, None]
    first = tf.floor(places)
    at = (places - first)[..., None]
    last = tf.shape(waveform)[1] + 2
    index = tf.cast(first, tf.int32)[..., None] + tf.range(4)  # one zero before the beginning
    padded = tf.pad(waveform, [[0, 0], [1, 2]])
    a, b, c, d = tf.unstack(tf.gather(padded, tf.minimum(index, last), batch_dims=1), axis=-1)
    at = at[..., 0]
    return b + 0.5 * at * (c - a + at * (2 * a - 5 * b + 4 * c - d + at * (3 * (b - c) + d - a)))


def _shifted(waveform, num_samples, shifts):
    """Clips moved by whole samples; what leaves at the front is lost, and the end moves with the rest."""
    length = tf.shape(waveform)[1]
    index = tf.range(length)[None] - shifts[:, None]
    inside = (index >= 0) & (index < length)
    moved = tf.gather(waveform, tf.clip_by_value(index, 0, length - 1), batch_dims=1)
    return tf.where(inside, moved, 0.0), tf.maximum(num_samples + shifts, 1)


def _without_bands(waveform, bands):
    """Clips without bands of frequency, (batch, bands, 2): where each begins, of the room that is left, and width.

    By a filter of NUM_TAPS, so that a clip does not depend on how long its batch is padded.
    """
    at = tf.linspace(0.0, 1.0, NUM_TAPS // 2 + 1)[None, None]
    width = bands[..., 1:]
    begin = bands[..., :1] * (1 - width)
    kept = tf.reduce_all((at < begin) | (at >= begin + width), axis=1)
    taps = tf.signal.irfft(tf.cast(kept, tf.complex64), [NUM_TAPS])
    taps = tf.roll(taps, NUM_TAPS // 2, axis=1) * tf.signal.hann_window(NUM_TAPS)
    length = tf.shape(waveform)[1]
    both = [length + NUM_TAPS]
    filtered = tf.signal.irfft(tf.signal.rfft(waveform, both) * tf.signal.rfft(taps, both), both)
    return filtered[:, NUM_TAPS // 2 : NUM_TAPS // 2 + length]


def _outside(times, num_samples, length):
    """1 outside of stretches of time, (batch, times, 2) as for bands, as shares of each clip."""
    at = tf.cast(tf.range(length), tf.float32)[None, None] / tf.cast(num_samples, tf.float32)[:, None, None]
    width = times[..., 1:]
    begin = times[..., :1] * (1 - width)
    return tf.cast(tf.reduce_all((at < begin) | (at >= begin + width), axis=1), tf.float32)
