"""Speech recognition from recordings to transcripts: data, training, words, rates, exports, faults."""

import json

import keras
import numpy as np
import pytest
import soundfile

import kzoo
from kzoo.data import from_arrays, load, make_alphabet
from kzoo.tasks.speech_recognition import transcripts

RATE = 8000
TONES = {"A": 400, "B": 800, "C": 1600, "D": 3000}
SMALL = {"sample_rate": RATE, "num_layers": 1, "hidden_dim": 24}


def spell(word, seed=0):
    """A clip in which every letter is a tone of its own, with silence before, between and after."""
    random, parts = np.random.default_rng(seed), []
    for letter in word:
        seconds = random.uniform(0.12, 0.2)
        tone = 0.3 * np.sin(2 * np.pi * TONES[letter] * np.arange(int(seconds * RATE)) / RATE)
        parts += [np.zeros(int(random.uniform(0.03, 0.06) * RATE)), tone]
    clip = np.concatenate([*parts, np.zeros(400)])
    return (clip + 0.003 * random.standard_normal(len(clip))).astype(np.float32)


def words(count, seed=0):
    random = np.random.default_rng(seed)
    return ["".join(random.choice(list(TONES), random.integers(1, 5))) for _ in range(count)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for index, word in enumerate(words(120)):
        soundfile.write(folder / f"{index}.wav", spell(word, index), RATE)
        rows.append(f'{index}.wav,"{word.lower()}!"')
    (folder / "all.csv").write_text("path,transcript\n" + "\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """A model that has learned its tones."""
    folder = tmp_path_factory.mktemp("run") / "speech"
    keras.utils.set_random_seed(0)
    model = kzoo.build("deepspeech2", **SMALL)
    kzoo.fit(
        model, str(corpus / "all.csv"), str(folder), epochs=12, batch_size=8, learning_rate=6e-3, warmup_steps=10,
        augment=False, progress=False,
    )  # fmt: skip
    return folder


def test_it_learns_to_spell_what_it_hears(run, corpus):
    model = kzoo.load(run)
    numbers = kzoo.evaluate(model, str(corpus / "all.csv"))
    assert numbers["character_error_rate"] < 0.1 and set(numbers) >= {"loss", "word_error_rate"}
    assert kzoo.predict(model, [spell("DAB", 900), spell("C", 901)]) == ["DAB", "C"]
    # Whatever a clip is padded with and beside
    x = {
        "waveform": np.stack([np.pad(spell("DAB", 900), (0, 3000))]),
        "num_samples": np.array([len(spell("DAB", 900))]),
    }
    assert kzoo.predict(model, x) == ["DAB"]


def command(capsys, *words):
    """A command in this process: its exit status, standard output and standard error."""
    import click

    from kzoo.cli import using_commands  # noqa: F401 registers the commands
    from kzoo.cli.entry import cli

    try:
        cli.main([str(word) for word in words], standalone_mode=False)
        status = 0
    except click.UsageError as error:
        status, message = 2, error.message
    except ValueError as error:
        status, message = 2, str(error)
    told = capsys.readouterr()
    return status, told.out if status == 0 else message


def test_times_of_words_and_beams(run, corpus, capsys):
    soundfile.write(corpus / "dab.wav", spell("DAB", 900), RATE)
    _, told = command(capsys, "predict", run, corpus / "dab.wav", "--json")
    (row,) = json.loads(told)
    (word,) = row["words"]
    assert (row["text"], word["word"]) == ("DAB", "DAB")
    assert 0 <= word["begin"] < 0.12 and 0.3 < word["end"] <= len(spell("DAB", 900)) / RATE
    (corpus / "alone").mkdir()
    soundfile.write(corpus / "alone" / "dab.wav", spell("DAB", 900), RATE)
    assert command(capsys, "predict", run, corpus / "alone")[1].split()[1:] == ["DAB"]
    (corpus / "words.txt").write_text("cab\nbad\n")
    listed = "--words", corpus / "words.txt"
    _, told = command(capsys, "predict", run, corpus / "dab.wav", *listed)
    assert told.split()[1] in ("CAB", "BAD")
    status, told = command(capsys, "predict", run, corpus / "dab.wav", *listed, "--beam-width", "1")
    assert status == 2 and "pass a beam_width" in told
    status, told = command(capsys, "predict", "rnn", "--data", "synthetic", "--beam-width", "8")
    assert status == 2 and "is for speech recognition" in told


def test_the_saved_model_transcribes(run, tmp_path):
    import tensorflow as tf

    model = kzoo.load(run)
    report = kzoo.export(model, tmp_path / "export")
    assert set(report["signatures"]) == {"serve", "transcribe"}
    served = tf.saved_model.load(str(tmp_path / "export"))
    clip = spell("DAB", 900)
    found = served.signatures["transcribe"](
        waveform=tf.constant(clip[None]), num_samples=tf.constant([len(clip)], tf.int32)
    )
    ids = found["label_ids"].numpy()[0, : int(found["lengths"][0])]
    assert model.kzoo.tokenizer.decode([ids.tolist()]) == ["DAB"]


def test_the_alphabet_travels_with_the_model(run):
    assert kzoo.load(run).kzoo.tokenizer.encode(["Cab, 2!"]) == make_alphabet().encode(["CAB TWO"])


def test_frames_are_counted_without_running_the_model():
    model = kzoo.build("deepspeech2", **SMALL)
    assert transcripts.seconds_per_frame(model) == pytest.approx(0.02)
    lengths = np.array([400, 1600, 8000])
    counted = transcripts.frame_counter(model)(lengths)
    x = {"waveform": np.zeros((3, 8000), np.float32), "num_samples": lengths.astype(np.int32)}
    assert counted.tolist() == [np.sum(one[:, 1] > -1e8) for one in np.asarray(model.predict_on_batch(x))]


def test_arrays_of_any_length_with_texts_or_ids():
    model = kzoo.build("deepspeech2", **SMALL)
    clips, texts = [spell(word, seed) for seed, word in enumerate(words(24, 1))], words(24, 1)
    data = from_arrays(clips, texts, model, batch_size=4)
    x, y = next(iter(data.train.dataset))
    assert data.tokenizer.decode(np.asarray(y))[0] in texts
    assert x["waveform"].shape[1] >= int(x["num_samples"].numpy().max())
    ids = np.array([row + [0] * (4 - len(row)) for row in make_alphabet().encode(texts)])
    assert from_arrays(clips, ids, model, batch_size=4).tokenizer is None
    with pytest.raises(ValueError, match="example 0 has a 0 before its end"):
        from_arrays(clips, np.array([[0, 3]] * 24), model)
    with pytest.raises(ValueError, match="token id 29"):
        from_arrays(clips, np.array([[29, 3]] * 24), model)


def test_transcripts_that_cannot_be_learned_are_named(tmp_path):
    model = kzoo.build("deepspeech2", **SMALL)
    soundfile.write(tmp_path / "short.wav", spell("A"), RATE)
    soundfile.write(tmp_path / "good.wav", spell("ABCD"), RATE)
    rows = "good.wav,ab\nshort.wav,much too long for so little sound\ngood.wav,5 % of Ж\n"
    (tmp_path / "a.csv").write_text("path,transcript\n" + rows)
    with pytest.raises(ValueError, match="clip 2: its transcript .* holds '%', 'Ж'"):
        load(str(tmp_path / "a.csv"), model, validation_fraction=0)
    data = load(str(tmp_path / "a.csv"), model, validation_fraction=0, skip_bad=True)
    assert data.train.num_examples == 1
    told = " ".join(data.notes)
    assert "1 of 3 clips were left out: their transcripts hold" in told and "too short for their transcripts" in told
    (tmp_path / "a.csv").write_text("path,transcript\n" + rows.rsplit("good", 1)[0])
    with pytest.raises(ValueError, match=r"clip 1 has \d+ frames for 33 labels.*--skip-bad"):
        load(str(tmp_path / "a.csv"), model)


def test_a_faster_clip_has_frames_enough_as_well(tmp_path):
    """What just fits a clip may not fit it when augmentation makes it faster."""
    model = kzoo.build("deepspeech2", **SMALL)
    clip = np.zeros(RATE, np.float32)
    frames = int(transcripts.frame_counter(model)(np.array([RATE]))[0])
    text = "AB" * (frames // 2)
    load_all = {"validation_fraction": 0, "batch_size": 1}
    assert from_arrays([clip], [text], model, **load_all).train.num_examples == 1
    with pytest.raises(ValueError, match="too short for their transcripts"):
        from_arrays([clip], [text], model, augment="speech", **load_all)


def test_another_alphabet_needs_as_many_outputs(corpus, tmp_path):
    alphabet = make_alphabet("abcd ", digits=None)
    alphabet.save(tmp_path / "alphabet")
    with pytest.raises(ValueError, match=r"alphabet has 6 labels.* gives 29.*num_labels=6"):
        load(str(corpus / "all.csv"), kzoo.build("deepspeech2", **SMALL), tokenizer=str(tmp_path / "alphabet"))
    model = kzoo.build("deepspeech2", num_labels=6, **SMALL)
    data = load(str(corpus / "all.csv"), model, tokenizer=str(tmp_path / "alphabet"))
    assert set("".join(data.tokenizer.decode(np.asarray(next(iter(data.train.dataset))[1])))) <= set("abcd")


@pytest.mark.parametrize("seconds", [0.01, 0.05])
def test_very_short_clips_have_a_transcript(seconds):
    model = kzoo.build("deepspeech2", **SMALL)
    kzoo.catalog.update_card(model, tokenizer=make_alphabet())
    (text,) = kzoo.predict(model, [np.zeros(int(seconds * RATE), np.float32)])
    assert len(text) <= 3
