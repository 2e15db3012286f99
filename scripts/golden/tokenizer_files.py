"""Makes tests/golden/tokenizers: tiny vocabularies in every format and the ids that the reference gives with them.

In an environment of its own:

    pip install tokenizers transformers sentencepiece
    python scripts/golden/tokenizer_files.py

The other way, a folder that `kzoo.data.Tokenizer.save` wrote is read by transformers and gives the same ids:

    python scripts/golden/tokenizer_files.py --check-back FOLDER
"""

import io
import json
import pathlib
import tempfile

import sentencepiece
import transformers
import writing
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

GOLDEN = writing.GOLDEN / "tokenizers"
CORPUS = [
    "the quick brown fox jumps over the lazy dog and the dog sleeps",
    "The weather in Zürich is better than the weather in Paris",
    "it isn't what they're saying, we've heard; he'd go and she'll stay",
    "numbers such as 1984, 3.14 and 2,000 stand in texts",
    "a naïve café owner reads déjà vu in São Paulo and Malmö",
    "unbelievable reading writing walking talking unhappily unkindly",
    "東京の天気 今日は 晴れ и немного русского текста",
] * 3
STRINGS = [
    "the quick brown fox",
    "The WEATHER in Zürich isn't better, they're saying!",
    "",
    "   leading and  double   spaces ",
    "tabs\tand\nlines\r\nand no-break\u00a0spaces\u3000wide",
    "naïve café na\u0131\u0308ve cafe\u0301",
    "東京の天気は晴れ",
    "emoji 😀👩‍👩‍👧 and flags 🇨🇭",
    "numbers 1984 3.14 2,000 ½ ²",
    "unbelievably unreadable text",
    "zero\u200bwidth\u00adsoft \x00 control \x1b and \ufffd",
    "немного русского, ελληνικά, עברית, हिन्दी",
    "a" * 120,
    "[CLS] the [MASK] dog [SEP] <|endoftext|>",
    "ﬁne ＦＵＬＬ ＷＩＤＴＨ ①",
]


def make():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    folders = {name: GOLDEN / name for name in ("bert", "bert_cased", "gpt2", "unigram", "pieces")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    for name, lower in (("bert", True), ("bert_cased", False)):
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        words.normalizer, words.pre_tokenizer = (
            normalizers.BertNormalizer(lowercase=lower),
            pre_tokenizers.BertPreTokenizer(),
        )
        words.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
        ordered = sorted(words.get_vocab().items(), key=lambda pair: pair[1])
        (folders[name] / "vocab.txt").write_text("".join(f"{word}\n" for word, _ in ordered), encoding="utf-8")
        config = {"do_lower_case": lower, "tokenizer_class": "BertTokenizer"}
        (folders[name] / "tokenizer_config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")
    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"]),
    )
    pairs.model.save(str(folders["gpt2"]))
    for name, kind in (("unigram", "unigram"), ("pieces", "bpe")):
        make_pieces(folders[name], kind)
    make_clip(GOLDEN / "clip")
    folders["clip"] = GOLDEN / "clip"
    make_marian(GOLDEN / "marian")
    folders["marian"] = GOLDEN / "marian"
    report = {name: [ids_of(name, folder, text) for text in STRINGS] for name, folder in folders.items()}
    library = {"transformers": transformers.__version__, "sentencepiece": sentencepiece.__version__}
    lines = ",\n".join(f' "{name}": {json.dumps(rows)}' for name, rows in report.items())
    text = f'{{\n "made_with": {json.dumps(library)},\n "strings": {json.dumps(STRINGS)},\n{lines}\n}}\n'
    (GOLDEN / "ids.json").write_text(text, encoding="utf-8")
    print(f"{GOLDEN}: {sum(path.stat().st_size for path in GOLDEN.rglob('*') if path.is_file()):,} bytes")


