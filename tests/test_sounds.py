"""Sound: files of every kind, recordings from tables and folders, batches, and random changes to clips."""

import json

import numpy as np
import pytest
import soundfile
import tensorflow as tf

import kzoo
from kzoo.data import dataset, load, sheet
from kzoo.data.sounds import recordings, sound_batches, sound_files, sound_sheet
from kzoo.data.sounds.sound_augmentation import SoundAugmentation

RATE = 8000


def tone(frequency=440, seconds=0.5, rate=RATE, loudness=0.3):
    return (loudness * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize(
    "subtype, error",
    [("PCM_U8", 8e-3), ("PCM_16", 3.1e-5), ("PCM_24", 1.3e-7), ("PCM_32", 1e-9), ("FLOAT", 0), ("DOUBLE", 0)],
)
def test_wav_of_every_width(tmp_path, subtype, error):
    soundfile.write(tmp_path / "a.WAV", tone(), RATE, subtype=subtype)
    clip = sound_files.read(tmp_path / "a.WAV", RATE)
    assert clip.changes == () and clip.samples.dtype == np.float32
    np.testing.assert_allclose(clip.samples, tone(), atol=error)


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".wav"])
def test_other_rates_and_channels_become_mono_at_the_rate_wanted(tmp_path, suffix):
    stereo = np.stack([2 * tone(rate=44100), 0 * tone(rate=44100)], axis=1)
    soundfile.write(tmp_path / f"a{suffix}", stereo, 44100)
    clip = sound_files.read(tmp_path / f"a{suffix}", RATE)
    assert clip.changes == ("mixed down from 2 channels", "resampled from 44,100 Hz")
    assert len(clip.samples) == len(tone())
    np.testing.assert_allclose(clip.samples[200:-200], tone()[200:-200], atol=0.02)


def test_bad_files_are_named(tmp_path):
    good = tmp_path / "good.wav"
    soundfile.write(good, tone(), RATE)
    faults = {
        "cut.wav": (good.read_bytes()[:3000], "is cut short: 5,044 bytes of its sound are missing"),
        "fake.wav": (b"ID3 not a wave file", "is no sound that can be read"),
        "none.wav": (b"", "is no sound that can be read"),
    }
    for name, (contents, message) in faults.items():
        (tmp_path / name).write_bytes(contents)
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            sound_files.read(tmp_path / name, RATE)
    for name, samples, message in [("empty.wav", tone()[:0], "no samples"), ("nan.wav", tone() * np.nan, "NaN")]:
        soundfile.write(tmp_path / name, samples, RATE, subtype="FLOAT")
        with pytest.raises(ValueError, match=f"{name}: holds .*{message}"):
            sound_files.read(tmp_path / name, RATE)
    with pytest.raises(ValueError, match="no file at"):
        sound_files.read(tmp_path / "missing.wav", RATE)


def test_odd_sound_is_said(tmp_path):
    soundfile.write(tmp_path / "silent.wav", 0 * tone(), RATE)
    soundfile.write(tmp_path / "loud.wav", 50 * tone(), RATE)
    assert sound_files.read(tmp_path / "silent.wav", RATE).changes == ("silent",)
    assert sound_files.read(tmp_path / "loud.wav", RATE).changes == ("clipped",)


def test_silence_at_the_ends_is_cut_on_request(tmp_path):
    quiet = np.full(1000, 1e-4, np.float32)
    soundfile.write(tmp_path / "a.wav", np.concatenate([quiet, tone(), quiet]), RATE, subtype="FLOAT")
    assert abs(len(sound_files.read(tmp_path / "a.wav", RATE, trim=True).samples) - len(tone())) < 20
    assert len(sound_files.read(tmp_path / "a.wav", RATE).samples) == len(tone()) + 2000


def test_a_streamed_header_is_no_fault(tmp_path):
    """A program that writes to a pipe does not know the length."""
    soundfile.write(tmp_path / "a.wav", tone(), RATE)
    contents = bytearray((tmp_path / "a.wav").read_bytes())
    contents[4:8] = contents[40:44] = b"\xff\xff\xff\xff"
    assert len(sound_files.decode(bytes(contents), RATE).samples) == len(tone())


