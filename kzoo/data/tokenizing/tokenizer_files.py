"""Vocabularies on disk: which file is which, and what they say about special tokens."""

import io
import json
import logging
import pathlib

from kzoo.data.tokenizing import sentencepieces
from kzoo.data.tokenizing.tokenizers import BERT_SPECIAL, CONFIG_KEYS, LENGTH_FILE, ROLES_FILE

SUFFIXES = (".model", ".spm")
MARIAN = ("source.spm", "target.spm", "vocab.json")
CLIP_SPECIAL = {"start": "<|startoftext|>", "end": "<|endoftext|>"}
CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
TARGET_FILE = "target_tokenizer.json"  # beside tokenizer.json, where targets are tokenized differently
WANTED = "wanted tokenizer.json, vocab.txt, vocab.json with merges.txt, or a SentencePiece model (.model, .spm)"


def json_path(path) -> pathlib.Path:
    """The file that `save` writes: the path itself if it ends in .json, else `tokenizer.json` in it."""
    path = pathlib.Path(path)
    return path if path.suffix == ".json" else path / "tokenizer.json"


def read(path) -> tuple:
    """What a `Tokenizer` is made of: its engine, `{role: token}` of special tokens, an engine for targets, its length.

    From a file or folder; ValueError if it holds none.
    """
    path = pathlib.Path(path).expanduser()
    if all((path / name).is_file() for name in MARIAN):
        # Two SentencePiece models, for sources and targets, with one vocabulary; padding also starts a target.
        vocabulary = _vocabulary(path / "vocab.json")
        source, target = (_with_added(sentencepieces.read(path / name, vocabulary), path) for name in MARIAN[:2])
        _check_ids(source, path / MARIAN[2])
        return source, {"start": "<pad>", **_special(path)}, target, None
    path = _find(path)
    if path.suffix == ".txt":
        engine = _wordpieces(path)
    elif path.suffix in SUFFIXES:
        engine = sentencepieces.read(path)
    else:
        engine = _byte_pairs(path) if path.name == "vocab.json" else _library(path)
    target = path.with_name(TARGET_FILE)
    target = _library(target) if path.name == "tokenizer.json" and target.is_file() else None
    engine = _check_ids(_with_added(engine, path.parent), path)
    return engine, _usual(engine) | _special(path.parent), target, _max_length(path.parent)


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
        line = contents[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path} is not UTF-8: byte 0x{contents[error.start]:02x} at offset {error.start} (line {line}); convert "
            "it, for example with iconv -f LATIN1 -t UTF-8"
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
    """GPT-2's, of bytes, or GPT's and CLIP's, of lower-case words that end in `</w>`: tokens with ids, and merges."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    merges_path = path.with_name("merges.txt")
    if not merges_path.is_file():
        raise ValueError(f"{path} needs merges.txt beside it")
    vocabulary = _vocabulary(path)
    of_words = any(token.endswith("</w>") for token in vocabulary)
    unknown = next((token for token in ("<unk>", CLIP_SPECIAL["end"]) if token in vocabulary), None)
    if of_words and unknown is None:
        raise ValueError(f"{path} ends words with </w> and has neither GPT's <unk> nor CLIP's <|endoftext|>")
    lines = [line for line in read_text(merges_path).split("\n") if line and not line.startswith("#version")]
    merges = [tuple(line.rstrip("\r").split(" ")) for line in lines]
    for number, merge in enumerate(merges, 1):
        if len(merge) != 2:
            wrong = lines[number - 1]
            raise ValueError(f"{merges_path}: merge {number} is {wrong!r}; wanted two tokens and a space between")
    try:
        if of_words:
            engine = Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown, end_of_word_suffix="</w>"))
        else:
            engine = Tokenizer(models.BPE(vocabulary, merges))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{merges_path} does not fit {path}: {error}") from error
    if of_words and unknown == CLIP_SPECIAL["end"]:
        return _of_clip(engine)
    if of_words:
        engine.normalizer, engine.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        engine.decoder = decoders.BPEDecoder(suffix="</w>")
        engine.add_special_tokens(["<unk>"])
        return engine
    with_space = _config(path.parent).get("add_prefix_space", False)
    engine.pre_tokenizer, engine.decoder = pre_tokenizers.ByteLevel(with_space), decoders.ByteLevel()
    engine.add_special_tokens(["<|endoftext|>"] if "<|endoftext|>" in vocabulary else [])
    return engine


def _of_clip(engine):
    """CLIP's reading of texts: lower case, words, single digits and runs of other signs, each as its bytes."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    spaces, words = normalizers.Replace(Regex(r"\s+"), " "), pre_tokenizers.Split(Regex(CLIP_WORDS), "removed", True)
    engine.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    engine.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    # A word ends before a space, whose byte is written as Ġ.
    ends = decoders.Replace("</w>", "Ġ")
    engine.decoder = decoders.Sequence([ends, decoders.ByteLevel(), decoders.Replace(Regex(" $"), "")])
    engine.add_special_tokens([token for token in CLIP_SPECIAL.values() if engine.token_to_id(token) is not None])
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
    named = _config(folder) | _object(folder / ROLES_FILE)
    named = {role: _content(named.get(key)) for role, key in CONFIG_KEYS.items()}
    return {role: name for role, name in named.items() if isinstance(name, str)}


