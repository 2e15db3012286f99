"""The Fréchet distance, precision and recall beside their definitions, and features of a classifier."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.tasks.generated_pictures import distances, scoring


def drawn(count, dim, seed, shift=0.0):
    random = np.random.default_rng(seed)
    return random.standard_normal((count, dim)) @ random.standard_normal((dim, dim)) + shift


@pytest.mark.parametrize("counts", [(60, 50), (5, 7), (60, 4), (13, 12)])
def test_frechet_distance_is_that_of_its_definition(counts):
    """Also where there are fewer examples than features, and covariances are singular."""
    real, fake = drawn(counts[0], 12, 0), drawn(counts[1], 12, 1, shift=0.5)
    first, second = np.cov(real.T), np.cov(fake.T)
    # the eigenvalues of the product are those of a matrix that is symmetric
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    common = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    wanted = np.sum((real.mean(0) - fake.mean(0)) ** 2) + np.trace(first) + np.trace(second) - 2 * common
    assert distances.frechet_distance(real, fake) == pytest.approx(wanted, rel=1e-6)


def test_frechet_distance_of_known_distributions():
    rows = drawn(200, 3, 2)
    assert distances.frechet_distance(rows, rows[::-1]) == pytest.approx(0, abs=1e-9)
    assert distances.frechet_distance(rows, rows + [1, 0, 2]) == pytest.approx(5)
    centred = rows - rows.mean(axis=0)
    assert distances.frechet_distance(centred, 3 * centred) == pytest.approx(4 * np.trace(np.cov(rows.T)))


def test_precision_and_recall_by_hand():
    real = np.array([[0.0], [1], [2], [3], [10], [11], [12], [13]])
    fake = np.array([[0.5], [1.5], [2.5], [3.5], [100], [101]])
    # the third neighbour of 3 is 3 away and so 3.5 lies within; of 3.5 that is 3 away, and of 100 beyond 10 and more
    assert distances.precision_and_recall(real, fake) == (4 / 6, 8 / 8)
    assert distances.precision_and_recall(real, fake[:4]) == (1.0, 0.5)
    assert distances.precision_and_recall(fake[:4], real) == (0.5, 1.0)


def test_pieces_change_nothing(monkeypatch):
    real, fake = drawn(30, 4, 0), drawn(25, 4, 1)
    wanted = distances.precision_and_recall(real, fake)
    monkeypatch.setattr(distances, "PIECE", 7)
    assert distances.precision_and_recall(real, fake) == wanted and 0 < wanted[0] < 1


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (np.zeros((4, 3)), np.zeros((4, 2)), "real has 3 features an example and fake 2"),
        (np.zeros((1, 3)), np.zeros((4, 3)), r"real must be .* at least two examples, got \(1, 3\)"),
        (np.zeros((4, 3)), np.full((4, 3), np.nan), "fake: features contain NaN"),
        (np.zeros((4, 3)), np.zeros((3, 3)), "more than 3 examples, got 4 real and 3 fake"),
    ],
)
def test_bad_features(real, fake, message):
    with pytest.raises(ValueError, match=message):
        distances.precision_and_recall(real, fake)


def test_features_of_a_classifier_are_those_before_its_last_layer(tmp_path):
    sizes = {"depths": (1,), "filters": 3, "input_shape": (12, 12, 1)}
    model = kzoo.build("resnet20", **sizes, num_classes=4)
    kzoo.save(model, tmp_path / "own")
    headless = kzoo.build("resnet20", weights=tmp_path / "own", load_head=False, **sizes, num_classes=0)
    x = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 1), "uint8")
    wanted = kzoo.predict(headless, x)
    for network in (scoring.features_of(tmp_path / "own"), scoring.features_of(headless)):
        np.testing.assert_allclose(kzoo.predict(network, x), wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="features must be a classifier of images or its folder; perceptron"):
        scoring.features_of(kzoo.build("perceptron"))
    image = keras.Input((4, 4, 1), name="image")
    ending = keras.layers.Softmax()(keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    with pytest.raises(ValueError, match="num_classes=0"):
        scoring.features_of(kzoo.adopt(keras.Model(image, ending, name="own"), "image_classification"))
