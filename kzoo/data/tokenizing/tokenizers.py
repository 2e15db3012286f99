"""Text to token ids and back, by a vocabulary that is read from a file or learned from the user's own text."""

import collections
import functools
import hashlib
import itertools
import json
import pathlib

import numpy as np

from kzoo.data import checks
from kzoo.data.genomes import kmers
from kzoo.support import atomic
from kzoo.support.suggest import did_you_mean

SPECIAL = ("[PAD]", "[START]", "[END]", "[UNKNOWN]")
BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
KINDS = ("characters", "words", "subwords", "bytes", "wordpieces")
# What a special token is for -> what published vocabularies call it; a vocabulary of ours starts and ends a text with
# what others call class and separator.
ROLES = {
    "pad": ("[PAD]", "<pad>", "<|pad|>", "<|padding|>"),
    "start": ("[START]", "<s>", "<bos>", "[BOS]", "<|begin_of_text|>", "<|startoftext|>"),
    "end": ("[END]", "</s>", "<eos>", "[EOS]", "<|endoftext|>", "<|end_of_text|>"),
    "unknown": ("[UNKNOWN]", "[UNK]", "<unk>"),
    "mask": ("[MASK]", "<mask>"),
    "separator": ("[SEP]", "</s>", "[END]"),
    "class": ("[CLS]", "<s>", "[START]", "<|startoftext|>"),
}
# What the configuration files of Hugging Face call it.
CONFIG_KEYS = {
    "pad": "pad_token", "start": "bos_token", "end": "eos_token", "unknown": "unk_token", "mask": "mask_token",
    "separator": "sep_token", "class": "cls_token",
}  # fmt: skip
ROLES_FILE = "special_tokens_map.json"
LENGTH_FILE = "sentence_bert_config.json"  # of sentence-transformers


