"""What attention layers attend to: their scores on request, and heat maps of them.

The maps come from a second reading of the same graph with the same weights, so the model's own numbers stay the same to
the last bit.
"""

import math

import keras
import numpy as np

from kzoo import graph
from kzoo.data import columns, prepare_inputs
from kzoo.layers import DotProductAttention
from kzoo.support import drawing
from kzoo.support.suggest import did_you_mean

CELL = 0.28  # inches per token
SCALE = 0.8  # inches of the scale of colours
LARGEST_PANEL = 6.0  # inches


def attention_layers(model) -> list:
    """The names of a model's attention layers, in the graph's order."""
    return [layer.name for layer in model.layers if isinstance(layer, DotProductAttention)]


def with_scores(model, layers=None) -> keras.Model:
    """A functional model from a model's inputs to `{layer: scores}`, which shares its layers and weights.

    Args:
        layers: names of attention layers; all by default.

    Scores are float32 (batch, num_heads, query_length, key_length) and sum to 1 over the keys, or to 0 for a query that
    may attend to none. Raises ValueError for a model without attention or a name that no attention layer has.
    """
    known = attention_layers(model)
    if not known:
        raise ValueError(f"{model.name} has no attention layers, so there are no scores to show")
    wanted = [layers] if isinstance(layers, str) else list(layers or known)
    for name in wanted:
        if name not in known:
            raise ValueError(f"{model.name}: {did_you_mean('attention layer', name, known)}")
    inputs, steps, _ = graph.record(model)
    scores = {}
    for step in steps:
        if step.layer.name in wanted:
            # A copy, which owns no weights: a Keras layer must give the same number of outputs at every call.
            copy = type(step.layer).from_config({**step.layer.get_config(), "name": f"{step.layer.name}.scores"})
            scores[step.layer.name] = copy(*step.args, **{**step.kwargs, "return_scores": True})[1]
    return keras.Model(inputs, {name: scores[name] for name in wanted}, name=f"{model.name}_attention")


def attention_maps(model, x, layers=None) -> dict:
    """The attention scores of a model for arrays: `{layer: (batch, num_heads, query_length, key_length) float32}`.

    Args:
        x: an array, or a dict of arrays by input name, as for `kzoo.predict`.
        layers: names of attention layers; all by default.

    Scores sum to 1 over the keys, or to 0 for a query that may attend to none. Raises ValueError as `with_scores` does,
    and for arrays that do not fit the model.
    """
    scores = with_scores(model, layers)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, scores(prepare_inputs(model, x), training=False))


def draw_texts(path, model, tokenizer, text, second=None, layer=None) -> str:
    """Draws one attention layer for a text or a pair of texts as a PNG; returns the path and the layer's name.

    Args:
        tokenizer: the model's `kzoo.data.Tokenizer`.
        second: the target of a translation, by default the model's own greedy translation; for BERT the second text.
        layer: name of an attention layer; by default the last, in a translator the last between the two texts.

    Raises ValueError for a model without attention, and for a second text if the model reads only one.
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
    """The inputs whose tokens each attention layer's queries and keys stand for: `{layer: (input, input)}`.

    What is computed from both texts of a translation stands for the target.
    """
    inputs, steps, _ = graph.record(model)
    kinds, sides = columns.inputs_of(model), {}
    comes_from = {id(one): one.name for one in keras.tree.flatten(inputs) if kinds[one.name].kind == "tokens"}
    for step in steps:
        texts = {comes_from[id(tensor)] for tensor in step.inputs if id(tensor) in comes_from}
        if isinstance(step.layer, DotProductAttention):
            sides[step.layer.name] = tuple(comes_from[id(tensor)] for tensor in step.inputs[:2])
        if texts:
            text = "decoder_token_ids" if "decoder_token_ids" in texts else min(texts)
            comes_from.update({id(tensor): text for tensor in keras.tree.flatten(step.outputs)})
    return sides


def _read(model, tokenizer, text, second):
    """The model's inputs for a text or a pair of texts, and the tokens of each input by name."""
    kinds = columns.inputs_of(model)
    if "decoder_token_ids" in kinds:
        if second is None:
            from kzoo.generation import generate

            second = generate(model, text, tokenizer).text
        source, target = tokenizer.encode([text, second])
        rows = {
            "encoder_token_ids": [*source, tokenizer.need("end", "pairs of texts")],
            "decoder_token_ids": [tokenizer.need("start", "pairs of texts"), *target],
        }
    elif "segment_ids" in kinds:
        first, *rest = tokenizer.encode([text] if second is None else [text, second])
        start, end = (tokenizer.need(role, "a text for this model") for role in ("class", "separator"))
        first, rest = [start, *first, end], [*rest[0], end] if rest else []
        rows = {"token_ids": first + rest, "segment_ids": [0] * len(first) + [1] * len(rest)}
    elif second is not None:
        raise ValueError(f"{model.name} reads one text; it has no place for a second")
    else:
        rows = {"token_ids": tokenizer.encode([text])[0]}
    words = {name: tokenizer.tokens(ids) for name, ids in rows.items() if kinds[name].kind == "tokens"}
    for name, column in kinds.items():
        if column.kind == "mask":
            rows[name] = [1] * len(rows[name.replace("padding_mask", "token_ids")])
    return {name: np.array([rows[name]], np.int32) for name in kinds}, words


def draw(path, scores, queries, keys, title="") -> None:
    """Writes a PNG with one panel for each head: rows are queries, columns are keys, and high scores are dark.

    Args:
        scores: (num_heads, query_length, key_length) of one example.
        queries, keys: a string for each row and for each column.

    Raises ValueError if there are not as many strings as rows or columns.
    """
    scores = np.asarray(scores)
    if scores.ndim != 3 or scores.shape[1:] != (len(queries), len(keys)):
        wanted = f"(num_heads, {len(queries)} queries, {len(keys)} keys) of one example"
        raise ValueError(f"scores have shape {scores.shape}; wanted {wanted}")
    across = math.ceil(math.sqrt(len(scores)))
    down = math.ceil(len(scores) / across)
    width, height = (min(LARGEST_PANEL, 1 + CELL * count) for count in (len(keys), len(queries)))
    size = (across * width + SCALE, down * height + 0.3)
    queries, keys = (list(map(_readable, words)) for words in (queries, keys))
    with drawing.picture(path, size) as figure:
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for axis in axes[len(scores) :]:
            axis.set_axis_off()
        for head, axis in enumerate(axes[: len(scores)]):
            shades = axis.imshow(scores[head], cmap="Blues", vmin=0, vmax=1, aspect="auto")
            axis.set_title(f"head {head}", fontsize=7)
            axis.set_xticks(range(len(keys)), keys, rotation=90, fontsize=6)
            axis.set_yticks(range(len(queries)), queries, fontsize=6)
        scale = figure.colorbar(shades, ax=axes, shrink=0.6)
        scale.set_label("share of attention", fontsize=7)
        scale.ax.tick_params(labelsize=6)
        figure.suptitle(title, fontsize=9)


def _readable(token):
    """A token as people read it: vocabularies of bytes and SentencePiece write a space as a letter."""
    return token.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "↵").strip(" ") or "␣"
