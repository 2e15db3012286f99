"""Video networks beside torchvision, the frames of files, clips as a function of seed, epoch and example, the task."""

import importlib.util
import json

import keras
import numpy as np
import pytest
import safetensors.numpy
from golden_files import GOLDEN, assert_close, assert_writes_what_it_read
from PIL import Image
from seeded_weights import digest, draw_video, load_drawn_weights, reference_shapes
from test_cli import run_here  # noqa: F401

import kzoo
from kzoo.data.videos import moving_digits, video_files

# digests of the names and shapes of torchvision's networks at full size
CASES = {"r3d_18": "62256ce03a92e3c1", "mc3_18": "acb4666d81e656b9", "r2plus1d_18": "1c41b84bcbb9630e"}
NARROW = {"filters": 8, "num_classes": 11}
TINY = {"depths": (1,), "filters": 4, "input_shape": (4, 16, 16, 3), "num_classes": 2}
PYAV = pytest.mark.skipif(not importlib.util.find_spec("av"), reason="the extra `video` is not installed")


def compare(folder, case):
    """(ours, torchvision's) at two sizes of clips."""
    for size, wanted in safetensors.numpy.load_file(GOLDEN / "torchvision_videos.safetensors").items():
        name, size = size.split(".")
        if name == case:
            shape = tuple(map(int, size.split("x")))
            model = load_drawn_weights(kzoo.build(case, input_shape=(*shape, 3), **NARROW), folder)
            yield np.asarray(model(draw_video(*shape), training=False)), wanted


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_reference_and_writes_its_names(case, tmp_path):
    for got, wanted in compare(tmp_path, case):
        assert_close(got, wanted)
    assert_writes_what_it_read(kzoo.build(case, input_shape=(4, 16, 16, 3), **NARROW), tmp_path)
    with keras.StatelessScope(initialize_variables=False):
        assert digest(reference_shapes(kzoo.build(case))) == CASES[case]


def frames(count, height=20, width=24):
    """A grey square that moves right by 3 pixels a frame, and brightens by 10 for 16 frames."""
    found = np.zeros((count, height, width, 3), np.uint8)
    for place, frame in enumerate(found):
        frame[4:12, 3 * place % width : 3 * place % width + 6] = 60 + 10 * (place % 16)
    return found


def save(path, pixels, duration=100, **options):
    images = [Image.fromarray(frame) for frame in pixels]
    images[0].save(path, save_all=True, append_images=images[1:], duration=duration, loop=0, **options)
    return path


def test_every_kind_of_file_gives_its_frames(tmp_path):
    pixels = frames(6)
    shape = (4, 20, 24, 3)
    for name, options in {"a.gif": {}, "a.png": {}, "a.webp": {"lossless": True}}.items():
        found = video_files.read(save(tmp_path / name, pixels, **options), shape)
        np.testing.assert_allclose(found.pixels, pixels, atol=3, err_msg=name)  # a GIF has 256 colours
        assert found.rate == pytest.approx(10)
    (tmp_path / "numbered").mkdir()
    for place, frame in enumerate(pixels):
        Image.fromarray(frame).save(tmp_path / "numbered" / f"frame{place + 6}.png")  # 10 comes after 9
    found = video_files.read(tmp_path / "numbered", shape)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.rate is None


def test_frames_are_taken_at_the_models_rate(tmp_path):
    path = save(tmp_path / "a.gif", frames(12), duration=100)  # 10 a second

    def brightness(rate):
        return video_files.read(path, (2, 20, 24, 3), rate).pixels.max(axis=(1, 2, 3)).astype(int)

    np.testing.assert_allclose(brightness(0), 60 + 10 * (np.arange(12) % 12), atol=3)
    np.testing.assert_allclose(brightness(5), 60 + 10 * np.arange(0, 12, 2), atol=3)
    np.testing.assert_allclose(brightness(4), 60 + 10 * np.array([0, 2, 5, 7, 10]), atol=3)
    np.testing.assert_allclose(brightness(20)[:6], 60 + 10 * np.array([0, 0, 1, 1, 2, 2]), atol=3)


