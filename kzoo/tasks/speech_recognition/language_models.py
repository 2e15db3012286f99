"""Language models of word n-grams with backoff (Katz 1987), read from files in ARPA form."""

import functools
import gzip
import math
import pathlib
import re

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
MISSING_UNKNOWN = -100.0  # log10 of an unknown word where the file has no <unk>: KenLM's


class NgramModel:
    """The probability of a word after others, as `read` makes it of a file.

    Args:
        probabilities: `{(word, …): log10 of the last word's probability after those before it}`.
        backoffs: `{(word, …): log10 of what shorter n-grams weigh after these words}`, 0 where absent.
        order: how many words the longest n-gram has.
    """

    def __init__(self, probabilities, backoffs, order):
        self.probabilities, self.backoffs, self.order = probabilities, backoffs, order
        self.start = (START,)[: order - 1]

    @classmethod
    def read(cls, path) -> "NgramModel":
        """Reads an `.arpa` file, or one compressed as `.gz`.

        Raises ValueError that names the line where the file is damaged, lacks what its header counts, or has no <s>
        and </s>.
        """
        path = pathlib.Path(path).expanduser()
        if not path.is_file():
            raise ValueError(f"no language model at {path}")
        opened = gzip.open if path.suffix == ".gz" else open
        try:
            with opened(path, "rt", encoding="utf-8", newline="\n") as lines:
                return cls(*_parsed(path, lines))
        except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
            raise ValueError(f"{path} is damaged or no text in UTF-8: {error}; wanted n-grams in ARPA form") from error

    def __contains__(self, word):
        return (word,) in self.probabilities

    def words(self) -> list:
        """The words it knows, without <s>, </s> and <unk>."""
        return [gram[0] for gram in self.probabilities if len(gram) == 1 and gram[0] not in (START, END, UNKNOWN)]

    def score(self, history, word) -> float:
        """The natural logarithm of a word's probability after a history, a tuple of words."""
        word, weight = word if word in self else UNKNOWN, 0.0
        for begin in range(len(history) + 1):
            gram = (*history[begin:], word)
            if gram in self.probabilities:
                return (weight + self.probabilities[gram]) * math.log(10)
            weight += self.backoffs.get(history[begin:], 0.0)
        return (weight + MISSING_UNKNOWN) * math.log(10)

    def after(self, history, word) -> tuple:
        """The history once that word is said: `start` at first, and never longer than counts."""
        return ((*history, word if word in self else UNKNOWN))[max(0, len(history) + 2 - self.order) :]


def _parsed(path, lines):
    """(probabilities, backoffs, order) of the lines of a file."""
    counts, probabilities, backoffs = {}, {}, {}
    section, found = None, 0  # None before \data\, 0 in it, n in n-grams, the order more by one after \end\

    for place, line in enumerate(lines, 1):
        wrong, line = functools.partial(_wrong, path, place), line.strip(" \t\r\n")
        if section is None:
            section = 0 if line == "\\data\\" else None
        elif not line:
            continue
        elif line.startswith("\\") and (line == "\\end\\" or re.fullmatch(r"\\\d+-grams:", line)):
            if section and found != counts[section]:
                raise wrong(f"{found:,} {section}-grams end here, and the header counts {counts[section]:,}")
            following = len(counts) + 1 if line == "\\end\\" else int(line[1 : line.index("-")])
            if following != section + 1 or not counts:
                raise wrong(f"{line} where \\{section + 1}-grams: was expected; the header counts {len(counts)} orders")
            section, found = following, 0
            if line == "\\end\\":
                break
        elif section == 0:
            header = re.fullmatch(r"ngram (\d+)\s*=\s*(\d+)", line)
            if not header or int(header[1]) != len(counts) + 1:
                raise wrong(f"{line!r} where 'ngram {len(counts) + 1}=COUNT' or \\1-grams: was expected")
            counts[int(header[1])] = int(header[2])
        else:
            _entry(line, section, len(counts), probabilities, backoffs, wrong)
            found += 1
    if section is None or section != len(counts) + 1:
        raise ValueError(
            f"{path} ends before \\{'data' if section is None else 'end'}\\: it is not in ARPA form, or cut"
        )
    if lacking := [word for word in (START, END) if (word,) not in probabilities]:
        raise ValueError(f"{path} has no {' and no '.join(lacking)} among its 1-grams")
    return probabilities, backoffs, len(counts)


def _wrong(path, place, what):
    return ValueError(f"{path}, line {place}: {what}")


def _entry(line, length, order, probabilities, backoffs, wrong):
    """Takes in one n-gram: log10 of its probability, its words, and, if it is shorter than the longest, its backoff."""
    fields = line.split()
    if len(fields) not in (length + 1, length + 1 + (length < order)):
        raise wrong(
            f"{line!r} has {len(fields)} fields; wanted a number, {length} words"
            + (" and at most one number more" if length < order else "")
        )
    gram = tuple(fields[1 : length + 1])
    try:
        numbers = [float(field) for field in (fields[0], *fields[length + 1 :])]
    except ValueError:
        raise wrong(f"{line!r}: wanted a number, {length} words and perhaps one number more") from None
    if not all(map(math.isfinite, numbers)) or numbers[0] > 0:
        raise wrong(f"{line!r}: wanted log10 of a probability, finite and not above 0")
    if gram in probabilities:
        raise wrong(f"{' '.join(gram)!r} for the second time")
    probabilities[gram] = numbers[0]
    if len(numbers) == 2:
        backoffs[gram] = numbers[1]
