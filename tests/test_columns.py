"""What kind of thing each input and target is: said by the model files, asked by checks and pipelines."""

import os

import keras
import numpy as np
import pytest
from keras import layers

import kzoo
from kzoo import catalog, tasks
from kzoo.catalog import Card
from kzoo.data import columns
from kzoo.tasks.feeding.synthetic_batches import synthetic_batch

NETWORKS = {
    entry.architecture for entry in catalog.entries().values() if "INPUTS" in catalog.literals(entry.architecture)
}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_model_file_names_the_kind_of_each_input(name):
    from kzoo.measure import without_weights

    declared = catalog.literals(name)["INPUTS"]
    model = without_weights(lambda: kzoo.build(name))  # keywords may add inputs
    found = {key: column.kind for key, column in columns.inputs_of(model).items()}
    assert found.items() <= declared.items()
    assert set(declared.values()) <= set(columns.KINDS)


def picture_and_text(classes=3):
    """A model of both, which no catalogue entry is yet."""
    image = keras.Input((8, 8, 3), name="image")
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    words = layers.Embedding(20, 4, name="words")(ids)
    weights = layers.Reshape((-1, 1), name="weights")(mask)
    text = layers.GlobalAveragePooling1D(name="mean")(layers.Multiply(name="real")([words, weights]))
    x = layers.Concatenate(name="both")([layers.Flatten(name="flat")(image), text])
    model = keras.Model({"image": image, "token_ids": ids, "padding_mask": mask}, layers.Dense(classes, name="fc")(x))
    model.kzoo = Card("both", task="image_classification", preprocessing=kzoo.Preprocessing(0.5, 0.25))
    return model


@pytest.fixture(scope="module")
def pair():
    random = np.random.default_rng(0)
    x = {
        "image": random.integers(0, 256, (40, 16, 16, 3), "uint8"),
        "token_ids": random.integers(1, 20, (40, 6)),
        "padding_mask": np.ones((40, 6), int),
    }
    return x, random.integers(0, 3, 40)


def test_a_picture_and_a_text_in_one_model(pair, tmp_path):
    x, y = pair
    model = picture_and_text()
    assert [column.kind for column in columns.inputs_of(model).values()] == ["image", "mask", "tokens"]
    data = kzoo.data.from_arrays(x, y, model, batch_size=8, validation_fraction=0)
    batch, labels = data.train.examples([0, 1])
    assert batch["image"].shape == (2, 8, 8, 3) and batch["token_ids"].shape == (2, 6) and labels.shape == (2,)
    # Fitted to the input, scaled and normalised: (0..1 - 0.5) / 0.25.
    assert -2 <= batch["image"].numpy().min() < -1 and 1 < batch["image"].numpy().max() <= 2
    np.testing.assert_array_equal(batch["token_ids"], x["token_ids"][:2])
    run = kzoo.fit(model, data, tmp_path / "run", epochs=1, progress=False)
    assert len(run.history) == 1


def test_augmentation_changes_the_picture_alone_and_repeats(pair):
    x, y = pair
    data = kzoo.data.from_arrays(x, y, picture_and_text(), augment=True, batch_size=8, validation_fraction=0)
    plain, first, again, later = (data.train.examples([3], epoch)[0] for epoch in (None, 0, 0, 1))
    assert not np.allclose(plain["image"], first["image"]) and not np.allclose(first["image"], later["image"])
    np.testing.assert_array_equal(first["image"], again["image"])
    np.testing.assert_array_equal(first["token_ids"], plain["token_ids"])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"token_ids": np.full((40, 6), 20)}, r"token id 20 at \[0, 0\] is outside the vocabulary 0..19"),
        ({"image": np.full((40, 16, 16, 3), 99.0)}, "values reach 99"),
        ({"image": np.zeros((39, 16, 16, 3), "uint8")}, r"different numbers of examples: \[39, 40\]"),
    ],
)
def test_each_column_checks_its_own(pair, change, message):
    x, y = pair
    with pytest.raises(ValueError, match=message):
        kzoo.data.from_arrays({**x, **change}, y, picture_and_text())


