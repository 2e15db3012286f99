"""What a user asks a model of samples for: checked, written, and put into a file."""

import math

import numpy as np

from kzoo.catalog import card_of
from kzoo.data import columns
from kzoo.data.checks import check_count
from kzoo.generation import writing_waves
from kzoo.support import forks
from kzoo.support.suggest import did_you_mean
from kzoo.tasks.sound_generation.distributions import distribution_of
from kzoo.tasks.sound_generation.mels import Mels

LONGEST = 600  # seconds


def generate(
    model, seconds=None, speaker=None, mel=None, temperature=1.0, seed=0, progress=None, xla=True
) -> np.ndarray:
    """Writes sound, one sample after another, each drawn from its distribution given those before it.

    A program is compiled once for each number of clips, whatever their length, conditions and weights; every layer
    keeps a queue of what it heard. What is written is what the whole network would write, run again for each sample.

    Args:
        seconds: the length of each clip; of a model of mel frames, which say how long it is, none.
        speaker: for a model with `num_speakers`, whose voice (or which digit): an id or one of the model's class names,
            or a list of them for several clips.
        mel: for a model of mel frames, float32 (frames, num_mels), or (batch, frames, num_mels).
        temperature: 1 draws from the model's own distribution, less from a narrower one; 0 takes the likeliest.
        seed: decides what is drawn.
        progress: a function that is called with the numbers of samples written and wanted, now and then.
        xla: whether XLA compiles the program; if not, TensorFlow runs its own operations.

    Returns samples in [-1, 1], float32 (samples,), or (batch, samples) for several clips. Raises ValueError or
    TypeError that name the argument.
    """
    forks.check("kzoo.generate")
    wanted, sources = columns.inputs_of(model), {}
    for name, value in (("temperature", temperature), *((("seconds", seconds),) if seconds is not None else ())):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise TypeError(f"{name} must be a number, got {value!r}")
    if temperature < 0:
        raise ValueError(f"temperature must be at least 0, got {temperature!r}")
    check_count("seed", seed, minimum=0)
    is_one = np.ndim(mel) == 2 if mel is not None else not isinstance(speaker, list | tuple | np.ndarray)
    if ("speaker" in wanted) != (speaker is not None):
        known = f"an id below {wanted['speaker'].limit}" if "speaker" in wanted else "no speaker"
        raise ValueError(f"speaker is {speaker!r}; {model.name} takes {known}")
    if speaker is not None:
        several = [speaker] if np.ndim(speaker) == 0 else list(speaker)
        sources["speaker"] = wanted["speaker"].check(np.array([_place(model, each) for each in several], np.int32))
    if ("mel" in wanted) != (mel is not None):
        raise ValueError(f"{model.name} {'needs mel frames' if 'mel' in wanted else 'takes no mel frames'}")
    if mel is not None:
        num_samples = _check_mel(model, wanted, mel, seconds, sources)
    elif seconds is None:
        raise ValueError(f"seconds is not given; {model.name} writes as long as it is asked to")
    else:
        num_samples = round(seconds * wanted["waveform"].sample_rate)
        if not 1 <= num_samples <= LONGEST * wanted["waveform"].sample_rate:
            raise ValueError(f"seconds must be above 0 and at most {LONGEST}, got {seconds!r}")
    told = (lambda count: progress(count, num_samples)) if progress else None
    kind = distribution_of(model)
    found = writing_waves.written(model, sources or 1, num_samples, kind, temperature, seed, told, xla)
    return found[0] if is_one else found


def _check_mel(model, wanted, mel, seconds, sources):
    """Puts mel frames among the sources, and gives the number of samples that they stand for."""
    mels, mel = Mels(model), np.asarray(mel)
    mel = wanted["mel"].check(mel[None] if mel.ndim == 2 else mel)
    num_samples = mels.num_samples(mel.shape[1])
    if num_samples < 1:
        raise ValueError(f"mel has {mel.shape[1]} frames, and {2 * mels.context} of them are context; pass more")
    if seconds is not None:
        raise ValueError(f"seconds is {seconds!r}, and {mel.shape[1]} mel frames stand for {num_samples:,} samples")
    if "speaker" in sources and len(sources["speaker"]) != len(mel):
        raise ValueError(f"mel is of {len(mel)} clips, speaker of {len(sources['speaker'])}; pass as many of both")
    sources["mel"] = mel
    return num_samples


def _place(model, speaker):
    """The id of a speaker; of text, the place of that class name, or the number that it is."""
    names = card_of(model).class_names
    if not isinstance(speaker, str):
        return speaker
    if names and speaker in names:
        return names.index(speaker)
    if speaker.isdigit():
        return int(speaker)
    raise ValueError(did_you_mean("speaker", speaker, names) if names else f"speaker must be an id, got {speaker!r}")


def generate_file(task, model, path, recording=None, **settings) -> str:
    """Writes what `generate` gives as a 16-bit WAV file at the model's rate, whole or not at all; a line that says so.

    Args:
        recording: a file of sound, whose mel frames the model reads, for a vocoder.

    Raises ValueError as `generate` does, and for a model that takes no mel frames.
    """
    from kzoo.data.sounds import sound_files

    rate, note = columns.inputs_of(model)["waveform"].sample_rate, ""
    if not str(path).lower().endswith(".wav"):
        raise ValueError(f"{path}: sound is written as .wav")
    if recording is not None:
        if "mel" not in columns.inputs_of(model):
            raise ValueError(f"{model.name} takes no mel frames of {recording}: build it with upsample_scales")
        clip = sound_files.read(recording, rate)
        settings["mel"] = Mels(model).of_clip(clip.samples)[0]
        note = f" ({recording}: {', '.join(clip.changes)})" if clip.changes else ""
    samples = task.generate(model, **settings)
    if recording is not None:
        samples = samples[: len(clip.samples)]
    sound_files.write(path, np.asarray(writing_waves.to_int16(samples)), rate)
    return f"wrote {path}, {len(samples) / rate:.2f} s at {rate:,} Hz{note}"
