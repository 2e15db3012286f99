"""Where weights come from: a file, a folder, several files with an index, or a repository of the Hugging Face hub."""

import json
import os
import pathlib
import re

WEIGHTS_FILE = "weights.safetensors"
PREFERRED = (WEIGHTS_FILE, "model.safetensors", "diffusion_pytorch_model.safetensors")
OF_PARTS = (*PREFERRED, *(name.replace(".", "-*-of-*.") for name in PREFERRED))
OF_PARTS += tuple(f"{name}.index.json" for name in PREFERRED)
INDEX = "*.safetensors.index.json"
SCHEME = "hf://"
OF_OTHERS = re.compile(r"imagenet|default|imagenet1k\w*|pretrained|true", re.IGNORECASE)  # by which others mean theirs
NO_WEIGHTS = (
    "kzoo brings none: pass a safetensors file, a folder or hf://owner/name, such as hf://timm/resnet50.a1_in1k"
)
# of a repository: weights; what they are, how images and texts are prepared, what sentence-transformers adds
WEIGHTS = ("*.safetensors", INDEX)
DESCRIPTIONS = ("*config.json", "*config_sentence_transformers.json", "modules.json", "model.json", "*tokenizer.json")
DESCRIPTIONS += ("model_index.json", "tokenizer/*")
DESCRIPTIONS += ("special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.spm", "*.model")


def find_folder(place, with_weights=True) -> pathlib.Path:
    """The folder that a path or an address of the hub stands for; ValueError if there is none."""
    if isinstance(place, str) and place.startswith(SCHEME):
        folder = _download(place, DESCRIPTIONS)
        if not with_weights:
            return folder
        parts = (folder / "model_index.json").is_file()
        # Beside its parts, a pipeline may hold all of them again in one file, and in half precision.
        return _download(
            place, (*(f"*/{name}" for name in OF_PARTS), *DESCRIPTIONS) if parts else WEIGHTS + DESCRIPTIONS
        )
    path = pathlib.Path(place).expanduser()
    if not path.is_dir():
        hint = f"; on the hub it would be {SCHEME}{place}" if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(place)) else ""
        raise ValueError(f"no folder at {place}{hint}")
    return path


def find_files(weights) -> list[pathlib.Path]:
    """The safetensors files that `weights` stands for, as a list of paths.

    Args:
        weights: a `.safetensors` file; its `.safetensors.index.json`; a folder that holds one of these; or
            `hf://owner/name[@revision]`, which is downloaded once into the hub's own cache and found there offline.

    Raises ValueError in one line that says what is wanted.
    """
    if not isinstance(weights, str | os.PathLike):
        raise TypeError(f"weights must be a path or an address, got {weights!r}; {NO_WEIGHTS}")
    if isinstance(weights, str) and weights.startswith(SCHEME):
        return _in_folder(_download(weights, WEIGHTS + DESCRIPTIONS))
    path = pathlib.Path(weights)
    if not path.exists() and OF_OTHERS.fullmatch(str(weights)):
        raise ValueError(f"weights={weights!r} names no file; {NO_WEIGHTS}")
    if path.is_dir():
        return _in_folder(path)
    return _shards(path) if path.name.endswith(".index.json") else [path]


def _in_folder(folder):
    for name in PREFERRED:
        if (folder / name).is_file():
            return [folder / name]
    indices = _visible(folder.glob(INDEX))
    if len(indices) == 1:
        return _shards(indices[0])
    files = _visible(folder.glob("*.safetensors"))
    if len(files) != 1:
        found = f"{len(files)} of them: {', '.join(file.name for file in files[:5])}" if files else "none"
        raise ValueError(f"{folder} should hold {WEIGHTS_FILE}, one .safetensors file or one index; found {found}")
    return files


def _visible(paths):
    """Files in order, without hidden ones, such as those in which macOS keeps what other file systems cannot."""
    return sorted(path for path in paths if not path.name.startswith("."))


def _shards(index):
    """The files that an index names, each of which must lie beside it."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is damaged or no index of safetensors files: {error}") from error
    outside = [name for name in names if not isinstance(name, str) or pathlib.PurePath(name).name != name]
    if outside:
        raise ValueError(f"{index} names files outside its folder: {outside[:3]}")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise ValueError(f"{index.parent} lacks {len(missing)} of the {len(names)} files of its index: {missing[:3]}")
    return [index.parent / name for name in names]


def _download(address, patterns):
    """The folder of a repository's snapshot in the hub's cache."""
    match = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", address)
    if not match or ".." in address:
        raise ValueError(f"{address!r} should be hf://owner/name or hf://owner/name@revision")
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError(f"{address} needs huggingface_hub; install it with: pip install 'kzoo[hub]'") from error
    name, revision = match.groups()
    try:
        return pathlib.Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=[*patterns]))
    except RuntimeError as error:  # of pathlib
        raise ValueError(f"{address}: {error} Say where the hub's files go: HF_HOME=FOLDER") from error
    except huggingface_hub.errors.LocalEntryNotFoundError as error:
        raise ValueError(f"{address} is not in the local cache and the hub cannot be reached") from error
    except (huggingface_hub.errors.HfHubHTTPError, huggingface_hub.errors.HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{address} cannot be had: {reason}") from error
