"""From a model's frames to words: the likeliest label of every frame, or a search among beams."""

import dataclasses

import numpy as np

from kzoo.data import checks
from kzoo.tasks.speech_recognition import greedy
from kzoo.tasks.speech_recognition.prefix_beams import PrefixBeams


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How frames become letters; the keywords of `decoding=` and the options of the command line.

    Args:
        beam_width: how many beginnings of a transcript are kept; 1 takes the likeliest label of every frame.
        words: the only words there may be, a list or a text file with one on each line; None for any.
        language_model: an n-gram model of words, a file in ARPA's form; None for none.
        language_weight: how much its logarithms count.
        word_bonus: what every word adds to a transcript's score, which makes up for what the language model takes.

    Raises ValueError for words or a language model without beams.
    """

    beam_width: int = 1
    words: str | list | None = None
    language_model: str | None = None
    language_weight: float = 0.5
    word_bonus: float = 1.5

    def __post_init__(self):
        checks.check_count("beam_width", self.beam_width)
        if self.beam_width == 1 and (self.words or self.language_model):
            raise ValueError("words and language_model are for a search among beams: pass a beam_width such as 64")

    def decoder(self, tokenizer) -> "Greedy | Beams":
        """What reads logits with a tokenizer's letters."""
        return Greedy(tokenizer) if self.beam_width == 1 else Beams(tokenizer, self)


class Greedy:
    """The likeliest label of every frame, repeats merged and blanks dropped."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.space = tokenizer.engine.token_to_id(" ")

    def texts(self, logits) -> list:
        """The transcripts of float32 (batch, frames, num_labels)."""
        ids, lengths = (np.asarray(one) for one in greedy.decode(logits))
        rows = [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]
        return [" ".join(text.split()) for text in self.tokenizer.decode(rows)]

    def rows(self, logits, seconds) -> list:
        """The `text` of each clip and its `words`, with the seconds at which each begins and ends.

        Args:
            seconds: how far apart frames are.
        """
        rows = []
        for one in logits:
            words = [
                {"word": word, "begin": round(first * seconds, 3), "end": round(last * seconds, 3)}
                for ids, first, last in greedy.word_times(one, self.space)
                for word in self.tokenizer.decode([ids])
            ]
            rows.append({"text": " ".join(word["word"] for word in words), "words": words})
        return rows


class Beams:
    """The transcript whose alignments, words and language model together are the likeliest."""

    def __init__(self, tokenizer, how):
        self.search = PrefixBeams(
            tokenizer, how.beam_width, how.words, how.language_model, how.language_weight, how.word_bonus
        )

    def texts(self, logits) -> list:
        """The transcripts of float32 (batch, frames, num_labels)."""
        return [self.search.search(one)[0].text for one in logits]

    def rows(self, logits, seconds) -> list:
        """The `text` of each clip and its `score`; a sum over alignments has no times of words."""
        found = [self.search.search(one)[0] for one in logits]
        return [{"text": one.text, "score": round(one.score, 3)} for one in found]
