"""Data as people of Keras, pandas and Hugging Face hand it over, and texts in Python."""

import logging
import pathlib

import keras
import numpy as np
import pytest
import small_runs as runs
import tensorflow as tf

import kzoo
from kzoo.data import Tokenizer
from kzoo.tasks.feeding import given

X = np.random.default_rng(0).random((40, 5), "float32")
Y = np.arange(40) % 2
SMALL = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 8, "vocabulary_size": 40}
TEXTS = [f"a {word} film {place}" for place in range(20) for word in ("good", "bad")]


def make(**overrides):
    keras.utils.set_random_seed(0)
    return kzoo.build("mlp", **{"input_shape": (5,), "hidden_dims": (4,), "num_classes": 2, **overrides})


def fit(model, *data, **choices):
    kzoo.fit(model, *data, epochs=1, progress=False, batch_size=8, **choices)
    return model.get_weights()


class Rows(keras.utils.PyDataset):
    """Batches of 8, the last of 6."""

    def __init__(self, y=Y, count=38):
        super().__init__()
        self.y, self.count = y, count

    def __len__(self):
        return -(-self.count // 8)

    def __getitem__(self, index):
        rows = slice(index * 8, min((index + 1) * 8, self.count))
        return X[rows], self.y[rows]


class Table:
    """A data set of Hugging Face, as far as kzoo looks at one."""

    def __init__(self, columns, features=()):
        self.columns_, self.features = columns, dict(features)
        self.column_names = list(columns)

    def __len__(self):
        return len(next(iter(self.columns_.values())))

    def __getitem__(self, name):
        return self.columns_[name]


class ClassLabel:
    names = ["no", "yes"]


def test_every_form_of_arrays_is_the_same(tmp_path):
    wanted = fit(make(), kzoo.data.from_arrays(X, Y, make(), batch_size=8))
    forms = [
        ((X, Y), {}), (((X, Y),), {}), (([X, Y],), {}), ((X, Y.tolist()), {}), ((X,), {"y": Y}),
        ((X, Y, str(tmp_path / "first")), {}), ((X, Y, tmp_path / "second"), {}), ((X,), {"y": Y, "run_folder": None}),
    ]  # fmt: skip
    for data, more in forms:
        for ours, theirs in zip(fit(make(), *data, **more), wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert (tmp_path / "first" / "run.json").is_file() and (tmp_path / "second" / "run.json").is_file()


def test_tables():
    pandas = pytest.importorskip("pandas")
    wanted = fit(make(), X, Y)
    frame = pandas.DataFrame(X, columns=list("abcde"))
    words = pandas.Series(["no", "yes"] * 20)
    held = Table({**{name: X[:, place].tolist() for place, name in enumerate("abcde")}, "label": Y.tolist()})
    held.features["label"] = ClassLabel()
    for data, more in [
        ((frame, pandas.Series(Y)), {}), ((frame, words), {}), ((frame.assign(label=words),), {}),
        ((frame.assign(kind=words),), {"y": "kind"}), ((held,), {}), (({"train": held, "test": held},), {}),
    ]:  # fmt: skip
        model = make()
        for ours, theirs in zip(fit(model, *data, **more), wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert model.kzoo.class_names in (["no", "yes"], None)
    assert model.kzoo.class_names == ["no", "yes"]
    with pytest.raises(ValueError, match="which column is to be learned.*one of a, b, c, d, e"):
        fit(make(), frame)
    with pytest.raises(ValueError, match="'f' is no column"):
        fit(make(), frame, y="f")
    with pytest.raises(ValueError, match="columns word are not those"):
        fit(make(), frame.assign(word="x", label=Y))


def test_columns_are_named(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde")).assign(kind=Y, other=0.0)
    frame.to_csv(tmp_path / "a.csv", index=False)
    for names, y in ("e,d,c,b,a:kind", None), (["4", "3", "2", "b", "a", "kind"], None), ([list("edcba"), []], Y):
        found = given.read(make(), frame, y, names=names)
        np.testing.assert_array_equal(found.x, X[:, ::-1])
        np.testing.assert_array_equal(found.y, Y)
    np.testing.assert_array_equal(given.read(make(), frame, names="a,b,c:d,e").y, X[:, 3:])
    for data, split in (frame, "test"), (tmp_path / "a.csv", "all"):
        model = make()
        kzoo.fit(model, data, columns="e,d,c,b,a:kind", epochs=1, progress=False)
        assert kzoo.evaluate(model, data, split, columns="e,d,c,b,a:kind")["num_examples"] == 40
    for data, names, y, message in [
        (frame, "a,f", None, "the table has no column 'f'; it has a, b, c"),
        (X, "a,b", Y, "is for tables, and ndarray is none"),
        (frame, "a,b", "kind", "names what is to be learned, and y was passed"),
        (kzoo.data.from_arrays(X, Y, make()), "a,b", None, "arrays is loaded already"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            kzoo.evaluate(make(), data, y=y, columns=names)


def test_pictures_in_a_table():
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (10, 6, 6), "uint8")
    table = Table({"image": [image.fromarray(one) for one in pixels], "label": [0, 1] * 5})
    model = make(input_shape=(6, 6, 1))
    found = given.read(model, table)
    np.testing.assert_array_equal(found.x, pixels)
    assert fit(model, table)


@pytest.mark.parametrize("kind", ["tf.data", "PyDataset", "list-like"])
def test_batches(kind, tmp_path, caplog):
    source = Rows()
    if kind == "tf.data":
        source = tf.data.Dataset.from_tensor_slices((X[:38], Y[:38])).batch(8)
    elif kind == "list-like":
        source = type("Loader", (), {"__len__": lambda _: 5, "__iter__": lambda _: (Rows()[i] for i in range(5))})()
    with caplog.at_level(logging.WARNING, "kzoo"):
        model = make()
        kzoo.fit(model, source, tmp_path / "run", epochs=2, progress=False, validation_data=(X[30:], Y[30:]))
    assert caplog.text.count("in their maker's order") == 1
    plain = make()
    plain.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    plain.fit(tf.data.Dataset.from_tensor_slices((X[:38], Y[:38])).batch(8), epochs=2, verbose=0, shuffle=False)
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    numbers, same = kzoo.evaluate(model, source), kzoo.evaluate(model, X[:38], Y[:38])
    assert numbers["num_examples"] == same["num_examples"] == 38
    assert numbers["loss"] == pytest.approx(same["loss"], rel=1e-5)
    assert numbers["accuracy"] == pytest.approx(same["accuracy"])


def test_a_run_of_batches_in_a_fixed_order_resumes(tmp_path):
    def train(folder, **choices):
        model = make()
        kzoo.fit(model, Rows(), folder, epochs=2, progress=False, backup_steps=1, **choices)
        return model.get_weights()

    wanted = train(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="the user's own words"):
        stop = runs.Stop(runs.fail, epoch=2, step=3)
        train(tmp_path / "run", callbacks=[stop], steps_per_execution=1)
    for ours, theirs in zip(train(tmp_path / "run", resume=True), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("how", [kzoo.Preprocessing(0.5, 0.25), kzoo.Preprocessing()])
def test_images_in_batches_are_normalised_as_arrays_are(how):
    images = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 1), "uint8")
    model = make(input_shape=(6, 6, 1))
    kzoo.catalog.update_card(model, preprocessing=how)
    batches = tf.data.Dataset.from_tensor_slices((images, Y[:8])).batch(8)
    ours = given.read(model, batches).train.dataset.get_single_element()[0]
    arrays = kzoo.data.from_arrays(images, Y[:8], model, validation_fraction=0)
    np.testing.assert_allclose(ours, arrays.train.as_it_is().examples(range(8))[0], atol=1e-6)


@pytest.mark.parametrize(
    "data, message",
    [
        (tf.data.Dataset.from_tensor_slices((X, Y)).batch(8).repeat(), "batches train never ends: .* dataset.take"),
        (tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda x, y: y > 0).batch(8), "assert_cardinality"),
        (((X, Y) for _ in range(3)), "a generator has no length"),
        (type("Streamed", (), {"column_names": ["x"], "__iter__": None})(), "a Streamed has no length"),
        (Rows(Y + 1), "batches train labels: example 1 has label 2, .* num_classes=3"),
        (Rows(np.where(np.arange(40) == 37, 7, Y)), "batches train labels: example 5 has label 7"),
        (tf.data.Dataset.from_tensor_slices(X).batch(8), "wanted batches .x, y. or .x, y, weight."),
        ((X, Y, Y), "must be a pair .x, y.*got a tuple of 3"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        kzoo.fit(make(), data, epochs=1, progress=False)


def test_targets_belong_to_arrays():
    with pytest.raises(ValueError, match="y goes with arrays"):
        fit(make(), "synthetic", y=Y)
    with pytest.raises(TypeError, match="two run folders"):
        kzoo.fit(make(), X, Y, "one", "two")
    with pytest.raises(ValueError, match="batches hold their own targets"):
        kzoo.fit(make(), Rows(), Y)


def test_a_split_tells_keras_what_it_is():
    data, model = kzoo.data.from_arrays(X, Y, make()), make()
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"\.dataset is a tf\.data\.Dataset of them, as Keras takes it"):
        model.fit(data.train)


def test_a_path_is_a_name(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for place in range(4):
            image.fromarray(np.full((6, 6), 20 * place, "uint8")).save(tmp_path / name / f"{place}.png")
    model = make(input_shape=(6, 6, 1))
    kzoo.fit(model, pathlib.Path(tmp_path), epochs=1, progress=False)
    assert kzoo.evaluate(model, pathlib.Path(tmp_path), "train")["num_examples"] > 0


def test_a_loss_and_metrics_of_ones_own(tmp_path):
    y = X @ np.arange(5)
    model = make(num_classes=1, task="regression")
    run = kzoo.fit(model, X, y, epochs=1, progress=False, loss="mae", metrics=["mse"], validation_data=(X, y))
    row = run.history[0]
    assert row["val_loss"] == pytest.approx(row["val_mean_absolute_error"], rel=1e-5)
    assert row["val_mean_squared_error"] == pytest.approx(row["val_root_mean_squared_error"] ** 2, rel=1e-5)
    model = make()
    auc = keras.metrics.SparseCategoricalCrossentropy(name="nats")
    run = kzoo.fit(
        model, X, Y, epochs=1, progress=False, loss="sparse_categorical_crossentropy", metrics=[auc, "accuracy"],
        validation_data=(X, Y), run_folder=tmp_path / "run",
    )  # fmt: skip
    # Both know that the outputs are logits.
    wanted = -np.mean(np.log(kzoo.predict(model, X)[np.arange(40), Y]))
    assert run.history[0]["val_loss"] == pytest.approx(wanted, rel=1e-4)
    assert run.history[0]["val_nats"] == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(ValueError, match="cannot be resumed like this: loss was"):
        kzoo.fit(make(), X, Y, tmp_path / "run", epochs=1, progress=False, validation_data=(X, Y), resume=True)


@pytest.mark.parametrize(
    "loss, message",
    [
        ("mse", "compares numbers, and mlp learns the places of classes"),
        (keras.losses.CategoricalCrossentropy(from_logits=True), "compares numbers, and mlp"),
        (keras.losses.SparseCategoricalCrossentropy(), "takes probabilities, and mlp gives logits: pass from_logits="),
    ],
)
def test_a_loss_that_reads_outputs_wrongly_is_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        fit(make(), X, Y, loss=loss)


def reader(head, **overrides):
    keras.utils.set_random_seed(0)
    model = kzoo.build("bert", head=head, **SMALL, **overrides)
    kzoo.catalog.update_card(model, tokenizer=Tokenizer.train("characters", TEXTS, 40, mask=True))
    return model


def test_texts_are_fitted_with_words_as_labels():
    model = reader("classification", num_classes=2)
    kzoo.fit(model, TEXTS, ["good", "bad"] * 20, epochs=1, progress=False, warmup_steps=0, schedule="constant")
    assert model.kzoo.class_names == ["bad", "good"]
    pair = reader("classification", num_classes=2)
    kzoo.fit(pair, (TEXTS, TEXTS[::-1]), Y, epochs=1, progress=False, warmup_steps=0, schedule="constant")
    assert kzoo.evaluate(pair, (TEXTS, TEXTS[::-1]), Y)["num_examples"] == 40


def test_every_text_head_reads_texts():
    texts = ["a good film", "bad"]
    model = reader("classification", num_classes=3)
    found = kzoo.predict(model, texts)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(kzoo.predict(model, ["bad"]), found[1:], atol=1e-5)  # padding changes nothing
    both = kzoo.predict(model, (texts, ["a film", "a bad film"]))
    assert both.shape == (2, 3) and not np.array_equal(both, found)
    value = kzoo.predict(reader("classification", num_classes=1, task="regression"), texts)
    assert value.shape == (2, 1)
    tagged = kzoo.predict(reader("token_classification", num_classes=3), texts)
    assert [row["text"] for row in tagged] == texts and tagged[0]["tokens"][1]["token"] == "a"
    (row,) = kzoo.predict(reader("masked_words"), ["a g[MASK]od film"])
    assert len(row["masks"]) == 1 and len(row["masks"][0]) == 3
    features = kzoo.predict(reader("none"), texts)
    assert features["pooled"].shape == (2, 8)
    gpt = kzoo.build("gpt2", num_layers=1, hidden_dim=8, num_heads=2, vocabulary_size=40, max_length=16)
    kzoo.catalog.update_card(gpt, tokenizer=Tokenizer.train("characters", TEXTS, 40))
    assert len(kzoo.predict(gpt, texts)[0]["classes"]) == 3


def test_embeddings_have_length_one(tmp_path):
    model = reader("embedding")
    kzoo.save(model, tmp_path / "saved")
    model = kzoo.load(tmp_path / "saved")
    assert isinstance(model.kzoo.tokenizer, Tokenizer)
    found = kzoo.embed(model, ["a good film", "a bad film", "a good film"])
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-5)
    assert (found @ found.T)[0, 2] == pytest.approx(1, abs=1e-5)
    pictures = kzoo.build("resnet20", num_classes=0)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    features = kzoo.predict(pictures, images)
    assert features.shape == (2, 64) and abs(features.sum(-1) - 1).min() > 0.1  # no probabilities
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    np.testing.assert_allclose(kzoo.embed(pictures, images), features / lengths, rtol=1e-5)
    with pytest.raises(ValueError, match="gives no vector for an example: build it with head='embedding'"):
        kzoo.embed(reader("classification"), ["a"])


@pytest.mark.parametrize(
    "make_model, message",
    [
        (lambda: kzoo.build("bert", head="classification", **SMALL), "needs a tokenizer to read texts"),
        (make, "mlp takes image, no texts"),
    ],
)
def test_models_that_read_no_texts_say_so(make_model, message):
    with pytest.raises(ValueError, match=message):
        kzoo.predict(make_model(), ["a film"])
