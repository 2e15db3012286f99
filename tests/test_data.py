"""Data: order and augmentation repeat exactly, splits do not leak, bad input is refused before the first step."""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import time
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from prepared_data import needs

import kzoo.data
from kzoo import tasks
from kzoo.catalog import Card
from kzoo.data import pictures, resizing, splits
from kzoo.data.augmentation import Augmentation, move
from kzoo.data.sources import prepared


def make_model(shape=(28, 28, 1), outputs=10, task="image_classification"):
    image = keras.Input(shape, name="image")
    pooled = keras.ops.mean(image, axis=tuple(range(1, len(shape)))) if len(shape) > 1 else image
    model = keras.Model(image, keras.layers.Dense(outputs)(pooled), name="small")
    model.kzoo = Card("small", task=task)
    return model


MODEL = make_model()


@pytest.fixture(autouse=True)
def no_cache_from_elsewhere(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "no_cache"))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module")
def arrays():
    random = np.random.default_rng(0)
    return random.integers(0, 256, (150, 28, 28, 1), dtype=np.uint8), random.integers(0, 10, 150)


def collect(dataset):
    x, y = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(x), np.concatenate(y)


def hashes(split):
    return {hashlib.blake2b(image.tobytes()).digest() for image in collect(split.dataset)[0]}


def test_import_needs_no_tensorflow():
    code = (
        "import sys, kzoo.data; assert not {'tensorflow', 'keras'} & set(sys.modules); "
        "import kzoo.data.synthetic, kzoo.data.checks; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing_here"):
        kzoo.data.nothing_here  # noqa: B018


def test_synthetic_batches_need_no_tensorflow():
    pytest.importorskip("jax", reason="the JAX backend is not installed")
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "import keras, kzoo; from kzoo.tasks.feeding.synthetic_batches import synthetic_batch\n"
        "x, y, weight = synthetic_batch(kzoo.build('mnist_cnn'), 4)\n"
        "assert keras.backend.backend() == 'jax' and x.shape == (4, 28, 28, 1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "KERAS_BACKEND": "jax"})


# Determinism


def test_the_order_of_an_epoch_is_the_same_in_every_release():
    """A run that was started with an older release must find the batches it was stopped at."""
    split = splits.Split((np.arange(100),), lambda rows, _: rows, 10, seed=3, shuffle=True)
    assert split.example_ids(2)[:8].tolist() == [65, 70, 62, 36, 37, 66, 46, 35]
    assert next(iter(split.epoch(2)))[0][:8].numpy().tolist() == [65, 70, 62, 36, 37, 66, 46, 35]


def test_no_epoch_starts_a_thread_that_tunes_it(arrays):
    """Dropping an iterator waits for that thread, which at times sleeps on for a minute."""
    data = kzoo.data.from_arrays(*arrays, MODEL, batch_size=32)
    assert data.train.epoch(0).options().autotune.enabled is False


def test_epochs_repeat_and_differ(arrays):
    def train(seed=0):
        return kzoo.data.from_arrays(*arrays, MODEL, batch_size=32, augment=True, seed=seed).train

    first, again = train(), train()
    for epoch in (0, 3):
        for a, b in zip(collect(first.epoch(epoch)), collect(again.epoch(epoch)), strict=True):
            np.testing.assert_array_equal(a, b)
    assert (first.example_ids(0) != first.example_ids(1)).any()
    assert (first.example_ids(0) != train(seed=1).example_ids(0)).any()
    assert sorted(first.example_ids(5)) == list(range(first.num_examples))
    by_example = [collect(first.epoch(epoch))[0][np.argsort(first.example_ids(epoch))] for epoch in (0, 1)]
    changed = (by_example[0] != by_example[1]).reshape(len(by_example[0]), -1).any(axis=1)
    assert changed.all(), "an example is augmented alike in two epochs"


