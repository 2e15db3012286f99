"""What sentence-transformers writes beside a network: the modules that follow it, and how the text is prepared."""

import json
import pathlib
from typing import Any

MODULES_FILE = "modules.json"
TRANSFORMER = "Transformer"  # the class of the module that is the network itself
TEXT_FILE = "sentence_bert_config.json"
PROMPTS_FILE = "config_sentence_transformers.json"


def read_json(path, kind=dict) -> Any:
    """The content of a JSON file; ValueError that names it if it is damaged or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path} is damaged: wanted a {kind.__name__}, got {type(content).__name__}")
    return content


def read_modules(folder) -> list:
    """[(class of a module, its folder)] in order; empty for a folder without `modules.json`."""
    path = pathlib.Path(folder) / MODULES_FILE
    if not path.is_file():
        return []
    try:
        modules = [(row["type"].rpartition(".")[2], pathlib.PurePath(row["path"])) for row in read_json(path, list)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    for _, part in modules:
        if part.is_absolute() or ".." in part.parts:
            raise ValueError(f"{path} names {str(part)!r}, which is outside its folder")
    return [(module, path.parent / part) for module, part in modules]


def read_meaning(modules, table, told, root) -> None:
    """Puts what modules mean by the table of an architecture into a `Description`, or what it does not offer."""
    for module, folder in modules:
        if module == TRANSFORMER:
            _read_preparation(folder, root, told)
            continue
        rows = (table or {}).get(module)
        if rows is None:
            wanted = " or ".join((table or {}).keys()) or "none"
            told.faults.append(f"{MODULES_FILE}: {module} is not offered; wanted {wanted}")
            continue
        mode, words = "", f"{MODULES_FILE}: {module}"
        if "" not in rows:
            mode = _mode(folder / "config.json")
            words = f"{words} of mode {mode}"
        if mode in rows:
            told.said |= {keyword: (value, words) for keyword, value in rows[mode].items()}
        else:
            told.faults.append(f"{words} is not offered; wanted {' or '.join(rows)}")


def _mode(path):
    """How tokens become one vector: `pooling_mode`, or the one of the older files' switches that is on."""
    config = read_json(path)
    if config.get("include_prompt", True) is not True:
        return "without prompts"
    named = config.get("pooling_mode")
    on = [key.removeprefix("pooling_mode_") for key, value in config.items() if "_mode_" in key and value is True]
    named = [named] if isinstance(named, str) else named or on
    return "+".join(str(mode).removesuffix("_tokens").removesuffix("_token") for mode in named)


def _read_preparation(folder, root, told):
    """Capitals that are lost, and words that are put before every text, would be missing here."""
    files = folder / TEXT_FILE, pathlib.Path(root) / PROMPTS_FILE, folder / "tokenizer_config.json"
    text, prompts, tokenizer = (read_json(path) if path.is_file() else {} for path in files)
    if text.get("do_lower_case") and not tokenizer.get("do_lower_case"):
        told.faults.append(f"{TEXT_FILE}: do_lower_case: True is not offered; wanted a tokenizer that does it")
    if prompts.get("default_prompt_name"):
        name = prompts["default_prompt_name"]
        told.faults.append(f"{PROMPTS_FILE}: default_prompt_name: {name!r} is not offered; wanted none")
    if text.get("transformer_task", "feature-extraction") != "feature-extraction":
        told.faults.append(f"{TEXT_FILE}: transformer_task: {text['transformer_task']!r} is not offered")
