"""What attention layers attend to: their scores on request, and a heat map of them.

The maps come from a second reading of the same graph with the same weights, so the numbers of the model itself stay as
they are to the last bit.
"""

import math

import keras
import numpy as np

from kzoo import graph
from kzoo.data import columns
from kzoo.layers import DotProductAttention
from kzoo.support import atomic
from kzoo.support.suggest import did_you_mean

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
    inputs, steps, _ = graph.record(model)
    scores = {}
    for step in steps:
        if step.layer.name in wanted:
            # A copy, which owns no weights: one Keras layer gives the same number of outputs at every call.
            config = {**step.layer.get_config(), "name": f"{step.layer.name}.scores"}
            copy = type(step.layer).from_config(config)
            scores[step.layer.name] = copy(*step.args, **{**step.kwargs, "return_scores": True})[1]
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


def draw_texts(path, model, tokenizer, text, second=None, layer=None):
    """Draws one attention layer for a text or a pair of texts; returns the layer's name and the path in words.

    Args:
        tokenizer: the model's `kzoo.data.Tokenizer`.
        second: the target of a translation, greedily translated by default; for BERT the second text.
        layer: name of an attention layer; the last by default, of a translation the last between the two texts.
    """
    x, words = _read(model, tokenizer, text, second)
    sides = _sides(model)
    if not sides:
        raise ValueError(f"{model.name} has no attention layers, so there is nothing to draw")
    between = [name for name, (queries, keys) in sides.items() if queries != keys]
    layer = layer or (between or list(sides))[-1]
    (scores,) = attention_maps(model, x, layer).values()
    queries, keys = sides[layer]
    draw(path, scores[0], words[queries], words[keys], f"{model.name}: {layer}")
    return f"{path} ({layer})"


def _sides(model):
    """What each attention layer's queries and keys stand for: `{layer: (input, input)}`, by the tokens they come from.

    What comes from both texts of a translation stands for the target.
    """
    inputs, steps, _ = graph.record(model)
    inputs = keras.tree.flatten(inputs)
    kinds = columns.inputs_of(model)
    comes_from = {id(tensor): tensor.name for tensor in inputs if kinds[tensor.name].kind == "tokens"}
    sides = {}
    for step in steps:
        texts = {comes_from[id(tensor)] for tensor in step.inputs if id(tensor) in comes_from}
        if isinstance(step.layer, DotProductAttention):
            sides[step.layer.name] = tuple(comes_from[id(tensor)] for tensor in step.inputs[:2])
        if texts:
            text = "decoder_token_ids" if "decoder_token_ids" in texts else min(texts)
            comes_from.update({id(tensor): text for tensor in keras.tree.flatten(step.outputs)})
    return sides


def _read(model, tokenizer, text, second):
    """The model's inputs for a text or a pair, and the tokens of each input by name."""
    kinds = columns.inputs_of(model)
    names = list(kinds)
    if "decoder_token_ids" in names:
        if second is None:
            from kzoo.generation import generate

            second = generate(model, text, tokenizer).text
        source, target = tokenizer.encode([text, second])
        rows = {
            "encoder_token_ids": [*source, tokenizer.need("end", "pairs of texts")],
            "decoder_token_ids": [tokenizer.need("start", "pairs of texts"), *target],
        }
    elif "segment_ids" in names:
        first, *rest = tokenizer.encode([text] if second is None else [text, second])
        ends = tokenizer.need("separator", "a text for this model")
        first = [tokenizer.need("class", "a text for this model"), *first, ends]
        rest = [*rest[0], ends] if rest else []
        rows = {"token_ids": first + rest, "segment_ids": [0] * len(first) + [1] * len(rest)}
    elif second is not None:
        raise ValueError(f"{model.name} reads one text; it has no place for a second")
    else:
        rows = {"token_ids": tokenizer.encode([text])[0]}
    words = {name: tokenizer.tokens(ids) for name, ids in rows.items() if kinds[name].kind == "tokens"}
    for name in names:
        if kinds[name].kind == "mask":
            rows[name] = [1] * len(rows[name.replace("padding_mask", "token_ids")])
    return {name: np.array([rows[name]], np.int32) for name in names}, words


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
