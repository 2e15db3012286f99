"""Prefix beam search: the likeliest transcripts, each by the sum over its alignments (Hannun et al. 2014).

Algorithm 1 of Hannun, Maas, Jurafsky, Ng 2014, "First-pass large vocabulary continuous speech recognition using
bi-directional recurrent DNNs", all beams of a frame at once.
"""

import dataclasses
import pathlib

import numpy as np

from kzoo.data import checks
from kzoo.tasks.speech_recognition.ctc import CERTAIN


@dataclasses.dataclass(frozen=True)
class Transcript:
    """One transcript of a clip.

    Attributes:
        text: its words.
        ids: its labels.
        log_probability: the natural logarithm of its probability by the network alone.
        score: the same with the language model's weight and the bonus of its words, by which transcripts are ranked.
    """

    text: str
    ids: tuple
    log_probability: float
    score: float


class PrefixBeams:
    """Searches transcripts in logits: `search(logits)` gives the best `Transcript`s of one clip, best first.

    Without words and language model the transcripts are all strings of the alphabet. With them a transcript's score is
    log P(transcript | clip) + `alpha` log P(words) + `beta` per word (Hannun et al. 2014, section 2.2).

    Args:
        tokenizer: the model's, of single letters; words are written in its alphabet by its own rules.
        beam_width: how many beginnings of transcripts are kept after each frame.
        words: the only words that may be written: a list, or the path of a file with one a line.
        language_model: a `NgramModel`, or the path of an ARPA file.
        alpha: the weight of the language model.
        beta: the bonus of each word, which makes up for what the language model takes; without one it does not count.

    Raises ValueError for an alphabet without a space where words are asked for, for words that it cannot spell, and for
    a language model none of whose words it spells.
    """

    def __init__(self, tokenizer, beam_width=64, words=None, language_model=None, alpha=0.5, beta=1.5):
        self.tokenizer = tokenizer
        self.beam_width = checks.check_count("beam_width", beam_width)
        self.letters = tokenizer.tokens(range(tokenizer.vocabulary_size))
        self.space = self.letters.index(" ") if " " in self.letters else None
        if self.space is None and not (words is None and language_model is None):
            raise ValueError("words and language_model need an alphabet with a space, and the tokenizer's has none")
        self.children, self.is_word = (None, None) if words is None else _tree(tokenizer, words, self.space)
        self.alpha, self.beta = float(alpha), float(beta)
        self.language_model, self.spelling = None, {}
        if language_model is not None:
            self.language_model, self.spelling = _spelt(tokenizer, language_model)

    def search(self, logits, num_best=1) -> list:
        """The `num_best` transcripts of logits (frames, num_labels), which end with the clip or in certain blanks.

        Where words are given and no beam ends in a whole one, what is unfinished of the best is left out.
        """
        beams = _Beams(self)
        for frame in _log_probabilities(logits, len(self.letters)):
            beams.advance(frame)
        return beams.finished(checks.check_count("num_best", num_best))

    def word_score(self, history, word) -> float:
        """What a word after a history adds to a transcript's score."""
        if self.language_model is None or not word:
            return 0.0
        return self.alpha * self.language_model.score(history, self.spelling.get(word, "")) + self.beta


