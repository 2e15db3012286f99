"""Sound written with queues is what the whole network writes; requests, crops, exports and commands."""

import functools
import wave

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import kzoo
from kzoo.data.sounds import sound_files
from kzoo.generation import writing_waves
from kzoo.tasks.sound_generation.distributions import distribution_of
from kzoo.tasks.sound_generation.mels import Mels

ON_JAX = keras.backend.backend() == "jax"
SIZES = {"num_layers": 4, "num_stacks": 2, "filters": 6, "gate_filters": 8, "skip_filters": 5, "sample_rate": 400}
MEL = {"upsample_scales": (2, 3), "num_mels": 7, "context_frames": 1}
KINDS = {
    "mulaw": ("wavenet_mulaw", {**MEL, "num_speakers": 3, "speaker_dim": 4, "num_levels": 32}),
    "logistics": ("wavenet_logistics", {**MEL, "num_mixtures": 3}),
    "gaussian": ("wavenet_gaussian", {"upsample_scales": (), "num_speakers": 3, "kernel_size": 2}),
    "ibab": ("wavenet_ibab", {}),
}


@functools.cache
def model_of(kind, num_layers=4):
    keras.utils.set_random_seed(1)
    name, more = KINDS[kind]
    given = {**SIZES, **more, "num_layers": num_layers}
    model, random = kzoo.build(name, **given), np.random.default_rng(2)
    model.set_weights([value + random.normal(0, 0.3, value.shape) for value in model.get_weights()])
    return model


def conditions(kind, batch_size):
    random, given = np.random.default_rng(3), {}
    if "mel" in model_of(kind).input if isinstance(model_of(kind).input, dict) else False:
        given["mel"] = random.standard_normal((batch_size, 8, 7)).astype("float32")
    if kind in ("mulaw", "gaussian"):
        given["speaker"] = np.arange(batch_size, dtype="int32")
    return given


def naive(model, given, count, batch_size, temperature=1.0, seed=5):
    """The whole network anew for every sample, over all that was written before."""
    kind, random = distribution_of(model), np.random.default_rng(seed)
    waveform = np.zeros((batch_size, count + 1), "float32")
    for place in range(count):
        x = {"waveform": waveform[:, :count], **given} if given else waveform[:, :count]
        uniform = random.random((batch_size, kind.num_draws), "float32")
        drawn = kind.draw(model.predict_on_batch(x)[:, place], uniform, np.float32(temperature))
        waveform[:, place + 1] = keras.ops.convert_to_numpy(drawn)
    return waveform[:, 1:]


@pytest.mark.parametrize(("kind", "xla"), [(kind, ON_JAX) for kind in KINDS] + ([] if ON_JAX else [("mulaw", True)]))
def test_queues_write_what_the_whole_network_writes(kind, xla, monkeypatch):
    """Over the ends of chunks, and past the places where rings begin again."""
    monkeypatch.setattr(writing_waves, "CHUNK", 14)
    model, batch_size = model_of(kind), 1 if kind == "ibab" else 2
    given, count = conditions(kind, batch_size), 26
    wanted = naive(model, given, count, batch_size)
    assert len(np.unique(wanted)) > 5, "the test needs samples that differ"
    found = writing_waves.written(model, given or 1, count, distribution_of(model), 1.0, 5, xla=xla)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-4)  # a level of mu-law is 0.01 wide at its narrowest


