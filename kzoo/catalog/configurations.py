"""Published configurations: what the `config.json` beside weights says of the network, in the catalogue's words.

CONFIG of a model file is the dictionary. A key that it does not know, and that is not among IGNORED, may change the
function, so it is reported by name and value and never passed over.
"""

import dataclasses
import fnmatch
import pathlib
import re

from kzoo.catalog.entries import arguments, arguments_of, entries, find, literals, literals_of
from kzoo.catalog.sentence_modules import TRANSFORMER, read_json, read_meaning, read_modules
from kzoo.support.suggest import near

CONFIG_FILE = "config.json"
INDEX_FILE = "model_index.json"  # of several networks
OUR_FILE = "model.json"  # of kzoo itself
TIMM = "timm"  # whose files have an `architecture` in place of a `model_type`
DIFFUSERS = "diffusers"  # whose files have the name of a class
CLASS_KEY = "_class_name"
# patterns of keys that change neither the function nor which weights there are: training, generation, bookkeeping
IGNORED = (
    *("_*", "architectures", "architecture", "model_type", "id2label", "label2id", "num_labels", "label_names"),
    *("label_descriptions", "transformers_version", "torch_dtype", "dtype", "task_specific_params", "tokenizer_class"),
    *("prefix", "problem_type", "finetuning_task", "language", "name", "pretrained_cfg.*", "num_features"),
    *("*dropout*", "*layerdrop", "*_pdrop", "initializer_*", "init_std", "gradient_checkpointing", "torchscript"),
    *("use_cache", "output_past", "output_attentions", "output_hidden_states", "output_scores", "return_dict*"),
    *("use_return_dict", "chunk_size_feed_forward", "tf_legacy_loss", "use_bfloat16", "remove_invalid_values"),
    *("*_token_id", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "do_sample", "early_stopping"),
    *("max_length", "min_length", "num_beams", "num_beam_groups", "num_return_sequences", "temperature", "top_k"),
    *("top_p", "typical_p", "*_penalty", "*no_repeat_ngram_size"),
)
# keywords that the caller may choose otherwise: what does not fit the weights then is refused when they are loaded
FREE = ("dropout", "input_shape", "name")
# keywords that mean something to one head only
OF_A_HEAD = ("num_classes", "pooling", "normalize", "task")
HEADS = ("head", "num_classes", "task")
OF_LABELS = "id2label"  # in place of a number of classes
SINGLE = "single_label_classification"  # a `problem_type`: what transformers takes several labels for
ONE_LABEL = "one label"  # in place of a `problem_type` where there is none


@dataclasses.dataclass
class Description:
    """What a configuration says.

    Args:
        path: its file.
        architecture: the model file that has such networks.
        model: what the configuration calls the network, such as "BertForMaskedLM".
        said: {keyword: (value, what the file says, in its own words)}.
        faults: what the architecture does not offer, one phrase each.
        readings: what the outputs mean and kzoo does not read from them, one phrase each.
        lacking: keys without which a network is not described completely.
        unknown: keys of which nothing is known, with their values.
        class_names: names of the classes, or None.
        class_heads: heads whose classifiers have the same tensors, though they classify different things.
        follows: {keyword: the one whose value it has unless it is given}.
    """

    path: pathlib.Path
    architecture: str
    model: str
    said: dict
    faults: list = dataclasses.field(default_factory=list)
    readings: list = dataclasses.field(default_factory=list)
    lacking: list = dataclasses.field(default_factory=list)
    unknown: dict = dataclasses.field(default_factory=dict)
    class_names: list | None = None
    class_heads: tuple = ()
    follows: dict = dataclasses.field(default_factory=dict)

    def contradictions(self, given, load_head=True) -> list:
        """What the file says otherwise than the keywords `given`, one phrase each."""
        leaders = {key: given.get(leader) for key, leader in self.follows.items() if given.get(key) is None}
        given = {**given, **leaders}
        return [
            f"{words}, but {key} is {given[key]!r} here" + ("; load_head=False leaves the head random" * (key in HEADS))
            for key, (value, words) in self.said.items()
            if None not in (value, given.get(key))
            and _plain(given[key]) != value
            and not self._is_free(key, given, load_head)
        ]

    def _is_free(self, key, given, load_head):
        theirs = self.said.get("head", (None,))[0]
        head = given.get("head", theirs)
        if key == "head":  # another head needs other tensors, except where two classifiers share their names
            return not load_head or not {head, theirs} <= {*self.class_heads}
        return key in FREE or (key in OF_A_HEAD and (head != theirs or (key in HEADS and not load_head)))

    def names_for(self, given) -> list | None:
        """Names of the classes of a model with the keywords `given`; None where its classes are others."""
        same_head = "head" not in self.said or given.get("head") == self.said["head"][0]
        fits = self.class_names and same_head and given.get("num_classes") == len(self.class_names)
        return self.class_names if fits else None

    def choose(self, given) -> tuple:
        """(entry, overrides): the variant that needs the fewest; what the caller gave goes before what the file says.

        A keyword of a head that the caller chose otherwise is left out.
        """
        said = {key: value for key, (value, _) in self.said.items()}
        if given.get("head", said.get("head")) != said.get("head"):
            said = {key: value for key, value in said.items() if key not in OF_A_HEAD}
        wanted, changes = {**said, **given}, {}
        following = [key for key, leader in self.follows.items() if wanted.get(key) == wanted.get(leader)]
        wanted = {key: value for key, value in wanted.items() if key not in following}
        for entry in entries().values():
            if entry.architecture == self.architecture:
                defaults = arguments_of(entry, {})
                different = {k: v for k, v in wanted.items() if k not in defaults or defaults[k] != v}
                changes.setdefault(entry.name, (entry, different))
        return min(changes.values(), key=lambda pair: len(pair[1]))


