"""Autoencoders that learn pictures, and the losses of their latents."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.layers.autoencoders import VectorQuantizer
from kzoo.tasks.image_autoencoding import learning_to_repeat

SIZES = {"filters": (4, 4), "num_layers": 1, "num_groups": 2, "input_shape": (4, 8, 3)}


def pictures(count=24):
    """Plain pictures of few colours, which a small network can learn."""
    colours = np.random.default_rng(0).integers(0, 2, (count, 1, 1, 3), np.uint8) * 200
    return np.tile(colours, (1, 4, 8, 1))


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("autoencoder_kl_small", {"with_attention": False}),
        pytest.param("vq_small", {"num_codes": 8}, marks=pytest.mark.slow),  # half a minute, most of it to compile
    ],
)
def test_pictures_are_learned_and_weights_are_the_models_own(name, more, tmp_path):
    keras.utils.set_random_seed(0)
    model, x = kzoo.build(name, **SIZES, **more), pictures()
    before = kzoo.evaluate(model, x)
    kzoo.fit(model, x, tmp_path / "run", epochs=12, batch_size=8, learning_rate=0.02, progress=False)
    after = kzoo.evaluate(kzoo.load(tmp_path / "run"), x)
    assert after["loss"] < 0.75 * before["loss"] and after["psnr"] > before["psnr"] + 1


def test_the_divergence_of_moments_is_that_of_normal_distributions():
    moments = np.random.default_rng(0).standard_normal((2, 3, 4, 6)).astype(np.float32)
    layer = learning_to_repeat.Drawn(num_values=5)
    mean, log_variance = np.split(moments, 2, axis=-1)
    np.testing.assert_array_equal(layer(moments), mean)
    variance = np.exp(log_variance)
    wanted = 1e-6 * 0.5 * (mean**2 + variance - 1 - log_variance).sum() / (2 * 5)
    assert float(layer.losses[0]) == pytest.approx(wanted, rel=1e-5)
    drawn = np.stack([np.asarray(layer(moments, training=True)) for _ in range(400)])
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.25 * np.sqrt(variance).max())
    np.testing.assert_allclose(drawn.std(0), np.sqrt(variance), rtol=0.2)


def test_codes_and_latents_come_nearer_to_each_other():
    quantizer = VectorQuantizer(3)
    quantizer.build((None, 2, 2, 2))
    table = np.array([[0, 0], [1, 1], [-1, 1]], np.float32)
    quantizer.embeddings.assign(table)
    encoded = np.array([0.1, 0.2, 0.9, 1.2, -0.7, 0.8, 0, 0], np.float32).reshape(1, 2, 2, 2)
    layer = learning_to_repeat.Committed(quantizer)
    np.testing.assert_array_equal(layer(encoded), encoded)
    nearest = table[[0, 1, 2, 0]].reshape(1, 2, 2, 2)
    assert float(layer.losses[0]) == pytest.approx(1.25 * ((encoded - nearest) ** 2).mean(), rel=1e-5)


def test_a_half_and_options_of_labels_are_refused():
    model = kzoo.build("autoencoder_kl_small", **SIZES, half="encoder")
    with pytest.raises(ValueError, match="build it with half='both' to train it"):
        kzoo.fit(model, pictures(), epochs=1, progress=False)
    model = kzoo.build("autoencoder_kl_small", **SIZES)
    with pytest.raises(ValueError, match="label_smoothing=0.1: pictures are learned without it"):
        kzoo.fit(model, pictures(), epochs=1, label_smoothing=0.1, progress=False)
    with pytest.raises(ValueError, match="augment=True: a network that makes pictures"):
        kzoo.fit(model, pictures(), epochs=1, augment=True, progress=False)
