"""Either tower of a model by itself: vectors of length 1 for pictures and for texts, here and for a server."""

import weakref

import keras
import numpy as np

from kzoo import graph
from kzoo.catalog import card_of
from kzoo.data import columns
from kzoo.tasks import base
from kzoo.tasks.texts import require_tokenizer

_TOWERS = weakref.WeakKeyDictionary()  # model -> {kind: its part}, so that each is traced once
LAYERS = {"image": "image_embedding", "token_ids": "text_embedding"}


def tower(model, kind) -> keras.Model:
    """The part of a model's graph from the input `kind`, image or token_ids, to vectors of length 1, with its weights.

    Raises ValueError for a model that has no such layer.
    """
    known = _TOWERS.setdefault(model, {})
    if kind not in known:
        entry = next(tensor for tensor in model.inputs if tensor.name == kind)
        known[kind] = keras.Model(entry, graph.find_tap(model, LAYERS[kind]).output, name=f"{model.name}_{kind}")
    return known[kind]


def longest_text(model) -> int:
    """How many tokens a text may have."""
    return graph.longest_sequence(model)


def check_end(model, tokenizer) -> None:
    """ValueError unless the model finds the end of a text where the tokenizer puts it."""
    end = tokenizer.separator_id if tokenizer.separator_id is not None else tokenizer.need("end", model.name)
    pooled = graph.find_tap(model, "text_model.end").end_id
    looked_for = tokenizer.vocabulary_size - 1 if pooled is None else pooled
    if end != looked_for:
        told = f"at its highest id, {looked_for}," if pooled is None else f"at id {pooled}"
        raise ValueError(
            f"{model.name} takes a text's end to be {told} and the tokenizer ends texts with {end}: build the model "
            f"with end_id={end}"
        )


def of_images(model, x, batch_size=64) -> np.ndarray:
    """Vectors (num_examples, dim) of pictures (batch, height, width, channels), as `kzoo.predict` takes them."""
    x = columns.inputs_of(model)["image"].prepare(x, card_of(model).preprocessing)
    part = tower(model, "image")
    return np.concatenate([np.asarray(part.predict_on_batch(each)) for each in base.in_batches(x, batch_size)])


def of_texts(model, texts, batch_size=64) -> np.ndarray:
    """Vectors (num_texts, dim) of a list of texts; what is longer than the model's positions is cut, and said."""
    from kzoo.data import token_rows

    tokenizer = require_tokenizer(model, card_of(model).tokenizer)
    check_end(model, tokenizer)
    longest, part, found = longest_text(model), tower(model, "token_ids"), []
    rows, _, cut = token_rows.encode([list(texts)], tokenizer, longest)
    token_rows.report_cut(model.name, cut, len(texts), longest, "texts")
    for begin in range(0, len(texts), batch_size):
        ids, _ = token_rows.padded(rows[begin : begin + batch_size], tokenizer.pad_id or 0, longest)
        found.append(np.asarray(part.predict_on_batch(ids.numpy())))
    return np.concatenate(found)


def endpoints(model) -> dict:
    """`embed_images` of uint8 pictures of any size, and `embed_texts` of token ids: vectors of length 1."""
    from kzoo.data import resizing
    from kzoo.tasks.endpoints import Endpoint

    shape, how = columns.inputs_of(model)["image"].shape, card_of(model).preprocessing
    text, dim = columns.inputs_of(model)["token_ids"], model.outputs[0].shape[-1]
    outputs = {"embedding": f"float32 (None, {dim}), of length 1"}

    def of_pixels(call):
        def embed(images):
            fitted = resizing.to_input(resizing.to_float(resizing.resize(images, shape, how)), shape, how)
            return {"embedding": tower(model, "image")(fitted)}

        return embed

    def of_tokens(call):
        return lambda token_ids: {"embedding": tower(model, "token_ids")(token_ids)}

    pixels, ids = ((None, None, None, shape[2]), "uint8"), ((None, None), "int32")
    return {
        "embed_images": Endpoint(
            of_pixels, {"images": pixels}, {"images": f"uint8 {pixels[0]}"}, outputs,
            lambda random, batch_size: [random.integers(0, 256, (batch_size, *shape), "uint8")],
            "embedding", shares_variables=True,
        ),
        "embed_texts": Endpoint(
            of_tokens, {"token_ids": ids}, {"token_ids": f"int32 {ids[0]}: {text.words}, start and end included"},
            outputs, lambda random, batch_size: [text.draw(random, batch_size, min(8, longest_text(model)))],
            "embedding", shares_variables=True,
        ),
    }  # fmt: skip
