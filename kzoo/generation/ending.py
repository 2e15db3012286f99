"""What was written, as ids and text, up to where it ends."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Written:
    """One generated sequence.

    ids: the new token ids, without the stop token, or the tokens of a text that ended it.
    text: the ids as text, None without a tokenizer.
    stopped: whether a stop token or text ended it; otherwise it reached `max_new_tokens`.
    score: for beam search, the sum of log probabilities over length^length_penalty; otherwise None.
    """

    ids: list
    text: str | None
    stopped: bool
    score: float | None = None


@dataclasses.dataclass(frozen=True)
class Ending:
    """What ends a sequence: token ids, and texts of several tokens, which a tokenizer reads."""

    stops: list
    phrases: list
    tokenizer: object

    def written(self, tokens, scores=None) -> list[Written]:
        """A `Written` for each row of token ids."""
        found = []
        for index, row in enumerate(tokens):
            ends = np.flatnonzero(np.isin(row, self.stops))
            ids, is_over = row[: ends[0]].tolist() if len(ends) else row.tolist(), len(ends) > 0
            text = self._decode(ids)
            places = [place for phrase in self.phrases if (place := text.find(phrase)) >= 0]
            if places:
                text, is_over = text[: min(places)], True
                while len(self._decode(ids)) > len(text):
                    ids = ids[:-1]
            found.append(Written(ids, text, is_over, None if scores is None else float(scores[index])))
        return found

    def num_settled(self, whole) -> int:
        """How much of an unfinished text, or of its ids, can be shown.

        A character may be spread over several tokens, and decodes to a replacement character until all are there; what
        may be the beginning of a phrase is not shown before it is known to be none.
        """
        if self.tokenizer is None:
            return len(whole)
        settled = whole.rstrip("\ufffd")
        begun = [n for phrase in self.phrases for n in range(1, len(phrase)) if settled.endswith(phrase[:n])]
        return len(settled) - max(begun, default=0)

    def _decode(self, ids):
        if self.tokenizer is None:
            return None
        # A model may know more ids than its tokenizer; they stand for no text.
        known = [i for i in ids if i < self.tokenizer.vocabulary_size and self.tokenizer.is_token[i]]
        return self.tokenizer.decode([known])[0]