def test_written_sound_reads_back(tmp_path):
    sound_files.write(tmp_path / "a.wav", np.array([0, 0.5, -1, 2, -3]), RATE)
    np.testing.assert_allclose(sound_files.read(tmp_path / "a.wav", RATE).samples, [0, 0.5, -1, 1, -1], atol=4e-5)


# Recordings and what is said of each


def spoken(folder, names, rate=RATE):
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        soundfile.write(folder / f"{name}.flac", tone(300 + 50 * index, 0.3 + 0.05 * index), rate)


def test_librispeech_folders(tmp_path):
    spoken(tmp_path / "train-clean-100" / "84" / "1", ["84-1-0", "84-1-1"])
    spoken(tmp_path / "dev-clean" / "85" / "2", ["85-2-0"])
    (tmp_path / "train-clean-100/84/1/84-1.trans.txt").write_text("84-1-0 HELLO YOU\n84-1-1 GOODBYE\n")
    (tmp_path / "dev-clean/85/2/85-2.trans.txt").write_text("85-2-0 AGAIN\n")
    assert recordings.find_spoken(str(tmp_path)) == tmp_path
    found = recordings.from_transcripts(tmp_path, RATE)
    assert found.targets == {"validation": ["AGAIN"], "train": ["HELLO YOU", "GOODBYE"]}
    assert found.lengths["train"].tolist() == [2400, 2800]
    (tmp_path / "dev-clean/85/2/85-2.trans.txt").write_text("85-2-9 AGAIN\n")
    with pytest.raises(ValueError, match=r"85-2.trans.txt, line 1: no recording 85-2-9"):
        recordings.from_transcripts(tmp_path, RATE)


def test_tables_of_paths_and_transcripts(tmp_path):
    spoken(tmp_path / "clips", ["a", "b"])
    table = tmp_path / "all.tsv"
    table.write_text('path\ttranscript\tspeaker\nclips/a.flac\t"say ""hi"""\t1\nclips/b.flac\tyes\t2\n')
    found = recordings.from_table({"all": table}, RATE)
    assert found.targets["all"] == ['say "hi"', "yes"]
    assert found.notes == ["columns: path -> transcript"]
    table.write_text("path\ttranscript\nclips/a.flac\thi\nclips/z.flac\tno\n")
    with pytest.raises(ValueError, match="line 3: path names clips/z.flac, and no file is there"):
        recordings.from_table({"all": table}, RATE)
    found = recordings.from_table({"all": table}, RATE, skip_bad=True)
    assert found.targets["all"] == ["hi"] and "left out" in found.notes[1]


def test_damaged_recordings_are_refused_or_left_out_together(tmp_path):
    spoken(tmp_path / "yes", ["a", "b"])
    spoken(tmp_path / "no", ["c"])
    (tmp_path / "no" / "d.wav").write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"1 of 4 recordings cannot be read: .*d.wav is no sound.*--skip-bad"):
        recordings.from_classes(tmp_path, RATE)
    found = recordings.from_classes(tmp_path, RATE, skip_bad=True)
    assert (found.class_names, found.targets["all"]) == (["no", "yes"], [0, 1, 1])