class Tokenizer:
    """A vocabulary of `vocabulary_size` tokens, on the library `tokenizers`.

    Make one with `Tokenizer.train` or `Tokenizer.load`. The ids of its special tokens are `pad_id`, `start_id`,
    `end_id`, `unknown_id`, `mask_id`, `separator_id` and `class_id`, None for each that the vocabulary lacks.

    Args:
        engine: a `tokenizers.Tokenizer`.
        special: `{role: token}` where the vocabulary's own names are not those of `ROLES`.
        target: a second engine with the same ids, for what is translated to; `target.encode` encodes with it.
        max_length: tokens that a text is cut to for predictions, special ones included, where a model asks for fewer
            than it has positions.
    """

    def __init__(self, engine, special=None, target=None, max_length=None):
        self.engine, self.max_length = engine, max_length
        self.target = self if target is None else Tokenizer(target, special)
        vocabulary = engine.get_vocab(with_added_tokens=True)
        self.vocabulary_size = max(vocabulary.values(), default=-1) + 1
        self.is_token = np.zeros(self.vocabulary_size, bool)
        self.is_token[list(vocabulary.values())] = True
        added = {token.content for token in engine.get_added_tokens_decoder().values() if token.special}
        added |= {getattr(engine.model, "unk_token", None)} & vocabulary.keys()
        usual = {role: next((name for name in names if name in added), None) for role, names in ROLES.items()}
        self.special = usual | {role: name for role, name in (special or {}).items() if name in vocabulary}
        self.is_usual = self.special == usual
        self.special_ids = {role: vocabulary.get(name) for role, name in self.special.items()}
        for role, index in self.special_ids.items():
            setattr(self, f"{role}_id", index)
        # The blank of an alphabet is also a character of texts; the ! that some of CLIP's vocabularies pad with is not.
        is_alphabet = type(engine.model).__name__ == "WordLevel"
        self.word_length = kmers.word_length(vocabulary, {name for name in self.special.values() if name})
        if self.word_length:  # letters of DNA are capital, whatever published files say of case
            engine.normalizer = None
        engine.encode_special_tokens = is_alphabet and any(len(name) == 1 for name in self.special.values() if name)

    @classmethod
    def train(cls, kind, texts, vocabulary_size, mask=False) -> "Tokenizer":
        """Learns a vocabulary of at most `vocabulary_size` tokens from a list of strings.

        Ids 0 to 3 are padding, start, end and unknown, except for `bytes`, whose one special token, id 0, ends a text,
        and `wordpieces`, which have BERT's: padding, unknown, class, separator and mask.

        Args:
            kind: `"characters"`; `"words"` (words and punctuation marks); `"subwords"` (byte-pair encoding: Sennrich,
                Haddow, Birch 2016, https://arxiv.org/abs/1508.07909); `"bytes"` (the same over bytes, as GPT-2: every
                text comes back exactly); `"wordpieces"` (lower-case, as BERT: Wu et al. 2016,
                https://arxiv.org/abs/1609.08144).
            mask: whether there is one more special token, which stands for masked ones; `wordpieces` always have it.

        Raises ValueError for an unknown kind, texts that are all empty, and a size too small for the special tokens.
        """
        if kind not in KINDS:
            raise ValueError(did_you_mean("kind of tokenizer", kind, KINDS))
        special = {"bytes": ("<|endoftext|>",), "wordpieces": BERT_SPECIAL}.get(kind, SPECIAL)
        special += ("[MASK]",) if mask and "[MASK]" not in special else ()
        checks.check_count("vocabulary_size", vocabulary_size, len(special) + (256 if kind == "bytes" else 1))
        if isinstance(texts, str) or not len(texts):
            raise ValueError("texts must be a list of at least one string")
        if not any(text.strip() for text in texts):
            raise ValueError("texts are all empty: there is nothing to learn a vocabulary from")
        learn = _wordpieces if kind == "wordpieces" else functools.partial(_learned, kind)
        return cls(learn(list(texts), list(special), vocabulary_size))

    @classmethod
    def of_kmers(cls, k=6) -> "Tokenizer":
        """The vocabulary of DNABERT: all words of `k` letters of DNA, in which a sequence is read letter by letter.

        A word with a letter that is not known, such as N, is [UNK]. Raises ValueError for a `k` that is no int from 1
        to 8.
        """
        return cls(kmers.engine_of(k))

    @classmethod
    def load(cls, path) -> "Tokenizer":
        """Reads a vocabulary from a file, or from a folder as Hugging Face publishes them.

        Takes `tokenizer.json` (also what `save` writes); `vocab.txt` of BERT; `vocab.json` with `merges.txt` of GPT-2,
        GPT or CLIP; a SentencePiece model (`.model`, `.spm`) or Marian's two with `vocab.json`, which need
        `pip install kzoo[text]`. `tokenizer_config.json` and `special_tokens_map.json` beside it decide on special
        tokens and lower case, and `sentence_bert_config.json` of sentence-transformers on the length of texts.

        Raises ValueError that names the file if it is absent, damaged or something else.
        """
        from kzoo.data.tokenizing import tokenizer_files

        return cls(*tokenizer_files.read(path))

    def save(self, path) -> pathlib.Path:
        """Writes one JSON file, `tokenizer.json` if `path` is a folder. Returns the file's path.

        Special tokens with unusual names are listed in another file, `special_tokens_map.json`; a vocabulary that
        tokenizes targets differently from sources has a third, `target_tokenizer.json`, and one with a `max_length` has
        `sentence_bert_config.json`.
        """
        from kzoo.data.tokenizing import tokenizer_files

        path = tokenizer_files.json_path(path)
        files = {path: self.engine.to_str()}
        if not self.is_usual:
            named = {CONFIG_KEYS[role]: name for role, name in self.special.items() if name}
            files[path.with_name(ROLES_FILE)] = json.dumps(named, indent=1) + "\n"
        if self.target is not self:
            files[path.with_name(tokenizer_files.TARGET_FILE)] = self.target.engine.to_str()
        if self.max_length is not None:
            files[path.with_name(LENGTH_FILE)] = json.dumps({"max_seq_length": self.max_length}) + "\n"
        for file, text in files.items():
            with atomic.file(file) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return path

    @property
    def digest(self) -> str:
        """A short hash of everything that the ids depend on."""
        text = self.engine.to_str() + (self.target.engine.to_str() if self.target is not self else "")
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def encode(self, texts) -> list:
        """Token ids, a list of ints for each string of a list, without start and end.

        Raises ValueError that names what is not a list of strings of whole characters.
        """
        if isinstance(texts, str):
            raise ValueError("encode takes a list of strings, got one string: pass [text]")
        texts = list(texts)
        if self.word_length:
            for index, text in enumerate(texts):
                _check_text(index, text)
            texts = [kmers.cut(f"texts[{index}]", text, self.word_length) for index, text in enumerate(texts)]
        try:
            return [encoding.ids for encoding in self.engine.encode_batch_fast(texts, add_special_tokens=False)]
        except TypeError:
            for index, text in enumerate(texts):
                _check_text(index, text)
            raise
        except Exception:  # what the library raises for a character that an alphabet lacks
            for index, text in enumerate(texts):
                self._check_letters(index, text)
            raise

    def decode(self, ids) -> list:
        """Strings for rows of ids (lists or an array): up to the first end token, without padding and start.

        Raises ValueError for an id that has no token.
        """
        rows = [self._known(row) for row in ids]
        if self.end_id is not None:
            rows = [row[: np.append(np.flatnonzero(row == self.end_id), len(row))[0]] for row in rows]
        return self.engine.decode_batch([row.tolist() for row in rows], skip_special_tokens=True)

    def tokens(self, ids) -> list:
        """The tokens of a row of ids as they are in the vocabulary, such as `##ing`."""
        return [self.engine.id_to_token(int(index)) for index in self._known(ids)]

    def need(self, role, purpose) -> int:
        """The id of a special token; ValueError that says what it is needed for if the vocabulary has none."""
        index = self.special_ids[role]
        if index is None:
            raise ValueError(
                f"{purpose} needs a {role} token and this tokenizer has none; it has "
                + (", ".join(f"{name} ({role})" for role, name in self.special.items() if name) or "no special tokens")
                + "; train your own: tokenizer='subwords'"
            )
        return index

    def _known(self, ids):
        """A row of ids as an array; ValueError for one that has no token."""
        row = np.asarray(ids, np.int64)
        bad = row[(row < 0) | (row >= self.vocabulary_size)]
        bad = bad if len(bad) else row[~self.is_token[row]]
        if len(bad):
            raise ValueError(f"id {bad[0]} has no token; this tokenizer's ids are 0..{self.vocabulary_size - 1}")
        return row

    def _check_letters(self, index, text):
        from kzoo.data.tokenizing import alphabets

        if letters := alphabets.unmapped(self, text):
            raise ValueError(
                f"texts[{index}] holds {', '.join(map(repr, letters))}, and this tokenizer has no token for that; "
                f"replace it in {text!r}"
            )

    def word_starts(self) -> np.ndarray:
        """Which ids begin a word, bool (vocabulary_size,); special tokens stand alone, so they count as beginnings."""
        words = self.engine.get_vocab(with_added_tokens=True)
        starts = np.ones(self.vocabulary_size, bool)
        ordinary = {word: index for word, index in words.items() if index not in self.special_ids.values()}
        # "##" marks what continues a word, the other two what begins one; without a mark every token is a word.
        mark = next((mark for mark in ("##", "▁", "Ġ") if any(word.startswith(mark) for word in ordinary)), "")
        starts[[index for word, index in ordinary.items() if word.startswith(mark) == (mark == "##")]] = False
        return starts