def test_augmentation_does_not_depend_on_batches_threads_or_global_seed(arrays):
    parts = []
    for batch_size, seed in ((7, 1), (64, 2)):
        keras.utils.set_random_seed(seed)
        parts.append(collect(kzoo.data.from_arrays(*arrays, MODEL, batch_size=batch_size, augment=True).train.epoch(2)))
    np.testing.assert_array_equal(parts[0][0], parts[1][0])
    np.testing.assert_array_equal(parts[0][1], parts[1][1])


@pytest.mark.parametrize("skip", [0, 1, 4, 5])
def test_entering_an_epoch_late_gives_its_rest(arrays, skip):
    split = kzoo.data.from_arrays(*arrays, MODEL, batch_size=30, augment=True).train
    assert split.num_batches == 5
    whole = list(split.epoch(1).as_numpy_iterator())
    rest = list(split.epoch(1, skip_batches=skip).as_numpy_iterator())
    assert len(rest) == 5 - skip == int(split.epoch(1, skip).cardinality())
    for a, b in zip(whole[skip:], rest, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
    with pytest.raises(ValueError, match="skip_batches is 6"):
        split.epoch(1, skip_batches=6)


def test_example_ids_name_the_rows_of_each_batch(arrays):
    x, y = arrays
    data = kzoo.data.from_arrays(x, y, MODEL, validation_fraction=0, batch_size=40)
    got_x, got_y = collect(data.train.epoch(4))
    ids = data.train.example_ids(4)
    np.testing.assert_array_equal(got_y, y[ids])
    np.testing.assert_allclose(got_x, x[ids] / 255, atol=1e-7)
    assert got_x.dtype == np.float32
    assert got_y.dtype == np.int32
    assert data.validation is None
    assert data.test is None


def test_validation_is_fixed_and_unaugmented(arrays):
    x, y = arrays
    data = kzoo.data.from_arrays(x, y, MODEL, validation=(x[:50], y[:50]), augment=True, batch_size=16)
    for epoch in (0, 7):
        got_x, got_y = collect(data.validation.epoch(epoch))
        np.testing.assert_allclose(got_x, x[:50] / 255, atol=1e-7)
        np.testing.assert_array_equal(got_y, y[:50])


def test_drop_remainder_and_num_examples(arrays):
    data = kzoo.data.from_arrays(*arrays, MODEL, batch_size=32, validation_fraction=0, drop_remainder=True)
    assert data.train.num_batches == 4
    assert {len(y) for _, y in data.train.epoch(0)} == {32}
    assert kzoo.data.from_arrays(*arrays, MODEL, num_examples=20).train.num_examples == 20
    with pytest.raises(ValueError, match="num_examples is 151, but there are 150"):
        kzoo.data.from_arrays(*arrays, MODEL, num_examples=151, validation_fraction=0)


def test_fingerprint_tells_what_batches_depend_on(arrays):
    x, y = arrays

    def fingerprint(x=x, y=y, **options):
        return kzoo.data.from_arrays(x, y, MODEL, **options).fingerprint

    base = fingerprint()
    assert base == fingerprint()
    others = [
        fingerprint(seed=1),
        fingerprint(batch_size=8),
        fingerprint(augment=True),
        fingerprint(y=(y + 1) % 10),
        fingerprint(x=255 - x),
        fingerprint(preprocessing=kzoo.Preprocessing(0.1, 0.3)),
    ]
    assert all(other != base for other in others)


# Splits


def test_carved_validation_ignores_seed_and_order_and_keeps_equal_examples_together(arrays):
    x, y = np.concatenate([arrays[0]] * 2), np.concatenate([arrays[1]] * 2)  # every image twice
    shuffled = np.random.default_rng(1).permutation(len(x))
    data = kzoo.data.from_arrays(x, y, MODEL, validation_fraction=0.2)
    other = kzoo.data.from_arrays(x[shuffled], y[shuffled], MODEL, validation_fraction=0.2, seed=5)
    assert hashes(data.validation) == hashes(other.validation)
    assert not hashes(data.validation) & hashes(data.train)
    assert data.validation.num_examples + data.train.num_examples == len(x)
    assert 50 <= data.validation.num_examples <= 60


def test_carved_validation_is_the_same_for_every_model(arrays):
    small, large = (
        kzoo.data.from_arrays(*arrays, make_model(shape), validation_fraction=0.3)
        for shape in ((20, 20, 1), (28, 28, 3))
    )
    np.testing.assert_array_equal(collect(small.validation.dataset)[1], collect(large.validation.dataset)[1])
    assert "45 training examples were set aside for validation" in small.notes[0]
    assert "no test split" in small.notes[1]


def test_digits_prepare_offline_and_do_not_leak(data_dir):
    data = kzoo.data.load("digits", MODEL, data_dir=data_dir)
    assert data.class_names == list("0123456789")
    parts = {name: getattr(data, name) for name in prepared.SPLITS}
    assert {name: part.num_examples for name, part in parts.items()} == {"train": 3500, "validation": 500, "test": 1000}
    seen = {name: hashes(part) for name, part in parts.items()}
    for name, part in parts.items():
        labels = collect(part.dataset)[1]
        assert set(np.bincount(labels, minlength=10)) == {part.num_examples // 10}
        assert len(seen[name]) == part.num_examples, f"{name} holds an image twice"
    assert not (seen["train"] & seen["validation"] or seen["train"] & seen["test"] or seen["validation"] & seen["test"])
    assert (data_dir / "digits" / "ten" / "1.0.0" / "dataset_info.json").is_file()
    assert data.fingerprint == kzoo.data.load("digits", MODEL, data_dir=data_dir).fingerprint


def test_digits_of_two_classes_fit_every_small_model(data_dir):
    logit = kzoo.data.load("digits/zero_one", make_model((784,), 1, "binary_classification"), data_dir=data_dir)
    x, y = next(iter(logit.train.epoch(0)))
    assert (x.shape, y.shape, y.dtype) == ((64, 784), (64, 1), tf.float32)
    assert set(np.unique(y)) == {0.0, 1.0}
    rows = kzoo.data.load("digits/zero_one", make_model((None, 10), 2, "sequence_classification"), data_dir=data_dir)
    x, y = next(iter(rows.train.epoch(0)))
    assert (x.shape, y.shape, y.dtype) == ((64, 28, 10), (64,), tf.int32)
    assert 0 <= np.min(x) <= np.max(x) <= 1
    with pytest.raises(ValueError, match=r"labels: example \d+ has label \d.*distinguishes 2 classes.*digits/zero_one"):
        kzoo.data.load("digits", make_model(outputs=2), data_dir=data_dir)


def test_digits_prepare_in_the_cache_if_the_data_folder_is_read_only(tmp_path, monkeypatch):
    read_only = tmp_path / "shared"
    read_only.mkdir()
    read_only.chmod(0o555)
    monkeypatch.setenv("TFDS_DATA_DIR", str(read_only))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(2):
        assert kzoo.data.load("digits/zero_one", MODEL).train.num_examples == 700
    assert not list(read_only.iterdir())
    assert "digits/zero_one" in prepared.prepared_names()
    assert not list(tmp_path.rglob("*incomplete*"))


def test_interrupted_preparation_leaves_nothing_under_the_final_name(tmp_path, monkeypatch):
    from kzoo.data.sources import digits

    def stop(*_):
        raise OSError(28, "No space left on device")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(digits.Digits, "_generate_examples", stop)
        with pytest.raises(ValueError, match=r"could not prepare data set 'digits' in .*No space left"):
            kzoo.data.load("digits", MODEL, data_dir=tmp_path)
    assert not list(tmp_path.rglob("dataset_info.json"))
    assert kzoo.data.load("digits", MODEL, data_dir=tmp_path).train.num_examples == 3500


# Absent data


@pytest.mark.parametrize("name", ["cifar10", "no_such_data", "digits/eleven"])
def test_absent_data_is_one_clear_line_at_once(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    begin = time.perf_counter()
    with pytest.raises(ValueError, match=name) as caught:
        kzoo.data.load(name, MODEL, data_dir=tmp_path)
    assert time.perf_counter() - begin < 3
    message = str(caught.value)
    assert "\n" not in message
    if name != "digits/eleven":
        assert str(tmp_path) in message
        assert "--data-dir" in message
        assert "TFDS_DATA_DIR" in message
    if name == "cifar10":
        assert "--manual-dir" in message
        assert "download=True" in message
    assert not list(tmp_path.iterdir()), "looking for data wrote something"


def test_a_misspelt_name_hears_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="did you mean fashion_mnist"):
        kzoo.data.load("fashon_mnist", MODEL, data_dir=tmp_path)


def test_manual_dir_says_which_files_it_lacks(tmp_path):
    with pytest.raises(ValueError, match=r"lacks .*t10k-images-idx3-ubyte\.gz"):
        kzoo.data.load("mnist", MODEL, data_dir=tmp_path / "data", manual_dir=tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        kzoo.data.load("mnist", MODEL, data_dir=tmp_path / "data", manual_dir=tmp_path / "none")


def write_idx(folder, seed, counts):
    """Files of random images in the format in which MNIST is published, and what TFDS should expect of them."""
    import tensorflow_datasets as tfds

    random, infos = np.random.default_rng(seed), {}
    folder.mkdir()
    for part, count in counts.items():
        for kind, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            values = random.integers(0, 256 if len(shape) == 3 else 10, shape, dtype=np.uint8)
            header = np.array([2048 + len(shape), *shape], ">i4").tobytes()
            name = f"{part}-{kind}-ubyte.gz"
            packed = gzip.compress(header + values.tobytes(), mtime=0)
            (folder / name).write_bytes(packed)
            infos[name] = tfds.core.download.checksums.UrlInfo(len(packed), hashlib.sha256(packed).hexdigest(), name)
    return infos


@pytest.fixture
def own_extractor(monkeypatch):
    """TFDS keeps one pool of threads that unpack files for the life of the process; here it ends with the test."""
    from tensorflow_datasets.core.download import extractor

    own = extractor._Extractor()
    monkeypatch.setattr(extractor, "get_extractor", lambda *_, **__: own)
    yield
    own._executor.shutdown()


@pytest.mark.usefixtures("own_extractor")
def test_upstream_files_prepare_and_two_data_sets_stay_apart(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    module = sys.modules[tfds.image_classification.MNIST.__module__]
    monkeypatch.setattr(module, "_TRAIN_EXAMPLES", 40)
    monkeypatch.setattr(module, "_TEST_EXAMPLES", 10)
    loaded = {}
    for seed, (name, builder) in enumerate({"mnist": module.MNIST, "fashion_mnist": module.FashionMNIST}.items()):
        infos = write_idx(tmp_path / name, seed, {"train": 40, "t10k": 10})
        monkeypatch.setattr(builder, "url_infos", {builder.URL + file: info for file, info in infos.items()})
        loaded[name] = kzoo.data.load(name, MODEL, data_dir=tmp_path / "data", manual_dir=tmp_path / name)
        assert (loaded[name].train.num_examples, loaded[name].test.num_examples) == (36, 10)
    assert not hashes(loaded["mnist"].test) & hashes(loaded["fashion_mnist"].test)
    damaged = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"could not prepare data set 'mnist'.*train-images"):
        kzoo.data.load("mnist", MODEL, data_dir=tmp_path / "other", manual_dir=tmp_path / "mnist")
    assert not list((tmp_path / "other").rglob("dataset_info.json"))


def test_names_that_need_the_network_are_not_looked_up(tmp_path):
    with pytest.raises(ValueError, match="over the network"):
        kzoo.data.load("huggingface:mnist", MODEL, data_dir=tmp_path)


def test_a_damaged_folder_is_named(data_dir, tmp_path):
    kzoo.data.load("digits", MODEL, data_dir=data_dir)
    shutil.copytree(data_dir / "digits", tmp_path / "digits")
    (record,) = tmp_path.glob("digits/ten/*/*train.tfrecord*")
    record.write_bytes(record.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"the data set in {tmp_path}/digits.* is damaged .*prepare it again"):
        kzoo.data.load("digits", MODEL, data_dir=tmp_path)
    record.unlink()
    with pytest.raises(ValueError, match="is damaged"):
        kzoo.data.load("digits", MODEL, data_dir=tmp_path)


# Bad input


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, None])
def test_batch_size_must_be_a_positive_int(arrays, batch_size):
    with pytest.raises(ValueError, match="batch_size must be"):
        kzoo.data.from_arrays(*arrays, MODEL, batch_size=batch_size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, np.where(np.arange(150) == 3, 10, y)), r"label 10.*0\.\.9.*num_classes=11"),
        (lambda x, y: (x, np.where(np.arange(150) == 3, -1, y)), r"example 3 has label -1.*start labels at 0"),
        (lambda x, y: (x, y + 0.5), "fractions"),
        (lambda x, y: (x, np.eye(10)[y]), r"y\.argmax"),
        (lambda x, y: (x, y[:-1]), "different numbers of examples"),
        (lambda x, y: (x[:0], y[:0]), "no training examples"),
        (lambda x, y: (x.tolist(), y), "is a list"),
        (lambda x, y: (x.astype(object), y), "dtype object"),
        (lambda x, y: (x.astype(complex), y), "dtype complex128"),
        (lambda x, y: (x.astype("float32"), y), r"values reach 255.*divide by 255"),
        (lambda x, y: (x.transpose(0, 3, 1, 2), y), r"transpose\(0, 2, 3, 1\)"),
        (
            lambda x, y: (np.where(np.arange(150)[:, None, None, None] == 7, np.nan, x / 255), y),
            "example 7 contains NaN",
        ),
        (lambda x, y: (np.where(np.arange(150)[:, None, None, None] == 9, np.inf, x / 255), y), "example 9 contains"),
    ],
)
def test_bad_arrays_are_refused(arrays, change, message):
    with pytest.raises(ValueError, match=message):
        kzoo.data.from_arrays(*change(*arrays), MODEL, validation_fraction=0)


