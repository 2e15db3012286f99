"""WaveNet beside r9y9's and ibab's, and its losses beside r9y9's."""

import keras
import numpy as np
import pytest
import safetensors.numpy
from backends import compiled
from golden_files import GOLDEN, assert_close, golden, run, write

import kzoo
from kzoo.layers.waves import mu_law_decode, mu_law_encode
from kzoo.tasks.sound_generation import distributions

SIZES = {"num_layers": 4, "num_stacks": 2, "filters": 6, "gate_filters": 8, "skip_filters": 5}
MEL = {"upsample_scales": (2, 3), "num_mels": 7, "context_frames": 1}
SPEAKER = {"num_speakers": 4, "speaker_dim": 3}
NO_MEL = {"upsample_scales": ()}
CASES = {
    "wavenet_mulaw": {**SIZES, **MEL, **SPEAKER, "num_levels": 16},
    "wavenet_logistics": {**SIZES, **MEL, "num_mixtures": 3},
    "wavenet_gaussian": {**SIZES, **NO_MEL, **SPEAKER, "kernel_size": 2},
    "wavenet_ibab": {"num_layers": 6, "num_stacks": 2, "filters": 6, "gate_filters": 10, "skip_filters": 7},
}


def compare(folder, name):
    """(ours, the reference's), which ibab's network gives where its receptive field is full."""
    tensors, inputs, outputs = golden(name)
    wanted = outputs[name]
    got = run(kzoo.build(name, write(tensors, folder), **CASES[name]), inputs)
    yield got[:, -wanted.shape[1] :], wanted


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    tensors, inputs, outputs = golden(request.param)
    model = kzoo.build(request.param, write(tensors, tmp_path_factory.mktemp("w")), **CASES[request.param])
    return model, inputs, outputs[request.param], tensors


@pytest.mark.parametrize("xla", [False, True])
def test_agrees_with_the_reference(case, xla):
    model, inputs, wanted, _ = case
    taken = inputs if len(model.inputs) > 1 else inputs["waveform"]
    got = np.asarray(compiled(model)(taken)) if xla else run(model, inputs)
    assert_close(got[:, -wanted.shape[1] :], wanted)  # ibab's begins where its receptive field is full


def test_writes_what_the_reference_loads_once_weight_norm_is_removed(case, tmp_path):
    model, _, _, tensors = case
    kzoo.save_weights(model, tmp_path / "ours.safetensors")
    ours = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    plain = {name.removesuffix("_v"): value for name, value in tensors.items() if not name.endswith("_g")}
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in plain.items()}


def test_both_spellings_of_weight_norm_and_its_absence_are_read(tmp_path):
    tensors, inputs, outputs = golden("wavenet_mulaw")
    renamed = {
        name.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): value
        for name, value in tensors.items()
    }
    model = kzoo.build("wavenet_mulaw", write(renamed, tmp_path), **CASES["wavenet_mulaw"])
    assert_close(run(model, inputs), outputs["wavenet_mulaw"])
    kzoo.save_weights(model, tmp_path / "plain.safetensors")
    again = kzoo.build("wavenet_mulaw", tmp_path / "plain.safetensors", **CASES["wavenet_mulaw"])
    np.testing.assert_array_equal(run(again, inputs), run(model, inputs))
    # one length for a whole weight is another normalisation
    wrong = {**tensors, "first_conv.weight_g": tensors["first_conv.weight_g"][:1]}
    with pytest.raises(ValueError, match=r"missing.*first_conv\.weight"):
        kzoo.load_weights(model, write(wrong, tmp_path))


def test_no_sample_sees_a_later_one(case):
    model, inputs, _, _ = case
    changed = {**inputs, "waveform": inputs["waveform"].copy()}
    changed["waveform"][:, 20:] *= -1
    before, after = run(model, inputs), run(model, changed)
    np.testing.assert_allclose(after[:, :20], before[:, :20], rtol=0, atol=1e-6 * np.abs(before).max())
    assert np.abs(after[:, 20:] - before[:, 20:]).max() > 1e-2


def test_mu_law_is_that_of_the_reference():
    """On every sample of 16 bits; float32 may differ where a sample lies on an edge to seven digits."""
    x = np.arange(-32768, 32768) / 32768
    wanted = ((np.sign(x) * np.log1p(255 * np.abs(x)) / np.log1p(255) + 1) / 2 * 255).astype(int)
    got = keras.ops.convert_to_numpy(mu_law_encode(x.astype("float32")))
    assert (got != wanted).sum() <= 2 and got[32768] == 127
    ids = np.arange(256)
    edges = 2 * ids / 255 - 1
    decoded = keras.ops.convert_to_numpy(mu_law_decode(ids))
    np.testing.assert_allclose(decoded, np.sign(edges) * (256 ** np.abs(edges) - 1) / 255, atol=1e-5)
    assert np.abs(decoded).max() <= 1
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(mu_law_encode(decoded)), ids)
    for num_levels in (2, 16, 1024):
        again = mu_law_encode(mu_law_decode(np.arange(num_levels), num_levels), num_levels)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(again), np.arange(num_levels))


