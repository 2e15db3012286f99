"""Text to token ids and back, by characters, words or subwords learned from one's own text."""

import hashlib
import pathlib

import numpy as np

from kzoo import atomic
from kzoo.data import checks
from kzoo.suggest import did_you_mean

SPECIAL = ("[PAD]", "[START]", "[END]", "[UNKNOWN]")
KINDS = ("characters", "words", "subwords")


class Tokenizer:
    """A vocabulary of `vocabulary_size` tokens; ids 0 to 3 are padding, start, end and unknown.

    Make one with `Tokenizer.train` or `Tokenizer.load`.
    """

    pad_id, start_id, end_id, unknown_id = range(4)

    def __init__(self, engine):
        got = [engine.id_to_token(index) for index in range(4)]
        if got != list(SPECIAL):
            raise ValueError(f"the first four tokens of a tokenizer must be {', '.join(SPECIAL)}; got {got}")
        self.engine = engine

    @classmethod
    def train(cls, kind, texts, vocabulary_size):
        """Learns a vocabulary of at most `vocabulary_size` tokens from a list of strings.

        Args:
            kind: `"characters"`, `"words"` (words and punctuation marks), or `"subwords"` (byte-pair encoding:
                Sennrich, Haddow, Birch 2016, https://arxiv.org/abs/1508.07909).
        """
        from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        if kind not in KINDS:
            raise ValueError(did_you_mean("kind of tokenizer", kind, KINDS))
        checks.check_count("vocabulary_size", vocabulary_size, minimum=len(SPECIAL) + 1)
        if isinstance(texts, str) or not len(texts):
            raise ValueError("texts must be a list of at least one string")
        options = {"vocab_size": vocabulary_size, "special_tokens": list(SPECIAL), "show_progress": False}
        if kind == "subwords":
            engine = Tokenizer(models.BPE(unk_token=SPECIAL[3]))
            engine.pre_tokenizer, engine.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
            # Characters too rare to fit may not crowd out the merges.
            trainer = trainers.BpeTrainer(limit_alphabet=max(1, (vocabulary_size - len(SPECIAL)) // 2), **options)
        else:
            engine = Tokenizer(models.WordLevel(unk_token=SPECIAL[3]))
            trainer = trainers.WordLevelTrainer(**options)
            engine.pre_tokenizer = pre_tokenizers.Whitespace()
        if kind == "characters":
            engine.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
            engine.decoder = decoders.Fuse()
        engine.normalizer = normalizers.NFC()
        engine.train_from_iterator(list(texts), trainer)
        return cls(engine)

    @classmethod
    def load(cls, path):
        """Reads what `save` wrote. Raises ValueError naming the file if it is absent or no tokenizer."""
        from tokenizers import Tokenizer

        path = _file(path)
        if not path.is_file():
            raise ValueError(f"no tokenizer at {path}")
        try:
            engine = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"{path} is damaged or no tokenizer: {error}") from error
        return cls(engine)

    def save(self, path):
        """Writes one JSON file; a folder gets `tokenizer.json` in it. Returns the path."""
        path = _file(path)
        with atomic.file(path) as temporary:
            temporary.write_text(self.engine.to_str(), encoding="utf-8")
        return path

    @property
    def vocabulary_size(self):
        return self.engine.get_vocab_size()

    @property
    def digest(self):
        """A short hash of everything the ids depend on."""
        return hashlib.blake2b(self.engine.to_str().encode(), digest_size=8).hexdigest()

    def encode(self, texts):
        """Token ids, a list of ints for each string of a list, without start and end."""
        if isinstance(texts, str):
            raise ValueError("encode takes a list of strings, got one string: pass [text]")
        return [encoding.ids for encoding in self.engine.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids):
        """Strings for rows of ids (lists or an array): up to the first end token, without padding and start."""
        rows = [np.asarray(row, np.int64) for row in ids]
        ends = [np.append(np.flatnonzero(row == self.end_id), len(row))[0] for row in rows]
        cut = [row[:end].tolist() for row, end in zip(rows, ends, strict=True)]
        return self.engine.decode_batch(cut, skip_special_tokens=True)


def _file(path):
    path = pathlib.Path(path)
    return path if path.suffix == ".json" else path / "tokenizer.json"