def test_a_batch_larger_than_the_data_is_one_short_batch_or_an_error(arrays):
    assert kzoo.data.from_arrays(*arrays, MODEL, batch_size=1000).train.num_batches == 1
    with pytest.raises(ValueError, match=r"no training examples.*batch size is 1000.*lower batch_size"):
        kzoo.data.from_arrays(*arrays, MODEL, batch_size=1000, drop_remainder=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"augment": "yes"}, ValueError, "augment must be"),
        ({"validation_fraction": 1}, ValueError, "validation_fraction"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"preprocessing": (1,)}, TypeError, "preprocessing must be"),
        ({"shuffel": 1}, TypeError, "unknown keyword shuffel"),
        ({"validation": np.zeros(3)}, ValueError, "must be a pair"),
    ],
)
def test_bad_options_are_refused(arrays, options, error, message):
    with pytest.raises(error, match=message):
        kzoo.data.from_arrays(*arrays, MODEL, **options)


def test_data_of_another_kind_than_the_model(data_dir):
    with pytest.raises(ValueError, match="784 pixel values.*takes 100"):
        kzoo.data.load("digits", make_model((100,)), data_dir=data_dir)
    with pytest.raises(ValueError, match="for translation"):
        kzoo.data.load("reverse_digits", MODEL)
    with pytest.raises(ValueError, match="augment moves images"):
        kzoo.data.load("synthetic", make_model((None, 10), 2, "sequence_classification"), augment=True)