def test_mu_law_has_a_form_in_onnx(tmp_path):
    pytest.importorskip("tf2onnx")
    model = kzoo.build("wavenet_mulaw", **{**SIZES, **NO_MEL, "num_levels": 16})
    report = kzoo.export(model, tmp_path / "out", format="onnx")
    assert report["max_difference"] < 1e-5 * report["scale"]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"distribution": "normal"}, "mulaw, logistics, gaussian"),
        ({"num_stacks": 7}, "num_stacks=7 must divide num_layers=30"),
        ({"gate_filters": 9}, "gate_filters must be even"),
    ],
)
def test_bad_keywords(keywords, message):
    with pytest.raises(ValueError, match=message):
        kzoo.build("wavenet_mulaw", **keywords)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="float64 and gradients by TensorFlow")
@pytest.mark.parametrize("kind", ["logistics_256", "logistics_65536", "gaussian"])
def test_losses_and_their_gradients_are_those_of_the_reference(kind):
    import tensorflow as tf

    tensors = safetensors.numpy.load_file(GOLDEN / "wavenet_losses.safetensors")
    levels = int(kind.partition("_")[2] or 65536)
    found = distributions.Gaussian(levels) if kind == "gaussian" else distributions.Logistics(levels, 3)
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-4)):
        outputs = tf.cast(tensors[f"{kind}.outputs"], dtype)
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            loss = found.loss(tf.cast(tensors["targets"], dtype), outputs)
        np.testing.assert_allclose(loss, tensors[f"{kind}.loss"], rtol=tolerance)
        wanted, gradient = tensors[f"{kind}.gradient"], tape.gradient(loss, outputs)
        np.testing.assert_allclose(gradient, wanted, rtol=tolerance, atol=tolerance * np.abs(wanted).max())


def test_cross_entropy_is_over_mu_law_classes():
    random = np.random.default_rng(0)
    y, logits = random.uniform(-1, 1, (2, 5)).astype("float32"), random.normal(size=(2, 5, 16)).astype("float32")
    ids = keras.ops.convert_to_numpy(mu_law_encode(y, 16))
    wanted = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, ids[..., None], -1)[..., 0]
    kind = distributions.MuLaw(16)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kind.loss(y, logits)), wanted, rtol=1e-5)
    in_bits = distributions.SampleLoss(kind, in_bits=True)(y, logits)
    assert float(in_bits) == pytest.approx(wanted.mean() / np.log(2), rel=1e-5)


def test_probabilities_of_all_levels_are_one():
    """So that bits a sample of the three kinds compare: a Gaussian's are those of 256 levels too."""
    levels, random = np.linspace(-1, 1, 256, dtype="float32")[None], np.random.default_rng(0)
    outputs = np.concatenate([random.normal(size=3), random.uniform(-0.5, 0.5, 3), [-2.0, -3.0, -1.5]])
    for kind, one in (
        (distributions.Logistics(256, 3), outputs),
        (distributions.Gaussian(256), np.array([0.1, -2.5])),
    ):
        x = np.broadcast_to(one.astype("float32"), (1, 256, len(one)))
        bits = distributions.SampleLoss(kind, in_bits=True)
        loss = np.array([float(bits(levels[:, i : i + 1], x[:, i : i + 1])) for i in range(256)])
        assert (2.0**-loss).sum() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("kind", ["mulaw", "logistics", "gaussian"])
def test_samples_are_drawn_from_the_distribution_that_the_loss_is_of(kind):
    """Shares of drawn samples beside the probabilities of intervals."""
    random, count = np.random.default_rng(0), 20000
    made = {
        "mulaw": (distributions.MuLaw(8), random.normal(size=8)),
        "logistics": (distributions.Logistics(256, 2), np.array([0.3, -0.4, -0.5, 0.4, -2.0, -3.0])),
        "gaussian": (distributions.Gaussian(256), np.array([0.1, -1.5])),
    }
    found, one = made[kind]
    outputs = np.broadcast_to(one.astype("float32"), (count, len(one)))
    uniform = random.random((count, found.num_draws), "float32")
    drawn = keras.ops.convert_to_numpy(found.draw(outputs, uniform, 1.0))
    assert drawn.shape == (count,) and np.abs(drawn).max() <= 1
    if kind == "mulaw":
        levels = keras.ops.convert_to_numpy(mu_law_decode(np.arange(8), 8))
    else:
        levels = np.linspace(-1, 1, 256, dtype="float32")
    nats = found.loss(levels[None], np.broadcast_to(outputs[:1, None], (1, len(levels), len(one))))
    shares = np.exp(-keras.ops.convert_to_numpy(nats)[0]) * (2 / 255 if kind == "gaussian" else 1)
    assert np.mean(drawn) == pytest.approx((shares * levels).sum() / shares.sum(), abs=0.01)
    assert np.mean(drawn < 0) == pytest.approx(shares[levels < 0].sum(), abs=0.015)
    cold = {"mulaw": lambda: levels[one.argmax()], "logistics": lambda: one[2], "gaussian": lambda: one[0]}[kind]()
    np.testing.assert_allclose(found.draw(outputs[:3], uniform[:3], np.float32(0)), cold, atol=1e-6)