def read(folder, architecture=None) -> Description | None:
    """What the configuration in a folder says of a network; None where there is none, or none that names its kind.

    Args:
        folder: that of the weights, or a sentence-transformers model, one of whose folders that is.
        architecture: the model file that is meant; by default the file decides.

    Raises ValueError for a damaged file, and for a network that is not in the catalogue, or is none of `architecture`.
    """
    folder = pathlib.Path(folder)
    modules = read_modules(folder)
    path = weights_folder(folder) / CONFIG_FILE
    if (folder / OUR_FILE).is_file() or not path.is_file():
        return None
    if architecture is not None and "CONFIG" not in literals(architecture):
        return None
    config = read_json(path)
    found = _find_table(path, config, architecture)
    return found and _Reading(path, config, *found).description(modules, folder)


def is_published(folder) -> bool:
    """Whether a folder has a configuration, or an index of several, of another library and none of kzoo's."""
    if (pathlib.Path(folder) / OUR_FILE).is_file():
        return False
    return (weights_folder(folder) / CONFIG_FILE).is_file() or read_index(folder) is not None


def read_index(folder) -> dict | None:
    """The index of a folder that `diffusers` laid out; None where there is none, or one of kzoo's own."""
    path = pathlib.Path(folder) / INDEX_FILE
    index = read_json(path) if path.is_file() else None
    return None if index is None or "_kzoo_version" in index else index


def weights_folder(folder) -> pathlib.Path:
    """The folder that has the weights of a published folder: itself, or a part of a sentence-transformers model."""
    return pathlib.Path(folder) / dict(read_modules(folder)).get(TRANSFORMER, "")


def _plain(value):
    return tuple(value) if isinstance(value, list) else value


def _find_table(path, config, architecture):
    """(architecture, table of its CONFIG, name of the network there); None if the file does not say which it is."""
    kind, names = config.get("model_type"), config.get("architectures") or [None]
    if kind is None and isinstance(config.get("architecture"), str):
        kind, names = TIMM, [config["architecture"]]
    if kind is None and isinstance(config.get(CLASS_KEY), str):
        kind, names = DIFFUSERS, [config[CLASS_KEY]]
    if not isinstance(kind, str | None):
        raise ValueError(f"{path}: model_type: {kind!r}; wanted a string")
    if not isinstance(names, list) or len(names) > 1 or not isinstance(names[0], str | None):
        raise ValueError(f"{path}: architectures: {names!r}; wanted one")
    wanted = [architecture] if architecture else sorted({entry.architecture for entry in entries().values()})
    tables = {each: literals(each).get("CONFIG", {}) for each in wanted}
    if kind is None:  # as Google published BERT
        kinds = [kind for kind, table in tables.get(architecture, {}).items() if {*table["keywords"]} <= {*config}]
        if not kinds:
            return None
        kind = kinds[0]
    rows = {each: table[kind] for each, table in tables.items() if kind in table}
    for each, table in rows.items():
        models = networks(table)
        if names[0] in models or (
            architecture and kind not in (TIMM, DIFFUSERS)
        ):  # whatever the head is, the body is of this kind
            return each, table, names[0]
        if names[0] is None:
            return each, table, next(iter(models))
    here = architecture or "kzoo"
    if not rows:
        kinds = [kind for table in tables.values() for kind in table if kind not in (TIMM, DIFFUSERS)]
        if not kinds:  # the names of the weights decide
            return None
        raise ValueError(f"{path}: model_type: {kind!r} is none of {here}'s, which are {', '.join(kinds)}")
    key = {TIMM: "architecture", DIFFUSERS: CLASS_KEY}.get(kind, "architectures")
    known = [name for table in rows.values() for name in networks(table)]
    raise ValueError(f"{path}: {key}: {names[0]!r} is none of {here}'s{near(names[0], known)}")


