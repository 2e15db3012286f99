"""A network of DNA that reads both strands and gives the mean of what it says of them."""

import keras

from kzoo import graph
from kzoo.data import columns
from kzoo.data.genomes import alphabet
from kzoo.layers.one_hot_letters import ReverseComplement, StrandMean
from kzoo.rewrites import carry, rewrites_of


def repeat(model, kind) -> keras.Model:
    """The mean over strands of a model of whole sequences, which shares its layers and weights; both read at once.

    Args:
        kind: what makes probabilities of its outputs, "softmax", "sigmoid" or, of numbers, "linear".

    Raises ValueError for a model that reads no nucleotides or tells what single letters are.
    """
    column = columns.lettered(model)
    if column is None or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        told = "what single letters are, which differs between strands" if column else "no sequences of letters"
        raise ValueError(f"{model.name} tells {told}; both strands are of models of whole sequences, such as deepsea")
    if any(row["rewrite"] == "both_strands" for row in rewrites_of(model)):
        raise ValueError(f"{model.name} reads both strands already")
    ids, steps, _ = graph.record(model)
    across = ReverseComplement(alphabet.complements(column.letters).tolist(), name="other_strand")(ids)
    values = {id(ids): across}
    graph.replay(steps, values)
    own = steps[-1].outputs
    mean = StrandMean(kind, name="strand_mean")([own, values[id(own)]])
    both = keras.Model(ids, mean, name=model.name)
    return carry(model, both, (*rewrites_of(model), {"rewrite": "both_strands", "kind": kind}))