# What users pass to predict


def test_check_inputs_scales_uint8_as_training_does(arrays):
    x = arrays[0]
    np.testing.assert_array_equal(kzoo.data.check_inputs(MODEL, x), kzoo.data.check_inputs(MODEL, x / np.float32(255)))
    split = kzoo.data.from_arrays(*arrays, MODEL, validation_fraction=0).train
    first = next(iter(split.epoch(0)))[0].numpy()
    np.testing.assert_array_equal(kzoo.data.check_inputs(MODEL, x[split.example_ids(0)[:64]]), first)
    assert kzoo.data.check_inputs(MODEL, tf.constant(x)).dtype == np.float32


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[0.0]], "is a list"),
        ("a picture", "is a str"),
        (np.array(["a"]), "dtype <U1"),
        (np.array([None]), "dtype object"),
        (np.zeros((2, 28, 28, 1), complex), "dtype complex128"),
        (np.zeros((28, 28, 1)), r"x\[None\]"),
        (np.zeros((5, 28, 28)), r"x\[\.\.\., None\]"),
        (np.zeros((2, 1, 28, 28)), r"wanted \(batch, 28, 28, 1\).*transpose\(0, 2, 3, 1\)"),
        (np.zeros((2, 28, 28, 3)), r"wanted \(batch, 28, 28, 1\)"),
        (np.zeros((2, 27, 28, 1)), "reshape or resize"),
        (np.zeros((0, 28, 28, 1)), "is empty"),
        (np.full((2, 28, 28, 1), np.nan), "example 0 .and 1 more. contains NaN"),
        (np.full((2, 28, 28, 1), 255), "divide by 255"),
    ],
)
def test_check_inputs_refuses(x, message):
    with pytest.raises(ValueError, match=message):
        kzoo.data.check_inputs(MODEL, x)


