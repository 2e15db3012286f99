"""Vocabularies on disk: which file is which, and what they say about special tokens."""

import io
import json
import pathlib

from kzoo.data.tokenizing import sentencepieces
from kzoo.data.tokenizing.tokenizers import BERT_SPECIAL, CONFIG_KEYS, ROLES_FILE

SUFFIXES = (".model", ".spm")
MARIAN = ("source.spm", "target.spm", "vocab.json")
TARGET_FILE = "target_tokenizer.json"  # beside tokenizer.json, where targets are tokenized differently
WANTED = "wanted tokenizer.json, vocab.txt, vocab.json with merges.txt, or a SentencePiece model (.model, .spm)"


def json_path(path) -> pathlib.Path:
    """The file that `save` writes: the path itself if it ends in .json, else `tokenizer.json` in it."""
    path = pathlib.Path(path)
    return path if path.suffix == ".json" else path / "tokenizer.json"


def read(path):
    """A `tokenizers.Tokenizer`, `{role: token}` of its special tokens, and another one for targets or None.

    From a file or folder; ValueError if it holds none.
    """
    path = pathlib.Path(path).expanduser()
    if all((path / name).is_file() for name in MARIAN):
        # Two SentencePiece models, for sources and targets, with one vocabulary; padding also starts a target.
        vocabulary = _vocabulary(path / "vocab.json")
        source, target = (sentencepieces.read(path / name, vocabulary) for name in MARIAN[:2])
        return source, {"start": "<pad>", **_special(path)}, target
    path = _find(path)
    if path.suffix == ".txt":
        engine = _wordpieces(path)
    elif path.suffix in SUFFIXES:
        engine = sentencepieces.read(path)
    else:
        engine = _byte_pairs(path) if path.name == "vocab.json" else _library(path)
    target = path.with_name(TARGET_FILE)
    target = _library(target) if path.name == "tokenizer.json" and target.is_file() else None
    return engine, _special(path.parent), target


def _find(path):
    if path.is_dir():
        usual = ["tokenizer.json", *(["vocab.json"] if (path / "merges.txt").is_file() else []), "vocab.txt"]
        for name in usual:
            if (path / name).is_file():
                return path / name
        models = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        if not models:
            raise ValueError(f"no tokenizer at {path / 'tokenizer.json'}; {WANTED}")
        if len(models) > 1:
            raise ValueError(f"{path} holds {', '.join(file.name for file in models)}; name the one that is meant")
        return models[0]
    if not path.is_file():
        raise ValueError(f"no tokenizer at {path}")
    if path.name == "merges.txt":
        path = path.with_name("vocab.json")
    if path.suffix not in (".json", ".txt", *SUFFIXES):
        raise ValueError(f"{path} is not a tokenizer: {WANTED}")
    return path


def read_text(path) -> str:
    """The text of a file; ValueError that names the file and the byte where it stops being UTF-8."""
    contents = path.read_bytes()
    try:
        return contents.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: byte 0x{contents[error.start]:02x} at offset {error.start}; convert it, for example "
            "with iconv -f LATIN1 -t UTF-8"
        ) from error


def split_lines(text) -> list:
    """The lines of a text; `str.splitlines` also splits at form feeds, U+0085 and U+2028, which are part of texts."""
    return [line.removesuffix("\n") for line in io.StringIO(text, newline=None)]


def _json(path):
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _library(path):
    from tokenizers import Tokenizer

    text = read_text(path)
    try:
        engine = Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{path} is damaged or not a tokenizer: {error}; {WANTED}") from error
    # Published files often store both, which would add padding that counts as text and cut texts without a note.
    engine.no_padding()
    engine.no_truncation()
    return engine


def _wordpieces(path):
    """BERT's: one token per line, whose number is the token's id."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    words = [line.rstrip("\r") for line in read_text(path).rstrip("\r\n").split("\n")]
    if "[UNK]" not in words or len(set(words)) != len(words) or any(" " in word for word in words):
        wrong = "no line [UNK]" if "[UNK]" not in words else "a token occurs twice or holds a space"
        raise ValueError(f"{path} is not a WordPiece vocabulary ({wrong}): wanted one token per line")
    config = _config(path.parent)
    # A vocabulary with capitals was made from text that kept them.
    capitals = any(word != word.lower() for word in words if not word.startswith("["))
    lower, accents = config.get("do_lower_case", not capitals), config.get("strip_accents")
    chinese = config.get("tokenize_chinese_chars", True)
    vocabulary = {word: index for index, word in enumerate(words)}
    engine = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    engine.normalizer = normalizers.BertNormalizer(handle_chinese_chars=chinese, strip_accents=accents, lowercase=lower)
    engine.pre_tokenizer, engine.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    engine.add_special_tokens([word for word in BERT_SPECIAL if word in vocabulary])
    return engine


def _byte_pairs(path):
    """GPT-2's: tokens with their ids, and the merges in order."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    merges_path = path.with_name("merges.txt")
    if not merges_path.is_file():
        raise ValueError(f"{path} needs merges.txt beside it")
    vocabulary = _vocabulary(path)
    lines = [line for line in read_text(merges_path).split("\n") if line and not line.startswith("#version")]
    merges = [tuple(line.rstrip("\r").split(" ")) for line in lines]
    for number, merge in enumerate(merges, 1):
        if len(merge) != 2:
            wrong = lines[number - 1]
            raise ValueError(f"{merges_path}: merge {number} is {wrong!r}; wanted two tokens and a space between")
    try:
        engine = Tokenizer(models.BPE(vocabulary, merges))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{merges_path} does not fit {path}: {error}") from error
    with_space = _config(path.parent).get("add_prefix_space", False)
    engine.pre_tokenizer, engine.decoder = pre_tokenizers.ByteLevel(with_space), decoders.ByteLevel()
    engine.add_special_tokens(["<|endoftext|>"] if "<|endoftext|>" in vocabulary else [])
    return engine


def _vocabulary(path):
    vocabulary = _json(path)
    if not isinstance(vocabulary, dict) or not all(type(index) is int for index in vocabulary.values()):
        raise ValueError(f"{path} is not a vocabulary: wanted one object of tokens and their ids")
    return vocabulary


def _config(folder):
    path = folder / "tokenizer_config.json"
    config = _json(path) if path.is_file() else {}
    return config if isinstance(config, dict) else {}


def _special(folder):
    """`{role: token}` of the configuration files in a folder; the map of special tokens has the last word."""
    there = folder / ROLES_FILE
    named = _config(folder) | (_json(there) if there.is_file() else {})
    named = {role: named.get(key) for role, key in CONFIG_KEYS.items()}
    named = {role: name.get("content") if isinstance(name, dict) else name for role, name in named.items()}
    return {role: name for role, name in named.items() if isinstance(name, str)}
