"""Files of sound: WAV, FLAC and OGG at any rate as mono samples in [-1, 1] at the rate that is wanted; and WAV out."""

import collections
import dataclasses
import importlib
import io
import math
import pathlib
import struct
import wave

import numpy as np

from kzoo.support import atomic

QUIET = 10 ** (-40 / 20)  # of the loudest sample: silence at the ends, 40 dB below it
UNKNOWN = (0, 0xFFFFFFFF)  # what a program writes that does not know yet how long the sound will be
FULL = 1 - 2**-15  # a sample that cannot be louder


@dataclasses.dataclass
class Clip:
    """One sound.

    Args:
        samples: float32 (num_samples,), mono.
        changes: what was done to it, such as "resampled from 44,100 Hz", and what is odd about it.
    """

    samples: np.ndarray
    changes: tuple = ()


def read(path, sample_rate, trim=False) -> Clip:
    """The sound of a file, mono and at `sample_rate` Hz.

    Several channels are averaged, other rates resampled by a polyphase filter (`scipy.signal.resample_poly`).

    Args:
        trim: whether to cut silence, 40 dB below the loudest sample, from both ends.

    Raises ValueError that names the file: not there, no sound, cut short, empty, with NaN.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"no file at {path}")
    return decode(path.read_bytes(), sample_rate, trim, f"{path}: ")


def decode(contents, sample_rate, trim=False, where="") -> Clip:
    """`read` for the bytes of a file; `where` begins every error."""
    soundfile = _library()
    missing = _missing_bytes(contents)
    if missing:
        raise ValueError(f"{where}is cut short: {missing:,} bytes of its sound are missing")
    try:
        with soundfile.SoundFile(io.BytesIO(contents)) as file:
            rate, declared = file.samplerate, file.frames
            samples = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        told = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise ValueError(f"{where}is no sound that can be read ({told}); wanted WAV, FLAC or OGG") from error
    if len(samples) < declared:
        raise ValueError(f"{where}is cut short: {declared:,} samples are declared and {len(samples):,} are there")
    return fitted(samples, rate, sample_rate, trim, where)


def fitted(samples, rate, sample_rate, trim=False, where="") -> Clip:
    """Samples (num_samples, channels) or (num_samples,) in [-1, 1] at `rate` Hz as a clip at `sample_rate`."""
    changes = []
    if samples.ndim == 2:
        if samples.shape[1] > 1:
            changes.append(f"mixed down from {samples.shape[1]} channels")
        samples = samples.mean(axis=1)
    if not len(samples):
        raise ValueError(f"{where}holds no sound: it has no samples")
    if not np.isfinite(samples).all():
        raise ValueError(f"{where}holds NaN or infinity at sample {int(np.argmin(np.isfinite(samples))):,}")
    if not samples.any():
        changes.append("silent")
    elif np.mean(np.abs(samples) >= FULL) > 1e-3:
        changes.append("clipped")
    if rate != sample_rate:
        changes.append(f"resampled from {rate:,} Hz")
        samples = resampled(samples, rate, sample_rate)
    return Clip(trimmed(samples) if trim else samples.astype(np.float32), tuple(changes))


def resampled(samples, rate, sample_rate) -> np.ndarray:
    """Samples (num_samples,) at another rate, by a polyphase filter."""
    from scipy import signal

    common = math.gcd(rate, sample_rate)
    return signal.resample_poly(samples.astype(np.float64), sample_rate // common, rate // common).astype(np.float32)


def trimmed(samples) -> np.ndarray:
    """Samples without the silence at both ends; all of them if there is nothing else."""
    loud = np.flatnonzero(np.abs(samples) > QUIET * np.abs(samples).max())
    return (samples[loud[0] : loud[-1] + 1] if len(loud) else samples).astype(np.float32)


def notes_of(name, clips) -> list:
    """One line for each kind of change to clips, with how many there were."""
    counts = collections.Counter(change for clip in clips for change in clip.changes)
    return [f"{name}: {count:,} of {len(clips):,} clips {_verb(change)}" for change, count in counts.most_common()]


def _verb(change):
    return f"are {change}" if " " not in change else f"were {change}"


def write(path, samples, sample_rate) -> None:
    """Writes samples (num_samples,), int16 or floats in [-1, 1], as a 16-bit WAV file, whole or not at all."""
    samples = np.asarray(samples)
    if samples.dtype != np.int16:
        samples = np.round(np.clip(samples, -1, FULL) * 32768).astype(np.int16)
    with atomic.file(path) as temporary, open(temporary, "wb") as stream, wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())


def _library():
    try:
        return importlib.import_module("soundfile")
    except ImportError as error:
        raise ValueError("files of sound need soundfile: pip install 'kzoo[speech]'") from error


def _missing_bytes(contents):
    """How many bytes of a WAV file's sound are not there; libsndfile takes such a file for a shorter one."""
    if contents[:4] != b"RIFF" or contents[8:12] != b"WAVE":
        return 0
    place = 12
    while place + 8 <= len(contents):
        name, size = contents[place : place + 4], struct.unpack("<I", contents[place + 4 : place + 8])[0]
        if name == b"data":
            return 0 if size in UNKNOWN else max(0, size - (len(contents) - place - 8))
        place += 8 + size + size % 2
    return 0
