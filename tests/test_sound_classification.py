"""Classes of sounds: the published network, data from arrays, folders, tables and TFDS, and predictions of files."""

import pathlib

import keras
import numpy as np
import pytest
import safetensors.numpy
from prepared_data import needs

import kzoo
from kzoo.data.sounds import sound_files

GOLDEN = pathlib.Path(__file__).with_name("golden") / "ds_cnn.safetensors"
RATE, SMALL = 4000, {"filters": 4, "num_layers": 3, "sample_rate": 4000, "seconds": 0.3}
needs_soundfile = pytest.mark.skipif(
    not __import__("importlib").util.find_spec("soundfile"), reason="the extra `speech` is not installed"
)


def tones(count, seed=0):
    """Clips of 0.1 to 0.5 s: class 0 is a low tone, class 1 a high one."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    lengths = random.integers(RATE // 10, RATE // 2, count)
    pitches = np.where(labels, 1300, 300) * random.uniform(0.9, 1.1, count)
    return [
        (0.3 * np.sin(2 * np.pi * pitch / RATE * np.arange(length)) * 32767).astype(np.int16)
        for pitch, length in zip(pitches, lengths, strict=True)
    ], labels


def compare(folder):
    """(ours, the published): probabilities of cepstra, by the published weights."""
    tensors = safetensors.numpy.load_file(GOLDEN)
    x, wanted = tensors.pop("input"), tensors.pop("output")
    safetensors.numpy.save_file(tensors, folder / "weights.safetensors")
    model = kzoo.build("ds_cnn_s", folder / "weights.safetensors")
    rest = keras.Model(model.get_layer("channel").output, model.output)
    assert rest.input.shape == (None, *x.shape[1:])
    yield keras.ops.convert_to_numpy(keras.ops.softmax(rest.predict_on_batch(x))), wanted


def test_published_weights_give_the_published_outputs(tmp_path):
    for got, wanted in compare(tmp_path):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)


def test_a_sound_shorter_than_a_window_and_unknown_features_are_refused():
    with pytest.raises(ValueError, match=r"seconds=0.03 is shorter than one window of 0.04 s"):
        kzoo.build("ds_cnn", seconds=0.03)
    with pytest.raises(ValueError, match=r"features must be one of mfcc, log_mel, got 'mel'"):
        kzoo.build("ds_cnn", features="mel")


def test_mel_bands_take_the_place_of_cepstra_whatever_the_loudness_and_the_padding():
    model = kzoo.build("ds_cnn", **SMALL, features="log_mel", normalize="clip", num_classes=2)
    bands = keras.Model(model.inputs, model.get_layer("channel").output)
    x = np.zeros((2, RATE * 3 // 10), np.float32)
    x[:, :800] = np.random.default_rng(0).normal(0, 0.1, 800)
    x[1] /= 4
    loud, quiet = bands.predict_on_batch(x)[..., 0]
    assert loud.shape == (14, 40)
    np.testing.assert_allclose(loud, quiet, rtol=0, atol=1e-2)
    assert not loud[9:].any()  # 800 samples are 9 windows
    np.testing.assert_allclose((loud[:9].mean(), loud[:9].std(ddof=1)), (0, 1), atol=1e-4)


def test_it_learns_clips_of_any_length(tmp_path):
    keras.utils.set_random_seed(0)
    model = kzoo.build("ds_cnn", **SMALL, num_classes=2)
    clips, labels = tones(60)
    data = kzoo.data.from_arrays(
        clips, np.array(["low", "high"])[labels], model, test=(clips[:20], labels[:20] ^ 1), batch_size=10,
        class_names=["high", "low"],
    )  # fmt: skip
    assert any("longer than 0.3 s" in note for note in data.notes)
    assert data.class_names == ["high", "low"]
    kzoo.fit(model, data, epochs=8, batch_size=10, augment=False, learning_rate=0.01)
    assert kzoo.evaluate(model, data)["accuracy"] > 0.9
    kzoo.save(model, tmp_path / "model")
    model = kzoo.load(tmp_path / "model")
    found = kzoo.predict(model, [clip[:1000] for clip in clips[:8]])
    assert (found.argmax(-1) == labels[:8] ^ 1).all()


def test_validation_takes_equal_recordings_together():
    model = kzoo.build("ds_cnn", **SMALL, num_classes=2)
    clips, labels = tones(20)
    data = kzoo.data.from_arrays(clips * 2, np.tile(labels, 2), model, validation_fraction=0.2)
    seen = {}
    for split in ("train", "validation"):
        for x, _ in getattr(data, split).as_it_is().dataset:
            for row in np.asarray(x):
                seen.setdefault(row.tobytes(), set()).add(split)
    assert len(seen) == 20 and all(len(splits) == 1 for splits in seen.values())
    assert data.validation.num_examples == 8


@needs_soundfile
def test_folders_tables_and_files(tmp_path):
    clips, labels = tones(12)
    for index, (clip, label) in enumerate(zip(clips, labels, strict=True)):
        folder = tmp_path / "sounds" / ("low", "high")[label]
        folder.mkdir(parents=True, exist_ok=True)
        sound_files.write(folder / f"{index}.wav", clip, RATE)
    model = kzoo.build("ds_cnn", **SMALL, num_classes=2)
    whole = kzoo.data.load(tmp_path / "sounds", model, validation_fraction=0.25)
    assert whole.class_names == ["high", "low"]
    assert sum(part.num_examples for part in (whole.train, whole.validation, whole.test)) == 12
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in sorted(tmp_path.rglob("*.wav"))]
    (tmp_path / "all.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    assert kzoo.data.load(tmp_path / "all.csv", model, validation_fraction=0.25).class_names == ["high", "low"]
    from kzoo.tasks.feeding import loading

    assert [loading.width_of(tmp_path / name, model) for name in ("sounds", "all.csv")] == [2, 2]
    with pytest.raises(ValueError, match=r"2 classes are named .*output has 3"):
        kzoo.data.load(tmp_path / "sounds", kzoo.build("ds_cnn", **SMALL, num_classes=3))
    sound_files.write(tmp_path / "long.wav", np.tile(clips[0], 10), 2 * RATE)
    from kzoo import tasks

    (row,) = tasks.of(model).rows_of_files(model, [tmp_path / "long.wav"])
    assert row["sound"] == ["resampled from 8,000 Hz", "cut to its first 0.3 s"] and len(row["classes"]) == 2
    assert "cut to its first 0.3 s" in tasks.of(model).line(row)


@needs("mnist")
@needs("spoken_digits")
def test_prepared_data_sets():
    model = kzoo.build("ds_cnn", **SMALL)
    with pytest.raises(ValueError, match=r"'mnist' declares no pair of a sound and its class"):
        kzoo.data.load("mnist", model)
    from kzoo.tasks.feeding import loading

    assert loading.width_of("spoken_digits", model) == 10
