"""The keywords of a model's `build`, checked before anything is built."""

import inspect
import math
import re

from kzoo.catalog.entries import literals
from kzoo.support.suggest import did_you_mean

# names of ints of which there is at least one, unless the default says otherwise
COUNTS = re.compile(r"num_\w+|(\w+_)?(dims?|filters|units|depths?|sizes?|length|shape|growth_rate)")


# keyword here -> what the references and other libraries call it; of several the first that the model has is meant
SYNONYMS = {
    "num_classes": "classes num_labels n_classes nb_classes num_outputs",
    "hidden_dim": "hidden_size d_model embed_dim embedding_dim n_embd dim width emb_size",
    "units": "hidden_size num_units",
    "num_features": "input_size",
    "num_heads": "num_attention_heads n_head n_heads heads nhead encoder_attention_heads",
    "num_layers": "depth num_hidden_layers n_layer n_layers layers num_blocks encoder_layers",
    "intermediate_dim": "intermediate_size dim_feedforward mlp_dim ffn_dim n_inner encoder_ffn_dim",
    "vocabulary_size": "vocab_size n_vocab num_tokens num_embeddings",
    "max_length": "max_position_embeddings n_positions block_size seq_len seq_length sequence_length context_length",
    "depths": "block_config layers num_blocks repetitions depth",
    "filters": "num_init_features base_width channels init_channels",
    "dropout": "drop_rate dropout_rate p hidden_dropout_prob resid_pdrop",
    "epsilon": "eps layer_norm_eps norm_eps layer_norm_epsilon",
    "auxiliary": "aux_logits",
    "activation": "hidden_act act_layer activation_function",
    "input_shape": "image_size img_size input_size in_chans in_channels num_channels",
    "with_batch_norm": "batch_norm bn",
    "backbone": "backbone_name encoder",
}
# what other libraries ask for by a keyword, and kzoo in another way
ADVICE = {
    "pretrained": "pass weights=, a safetensors file, a folder or hf://owner/name",
    "checkpoint_path": "pass weights=, a safetensors file, a folder or hf://owner/name",
    "include_top": "num_classes=0 leaves the classifier out",
    "features_only": "kzoo.features(model, taps) gives maps of a model",
    "classifier_activation": "outputs are logits, of which kzoo.predict makes probabilities",
    "input_tensor": "kzoo.graph.embed puts a model into another graph",
}


def _unknown(entry, key, defaults):
    """What to say about a keyword that `build` does not have."""
    if key in ADVICE:
        return f"unknown keyword {key!r}; {ADVICE[key]}"
    tables = literals(entry.architecture).get("CONFIG", {}).values()
    meanings = [table["keywords"][key] for table in tables if key in table["keywords"]]
    named = [meaning if isinstance(meaning, str) else meaning[0] for meaning in meanings]
    named += [keyword for keyword, words in SYNONYMS.items() if key in words.split() and keyword in defaults]
    if named:
        shape = " = (height, width, channels)" if named[0] == "input_shape" else ""
        return f"unknown keyword {key!r}; did you mean {named[0]}{shape}?"
    return did_you_mean("keyword", key, defaults)


def checked(entry, function, overrides) -> dict:
    """The overrides, if every keyword is known and every value is of the kind its default is.

    Raises TypeError for an unknown keyword or a value of another kind, ValueError for one out of range.
    """
    defaults = {key: parameter.default for key, parameter in inspect.signature(function).parameters.items()}
    for key, value in overrides.items():
        if key not in defaults:
            raise TypeError(f"{entry.name}: {_unknown(entry, key, defaults)} (all: {', '.join(defaults)})")
        if value is None and defaults[key] is None:  # what `build` takes, whatever the variant has
            continue
        default = entry.arguments.get(key, defaults[key])
        if key == "num_classes" and literals(entry.architecture).get("HEADLESS"):
            default = 0
        if value is not None or defaults[key] is not None:
            _check_value(entry.name, key, value, default)
    return overrides


def _check_value(model, key, value, default):
    """One rule for each kind of value serves every model, because keywords are the field's standard terms."""
    if key.endswith("dropout"):
        if not _is_number(value) or not 0 <= value < 1:
            raise ValueError(f"{model}: {key} must be a number from 0 up to but not including 1, got {value!r}")
    elif isinstance(default, tuple):
        _check_tuple(model, key, value, default)
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise TypeError(f"{model}: {key} must be True or False, got {value!r}")
    elif isinstance(default, int):
        if type(value) is not int:
            raise TypeError(f"{model}: {key} must be an int, got {value!r}")
        _check_least(model, key, value, [value], [default])
    elif isinstance(default, float):
        is_factor = key.endswith("multiplier")
        if not _is_number(value) or not math.isfinite(value) or value < 0 or (is_factor and value == 0):
            wanted = "a number above 0" if is_factor else "a finite number of at least 0"
            raise ValueError(f"{model}: {key} must be {wanted}, got {value!r}")
    elif isinstance(default, str) and not isinstance(value, str):
        raise TypeError(f"{model}: {key} must be a string, got {value!r}")


def _check_tuple(model, key, value, default):
    """A tuple takes items of the kinds of its default: strings, ints, or floats, which ints stand for too."""
    kinds = {type(item) for item in default} - {type(None)}
    kind, takes = next(
        (row for row in ((float, (float, int)), (int, (int, type(None))), (str, (str,))) if row[0] in kinds),
        (None, None),
    )
    is_sequence = isinstance(value, tuple | list)
    if not is_sequence or (kind and not all(type(item) in takes for item in value)):
        items = {float: " of numbers", int: " of ints", str: " of strings", None: ""}[kind]
        raise TypeError(f"{model}: {key} must be a tuple{items}, got {value!r}")
    numbers = [item for item in value if _is_number(item)]
    if not all(math.isfinite(item) for item in numbers):
        raise ValueError(f"{model}: {key} must be finite, got {value!r}")
    _check_least(model, key, value, numbers, [item for item in default if _is_number(item)])


def _check_least(model, key, value, numbers, defaults):
    """Counts are at least 1 and other numbers at least 0, or as small as their default."""
    least = min([1 if COUNTS.fullmatch(key) else 0, *defaults])
    if any(number < least for number in numbers):
        raise ValueError(f"{model}: {key} must be at least {least}, got {value!r}")


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)