def test_random_batches_ask_the_columns():
    model = picture_and_text()
    x, y, weight = synthetic_batch(model, 5, sequence_length=7)
    assert x["token_ids"].min() >= 1 and x["token_ids"].max() < 20 and (x["padding_mask"] == 1).all()
    assert x["image"].min() >= 0 and x["image"].max() < 1 and y.shape == (5,) and weight is None
    again, _, _ = synthetic_batch(model, 5, sequence_length=7)
    np.testing.assert_array_equal(x["image"], again["image"])


def test_a_model_of_ones_own_is_read_by_names_dtypes_and_ranks():
    inputs = [
        keras.Input((4,), name="x"), keras.Input((9, 4), name="rows"), keras.Input((8, 8, 1), name="photo"),
        keras.Input((3,), dtype="int32", name="words"), keras.Input((3,), dtype="int32", name="segment_ids"),
    ]  # fmt: skip
    flat = [layers.Flatten()(layers.Embedding(2, 2)(x) if x.dtype == "int32" else x) for x in inputs]
    model = keras.Model(inputs, layers.Dense(2)(layers.Concatenate()(flat)))
    assert [c.kind for c in columns.inputs_of(model).values()] == ["numbers", "sequence", "image", "tokens", "segments"]


def test_targets_are_the_tasks():
    assert isinstance(tasks.of(kzoo.build("perceptron")).target(kzoo.build("perceptron")), columns.Logit)
    googlenet = kzoo.build("googlenet", auxiliary=True, num_classes=3, input_shape=(64, 64, 3))
    x, y, _ = synthetic_batch(googlenet, 2)
    assert len(y) == 3 and all((one == y[0]).all() for one in y)
    tags, weight = columns.TokenLabel(4).check("tags", np.array([[1, -100]]), {"padding_mask": np.ones((1, 2))})
    assert tags.tolist() == [[1, 0]] and weight.tolist() == [[1, 0]]
    with pytest.raises(ValueError, match="wanted one label per token"):
        columns.TokenLabel(4).check("tags", np.array([[1, 2]]), {"padding_mask": np.ones((1, 3))})


def header(shape) -> bytes:
    """The beginning of a .npy file that declares a shape and holds nothing of it."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text + b"\n"


def test_files_of_arrays_that_cannot_be_read_are_named(tmp_path):
    """An archive under another name, four terabytes declared in a hundred bytes, an array of 64 axes, a pipe."""
    (column,) = columns.inputs_of(kzoo.build("cnn")).values()
    with open(tmp_path / "archive.npy", "wb") as file:
        np.savez(file, a=np.zeros(3))
    (tmp_path / "bomb.npy").write_bytes(header((10**6, 10**6)))
    (tmp_path / "deep.npy").write_bytes(header((1,) * 64) + bytes(4))
    os.mkfifo(tmp_path / "pipe.npy")
    for name, words in (
        ("archive", "archive of several arrays"),
        ("bomb", "mmap length is greater"),
        ("pipe", "no file"),
    ):
        with pytest.raises(ValueError, match=rf"{name}\.npy.*{words}|{words}.*{name}\.npy"):
            column.read(tmp_path / f"{name}.npy")
    with pytest.raises(ValueError, match="wanted"):
        column.prepare(column.read(tmp_path / "deep.npy"), kzoo.Preprocessing())


@pytest.mark.parametrize(("name", "least"), [("vgg11", 32), ("inception_v3", 75), ("cnn", None)])
def test_images_too_small_for_an_open_size_are_refused_by_the_smallest(name, least):
    model = kzoo.build(name, input_shape=(None, None, 3)) if least else kzoo.build(name)
    if least is None:
        kzoo.predict(model, np.zeros((1, 1, 1, 3), "uint8"))  # resized
        return
    for size in ((least - 1, 300), (8, 8)):
        with pytest.raises(ValueError, match=f"images of {size[0]}x{size[1]} are too small.*{least}x{least} or more"):
            kzoo.data.check_inputs(model, np.zeros((1, *size, 3), "float32"))
    kzoo.data.check_inputs(model, np.zeros((1, least, least, 3), "float32"))