def written(model) -> dict:
    """The configuration that the library which CONFIG of a model's file is about has for it, by its own keys.

    Raises ValueError for a model whose file has none.
    """
    given, tables = arguments(model), literals_of(model).get("CONFIG", {})
    if not tables:
        raise ValueError(f"{model.name}: no other library has a configuration of such a network, as far as kzoo knows")
    kind, table = next(iter(tables.items()))
    name = next(name for name, row in networks(table).items() if row.items() <= given.items())
    config = {CLASS_KEY: name} if kind == DIFFUSERS else {"architectures": [name], "model_type": kind}
    for key, meaning in table["keywords"].items():
        keyword, *places = (meaning,) if isinstance(meaning, str) else meaning
        value = given[keyword]
        if value is None:
            value = given.get(table.get("follows", {}).get(keyword))
        if places or keyword in table.get("repeated", ()):
            value = [value[place] for place in places] or list(value)
            value = value[0] if len({*value}) == 1 else value
        config[key] = list(value) if isinstance(value, tuple) else value
    config |= {key: [item] * len(given[keyword]) for key, (item, keyword) in table.get("each", {}).items()}
    return config | {key: values[0] for key, values in table.get("values", {}).items() if values[0] is not None}


def networks(table) -> dict:
    """{name of a network in a configuration: keywords here}; a tuple lists variants that have the same name here."""
    models = table["models"]
    return models if isinstance(models, dict) else {name: {"model": name} for name in models}


