"""What attention layers attend to: their scores on request, and a heat map of them.

The maps come from a second reading of the same graph with the same weights, so the numbers of the model itself stay as
they are to the last bit.
"""

import math

import keras
import numpy as np

from kzoo import atomic
from kzoo.layers import DotProductAttention
from kzoo.suggest import did_you_mean

CELL = 0.28  # inches a token
LARGEST_PANEL = 6.0  # inches


def attention_layers(model):
    """Names of the attention layers of a model, in the graph's order."""
    return [layer.name for layer in model.layers if isinstance(layer, DotProductAttention)]


def with_scores(model, layers=None):
    """A functional model from a model's inputs to `{layer: scores}`, sharing its layers and weights.

    Args:
        layers: names of attention layers; all by default.

    Scores are float32 (batch, num_heads, query_length, key_length) and sum to 1 over the keys, or to 0 where a query
    may attend to none. Raises ValueError for a model without attention or a name that no attention layer has.
    """
    known = attention_layers(model)
    if not known:
        raise ValueError(f"{model.name} has no attention layers, so there are no scores to show")
    wanted = [layers] if isinstance(layers, str) else known if layers is None else list(layers)
    for name in wanted:
        if name not in known:
            raise ValueError(f"{model.name}: {did_you_mean('attention layer', name, known)}")
    scores = {}

    def call(layer, *args, **kwargs):
        if layer.name in wanted:
            # A copy, which owns no weights: one Keras layer gives the same number of outputs at every call.
            config = {**layer.get_config(), "name": f"{layer.name}.scores"}
            scores[layer.name] = type(layer).from_config(config)(*args, **{**kwargs, "return_scores": True})[1]
        return layer(*args, **kwargs)

    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name), model.input
    )
    keras.models.clone_model(model, inputs, clone_function=lambda layer: layer, call_function=call)
    return keras.Model(inputs, {name: scores[name] for name in wanted}, name=f"{model.name}_attention")


def attention_maps(model, x, layers=None):
    """Attention scores for arrays: `{layer: (batch, num_heads, query_length, key_length) float32}`.

    Args:
        x: as `kzoo.predict` takes it: an array, or a dict of arrays by input name.
        layers: names of attention layers; all by default.

    Raises ValueError as `with_scores` does, and for arrays that do not fit the model.
    """
    from kzoo.data import check_inputs

    scores = with_scores(model, layers)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, scores(check_inputs(model, x), training=False))


def draw(path, scores, queries, keys, title=""):
    """Writes a PNG with one panel a head: rows are queries, columns keys, dark where much is attended to.

    Args:
        scores: (num_heads, query_length, key_length) of one example.
        queries, keys: a string for each row and each column.

    Raises ValueError if there are not as many strings as rows or columns.
    """
    from matplotlib.figure import Figure

    scores = np.asarray(scores)
    if scores.ndim != 3 or scores.shape[1:] != (len(queries), len(keys)):
        raise ValueError(
            f"scores have shape {scores.shape}; wanted (num_heads, {len(queries)} queries, {len(keys)} keys) of one "
            "example"
        )
    columns = math.ceil(math.sqrt(len(scores)))
    rows = math.ceil(len(scores) / columns)
    width, height = (min(LARGEST_PANEL, 1 + CELL * count) for count in (len(keys), len(queries)))
    figure = Figure(figsize=(columns * width, rows * height + 0.3), layout="constrained", dpi=100)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for head, axis in enumerate(axes):
        if head >= len(scores):
            axis.set_axis_off()
            continue
        axis.imshow(scores[head], cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_title(f"head {head}", fontsize=7)
        axis.set_xticks(range(len(keys)), keys, rotation=90, fontsize=6)
        axis.set_yticks(range(len(queries)), queries, fontsize=6)
    figure.suptitle(title, fontsize=9)
    with atomic.file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
