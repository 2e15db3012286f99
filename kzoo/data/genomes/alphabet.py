"""Letters of DNA, RNA and proteins as ids, and the other strand."""

import collections
import functools

import numpy as np

NUCLEOTIDES = "ACGT"
# What IUPAC has beside an alphabet, each for one of several letters, or for none of them: id 0.
AMBIGUOUS = {"nucleotides": "NRYSWKMBDHVX-", "amino acids": "XBZJUO*-"}
PAIRS = {"A": "T", "C": "G", "G": "C", "T": "A", "U": "A"}


def encode(label, text, letters) -> tuple:
    """The ids of a sequence, uint8 (length,), and how often each letter occurs that is in IUPAC's table alone.

    The i-th letter of `letters` has id i, counted from 1, in either case; U is read as T and T as U where the alphabet
    has the other one only. Letters that stand for several others, such as N, have id 0; white space counts nowhere.

    Args:
        label: what an error calls the sequence.

    Raises ValueError for anything else, and for a sequence without a letter.
    """
    raw = "".join(text.split()) if isinstance(text, str) else text
    if not isinstance(raw, str) or not raw:
        told = "is empty" if isinstance(raw, str) else f"is a {type(raw).__name__}"
        raise ValueError(f"{label} {told}; wanted letters, such as {letters}")
    codes = np.frombuffer(raw.encode("latin-1", "replace"), np.uint8)
    ids = _table(letters)[codes]
    unknown = ids == 255
    if unknown.any():
        place = int(np.argmax(unknown))
        raise ValueError(
            f"{label} holds {raw[place]!r} at letter {place + 1:,}; wanted {', '.join(letters)}, in either case, or "
            f"one of {_ambiguous(letters)}, which are read as unknown"
        )
    vague = codes[ids == 0]
    return ids, collections.Counter(bytes(vague).decode("latin-1").upper()) if len(vague) else collections.Counter()


@functools.cache
def _table(letters):
    """The id of every byte; 255 for one that is no letter."""
    table = np.full(256, 255, np.uint8)
    known = dict.fromkeys(_ambiguous(letters), 0) | {one: place for place, one in enumerate(letters, 1)}
    for one, other in (("U", "T"), ("T", "U")):
        if other in letters and one not in letters and is_nucleic(letters):
            known[one] = known[other]
    for one, place in known.items():
        table[[ord(one.upper()), ord(one.lower())]] = place
    return table


def _ambiguous(letters):
    return AMBIGUOUS["nucleotides" if is_nucleic(letters) else "amino acids"]


def is_nucleic(letters) -> bool:
    """Whether an alphabet is one of DNA or RNA, whose sequences have another strand."""
    return set(letters) <= set(PAIRS)


@functools.cache
def complements(letters) -> np.ndarray:
    """The id of the letter across from each id, 0 for 0, int32; ValueError for an alphabet of amino acids."""
    if not is_nucleic(letters) or any(PAIRS[one].replace("T", "U" if "U" in letters else "T") not in letters
                                      for one in letters):  # fmt: skip
        raise ValueError(f"letters {letters!r} are no nucleotides, each with its partner, so there is no other strand")
    across = [PAIRS[one].replace("T", "U" if "U" in letters else "T") for one in letters]
    return np.array([0, *(letters.index(one) + 1 for one in across)], np.int32)


def reverse_complement(ids, letters) -> np.ndarray:
    """Ids (..., length) as the other strand reads them."""
    return complements(letters)[ids][..., ::-1]


def told(name, counts) -> list:
    """A note about letters that were read as unknown, in a list; an empty one if there are none but N."""
    vague = {one: count for one, count in counts.items() if one not in "NX"}
    if not vague:
        return []
    listed = ", ".join(f"{count:,} {one}" for one, count in sorted(vague.items()))
    return [f"{name}: {listed} stand for several letters or none and are read as unknown"]