# Images


def test_images_are_fitted_to_inputs_of_every_rank():
    grey, colour = np.full((3, 28, 28, 1), 51, np.uint8), np.full((3, 32, 20, 3), 51, np.uint8)
    for source, wanted in ((grey, (24, 24, 3)), (grey, (28, 28, 1)), (colour, (24, 24, 1)), (colour, (None, None, 3))):
        data = kzoo.data.from_arrays(source, np.zeros(3, int), make_model(wanted), validation_fraction=0)
        x = next(iter(data.train.dataset))[0].numpy()
        assert x.shape == (3, *(want or size for want, size in zip(wanted, source.shape[1:], strict=True)))
        np.testing.assert_allclose(x, 0.2, atol=1e-6)
    for source, wanted, shape in (
        (colour, (1920,), (3, 1920)),
        (grey, (14, 7), (3, 14, 7)),
        (grey, (None, 5), (3, 28, 5)),
    ):
        data = kzoo.data.from_arrays(source, np.zeros(3, int), make_model(wanted), validation_fraction=0)
        x = next(iter(data.train.dataset))[0].numpy()
        assert x.shape == shape
        np.testing.assert_allclose(x, 0.2, atol=1e-6)


def test_images_that_need_no_resizing_stay_uint8_in_memory(arrays):
    assert kzoo.data.from_arrays(*arrays, MODEL).train.rows[0].dtype == tf.uint8