def _learned(kind, texts, special, vocabulary_size):
    """A trained `tokenizers.Tokenizer` of any kind but word pieces."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    options = {"vocab_size": vocabulary_size, "special_tokens": special, "show_progress": False}
    unknown = "[UNKNOWN]"
    if kind == "bytes":
        engine = Tokenizer(models.BPE())
        engine.pre_tokenizer, engine.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        trainer = trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)
    elif kind == "subwords":
        engine = Tokenizer(models.BPE(unk_token=unknown))
        engine.pre_tokenizer, engine.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        # Characters too rare to fit must not crowd out the merges.
        limit = max(1, (vocabulary_size - len(special)) // 2)
        trainer = trainers.BpeTrainer(limit_alphabet=limit, **options)
    else:
        engine, trainer = Tokenizer(models.WordLevel(unk_token=unknown)), trainers.WordLevelTrainer(**options)
        engine.pre_tokenizer = pre_tokenizers.Whitespace()
    if kind == "characters":
        engine.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
        engine.decoder = decoders.Fuse()
    if kind != "bytes":
        engine.normalizer = normalizers.NFC()
    engine.train_from_iterator(texts, trainer)
    return engine


def _wordpieces(texts, special, vocabulary_size):
    """A trained WordPiece tokenizer; the library's trainer numbers the pieces `##x` differently in every run."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    counts = collections.Counter(itertools.chain.from_iterable(normalizer.normalize_str(text) for text in texts))
    characters = sorted((-count, character) for character, count in counts.items() if not character.isspace())
    # Each takes two places, alone and inside a word; those too rare to fit must not crowd out the merges.
    alphabet = [character for _, character in characters[: max(1, (vocabulary_size - len(special)) // 4)]]
    fixed = [*special, *(f"##{character}" for character in alphabet)]
    options = {"initial_alphabet": alphabet, "limit_alphabet": len(alphabet), "show_progress": False}
    trainer = trainers.WordPieceTrainer(vocab_size=vocabulary_size, special_tokens=fixed, **options)
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer, learner.pre_tokenizer = normalizer, splitter
    learner.train_from_iterator(texts, trainer)
    engine = Tokenizer(models.WordPiece(learner.get_vocab(with_added_tokens=True), unk_token="[UNK]"))
    engine.normalizer, engine.pre_tokenizer, engine.decoder = normalizer, splitter, decoders.WordPiece()
    engine.add_special_tokens(special)
    return engine


def _check_text(index, text):
    """ValueError for anything but text: another type, or half of a pair of surrogates."""
    if not isinstance(text, str):
        raise ValueError(f"texts[{index}] is a {type(text).__name__}; encode takes a list of strings")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"texts[{index}] holds a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start}, which "
            "is not text; replace it: text.encode('utf-8', 'replace').decode()"
        ) from error
