"""Texts as a text encoder of pictures reads them: a start token, the text, an end token, and padding to one length."""

import logging

import numpy as np

from kzoo.data.tokenizing.tokenizers import Tokenizer


def prompt_ids(tokenizer: Tokenizer, texts: list, length: int) -> np.ndarray:
    """Token ids of texts, int32 (texts, length), with CLIP's tokenizer as transformers gives them.

    A text of more than `length` - 2 tokens is cut, which is logged. Where the tokenizer has no padding token, its end
    token pads. Raises ValueError for what is no list of strings, and for a tokenizer without a start or an end token.
    """
    start, end = (tokenizer.need(role, "a prompt") for role in ("start", "end"))
    pad = end if tokenizer.pad_id is None else tokenizer.pad_id
    found = np.full((len(texts), length), pad, np.int32)
    for row, ids, text in zip(found, tokenizer.encode(texts), texts, strict=True):
        if len(ids) > length - 2:
            lost = tokenizer.decode([ids[length - 2 :]])[0]
            logging.getLogger("kzoo").warning(
                "%r has %d tokens, of which %d fit; lost: %r", text, len(ids), length - 2, lost
            )
        whole = [start, *ids[: length - 2], end]
        row[: len(whole)] = whole
    return found