def test_images_too_large_when_resized_are_resized_by_batch(arrays, monkeypatch):
    model = make_model((35, 35, 1))
    whole = kzoo.data.from_arrays(*arrays, model).train
    monkeypatch.setattr(pictures, "MEMORY_LIMIT", 200_000)
    batched = kzoo.data.from_arrays(*arrays, model).train
    assert (whole.rows[0].dtype, batched.rows[0].dtype) == (tf.float32, tf.uint8)
    np.testing.assert_allclose(collect(whole.epoch(1))[0], collect(batched.epoch(1))[0], atol=1e-6)


def test_normalization(arrays):
    plain = kzoo.data.from_arrays(*arrays, MODEL, validation_fraction=0)
    normal = kzoo.data.from_arrays(*arrays, MODEL, validation_fraction=0, preprocessing=kzoo.Preprocessing(0.5, 0.25))
    np.testing.assert_allclose(
        (collect(plain.train.dataset)[0] - 0.5) / 0.25, collect(normal.train.dataset)[0], atol=1e-6
    )


def test_augmentation_moves_by_at_most_what_it_says():
    dot = np.zeros((1, 29, 29, 1), np.float32)
    dot[0, 14, 14] = 1

    def centre(random, **options):
        transforms = Augmentation(**options).transforms(tf.constant([random], tf.float32), (29, 29))
        moved = move(tf.constant(dot), transforms).numpy()[0, :, :, 0]
        rows, columns = np.indices(moved.shape)
        return (rows * moved).sum() / moved.sum(), (columns * moved).sum() / moved.sum()

    still = {"rotation": 0, "zoom": 0}
    assert centre([0.5] * 5, shift=0.1) == pytest.approx((14, 14), abs=1e-3)
    assert centre([1, 0.5, 0.5, 0.5, 0.5], shift=2 / 29, **still) == pytest.approx((12, 14), abs=1e-3)
    assert centre([0.5, 0, 0.5, 0.5, 0.5], shift=2 / 29, **still) == pytest.approx((14, 16), abs=1e-3)
    dot[0, 14, 14], dot[0, 14, 24] = 0, 1  # ten pixels right of the centre: a quarter turn puts it above or below
    row, column = centre([0.5, 0.5, 1, 0.5, 0.5], shift=0, rotation=90, zoom=0)
    assert (abs(row - 14), column) == pytest.approx((10, 14), abs=1e-2)
    assert centre([0.5, 0.5, 0.5, 0.5, 0.2], flip=True) == pytest.approx((14, 4), abs=1e-3)
    with pytest.raises(ValueError, match="zoom must be from 0 to 0.9"):
        Augmentation(zoom=2)