class _Reading:
    """One configuration, read by one table into `told`."""

    def __init__(self, path, config, architecture, table, name):
        self.path, self.config, self.table = path, config, table
        self.values, self.labels = {**table.get("defaults", {}), **_spread(config, table)}, _labels(path, config)
        self.networks, self.keywords = networks(table), dict(table["keywords"])
        for key, cases in table.get("otherwise", {}).items():
            for value, keywords in cases.items():
                self.keywords |= keywords if self.values.get(key) == value else {}
        self.entry = next(entry for entry in entries().values() if entry.architecture == architecture)
        self.told = Description(path, architecture, name, {}, follows=table.get("follows", {}))

    def description(self, modules, root) -> Description:
        """What the file and the modules of sentence-transformers beside it say."""
        told = self.told
        self.read_network()
        self.read_keywords()
        read_meaning(modules, self.table.get("modules"), told, root)
        accepted = self.table.get("values", {})
        told.faults += [
            f"{key}: {self.values[key]!r} is not offered; wanted {_listed(values)}"
            for key, values in accepted.items()
            if self.values.get(key, values[0]) not in values
        ]
        told.lacking += [key for key, values in accepted.items() if key not in self.values and None not in values]
        for key, (item, _) in (each := self.table.get("each", {})).items():
            if wrong := [value for value in self.values.get(key, ()) if value != item]:
                told.faults.append(f"{key}: {wrong[0]!r} is not offered; wanted {item!r}")
        known = (*self.keywords, *accepted, *each, *self.table.get("otherwise", ()), *self.table.get("ignored", ()))
        known = (*known, *IGNORED)
        told.unknown |= {
            key: value
            for key, value in self.values.items()
            if value not in (None, {}, [], "") and not any(_matches(key, pattern) for pattern in known)
        }
        if isinstance(self.labels, list) and told.said.get("num_classes", (0,))[0] == len(self.labels):
            told.class_names = self.labels
        return told

    def read_network(self):
        """What its name stands for: a variant's keywords, a head, as many classes as there are labels."""
        key = "architectures" if self.config.get("architectures") else "architecture"
        rows = [*self.networks.values()]
        shared = {key: value for key, value in rows[0].items() if all(row.get(key) == value for row in rows)}
        row = dict(self.networks.get(self.told.model, shared))
        variant = row.pop("model", None)
        row = {**(find(variant).arguments if variant else {}), **row}
        self.told.said |= {keyword: (value, f"{key}: {self.told.model!r}") for keyword, value in row.items()}
        if row.get("num_classes") == OF_LABELS:
            count = self.labels if isinstance(self.labels, int) else len(self.labels)
            self.told.said["num_classes"] = count, f"id2label: {count} classes"
            problems = self.table.get("problems", {})
            kind = self.config.get("problem_type") or (ONE_LABEL if count == 1 else SINGLE)
            if kind in problems:
                self.told.said["task"] = problems[kind], f"problem_type: {kind!r}"
            elif kind != SINGLE:
                wanted = " or ".join(map(repr, [SINGLE, *problems]))
                self.told.readings.append(f"problem_type: {kind!r} is not offered; wanted {wanted}")
        classifiers = [row for row in rows if row.get("num_classes") == OF_LABELS]
        self.told.class_heads = tuple({row["head"] for row in classifiers if "head" in row})

    def read_keywords(self):
        """Keys that have a keyword here. One that lies inside a tuple, such as a channel's number, fills its places."""
        defaults, given = arguments_of(self.entry, {}), {}
        for key, meaning in self.keywords.items():
            keyword, *places = (meaning,) if isinstance(meaning, str) else meaning
            value = _plain(self.values.get(key))
            if value is None and (places or defaults[keyword] is not None or keyword in given):
                continue
            words = f"{key}: {self.values.get(key)!r}"
            value = self.table.get("stands_for", {}).get(key, {}).get(value, value)
            if places:
                parts = list(given.get(keyword, (defaults[keyword],))[0])
                value = value if isinstance(value, tuple) else (value,) * len(places)
                if len(value) != len(places):
                    self.told.faults.append(f"{words} is not offered; wanted {len(places)} numbers")
                for place, part in zip(places, value, strict=False):
                    parts[place] = part
                value = tuple(parts)
            elif keyword in given and given[keyword][0] != value:
                self.told.faults.append(f"{words} beside {given[keyword][1]}: both are {keyword} here")
            given[keyword] = value, words
        for keyword, leader in self.table.get("repeated", {}).items():
            if keyword in given and leader in given and not isinstance(given[keyword][0], tuple):
                value, words = given[keyword]
                given[keyword] = (value,) * len(given[leader][0]), words
        self.told.said |= given
        lacking = {each for each in self.keywords.values() if isinstance(each, str)} - {*self.told.said, *FREE}
        self.told.lacking += [key for key, meaning in self.keywords.items() if meaning in lacking]


def _matches(key, pattern):
    """Whether a pattern is of a key, or of the same key in the configuration of one part, `text_config.max_length`."""
    own = key.partition("_config.")[2]
    return fnmatch.fnmatch(key, pattern) or bool(own and fnmatch.fnmatch(own, pattern))


def _listed(accepted):
    return " or ".join("none" if value is None else repr(value) for value in accepted)


def _spread(config, table):
    """The configuration, in which a dict that the table looks into is spread out: `pretrained_cfg.input_size`."""
    inside = {key.partition(".")[0] for key in (*table["keywords"], *table.get("values", {})) if "." in key}
    spread = {}
    for key, value in config.items():
        if key in inside and isinstance(value, dict):
            spread |= {f"{key}.{name}": item for name, item in value.items()}
        else:
            spread[key] = value
    return spread


def _labels(path, config):
    """The names of the classes, or their number where the file has no names of its own."""
    names, number = config.get("id2label"), config.get("num_labels", config.get("_num_labels"))
    if isinstance(names, dict) and names:
        if {*names} != {str(index) for index in range(len(names))}:
            raise ValueError(f"{path}: id2label should name the classes 0 to {len(names) - 1}, got {[*names][:5]}")
        ordered = [str(names[str(index)]) for index in range(len(names))]
        return len(names) if all(re.fullmatch(r"LABEL_\d+", name) for name in ordered) else ordered
    if isinstance(config.get("label_names"), list):
        return [str(name) for name in config["label_names"]]
    return number if isinstance(number, int) else 2  # transformers' own default
