"""Alphabets of transcripts: one id a letter, and the rules by which written text becomes those letters."""

import re
import unicodedata

import numpy as np

from kzoo.data.tokenizing.tokenizers import Tokenizer

BLANK = "_"
# The order of DeepSpeech's published labels, after the blank.
LETTERS = "'ABCDEFGHIJKLMNOPQRSTUVWXYZ "
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
APOSTROPHES = r"[\u2018\u2019\u02BC\u0060\u00B4]"
ACCENTS = r"[\u0300-\u036F]"  # not every combining mark: those of Hindi are vowels
SPOKEN_MARKS = "%‰&@#§"  # punctuation to Unicode, but words to a speaker
PRIVATE = 0xE000  # the first code point that stands for a letter while accents are stripped


def make_alphabet(letters=LETTERS, digits=DIGITS, blank=BLANK) -> Tokenizer:
    """A tokenizer of single characters: id 0 is the blank of CTC, which also pads, and id n the n-th of `letters`.

    Its normaliser is saved with it, so that training, scoring and predictions agree. It folds compatible forms (NFKC),
    takes every letter in the case of the alphabet, strips accents of what the alphabet holds only without them, reads
    digits one by one, makes a space of punctuation that the alphabet lacks, and strips and collapses white space. An
    apostrophe that the alphabet lacks joins what it parts. Marks that are spoken (`%`, `&`, `@`, `#`) and letters
    without a rule have no token: `encode` refuses them, and `unmapped` names them.

    Args:
        letters: a string of different characters.
        digits: the words for 0 to 9, or None for an alphabet that reads none. An alphabet with digits keeps those.
        blank: a mark of punctuation or a symbol; in texts it stands for a space.

    Raises ValueError for letters that repeat, lack or hold the blank, and for words of digits that they cannot spell.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    _check_letters(letters, blank)
    if digits is not None and len(digits) != 10:
        raise ValueError(f"digits has {len(digits)} words; wanted ten, for 0 to 9, or None")
    ids = {token: index for index, token in enumerate(blank + letters)}
    engine = tokenizers.Tokenizer(models.WordLevel(ids, unk_token=""))
    engine.normalizer = _normalizer(letters, blank, digits)
    engine.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), behavior="isolated")
    engine.decoder = decoders.Fuse()
    engine.add_special_tokens([blank])
    tokenizer = Tokenizer(engine, {"pad": blank})
    for word in () if digits is None else digits:
        if wrong := unmapped(tokenizer, word):
            raise ValueError(f"digits: {word!r} holds {_quoted(wrong)}, which letters lacks; pass digits=None")
    return tokenizer


def unmapped(tokenizer, text) -> str:
    """The characters of a text that no rule of an alphabet maps into it, each once."""
    vocabulary = tokenizer.engine.get_vocab(with_added_tokens=True)
    normalizer = tokenizer.engine.normalizer

    def left(part):
        normal = part if normalizer is None else normalizer.normalize_str(part)
        return "".join(dict.fromkeys(letter for letter in normal if letter not in vocabulary))

    whole = left(text)
    return whole and ("".join(dict.fromkeys(letter for letter in text if left(letter))) or whole)


def check_transcripts(tokenizer, transcripts, clips, skip_bad=False) -> tuple:
    """Which transcripts an alphabet can spell, bool (transcripts,), and a note about those left out.

    Args:
        transcripts: a list of strings.
        clips: what each is called, in the same order.
        skip_bad: whether those that it cannot spell are left out and counted instead of refused.

    Raises ValueError that names the first clip and its letters.
    """
    wrong = {index: letters for index, text in enumerate(transcripts) if (letters := unmapped(tokenizer, text))}
    keep = np.ones(len(transcripts), bool)
    keep[list(wrong)] = False
    if not wrong:
        return keep, []
    first = next(iter(wrong))
    told = f"{clips[first]}: its transcript {transcripts[first]!r} holds {_quoted(wrong[first])}"
    if not skip_bad:
        raise ValueError(
            f"{told}, which the alphabet has no letter for ({len(wrong):,} of {len(transcripts):,} transcripts are "
            "like this); write them as words, or leave them out with skip_bad (--skip-bad)"
        )
    every = "".join(dict.fromkeys("".join(wrong.values())))
    return keep, [
        f"{len(wrong):,} of {len(transcripts):,} clips were left out: their transcripts hold {_quoted(every)}, which "
        f"the alphabet has no letter for (the first is {clips[first]})"
    ]


def _quoted(letters):
    """Characters for a message: those that do not print by their code points."""
    return ", ".join(repr(one) if one.isprintable() else f"U+{ord(one):04X}" for one in letters)


def _check_letters(letters, blank):
    if not isinstance(blank, str) or len(blank) != 1 or unicodedata.category(blank)[0] not in "PS":
        raise ValueError(f"blank must be one mark of punctuation or symbol, got {blank!r}")
    if not isinstance(letters, str) or not letters:
        raise ValueError(f"letters must be a string of at least one character, got {letters!r}")
    if repeated := "".join(dict.fromkeys(one for one in letters if letters.count(one) > 1)):
        raise ValueError(f"letters holds {_quoted(repeated)} more than once")
    if blank in letters:
        raise ValueError(f"letters holds {blank!r}, which is the blank; leave it out")


def _normalizer(letters, blank, digits):
    """The rules as one sequence of the library's own, which is saved in `tokenizer.json`."""
    from tokenizers import Regex, normalizers

    folds_case = len({one.lower() for one in letters}) == len(letters)
    # Stripping accents would also strip letters of the alphabet: meanwhile these are written as private characters.
    kept = [one for one in letters if unicodedata.normalize("NFKD", one) != one or re.match(ACCENTS, one)]
    private = {one: chr(PRIVATE + index) for index, one in enumerate(kept)}
    replace = normalizers.Replace
    rules = [replace(Regex(r"\p{Co}"), "\ufffd"), replace(Regex(APOSTROPHES), "'"), normalizers.NFKC()]
    rules += [replace(Regex(r"\p{Cf}+"), ""), *([] if "'" in letters else [replace("'", "")])]
    rules += [normalizers.Lowercase()] if folds_case else []
    rules += [replace(one.lower() if folds_case else one, private[one]) for one in kept]
    rules += [normalizers.NFKD(), replace(Regex(f"{ACCENTS}+"), "")]
    if digits is not None:
        rules += [replace(str(n), f" {word} ") for n, word in enumerate(digits) if str(n) not in letters]
    own = "".join(f"\\u{ord(one):04X}" for one in SPOKEN_MARKS + letters if unicodedata.category(one)[0] == "P")
    rules += [replace(blank, " "), replace(Regex(rf"[\p{{P}}&&[^{own}]]+"), " ")]
    rules += [replace(Regex(r"\s+"), " " if " " in letters else ""), normalizers.Strip()]
    rules += [replace(mark, one) for one, mark in private.items()]
    rules += [replace(one.lower(), one) for one in letters if folds_case and one not in private and one != one.lower()]
    return normalizers.Sequence(rules)