class _Beams:
    """The beginnings of transcripts that are kept, in arrays, and the tree of all that ever were."""

    def __init__(self, search):
        self.search, model = search, search.language_model
        self.histories, self.words = [() if model is None else model.start], [""]  # by node of the tree
        self.parents, self.labels, self.index = [-1], [0], {}
        # One entry a beam: its node, that node's parent and label; log probabilities of ending in a blank and in the
        # label; the language model's part of the score, and what a space would add to that; its place among words.
        self.node, self.parent, self.label = np.array([0]), np.array([-1]), np.array([0])
        self.in_blank, self.in_label = np.array([0.0]), np.array([-np.inf])
        self.bonus, self.gain, self.place = np.array([0.0]), np.array([0.0]), np.array([0])

    def advance(self, frame):
        """Takes in a frame's log probabilities (num_labels,)."""
        search, count = self.search, len(self.node)
        total = np.logaddexp(self.in_blank, self.in_label)
        longer = total[:, None] + frame
        # A label again is the same one, unless a blank lies between.
        longer[np.arange(count), self.label] = self.in_blank + frame[self.label]
        longer[:, 0] = -np.inf
        if search.children is not None:
            longer[search.children[self.place] < 0] = -np.inf
        in_blank, in_label = total + frame[0], self.in_label + frame[self.label]
        # A longer one that is kept already gets what its beginning, kept too, hands on.
        child, parent = np.nonzero(self.parent[:, None] == self.node)
        in_label[child] = np.logaddexp(in_label[child], longer[parent, self.label[child]])
        longer[parent, self.label[child]] = -np.inf
        scores = longer + self.bonus[:, None]
        if search.space is not None:
            scores[:, search.space] += self.gain
        scores = np.concatenate([np.logaddexp(in_blank, in_label) + self.bonus, scores.ravel()])
        if len(scores) > search.beam_width:
            chosen = np.argpartition(-scores, search.beam_width)[: search.beam_width]
        else:
            chosen = np.arange(len(scores))
        chosen = chosen[scores[chosen] > -np.inf]
        stay = chosen[chosen < count]
        source, label = np.divmod(chosen[chosen >= count] - count, len(frame))
        self._replace(stay, source, label, in_blank[stay], in_label[stay], longer[source, label])

    def _replace(self, stay, source, label, in_blank, in_label, begun):
        """Makes the beams those that stay, and those that a label makes longer."""
        search = self.search
        nodes, gains = [], []
        for parent, letter in zip(self.node[source].tolist(), label.tolist(), strict=True):
            node = self._grown(parent, letter)
            nodes.append(node)
            gains.append(search.word_score(self.histories[node], self.words[node]))
        bonus = self.bonus[source] + np.where(label == search.space, self.gain[source], 0)
        place = self.place[source] if search.children is None else search.children[self.place[source], label]
        joined = {
            "node": np.array(nodes, int), "parent": self.node[source], "label": label, "bonus": bonus,
            "gain": np.array(gains, float), "place": place,
        }  # fmt: skip
        for name, values in joined.items():
            setattr(self, name, np.concatenate([getattr(self, name)[stay], values]))
        self.in_blank = np.concatenate([in_blank, np.full(len(nodes), -np.inf)])
        self.in_label = np.concatenate([in_label, begun])

    def _grown(self, parent, label):
        """The node of a beginning with one label more: the same one whenever it comes back."""
        key = (parent, label)
        if key not in self.index:
            self.index[key] = len(self.parents)
            self.parents.append(parent)
            self.labels.append(label)
            history, word, model = self.histories[parent], self.words[parent], self.search.language_model
            if label != self.search.space:
                word += self.search.letters[label]
            else:
                if model is not None and word:
                    history = model.after(history, self.search.spelling.get(word, ""))
                word = ""
            self.histories.append(history)
            self.words.append(word)
        return self.index[key]

    def finished(self, num_best):
        """The best transcripts, best first."""
        search, model = self.search, self.search.language_model
        log_probability = np.logaddexp(self.in_blank, self.in_label)
        scores = log_probability + self.bonus + self.gain
        if model is not None:
            for beam, node in enumerate(self.node.tolist()):
                history, word = self.histories[node], self.words[node]
                history = model.after(history, search.spelling.get(word, "")) if word else history
                scores[beam] += search.alpha * model.score(history, "</s>")
        unfinished = np.zeros(len(scores), bool)
        if search.is_word is not None:
            unfinished = ~search.is_word[self.place] & (self.place > 0)
        order = np.lexsort((-scores, unfinished))
        order = order[: num_best if unfinished.all() else min(num_best, int((~unfinished).sum()))]
        return [
            self._transcript(int(self.node[beam]), log_probability[beam], scores[beam], unfinished[beam])
            for beam in order
        ]

    def _transcript(self, node, log_probability, score, is_unfinished):
        ids, cut = [], is_unfinished
        while node > 0:
            label, node = self.labels[node], self.parents[node]
            cut = cut and label != self.search.space
            if not cut:
                ids.append(label)
        ids = tuple(reversed(ids))
        text = self.search.tokenizer.decode([ids])[0].strip()
        return Transcript(text, ids, float(log_probability), float(score))


