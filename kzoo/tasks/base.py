"""The interface of a task, and what most tasks do: one label per example, cross-entropy, class probabilities.

A task is one file of this folder with one instance, TASK. Every other room asks that instance and compares no name.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.data import columns
from kzoo.tasks.losses import Accuracy, SparseCrossEntropy
from kzoo.tasks.wanted_outputs import require_outputs

ADAM = {"optimizer": "adam", "learning_rate": 1e-3, "epochs": 10, "batch_size": 64}
SYNTHETIC_SIZES = {"train": 1024, "validation": 128, "test": 128}
AUXILIARY_WEIGHT = 0.3  # of a head that is left out in inference, Szegedy et al. 2015, section 5


class Task:
    """One kind of work; what a subclass does not override is classification.

    Attributes:
        name: as model files call it, and as its own file is called.
        default_data: the data set that a model is trained on where none is named.
        recipe: fields of `kzoo.training.Recipe` that differ from its own defaults.
        generated_data: names of data sets that it makes up itself.
        takes_texts: whether `predict` reads texts, if the model takes tokens.
        gives_features: whether outputs are features for others to read.
        needs_targets: whether there is something to learn beside the inputs.
        results: what the numbers are called that `read` gives, in exports.
    """

    name = ""
    default_data = "digits"
    recipe = ADAM
    generated_data = ()
    takes_texts = False
    results = "probabilities"
    gives_features = False
    needs_targets = True

    @property
    def words(self) -> str:
        """The name as people write it."""
        return self.name.replace("_", " ")

    # What it learns

    def check_trains(self, model_name) -> None:
        """ValueError if a model for this task cannot be trained or scored."""

    def check_suits(self, model) -> None:
        """ValueError unless a model's outputs have the shapes that this task learns from."""
        hint = ": build one logit with task='binary_classification'" if model.outputs[0].shape[-1] == 1 else ""
        require_outputs(self, model, rank=2, least=2, hint=hint)

    def target(self, model) -> Any:
        """The column of a model's targets, or a dict of them where its outputs have names."""
        return _label(model.outputs[0], num_outputs(model))

    def loss(self, model, label_smoothing=0.0) -> Any:
        """A fresh loss for one output, or a dict of losses by output."""
        return SparseCrossEntropy(not gives_probabilities(model), label_smoothing)

    def metrics(self, model) -> list | dict:
        """Fresh metrics for the first output, or a dict of them by output."""
        return [Accuracy()]

    def trainee(self, model) -> Any:
        """What `kzoo.fit` trains, backs up and saves."""
        from kzoo.tasks.trainee import Trainee

        return Trainee(model, self)

    # What it is fed

    def fed(self, model) -> keras.Model:
        """The network that examples are made for: the model, or of several networks the one that reads them."""
        return model

    def batches(self, name, model, how) -> Any:
        """The `Data` of a name for a model.

        Args:
            name: a data set's name or path.
            how: the `kzoo.data.dataset.How` of the call.
        """
        from kzoo.data import pictures
        from kzoo.data.sources import folders, table_files
        from kzoo.tasks.feeding import from_tables

        files = table_files.find(name)
        if files is not None:
            return from_tables.labelled(self, name, files, model, how)
        folder = folders.find(name)
        if folder is not None:
            return pictures.from_folder(name, folder, model, self.target(model), how.options, how.skip_bad)
        builder = self.prepared(name, how)
        pair = self.pair_of(name, builder, model)
        return pictures.from_tfds(name, builder, pair, model, self.target(model), how.options)

    def width_of(self, name, model, how) -> int | None:
        """The `num_classes` that a data set asks of a model which could have others; None where that is open."""
        from kzoo.data.sources import folders, table_files
        from kzoo.tasks.feeding import from_tables

        files = table_files.find(name)
        if files is not None:
            return from_tables.width(self, files, model, how.columns)
        if name == "synthetic":
            return None
        folder = None if takes_tokens(model) else folders.find(name)
        if folder is not None:
            return len(folders.survey(folder)[0])
        features = self.prepared(name, how).info.features
        classes = [feature.num_classes for feature in features.values() if hasattr(feature, "num_classes")]
        return classes[0] if len(classes) == 1 else None

    def prepared(self, name, how) -> Any:
        """The builder of a prepared data set; ValueError where none is meant."""
        from kzoo.data.sources import prepared

        if how.skip_bad:
            raise ValueError(f"skip_bad (--skip-bad) is for folders of images and tables, and {name!r} is neither")
        return prepared.find(name, how.data_dir, how.manual_dir, how.download)

    def takes(self, builder) -> bool:
        """Whether a data set without a declared pair of features is one for this task."""
        return False

    def pair_of(self, name, builder, model, texts=False) -> Any:
        """The (input, target) features of a data set; ValueError for one that is for another task."""
        from kzoo.data.sources import prepared
        from kzoo.tasks import every

        if builder.info.supervised_keys is None:
            others = [task.words for task in every() if task.takes(builder)]
            if others:
                raise ValueError(
                    f"data set {name!r} is for {' or '.join(others)} (its features: "
                    f"{', '.join(builder.info.features)}); {model.name} is for {self.words}"
                )
        pair = prepared.pair(builder)
        is_text = [np.dtype(builder.info.features[key].np_dtype).kind in "OSU" for key in pair]
        if is_text != [texts, texts]:
            what = ", ".join(f"{key} ({'text' if yes else 'no text'})" for key, yes in zip(pair, is_text, strict=True))
            raise ValueError(f"data set {name!r} is a pair of {what}; {model.name} is for {self.words}")
        return pair

    def synthetic(self, name, model, how) -> Any:
        """Random examples in the structure of the model's inputs and targets."""
        from kzoo.data import pictures
        from kzoo.tasks.feeding.synthetic_batches import synthetic_batch

        batches = {
            split: synthetic_batch(model, size, seed=index)
            for index, (split, size) in enumerate(SYNTHETIC_SIZES.items())
        }
        return pictures.from_parts(name, {"name": name}, batches, model, self.target(model), how.options)

    def arrays(self, name, parts, model, options, class_names=None) -> Any:
        """The `Data` of `{split: (x, y, weight or None)}`."""
        from kzoo.data import pictures

        return pictures.from_parts(name, {"name": name}, parts, model, self.target(model), options, class_names)

    def random_targets(self, model, x, random, length) -> tuple | dict:
        """Random targets for inputs x, and weights or None."""
        from kzoo.tasks.feeding.synthetic_batches import drawn_targets

        return drawn_targets(self.target(model), random, len(keras.tree.flatten(x)[0]), length)

    # What comes out

    def read(self, model, outputs) -> Any:
        """Class probabilities (batch, ..., num_classes) of a model's outputs; two classes for a single logit."""
        return probabilities(model, outputs)

    def predict(self, model, x, batch_size=64) -> Any:
        """What `kzoo.predict` gives for checked inputs: the results of all examples."""
        parts = [
            keras.ops.convert_to_numpy(self.read(model, model.predict_on_batch(part)))
            for part in in_batches(x, batch_size)
        ]
        return np.concatenate(parts)

    def predict_texts(self, model, texts, batch_size=64) -> Any:
        """What `kzoo.predict` gives for a list of texts, or a pair of lists."""
        from kzoo.tasks.texts import predicted

        if not takes_tokens(model):
            raise ValueError(f"{model.name} takes {', '.join(columns.inputs_of(model))}, no texts")
        return predicted(self, model, texts, model.kzoo.tokenizer, batch_size=batch_size)[0]

    def num_results(self, model) -> int:
        """How many numbers `read` gives for an example."""
        return num_classes(model)

    def decide(self, results) -> Any:
        """The answers that results stand for, to compare with targets; ValueError where right and wrong make no sense.

        Args:
            results: an array of what `read` gives.
        """
        return np.argmax(results, axis=-1)

    def rows(self, results, class_names, top=3) -> list:
        """One row for the results of each example."""
        from kzoo.tasks import reading

        return reading.classes(results, class_names, top)

    def shown(self, target, class_names) -> dict:
        """What a row says of an example's target."""
        from kzoo.tasks import reading

        return {"label": reading.name_of(int(np.ravel(target)[0]), class_names)}

    def rows_of_files(self, model, paths, top=3, skip_bad=False) -> list:
        """One row per example in files, for people and programs: images, or `.npy` arrays of examples.

        Files that cannot be read are an error, or left out and said.
        """
        from kzoo.tasks import reading

        return reading.files(self, model, paths, top, skip_bad)

    def rows_of_texts(self, model, texts, tokenizer, top=3) -> list:
        """One row per text."""
        from kzoo.tasks import every
        from kzoo.tasks.texts import predicted

        if not (self.takes_texts and takes_tokens(model)):
            able = ", ".join(task.words for task in every() if task.takes_texts)
            raise ValueError(f"{model.name} is for {self.words}; a text is an input of models of tokens for {able}")
        found, _, _ = predicted(self, model, texts, tokenizer)
        rows = self.rows(found, model.kzoo.class_names, top)
        return [{"text": text, **row} for text, row in zip(texts, rows, strict=True)]

    def rows_of_table(self, model, path, names, tokenizer, top=3, skip_bad=False) -> list:
        """One row for every row of a table, which needs no column to learn; `names` are those of its columns."""
        from kzoo.tasks.feeding import from_tables

        return from_tables.rows_of_table(self, model, path, names, tokenizer, top, skip_bad)

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> list:
        """One row for each of the first examples of a split, with the true answer beside the prediction."""
        from kzoo.tasks import reading

        x, y, _ = reading.first_batch(data, split, limit)
        found = ops.convert_to_numpy(self.read(model, model.predict_on_batch(x)))
        targets, rows = keras.tree.flatten(y)[0], self.rows(found, data.class_names, top)
        return [
            {"example": index, **self.shown(target, data.class_names), **row}
            for index, (target, row) in enumerate(zip(targets, rows, strict=True))
        ]

    def line(self, row) -> str:
        """A row as text."""
        from kzoo.tasks import reading

        return reading.line(row)

    def draw(self, path, model, rows, data=None, split="test") -> None:
        """Draws rows into a PNG; ValueError where there is nothing to draw."""
        raise ValueError(f"only boxes of a detector can be drawn; {model.name} is for {self.words}")

    def decoded_by(self, **how) -> "Task":
        """This task with another way from outputs to answers; ValueError where there is only one."""
        raise ValueError(f"{', '.join(how)}: a search among beams is for speech recognition, and this is {self.words}")

    def folding_by(self, **how) -> "Task":
        """This task with another way to fold proteins; ValueError where it folds none."""
        raise ValueError(f"{', '.join(how)}: for models of proteins, and this is for {self.words}")

    def choosing_among(self, labels, templates=("{}",)) -> "Task":
        """This task with labels in words as its answers; ValueError where classes are fixed by training."""
        raise ValueError(f"labels: words to choose among are for image text matching, and this is {self.words}")

    def search(self, model, folder, files, texts, top=5, prefix=None, rebuild=False) -> list:
        """A row for each text with the pictures it describes; ValueError for a model that compares no such things."""
        raise ValueError(f"{model.name} is for {self.words}; pictures are found by a model such as CLIP")

    def embed(self, model, x, batch_size=64) -> np.ndarray:
        """What `kzoo.embed` gives: vectors of length 1."""
        from kzoo.tasks import inference

        return inference.unit_vectors(self, model, x, batch_size)

    def generate(self, model, *prompt, **settings) -> Any:
        """What `kzoo.generate` gives; ValueError for a model that writes nothing."""
        from kzoo.generation import writing

        return writing.generate(model, *prompt, **settings)

    def generate_file(self, model, path, **settings) -> str:
        """Writes what `generate` gives into a file, and says so in a line; ValueError where it is no file's content."""
        raise ValueError(f"{model.name} is for {self.words}, which is written into no file; leave out {path}")

    def measured(self, model, split) -> dict:
        """Loss and metrics of a model on a split."""
        from kzoo.tasks.compiling import measured

        return measured(model, split)

    def scored_by(self, **how) -> "Task":
        """This task with another way to score; ValueError where there is none."""
        raise ValueError(f"{', '.join(how)}: for models that write pictures, and this is for {self.words}")

    def score(self, model, data, split, numbers) -> dict:
        """More numbers about a split than its loss and metrics, which are `numbers`."""
        return {}

    # What a server is given

    def bare_output(self, model) -> tuple:
        """What exports call an output that the model gives no name, and what its numbers are."""
        if gives_probabilities(model):
            return "probabilities", "probabilities"
        how = "sigmoid" if model.outputs[0].shape[-1] == 1 else "softmax over the last axis"
        return "logits", f"logits ({how} gives probabilities)"

    def output_words(self, model) -> dict:
        """`{name: what it holds}` of a model's outputs in flat order: its key in a dict, else `bare_output`."""
        name, words = self.bare_output(model)
        if isinstance(model.output, dict):
            return dict.fromkeys(keyed(model.output), words)
        others = {f"auxiliary_{name}_{index}": words for index in range(1, len(model.outputs))}
        return {name: words, **others}

    def endpoints(self, model) -> dict:
        """`{signature: Endpoint}` of a SavedModel, beside `serve`."""
        from kzoo.tasks import endpoints

        return endpoints.of_classifier(self, model) if takes_images(model) else {}

    def check_pixels(self, model, format) -> None:
        """ValueError unless an export in that format can take images and give probabilities."""
        if not takes_images(model):
            taken = ", ".join(f"{tensor.dtype} {tuple(tensor.shape)}" for tensor in model.inputs)
            raise ValueError(f"with_preprocessing is for models of images of one size; {model.name} takes {taken}")


