"""Overlapping words of DNA as tokens, as DNABERT reads them."""

import itertools
from typing import Any

from kzoo.data.genomes import alphabet

# Ji et al. 2021, https://doi.org/10.1093/bioinformatics/btab083: the order of the published vocabularies
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "ATCG"
LONGEST = 8


def engine_of(k) -> Any:
    """DNABERT's vocabulary of all words of `k` letters as a `tokenizers.Tokenizer`: 5 special tokens, then 4**k words.

    Raises ValueError for a `k` that is no int from 1 to 8.
    """
    import tokenizers
    from tokenizers import models, pre_tokenizers

    if type(k) is not int or not 1 <= k <= LONGEST:
        raise ValueError(f"k must be an int from 1 to {LONGEST}, got {k!r}")
    words = map("".join, itertools.product(LETTERS, repeat=k))
    ids = {word: place for place, word in enumerate((*SPECIAL, *words))}
    engine = tokenizers.Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    engine.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    engine.add_special_tokens([*SPECIAL])
    return engine


def word_length(vocabulary, special) -> int:
    """How many letters every word of a vocabulary has that holds all words of DNA of that length and nothing else.

    0 for any other vocabulary.

    Args:
        special: tokens that are no words.
    """
    count = len(vocabulary) - len(special)
    k = (count.bit_length() - 1) // 2
    if not 1 <= k <= LONGEST or count != 4**k:
        return 0
    return k if all(len(word) == k and set(word) <= set(LETTERS) for word in vocabulary if word not in special) else 0


def cut(label, text, k) -> str:
    """A sequence as its words of `k` letters, parted by spaces, each beginning one letter after the one before.

    Lower case and U are read as in `kzoo.data.genomes.alphabet`; a word with a letter that is not known has an N there,
    so that no vocabulary has it. A text that is parted into words of `k` letters already stays. Raises ValueError for
    what is no sequence.
    """
    parts = text.split()
    if len(parts) > 1 and all(len(part) == k for part in parts):
        return text.upper()
    if not parts:
        return ""
    ids, _ = alphabet.encode(label, text, alphabet.NUCLEOTIDES)
    letters = "".join(("N" + alphabet.NUCLEOTIDES)[index] for index in ids)
    return " ".join(letters[place : place + k] for place in range(len(letters) - k + 1))
