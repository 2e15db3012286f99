"""Columns: what kind of thing each input and each target of a model is.

A column knows which arrays fit it, how to draw random ones and how to read one from a file. A model file gives the kind
of each of its inputs in the literal INPUTS. For a model that kzoo did not make, the documented names of inputs, the
dtype and the rank decide. NumPy only: functions that read images import TensorFlow themselves.
"""

from collections.abc import Mapping

from kzoo import catalog
from kzoo.data.columns.diffusion import HiddenStates, Sample, Timestep
from kzoo.data.columns.label import Label, Logit, TokenLabel
from kzoo.data.columns.letters import Letters
from kzoo.data.columns.numbers import Image, Noise, Numbers, Sequence
from kzoo.data.columns.residues_of_proteins import ProteinFeature
from kzoo.data.columns.several import LabelSet, Nothing, Values
from kzoo.data.columns.sound import SOUNDS, MelFrames, NumSamples, Waveform, completed
from kzoo.data.columns.token_ids import Category, Mask, Segments, Tokens, id_limits, vocabulary_size
from kzoo.data.columns.video import MOVING, Video

KINDS = {
    column.kind: column
    for column in (
        Image, Tokens, Mask, Segments, Category, Numbers, Noise, Sequence, Waveform, NumSamples, MelFrames, Sample,
        HiddenStates, Timestep, Video, Letters, ProteinFeature,
    )
}  # fmt: skip
NAMES = {"padding_mask": "mask", "encoder_padding_mask": "mask", "segment_ids": "segments"}
BY_RANK = {4: "video", 3: "image", 2: "sequence"}

__all__ = [
    "KINDS", "MOVING", "SOUNDS", "Category", "HiddenStates", "Image", "Label", "LabelSet", "Letters", "Logit",
    "Mask", "MelFrames", "Noise", "Nothing", "NumSamples", "Numbers", "ProteinFeature", "Sample", "Segments",
    "Sequence", "Timestep", "TokenLabel", "Tokens", "Values", "Video", "Waveform", "completed", "heard", "id_limits",
    "inputs_of", "lettered",
    "vocabulary_size",
]  # fmt: skip


def inputs_of(model) -> dict:
    """The columns of a model's inputs by name, in the model's order; of several networks, those of all."""
    if isinstance(model, Mapping):
        return {name: column for part in model.values() for name, column in inputs_of(part).items()}
    declared = catalog.literals_of(model).get("INPUTS", {})
    return {tensor.name: KINDS[declared.get(tensor.name) or _kind(tensor)](model, tensor) for tensor in model.inputs}


def heard(model) -> Waveform | None:
    """The column of the waveform that a model hears; None for a model that hears nothing."""
    return next((column for column in inputs_of(model).values() if isinstance(column, Waveform)), None)


def lettered(model) -> Letters | None:
    """The column of the letters that a model reads; None for a model that reads none."""
    return next((column for column in inputs_of(model).values() if isinstance(column, Letters)), None)


def _kind(tensor):
    dtype = str(tensor.dtype)
    if tensor.name in NAMES:
        return NAMES[tensor.name]
    if dtype == "bool":
        return "mask"
    if "int" in dtype and dtype not in ("uint8", "uint16"):
        return "tokens"
    return BY_RANK.get(len(tensor.shape) - 1, "numbers")