def keyed(structure) -> list:
    """A name for each leaf of a structure in flat order: its keys, joined."""
    return ["_".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(structure)]


def takes_images(model) -> bool:
    """Whether images are a model's one input."""
    inputs = list(columns.inputs_of(model).values())
    return len(inputs) == 1 and inputs[0].kind == "image" and len(inputs[0].shape) == 3


def takes_sounds(model) -> bool:
    """Whether a waveform is among a model's inputs."""
    return columns.heard(model) is not None


def takes_tokens(model) -> bool:
    """Whether texts are a model's input, as token ids."""
    return any(column.kind == "tokens" for column in columns.inputs_of(model).values())


def in_batches(x, batch_size) -> Iterator:
    """The examples of a structure of arrays in pieces of `batch_size`."""
    for begin in range(0, len(keras.tree.flatten(x)[0]), batch_size):
        yield keras.tree.map_structure(lambda array, i=begin: array[i : i + batch_size], x)


def gives_probabilities(model) -> bool:
    """Whether a classifier ends in softmax or sigmoid instead of logits."""
    return getattr(model.layers[-1], "activation", None) in (keras.activations.softmax, keras.activations.sigmoid)


def probabilities(model, outputs) -> Any:
    """Class probabilities (batch, ..., num_classes) of a model's outputs; two classes for a single logit.

    Of several outputs the first is meant: the others are auxiliary heads. Raises ValueError for results by name.
    """
    if isinstance(outputs, dict):
        raise ValueError(
            f"{model.name} gives {', '.join(outputs)}, and predictions are for models of one result: build it with "
            "another head, or call the model itself"
        )
    outputs = outputs[0] if isinstance(outputs, list | tuple) else outputs
    if not gives_probabilities(model):
        outputs = ops.sigmoid(outputs) if outputs.shape[-1] == 1 else ops.softmax(outputs)
    return ops.concatenate([1 - outputs, outputs], axis=-1) if outputs.shape[-1] == 1 else outputs


def num_classes(model) -> int:
    """How many different labels a classifier's outputs stand for: their width, or 2 for a single logit."""
    return max(2, model.outputs[0].shape[-1])


def num_outputs(model) -> int:
    """How many outputs learn the same labels: auxiliary heads make a list, several results of one head a dict."""
    return len(model.output) if isinstance(getattr(model, "output", None), list | tuple) else 1


def _label(output, repeated=1):
    """The column of labels for one output, by its rank and width."""
    if len(output.shape) > 2:
        return columns.TokenLabel(output.shape[-1], length=output.shape[1])
    return columns.Label(max(2, output.shape[-1]), repeated)


def label_by_output(model) -> dict:
    """Columns of labels by the names of a model's outputs."""
    return {name: _label(output) for name, output in model.output.items()}