def _usual(engine):
    """`{role: token}` of CLIP where no configuration beside its vocabulary says otherwise: its end token also pads."""
    is_clip = getattr(engine.model, "end_of_word_suffix", None) == "</w>" and engine.token_to_id(CLIP_SPECIAL["start"])
    return {"pad": CLIP_SPECIAL["end"]} if is_clip else {}


def _check_ids(engine, path):
    """The tokenizer; ValueError for two tokens of one id, which is damage, and a warning for ids without a token."""
    vocabulary = engine.get_vocab(with_added_tokens=True)
    tokens = {}
    for token, index in vocabulary.items():
        if tokens.setdefault(index, token) != token:
            pair = " and ".join(repr(one) for one in sorted((tokens[index], token)))
            raise ValueError(f"{path} is damaged: the id {index} is that of {pair}")
    missing = sorted({*range(max(tokens, default=-1) + 1)} - tokens.keys())
    if missing:
        listed = ", ".join(map(str, missing[:5])) + ", ..." * (len(missing) > 5)
        logging.getLogger("kzoo").warning("%s: no token has the ids %s (%d in all)", path, listed, len(missing))
    return engine


def _max_length(folder):
    """How long texts may be by sentence-transformers: what its file says, or else that of transformers beside it."""
    path = folder / LENGTH_FILE
    if not path.is_file():
        return None
    length = _object(path).get("max_seq_length") or _config(folder).get("model_max_length")
    if length is not None and (isinstance(length, bool) or not isinstance(length, int | float) or length < 1):
        raise ValueError(f"{path}: max_seq_length is {length!r}; wanted a number of tokens")
    return int(length) if length and length < 1e9 else None  # transformers writes 1e30 where it knows no limit


def _content(token):
    """A token as such, or as an object that also says how it is found in a text."""
    return token.get("content") if isinstance(token, dict) else token


def _object(path):
    """The object in a JSON file; an empty one where there is no file."""
    found = _json(path) if path.is_file() else {}
    if not isinstance(found, dict):
        raise ValueError(f"{path} should hold one object, and holds a {type(found).__name__}")
    return found


def _with_added(engine, folder):
    """The tokenizer with the tokens that files beside its vocabulary add to it; ValueError where ids disagree."""
    from tokenizers import AddedToken

    path, listed = folder / "tokenizer_config.json", folder / "added_tokens.json"
    config, wanted = _config(folder), {}  # token -> (id or None, how it is found, the file that says so)
    for index, entry in (config.get("added_tokens_decoder") or {}).items():
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str) or not str(index).isdecimal():
            raise ValueError(f"{path}: added_tokens_decoder has {index!r}: {entry!r}; wanted an id and a token")
        how = {key: entry[key] for key in ("lstrip", "rstrip", "single_word", "normalized", "special") if key in entry}
        wanted[entry["content"]] = (int(index), how, path)
    for token, index in _object(listed).items():
        if type(index) is not int:
            raise ValueError(f"{listed}: {token!r} has the id {index!r}; wanted an int")
        if token in wanted and wanted[token][0] != index:
            raise ValueError(f"{listed} gives {token!r} the id {index}, and {path} {wanted[token][0]}")
        wanted.setdefault(token, (index, {}, listed))
    more = (config | _object(folder / ROLES_FILE)).get("additional_special_tokens") or []
    for token in [*_special(folder).values(), *map(_content, more)]:
        index, how, source = wanted.get(token, (None, {}, path))
        wanted[token] = (index, {**how, "special": True, "normalized": how.get("normalized", False)}, source)
    for token, (index, how, source) in sorted(wanted.items(), key=lambda item: (item[1][0] is None, item[1][0] or 0)):
        add = engine.add_special_tokens if how.get("special") else engine.add_tokens
        add([AddedToken(token, **how)])
        if index is not None and engine.token_to_id(token) != index:
            raise ValueError(
                f"{source} gives {token!r} the id {index}, and in the vocabulary it has {engine.token_to_id(token)}"
            )
    return engine
