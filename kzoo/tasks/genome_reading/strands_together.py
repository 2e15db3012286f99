"""Both strands of DNA as one."""

import keras

from kzoo.data import columns
from kzoo.rewrites import both_strands as rewriting
from kzoo.tasks import of_or_guess


def both_strands(model) -> keras.Model:
    """A model that reads a sequence and its reverse complement and gives the mean of their probabilities.

    It shares its layers and weights with the given one, is used, saved and exported as that is, and costs twice as
    much. For labels that hold for both strands, as of DeepSEA; a model of numbers gives the mean of these.

    Raises ValueError for a model that reads no nucleotides, or tells what single letters are.
    """
    target = of_or_guess(model).target(model)
    kinds = {columns.LabelSet: "sigmoid", columns.Values: "linear"}
    return rewriting.repeat(model, kinds.get(type(target), "softmax"))