def make_pieces(folder, kind):
    """A SentencePiece model with a normalisation of its own, so that the table in it is small."""
    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        # wide letters and signs become narrow ones, an e and its accent one letter: points in hexadecimal
        pairs = [(f"{point:X}", f"{point - 0xFEE0:X}") for point in range(0xFF01, 0xFF5F)]
        pairs += [("65 301", "E9"), ("3000", "20"), ("A0", "20"), ("9", "20"), ("A", "20"), ("FB01", "66 69")]
        rules.write("".join(f"{source}\t{target}\n" for source, target in pairs))
        rules.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS),
            model_writer=model,
            vocab_size=160 if kind == "unigram" else 400,
            model_type=kind,
            normalization_rule_tsv=rules.name,
            byte_fallback=kind == "bpe",
            character_coverage=1.0,
            minloglevel=2,
            hard_vocab_limit=False,
            pad_id=3 if kind == "unigram" else -1,
        )
    (folder / "spiece.model").write_bytes(model.getvalue())


def make_clip(folder):
    """Byte pairs of lower-case words that end in </w>; every byte stands alone and at a word's end."""
    folder.mkdir(exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    pairs.normalizer = normalizers.Lowercase()
    pairs.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, end_of_word_suffix="</w>")
    pairs.train_from_iterator(CORPUS, trainer)
    pairs.model.save(str(folder))
    merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    words = alphabet + [f"{letter}</w>" for letter in alphabet] + ["".join(merge.split(" ")) for merge in merges]
    ids = {word: index for index, word in enumerate(dict.fromkeys([*words, "<|startoftext|>", "<|endoftext|>"]))}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False) + "\n", encoding="utf-8")


def make_marian(folder):
    """Two models of different texts and the vocabulary that they share, in which their pieces stand mixed."""
    folder.mkdir(exist_ok=True)
    halves = {"source.spm": CORPUS[:3], "target.spm": CORPUS[4:6]}
    pieces = set()
    for file, corpus in halves.items():
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus * 20),
            model_writer=model,
            vocab_size=70,
            model_type="unigram",
            normalization_rule_name="identity",
            character_coverage=1.0,
            minloglevel=2,
            hard_vocab_limit=False,
        )
        (folder / file).write_bytes(model.getvalue())
        processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        pieces |= {processor.id_to_piece(index) for index in range(3, len(processor))}
    ordered = ["</s>", "<unk>", *sorted(pieces, key=lambda piece: (piece[::-1], piece)), "<pad>"]
    vocabulary = {piece: index for index, piece in enumerate(ordered)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
    config = {"source_lang": "en", "target_lang": "fr", "tokenizer_class": "MarianTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")


def marian_ids(text):
    """Ids of a text as source, and as target."""
    reader = transformers.MarianTokenizer.from_pretrained(str(GOLDEN / "marian"))
    return [
        reader(text, add_special_tokens=False).input_ids,
        reader(text_target=text, add_special_tokens=False).input_ids,
    ]


def ids_of(name, folder, text):
    if name == "marian":
        return marian_ids(text)
    if name in ("unigram", "pieces"):
        return sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model")).encode(text)
    kinds = {"gpt2": transformers.GPT2Tokenizer, "clip": transformers.CLIPTokenizer}
    kind = kinds.get(name, transformers.BertTokenizer)
    return kind.from_pretrained(str(folder)).encode(text, add_special_tokens=False)


def check_back(folder):
    """SystemExit unless transformers reads the folder and gives the golden ids of the vocabulary it was saved from."""
    golden = json.loads((GOLDEN / "ids.json").read_text(encoding="utf-8"))
    saved = transformers.PreTrainedTokenizerFast(tokenizer_file=str(pathlib.Path(folder) / "tokenizer.json"))
    rows = [saved.encode(text, add_special_tokens=False) for text in STRINGS]
    same = [name for name in golden if golden[name] == rows]
    print(f"gives the golden ids of: {', '.join(same) or 'none'}")
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    writing.main(__doc__, make, check_back=(check_back, ("FOLDER",)))
