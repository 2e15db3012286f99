"""A tokenizer as transformers publishes it, with the start and the end of texts in its files."""

import json
import pathlib

from kzoo.data.tokenizing.tokenizers import CONFIG_KEYS
from kzoo.support import atomic

CLIP, ANY = "CLIPTokenizer", "PreTrainedTokenizerFast"
END_OF_WORD = "</w>"


def write(tokenizer, folder, max_length=None) -> str:
    """Writes a `Tokenizer` into a folder that transformers loads; returns the class that it is there.

    CLIP's is written as `vocab.json` and `merges.txt`, any other as `tokenizer.json`, which puts its start token before
    a text and its end token after it. `max_length` is how many tokens a text is cut to.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = json.loads(tokenizer.engine.to_str())["model"]
    whole = model.get("vocab") == tokenizer.engine.get_vocab(with_added_tokens=True)
    is_clip = model.get("end_of_word_suffix") == END_OF_WORD and tokenizer.start_id is not None and whole
    named = {CONFIG_KEYS[role]: name for role, name in tokenizer.special.items() if name}
    config = {"tokenizer_class": CLIP if is_clip else ANY, **named}
    config |= {"model_max_length": max_length} if max_length else {}
    files = {"tokenizer_config.json": _json(config), "special_tokens_map.json": _json(named)}
    if is_clip:
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
        files["vocab.json"] = json.dumps(model["vocab"], ensure_ascii=False)
        files["merges.txt"] = "\n".join(["#version: 0.2", *merges]) + "\n"
    else:
        files["tokenizer.json"] = _with_ends(tokenizer)
    for name, text in files.items():
        with atomic.file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return config["tokenizer_class"]


def _with_ends(tokenizer):
    from tokenizers import Tokenizer, processors

    engine = Tokenizer.from_str(tokenizer.engine.to_str())
    ends = {role: tokenizer.special[role] for role in ("start", "end") if tokenizer.special[role]}
    if ends:
        template = " ".join(
            [*([ends["start"]] if "start" in ends else []), "$A", *([ends["end"]] if "end" in ends else [])]
        )
        ids = [(name, engine.token_to_id(name)) for name in {*ends.values()}]
        engine.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
    return engine.to_str()


def _json(content):
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