def test_images_without_a_way_to_the_input_are_refused():
    for source, wanted in (((28, 28, 4), (28, 28, 1)), ((28, 28, 1), (28, 28, 2)), ((28, 28, 3), (100,))):
        with pytest.raises(ValueError, match="images"):
            resizing.image_shape(source, wanted)


# Streamed splits


def streamed(batch_size=8):
    def draw(key, count):
        return tf.random.stateless_uniform((count, 2), key)

    def read():
        return tf.data.Dataset.range(103)

    return splits.StreamedSplit(read, 103, 20, lambda *batch: batch, batch_size, shuffle=True, draw=draw)


def test_streamed_splits_repeat_differ_and_can_be_entered_late():
    split = streamed()
    epochs = {epoch: list(split.epoch(epoch).as_numpy_iterator()) for epoch in (0, 1)}
    order = np.concatenate([rows for rows, _ in epochs[1]])
    np.testing.assert_array_equal(order, split.example_ids(1))
    assert sorted(order) == list(range(103))
    assert (order != np.concatenate([rows for rows, _ in epochs[0]])).any()
    keras.utils.set_random_seed(9)
    for skip in (0, 5, 12):
        rest = list(streamed().epoch(1, skip).as_numpy_iterator())
        assert len(rest) == 13 - skip
        for a, b in zip(epochs[1][skip:], rest, strict=True):
            np.testing.assert_array_equal(a[0], b[0])
            np.testing.assert_array_equal(a[1], b[1])
    other = list(streamed(batch_size=50).epoch(1).as_numpy_iterator())
    np.testing.assert_array_equal(
        np.concatenate([random for _, random in other]), np.concatenate([random for _, random in epochs[1]])
    )


def test_a_stream_shorter_than_promised_is_an_error():
    short = splits.StreamedSplit(lambda: tf.data.Dataset.range(90), 103, 20, lambda rows, _: rows, 8)
    with pytest.raises(tf.errors.FailedPreconditionError, match="contain"):
        list(short.epoch(0))