def test_recordings_that_memory_does_not_hold_are_read_batch_by_batch(tmp_path, monkeypatch):
    """The batches are the same."""
    for name in ("yes", "no"):
        spoken(tmp_path / name, [f"{name}{index}" for index in range(8)])
    model = kzoo.build("ds_cnn", sample_rate=RATE, num_classes=2)
    held = load(str(tmp_path), model, batch_size=4)
    monkeypatch.setattr(recordings, "MEMORY_LIMIT", 0)
    streamed = load(str(tmp_path), model, batch_size=4)
    assert streamed.fingerprint == held.fingerprint
    for (x, y), (x2, y2) in zip(held.train.epoch(1), streamed.train.epoch(1), strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


# Random changes


def drawn(augmentation, count=3, epoch=1):
    return augmentation.draw(tf.constant([0, epoch], tf.int64), count)


def changed(augmentation, clips, rows, pad=0):
    length = max(map(len, clips)) + pad
    x = np.stack([np.pad(clip, (0, length - len(clip))) for clip in clips])
    waveform, lengths = augmentation.apply(tf.constant(x), tf.constant([len(clip) for clip in clips]), rows, RATE)
    return [clip[:n] for clip, n in zip(waveform.numpy(), lengths.numpy(), strict=True)]


def test_changes_do_not_depend_on_the_batch():
    """Of a clip's neighbours, or of how long it is padded, nothing may be left."""
    augmentation = SoundAugmentation(shift=0.05)
    clips, rows = [tone(300), tone(500, 0.3), tone(900, 0.7)], drawn(augmentation)
    together = changed(augmentation, clips, rows, pad=333)
    for index, clip in enumerate(clips):
        own = {name: value[index : index + 1] for name, value in rows.items()}
        (alone,) = changed(augmentation, [clip], own)
        assert len(alone) == len(together[index])
        np.testing.assert_allclose(alone, together[index], atol=1e-6)


NOTHING = {"speed": 0, "gain": 0, "noise": 0, "num_times": 0, "num_bands": 0}


def test_each_change_by_itself():
    clip = tone(1000)
    rows = drawn(SoundAugmentation())
    assert np.array_equal(changed(SoundAugmentation(**NOTHING), [clip] * 3, rows)[0], clip)
    # Speed: a tone of another frequency, read at places that lie between the samples
    faster = changed(SoundAugmentation(**{**NOTHING, "speed": 0.1}), [clip] * 3, rows)
    speeds = 0.9 + 0.2 * rows["whole"][:, 0].numpy()
    for one, speed in zip(faster, speeds, strict=True):
        assert len(one) == int(np.ceil(len(clip) / np.float32(speed)))
        at = np.arange(len(one) - 8) * speed / RATE
        np.testing.assert_allclose(one[:-8], 0.3 * np.sin(2 * np.pi * 1000 * at), atol=5e-3)
    # Gain: up to so many decibels, both ways
    louder = changed(SoundAugmentation(**{**NOTHING, "gain": 6.0}), [clip] * 3, rows)
    decibels = [20 * np.log10(np.abs(one).max() / np.abs(clip).max()) for one in louder]
    np.testing.assert_allclose(decibels, 12 * rows["whole"][:, 2].numpy() - 6, atol=1e-3)
    # Noise: of a share of the clip's own strength
    noisy = changed(SoundAugmentation(**{**NOTHING, "noise": 0.1}), [clip] * 3, rows)
    strengths = [np.std(one - clip) / np.sqrt(np.mean(clip**2)) for one in noisy]
    np.testing.assert_allclose(strengths, 0.1 * rows["whole"][:, 3].numpy(), rtol=0.1)
    assert np.abs(np.corrcoef(noisy[0] - clip, noisy[1] - clip)[0, 1]) < 0.1
    # Time: stretches of silence, the rest as it was
    once = SoundAugmentation(**{**NOTHING, "num_times": 1, "time_width": 0.5})
    rows = drawn(once)
    gaps = changed(once, [clip + 1e-3] * 3, rows)
    for one, (_, width) in zip(gaps, rows["times"][:, 0].numpy(), strict=True):
        assert abs(np.mean(one == 0) - 0.5 * width) < 1e-3
        assert np.array_equal(one[one != 0], (clip + 1e-3)[one != 0])


def test_bands_of_frequency_are_removed():
    augmentation = SoundAugmentation(**{**NOTHING, "num_bands": 1, "band_width": 0.4})
    rows = drawn(augmentation, 1)
    rows["bands"] = tf.constant([[[0.5, 1.0]]])  # 0.3 to 0.7 of 4 kHz
    inside, outside = tone(2000, 1.0), tone(500, 1.0)
    (found,) = changed(augmentation, [inside + outside], rows)
    middle = slice(500, -500)
    np.testing.assert_allclose(found[middle], outside[middle], atol=5e-3)


@pytest.mark.parametrize("wrong", [{"speed": 0.6}, {"gain": -1}, {"num_times": 1.5}, {"noise": True}])
def test_bad_amounts_are_named(wrong):
    with pytest.raises(ValueError, match=f"augmentation {next(iter(wrong))} must be"):
        SoundAugmentation(**wrong)


def test_recipes_are_for_their_own_kind_of_input():
    options = dataset.Options(augment="photos")
    with pytest.raises(ValueError, match="augment is 'photos', a Augmentation.*speech"):
        sound_batches.sound_options(options, "speech")
    images = np.zeros((20, 28, 28, 1), np.uint8)
    with pytest.raises(ValueError, match="augment is 'speech'.*digits"):
        kzoo.data.from_arrays(images, np.zeros(20, int), kzoo.build("mnist_cnn"), augment="speech")
    assert sound_batches.sound_options(dataset.Options(augment=True), "speech").augment == SoundAugmentation()


# What a model that hears takes


def test_clips_of_any_kind_become_the_models_inputs(tmp_path):
    model = kzoo.build("ds_cnn", sample_rate=RATE, num_classes=2)
    clip = tone()
    floats = kzoo.predict(model, [clip])
    pcm = kzoo.predict(model, [np.round(clip * 32768).astype(np.int16)])
    np.testing.assert_allclose(floats, pcm, atol=1e-4)
    soundfile.write(tmp_path / "a.wav", clip, RATE, subtype="FLOAT")
    (row,) = kzoo.tasks.of(model).rows_of_files(model, [tmp_path / "a.wav"])
    assert row["classes"][0]["probability"] == pytest.approx(floats.max(), abs=1e-6)
    with pytest.raises(ValueError, match="samples reach 9830"):
        kzoo.predict(model, [clip * 32768])
    with pytest.raises(ValueError, match="NaN"):
        kzoo.predict(model, [clip * np.nan])


def test_the_sheet_shows_and_plays(tmp_path):
    for name in ("yes", "no"):
        spoken(tmp_path / name, [f"{name}{index}" for index in range(4)])
    data = load(str(tmp_path), kzoo.build("ds_cnn", sample_rate=RATE, num_classes=2), augment=True, batch_size=2)
    sheet.draw(tmp_path / "a.png", data, epochs=1, count=2)
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    sheet.draw(tmp_path / "a.html", data, epochs=1, count=1)
    page = (tmp_path / "a.html").read_text()
    assert page.count("<audio controls") == 2 and page.count("data:image/png") == 2


def test_mel_pictures_show_a_tone_where_it_is():
    decibels = sound_sheet.log_mel(tone(1000, 1.0), RATE)
    assert json.dumps(int(decibels.mean(axis=1).argmax())) in [str(place) for place in range(28, 36)]


def test_silence_that_was_cut_for_training_is_cut_for_predictions(tmp_path):
    quiet = np.zeros(3000, np.float32)
    for name, frequency in (("low", 300), ("high", 1500)):
        (tmp_path / "all" / name).mkdir(parents=True)
        for index in range(6):
            clip = np.concatenate([quiet, tone(frequency, 0.3 + 0.01 * index), quiet])
            soundfile.write(tmp_path / "all" / name / f"{index}.wav", clip, RATE)
    model = kzoo.build("ds_cnn", sample_rate=RATE, num_classes=2, filters=8)
    data = load(str(tmp_path / "all"), model, trim=True, batch_size=4, validation_fraction=0)
    assert np.abs(np.asarray(next(iter(data.train.dataset))[0])[:, 0]).max() > 1e-4, "the sound begins at once"
    kzoo.fit(model, data, str(tmp_path / "run"), epochs=1, progress=False)
    loaded = kzoo.load(tmp_path / "run")
    assert loaded.kzoo.trims_silence and load(str(tmp_path / "all"), loaded).trims_silence
    file = tmp_path / "all" / "low" / "0.wav"
    (row,) = kzoo.tasks.of(loaded).rows_of_files(loaded, [file])
    wanted = kzoo.predict(loaded, [sound_files.read(file, RATE, trim=True).samples])
    assert row["classes"][0]["probability"] == pytest.approx(wanted.max(), abs=1e-6)
    with pytest.raises(ValueError, match="trim=True .* is for sounds"):
        load("synthetic", kzoo.build("mnist_cnn"), trim=True)