def test_a_program_serves_clips_of_every_length(monkeypatch):
    model, traced, write = model_of("gaussian"), [], writing_waves.SampleWriter.write
    monkeypatch.setattr(writing_waves, "CHUNK", 12)
    monkeypatch.setattr(writing_waves.SampleWriter, "write", lambda *given: traced.append(1) or write(*given))
    counts = []
    first = kzoo.generate(model, seconds=0.1, speaker=1, xla=ON_JAX, progress=lambda *told: counts.append(told))
    again = kzoo.generate(model, seconds=0.05, speaker=1, xla=ON_JAX)
    assert first.shape == (40,) and first.dtype == np.float32 and len(traced) == 1
    np.testing.assert_array_equal(again, first[:20])
    assert counts == [(12, 40), (24, 40), (36, 40), (40, 40)]
    assert not np.array_equal(kzoo.generate(model, seconds=0.1, speaker=1, seed=1, xla=ON_JAX), first)
    assert not np.array_equal(kzoo.generate(model, seconds=0.1, speaker=2, xla=ON_JAX), first)
    several = kzoo.generate(model, seconds=0.1, speaker=[0, 2], temperature=0, xla=ON_JAX)
    assert several.shape == (2, 40)
    alone = kzoo.generate(model, seconds=0.1, speaker=2, temperature=0.0, xla=ON_JAX)
    np.testing.assert_allclose(several[1], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("gaussian", {"seconds": 1}, "speaker is None; wavenet_gaussian takes an id below 3"),
        ("gaussian", {"seconds": 1, "speaker": 3}, "3"),
        ("gaussian", {"seconds": 1, "speaker": "two"}, "speaker must be an id, got 'two'"),
        ("gaussian", {"speaker": 1}, "seconds is not given"),
        ("gaussian", {"speaker": 1, "seconds": -1}, "seconds must be above 0"),
        ("gaussian", {"speaker": 1, "seconds": 1, "temperature": -1}, "temperature must be at least 0"),
        ("gaussian", {"speaker": 1, "seconds": 1, "mel": np.zeros((9, 7))}, "takes no mel frames"),
        ("logistics", {"seconds": 1}, "needs mel frames"),
        ("logistics", {"mel": np.zeros((9, 6), "float32")}, "7"),
        ("logistics", {"mel": np.zeros((2, 7), "float32")}, "2 frames, and 2 of them are context"),
        ("logistics", {"mel": np.zeros((9, 7), "float32"), "seconds": 1}, "9 mel frames stand for 42 samples"),
        ("mulaw", {"mel": np.zeros((2, 9, 7), "float32"), "speaker": [1]}, "mel is of 2 clips, speaker of 1"),
        ("ibab", {"seconds": 1, "speaker": 0}, "takes no speaker"),
    ],
)
def test_bad_requests(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kzoo.generate(model_of(kind), **settings)
    with pytest.raises(TypeError, match="temperature must be a number"):
        kzoo.generate(model_of(kind), **{**settings, "temperature": "hot"})


def test_mel_frames_cover_a_clip():
    model = model_of("logistics")
    for length in (1, 5, 6, 7, 30):
        mel = Mels(model).of_clip(np.random.default_rng(0).normal(0, 0.1, length).astype("float32"))
        assert mel.shape == (1, -(-length // 6) + 2, 7)
        assert kzoo.generate(model, mel=mel[0], xla=ON_JAX).shape == (-(-length // 6) * 6,)


def test_a_conditioning_of_the_wrong_length_is_refused():
    model = model_of("logistics")
    x = {"waveform": np.zeros((1, 60), "float32"), "mel": np.zeros((1, 9, 7), "float32")}  # of 42 samples
    with pytest.raises(Exception, match="42"):
        model(x)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings of two voices, as class folders."""
    root, random = tmp_path_factory.mktemp("voices"), np.random.default_rng(0)
    for voice, pitch in (("high", 0.9), ("low", 0.2)):
        (root / voice).mkdir()
        for number in range(6):
            tone = 0.5 * np.sin(pitch * np.arange(90 + 10 * number)) + random.normal(0, 0.01, 90 + 10 * number)
            sound_files.write(root / voice / f"{number}.wav", tone, 400)
    return root


@pytest.mark.skipif(ON_JAX, reason="pipelines are TensorFlow's")
class TestCrops:
    def load(self, folder, **more):
        pytest.importorskip("soundfile")
        given = {**SIZES, **MEL, "num_speakers": 2, "num_mels": 5}
        model = kzoo.build("wavenet_mulaw", **given)
        return model, kzoo.data.load(str(folder), model, batch_size=3, max_length=48, **more)

    def test_inputs_come_one_sample_before_targets(self, folder):
        model, data = self.load(folder)
        assert data.class_names == ["high", "low"] and data.sample_rate == 400
        x, y = next(iter(data.train.dataset))
        assert x["waveform"].shape == (3, 48) and x["mel"].shape == (3, 48 // 6 + 2, 5)
        np.testing.assert_array_equal(x["waveform"][:, 1:], y[:, :-1])
        x, y, weight = next(iter(data.test.dataset))
        assert not np.any(x["waveform"][:, 0]), "silence comes before a clip"
        sizes = weight.numpy().sum(1).astype(int)
        assert sizes.max() <= y.shape[1] < sizes.max() + 6 and sizes.min() >= 90
        for row, size in zip(y.numpy(), sizes, strict=True):
            assert np.any(row[size - 3 : size]) and not np.any(row[size:])

    def test_crops_are_a_function_of_seed_epoch_and_example(self, folder):
        _, data = self.load(folder)
        _, other = self.load(folder, seed=1)
        ids = data.train.example_ids(0)[:3]
        first, second = (data.train.examples(ids, epoch)[0]["waveform"].numpy() for epoch in (0, 1))
        np.testing.assert_array_equal(first, data.train.examples(ids, 0)[0]["waveform"])
        assert not np.array_equal(first, second)
        assert not np.array_equal(first, other.train.examples(ids, 0)[0]["waveform"].numpy())

    def test_frames_stand_for_the_samples_beside_them(self, folder):
        """Those of a crop are those of the whole clip from where the crop begins."""
        model, data = self.load(folder)
        ids = [0, 1]
        x, y = data.train.examples(ids, 0)
        whole, targets, _ = data.train.examples(ids)
        for row in range(2):
            starts = [
                start for start in range(0, targets.shape[1] - 48, 6)
                if np.array_equal(targets[row, start : start + 48], y[row])
            ]  # fmt: skip
            frames = whole["mel"][row, starts[0] // 6 : starts[0] // 6 + 10]
            np.testing.assert_allclose(x["mel"][row], frames, atol=1e-4)

    def test_a_condition_that_is_not_there_is_named(self, folder):
        model = kzoo.build("wavenet_gaussian", **SIZES, upsample_scales=(), num_speakers=1)
        with pytest.raises(ValueError, match="class 1, and wavenet_gaussian knows 1: build it with num_speakers=2"):
            kzoo.data.load(str(folder), model)
        with pytest.raises(ValueError, match="augment="):
            self.load(folder, augment=True)


@pytest.mark.skipif(ON_JAX, reason="exports are made with TensorFlow")
@pytest.mark.parametrize("kind", ["mulaw", "ibab"])
def test_a_saved_model_writes_sound(kind, tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(writing_waves, "CHUNK", 16)
    model = model_of(kind, num_layers=2)  # an export of more takes longer and shows nothing more
    report = kzoo.export(model, tmp_path / "export")
    assert report["max_difference"] <= report["tolerance"] * report["scale"]
    loaded = tf.saved_model.load(str(tmp_path / "export"))
    given = conditions(kind, 2) or {"num_samples": 40, "num_clips": 1}
    names = list(report["signatures"]["generate"]["inputs"])
    given = [tf.constant(given[name]) for name in names if name in given]
    cold = loaded.generate(*given, tf.constant(0.0), tf.constant(1))["samples"].numpy()
    settings = conditions(kind, 2) or {"seconds": 0.1}
    wanted = np.atleast_2d(kzoo.generate(model, temperature=0, xla=False, **settings))
    assert cold.dtype == np.int16
    np.testing.assert_array_equal(cold, writing_waves.to_int16(wanted))
    warm, again, other = (
        loaded.generate(*given, tf.constant(1.0), tf.constant(seed))["samples"].numpy() for seed in (1, 1, 2)
    )
    assert np.array_equal(warm, again) and not np.array_equal(warm, other)


@pytest.mark.skipif(ON_JAX, reason="weights are read by the command line on TensorFlow")
def test_commands(tmp_path):
    pytest.importorskip("soundfile")
    from kzoo.cli.commands import cli

    kzoo.save(model_of("mulaw"), tmp_path / "vocoder")
    kzoo.save(model_of("gaussian"), tmp_path / "voices")
    speech, out = str(tmp_path / "speech.wav"), tmp_path / "out.wav"
    sound_files.write(speech, 0.1 * np.sin(np.arange(50)), 400)

    def call(*words):
        return CliRunner().invoke(cli, [str(word) for word in words])

    found = call("generate", tmp_path / "voices", out, "--speaker", "2", "--seconds", "0.05", "--seed", "3")
    assert found.exit_code == 0 and "0.05 s at 400 Hz" in found.output, found.output
    with wave.open(str(out)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (1, 2, 400, 20)
        samples = np.frombuffer(file.readframes(20), "<i2")
    wanted = kzoo.generate(model_of("gaussian"), seconds=0.05, speaker=2, seed=3, xla=ON_JAX)
    np.testing.assert_array_equal(samples, writing_waves.to_int16(wanted))
    found = call("vocode", tmp_path / "vocoder", speech, out, "--speaker", "1")
    assert found.exit_code == 0 and sound_files.read(out, 400).samples.shape == (50,), found.output
    for words, message in (
        (
            ("generate", tmp_path / "voices", out, "--speaker", "1", "--seconds", "1", "--top-k", "3"),
            "--top-k: not for",
        ),
        (("generate", tmp_path / "voices", "--speaker", "1"), "name the file to write"),
        (("generate", tmp_path / "voices", tmp_path / "out.mp3", "--speaker", "1", "--seconds", "1"), "as .wav"),
        (("vocode", tmp_path / "voices", speech, out, "--speaker", "1"), "takes no mel frames"),
        (("vocode", tmp_path / "vocoder", tmp_path / "none.wav", out, "--speaker", "1"), "no file at"),
    ):
        found = call(*words)
        assert found.exit_code != 0 and message in f"{found.output}{found.exception}", found.output