def test_large_images_stream_to_the_same_examples(data_dir, monkeypatch):
    model = make_model((14, 14, 3))
    memory = kzoo.data.load("digits/zero_one", model, data_dir=data_dir)
    monkeypatch.setattr(pictures, "MEMORY_LIMIT", 1000)
    monkeypatch.setattr(pictures, "BLOCK_BYTES", 4 * 14 * 14 * 300)
    stream = kzoo.data.load("digits/zero_one", model, data_dir=data_dir)
    assert isinstance(stream.train, splits.StreamedSplit)
    assert stream.train.block_size == 300
    for name in prepared.SPLITS:
        a, b = getattr(memory, name), getattr(stream, name)
        (xa, ya), (xb, yb) = (
            tuple(part[np.argsort(split.example_ids(1))] for part in collect(split.epoch(1))) for split in (a, b)
        )
        np.testing.assert_array_equal(ya, yb)
        np.testing.assert_allclose(xa, xb, atol=1e-6)
    augmented = kzoo.data.load("digits/zero_one", model, data_dir=data_dir, augment=True).train
    whole, late = collect(augmented.epoch(3))[0], collect(augmented.epoch(3, skip_batches=9))[0]
    np.testing.assert_array_equal(whole[9 * 64 :], late)


# Real prepared data


@needs("fashion_mnist")
def test_prepared_data_without_validation_is_carved():
    data = kzoo.data.load("fashion_mnist", MODEL, augment=True)
    assert (data.train.num_examples, data.validation.num_examples, data.test.num_examples) == (54000, 6000, 10000)
    assert data.class_names[0] == "T-shirt/top"
    assert not hashes(data.validation) & {
        hashlib.blake2b(image.tobytes()).digest()
        for image in data.train.rows[0].numpy().astype(np.float32) / np.float32(255)
    }


@needs("mnist")
def test_sixty_thousand_images_are_iterated_fast():
    data = kzoo.data.load("mnist", MODEL, validation_fraction=0)
    assert data.validation is None
    times = []
    for epoch in range(3):
        begin = time.perf_counter()
        assert sum(1 for _ in data.train.epoch(epoch)) == 938
        times.append(time.perf_counter() - begin)
    assert min(times) < 2, f"an epoch of 60,000 images took {min(times):.2f} s"


@needs("stamps_captions")
@needs("shakespeare")
def test_prepared_data_that_does_not_fit_says_why():
    with pytest.raises(ValueError, match="caption .text.*image classification"):
        kzoo.data.load("stamps_captions", MODEL)
    with pytest.raises(ValueError, match="declares no .input, target. pair; its features are"):
        kzoo.data.load("shakespeare", MODEL)


# Synthetic data


def test_synthetic_batches_fit_the_model():
    for shape, outputs, task, label in (
        ((28, 28, 1), 10, "image_classification", (6,)),
        ((None, 10), 2, "sequence_classification", (6,)),
        ((784,), 1, "binary_classification", (6, 1)),
    ):
        model = make_model(shape, outputs, task)
        x, y, weight = kzoo.data.synthetic_batch(model, 6, sequence_length=5)
        assert x.shape == (6, *(size or 5 for size in shape))
        assert y.shape == label
        assert 0 <= y.min() <= y.max() < max(outputs, 2)
        assert weight is None
        assert model(x).shape == (6, outputs)
        np.testing.assert_array_equal(x, kzoo.data.synthetic_batch(model, 6, sequence_length=5)[0])
        assert (x != kzoo.data.synthetic_batch(model, 6, seed=1, sequence_length=5)[0]).any()
        data = kzoo.data.load("synthetic", model)
        assert (data.train.num_examples, data.validation.num_examples, data.test.num_examples) == (1024, 128, 128)
        tasks.compile_model(model)
        model.fit(data.train.dataset.take(1), shuffle=False, verbose=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        kzoo.data.synthetic_batch(MODEL, 0)


def test_a_copy_of_this_process_says_that_it_would_hang():
    """After a fork the threads of TensorFlow are gone; a child that starts anew works."""
    x = np.zeros((1, 28, 28, 1), "uint8")
    kzoo.predict(kzoo.build("mnist_cnn"), x)
    read, write = os.pipe()
    with warnings.catch_warnings(action="ignore"):  # other libraries warn of what is to come
        child = os.fork()
    if not child:
        try:
            kzoo.predict(None, x)
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1000).startswith(b"RuntimeError: kzoo.predict would wait for ever: this process was copied")
    kzoo.predict(kzoo.build("mnist_cnn"), x)