def _log_probabilities(logits, num_labels):
    """Those of the frames of a clip in float64, without the certain blanks after its end, which change nothing."""
    logits = np.asarray(logits, np.float64)
    if logits.ndim != 2 or logits.shape[1] != num_labels or not (logits < np.inf).all():
        what = "NaN or infinity" if logits.ndim == 2 and logits.shape[1] == num_labels else f"shape {logits.shape}"
        raise ValueError(f"logits of one clip are numbers (frames, {num_labels}), a column a label; got {what}")
    spoken = np.flatnonzero((logits[:, 1:] > CERTAIN).any(-1))
    logits = logits[: spoken[-1] + 1 if len(spoken) else 0]
    logits = logits - logits.max(-1, keepdims=True, initial=-np.inf)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def _tree(tokenizer, words, space):
    """Words as a tree: the node after each letter, int (nodes, num_labels) or -1, and which nodes end a word.

    A space leads from the end of a word back to node 0.
    """
    rows = _rows_of_words(tokenizer, words, space)
    children, ends = [{}], set()
    for row in rows:
        node = 0
        for label in row:
            if label not in children[node]:
                children[node][label] = len(children)
                children.append({})
            node = children[node][label]
        ends.add(node)
    table = np.full((len(children), tokenizer.vocabulary_size), -1, np.int32)
    for node, found in enumerate(children):
        table[node, list(found)] = list(found.values())
    is_word = np.zeros(len(children), bool)
    is_word[list(ends)] = True
    table[is_word, space] = 0
    return table, is_word


def _rows_of_words(tokenizer, words, space):
    """The ids of different words; what the alphabet spells as several ("42") gives each of those."""
    if isinstance(words, str | pathlib.Path):
        from kzoo.data.tokenizing.tokenizer_files import read_text, split_lines

        path = pathlib.Path(words).expanduser()
        if not path.is_file():
            raise ValueError(f"no file of words at {path}; words is a list, or the path of a file with one a line")
        words = split_lines(read_text(path))
    words, rows = list(words), set()
    for ids in tokenizer.encode(words):
        word = ()
        for label in (*ids, space):
            if label == space:
                rows |= {word} - {()}
                word = ()
            else:
                word += (label,)
    if not rows:
        raise ValueError(f"words holds {len(words)} entries and no word: wanted at least one")
    return sorted(rows)


def _spelt(tokenizer, language_model):
    """A language model, and `{a word as the alphabet writes it: the model's own}`, the likelier of two alike."""
    from kzoo.tasks.speech_recognition.language_models import NgramModel

    model = language_model if isinstance(language_model, NgramModel) else NgramModel.read(language_model)
    letters = set(tokenizer.tokens(range(1, tokenizer.vocabulary_size))) - {" "}
    normalizer, spelling = tokenizer.engine.normalizer, {}
    words = sorted(model.words(), key=lambda word: model.probabilities[(word,)])
    for word in words:
        own = word if letters.issuperset(word) or normalizer is None else normalizer.normalize_str(word)
        if own and letters.issuperset(own):
            spelling[own] = word
    if words and not spelling:
        raise ValueError(f"the language model has no word that the alphabet spells; the likeliest is {words[-1]!r}")
    return model, spelling