def test_what_is_no_video_is_refused_by_name(tmp_path):
    shape = (4, 20, 24, 3)
    still = save(tmp_path / "still.gif", frames(1))
    whole = save(tmp_path / "whole.gif", frames(6))
    cut = tmp_path / "cut.gif"
    cut.write_bytes(whole.read_bytes()[:-40])
    (tmp_path / "text.gif").write_bytes(b"no picture at all;")
    (tmp_path / "text.txt").write_text("no")
    for path, words in {
        still: "is one picture",
        cut: "a GIF without an end",
        save(tmp_path / "short.gif", frames(3)): "has 3 frames and the model takes 4",
        tmp_path / "text.gif": "damaged, or no animation",
        tmp_path / "text.txt": "is no video: wanted .gif",
        tmp_path / "none.mp4": "no file at",
    }.items():
        with pytest.raises(ValueError, match=words) as caught:
            video_files.read(path, shape)
        assert str(path) in str(caught.value)
    if not importlib.util.find_spec("av"):
        (tmp_path / "a.mp4").write_bytes(b"x")
        with pytest.raises(ValueError, match=r"pip install kzoo\[video\]"):
            video_files.read(tmp_path / "a.mp4", shape)


@PYAV
def test_mp4_is_decoded_and_a_truncated_one_refused(tmp_path):
    import av

    pixels = frames(30, 32, 32)
    for name, options in {"a.mp4": {}, "front.mp4": {"movflags": "faststart"}}.items():
        with av.open(str(tmp_path / name), "w", options=options) as container:
            stream = container.add_stream("mpeg4", rate=15)
            stream.width = stream.height = 32
            for frame in pixels:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        found = video_files.read(tmp_path / name, (8, 32, 32, 3))
        assert len(found.pixels) == 30 and found.rate == pytest.approx(15)
        assert np.abs(found.pixels.astype(int) - pixels).mean() < 8
        contents = (tmp_path / name).read_bytes()
        cut = tmp_path / f"cut_{name}"
        cut.write_bytes(contents[: len(contents) * 2 // 3])
        with pytest.raises(ValueError, match=f"cut_{name} .*truncated"):
            video_files.read(cut, (8, 32, 32, 3))


def test_moving_digits_say_nothing_in_one_frame():
    parts = moving_digits.moving_digits()
    assert {split: clips.shape for split, (clips, _) in parts.items()} == {
        "train": (3500, 12, 32, 32, 1), "validation": (500, 12, 32, 32, 1), "test": (1000, 12, 32, 32, 1),
    }  # fmt: skip
    clips, labels = parts["test"]
    np.testing.assert_array_equal(np.bincount(labels), [125] * 8)
    down, right = np.array([*moving_digits.DIRECTIONS.values()])[labels].T
    for speed in moving_digits.SPEEDS:  # each clip is its first frame, moved by one of the speeds
        moved = [
            np.roll(clip[0], (speed * d, speed * r), (0, 1)) for clip, d, r in zip(clips, down, right, strict=True)
        ]
        same = (np.array(moved) == clips[:, 1]).all(axis=(1, 2, 3))
        assert 250 < same.sum() < 420
    middle = clips[:, 6].astype(float).sum(axis=(0, 3))  # wherever a digit goes, it may be anywhere
    assert middle.sum(axis=0).std() / middle.sum(axis=0).mean() < 0.2
    again = moving_digits.moving_digits()["test"][0]
    np.testing.assert_array_equal(clips, again)


@pytest.mark.slow
def test_eight_frames_tell_directions_and_one_frame_does_not():
    """One epoch each; chance is 12.5 %. benchmarks/recipes.py trains on."""
    found = {}
    for count in (1, 8):
        keras.utils.set_random_seed(0)
        model = kzoo.build("r3d_small", input_shape=(count, 32, 32, 1))
        how = {"optimizer": "adam", "learning_rate": 2e-3, "weight_decay": 0.0, "warmup_steps": 10}
        kzoo.fit(model, "moving_digits", epochs=1, batch_size=32, progress=False, **how)
        found[count] = kzoo.evaluate(model, "moving_digits")["accuracy"]
    assert found[1] <= 0.17 and found[8] >= 0.85, found
    print(found)


def test_clips_depend_on_seed_epoch_and_example_alone():
    model = kzoo.build("video_resnet", **{**TINY, "input_shape": (4, 20, 24, 3)})
    videos = [frames(6 + place) for place in range(10)]
    data = kzoo.data.from_arrays(videos, np.arange(10) % 2, model, validation=(videos, np.arange(10) % 2), batch_size=4)

    def first(split, epoch, batch_size=4):
        found = {}
        for ids, x in zip(np.split(split.example_ids(epoch), [4, 8]), (x for x, _ in split.epoch(epoch)), strict=True):
            brightest = np.asarray(x).max(axis=(2, 3, 4))[:, 0]
            found |= {
                int(place): round((float(value) * 255 - 60) / 10) for place, value in zip(ids, brightest, strict=True)
            }
        return found

    epochs = [first(data.train, epoch) for epoch in range(4)]
    assert epochs == [first(data.train, epoch) for epoch in range(4)]
    assert len({tuple(sorted(each.items())) for each in epochs}) > 1
    assert all(0 <= start <= 2 + place for each in epochs for place, start in each.items())
    assert first(data.validation, 0) == {place: (2 + place) // 2 for place in range(10)} == first(data.validation, 3)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Class folders: squares that move right, as GIFs, and left, as folders of numbered pictures."""
    root = tmp_path_factory.mktemp("clips")
    for name in ("left", "right"):
        (root / name).mkdir()
        for place in range(6):
            pixels = np.roll(frames(6, 16, 16), place, axis=2)[:: 1 if name == "right" else -1]
            if name == "right":
                save(root / name / f"{place}.gif", pixels)
                continue
            (root / name / str(place)).mkdir()
            for number, frame in enumerate(pixels):
                Image.fromarray(frame).save(root / name / str(place) / f"{number}.png")
    return root


def test_class_folders_train_on_the_command_line_and_clips_are_predicted(classes, tmp_path, run_here):  # noqa: F811
    sizes = [f"--set={key}={value}" for key, value in TINY.items() if key != "num_classes"]
    run = tmp_path / "run"
    status, out, err = run_here(
        "train",
        "r3d_small",
        *sizes,
        "--data",
        classes,
        "--epochs",
        1,
        "--batch-size",
        4,
        "--run-folder",
        run,
        "--quiet",
    )
    assert status == 0, err
    assert "num_classes=2" in err and "test:" in out
    status, out, err = run_here("predict", run, classes / "right" / "0.gif", classes / "left" / "0", "--json")
    rows = json.loads(out)
    assert status == 0 and [{each["class"] for each in row["classes"]} for row in rows] == [{"left", "right"}] * 2, err
    status, _, err = run_here("train", "resnet20", "--data", "moving_digits", "--run-folder", tmp_path / "other")
    assert status == 2 and "'moving_digits' is for video classification" in err
    still = save(tmp_path / "still.gif", frames(1))
    status, _, err = run_here("predict", run, still)
    assert status == 2 and "still.gif is one picture" in err and err.count("\n") == 1
    (classes / "right" / "bad.gif").write_bytes(still.read_bytes())
    model = kzoo.load(run)
    with pytest.raises(ValueError, match=r"1 of 13 videos cannot be read: .*bad\.gif is one picture.*--skip-bad"):
        kzoo.data.load(str(classes), model)
    assert "left out" in kzoo.data.load(str(classes), model, skip_bad=True).notes[0]
    (classes / "right" / "bad.gif").unlink()


def test_arrays_of_other_sizes_are_fitted_and_what_is_no_clip_refused():
    how = kzoo.Preprocessing(mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2))
    model = kzoo.build("video_resnet", **TINY)
    kzoo.catalog.update_card(model, preprocessing=how)
    videos = np.stack([frames(6), frames(6)])
    found = kzoo.data.prepare_inputs(model, videos)
    assert found.shape == (2, 4, 16, 16, 3)
    assert kzoo.predict(model, videos).shape == (2, 2)
    for x, words in {
        "one": (videos[0], "wanted clips"),
        "short": (videos[:, :3], "has 3 frames and the model takes 4"),
        "bright": (videos.astype("float32"), "divide by 255"),
    }.values():
        with pytest.raises(ValueError, match=words):
            kzoo.predict(model, x)
    with pytest.raises(ValueError, match="changes single pictures"):
        kzoo.data.load("moving_digits", kzoo.build("r3d_small"), augment=True)
    with pytest.raises(ValueError, match=r"'digits' is no data set of videos"):
        kzoo.data.load("digits", kzoo.build("r3d_small"))
    for wrong in ({"block": "4d"}, {"input_shape": (None, 16, 16, 3)}):
        with pytest.raises(ValueError, match="unknown block|all known"):
            kzoo.build("video_resnet", **{**TINY, **wrong})


def test_a_server_gets_clips_of_any_size(tmp_path):
    import tensorflow as tf

    model = kzoo.build("video_resnet", **TINY)
    kzoo.export(model, tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    videos = np.stack([frames(4), frames(4)])
    got = served.signatures["serve_videos"](videos=tf.constant(videos))
    np.testing.assert_allclose(got["probabilities"], kzoo.predict(model, videos), atol=1e-5)
