"""Videos with a class each as batches of clips: cut at random while training, out of the middle elsewhere."""

import hashlib

import numpy as np
import tensorflow as tf

from kzoo.data import checks, columns, dataset, resizing
from kzoo.data.sources import folders
from kzoo.data.videos import video_files

MEMORY_LIMIT = 4 << 30  # bytes that the fitted frames of all videos may take


def from_folder(name, root, model, target, options, skip_bad) -> dataset.Data:
    """The videos of class folders, `root/CLASS/clip.gif`, or `root/train/CLASS/...` beside validation and test."""
    column = columns.inputs_of(model)["video"]
    class_names, listed = folders.survey(root)
    checks.check_names(str(root), class_names, target.num_classes)
    parts, bad, held = {}, [], 0
    for split, files in listed.items():
        clips, labels = [], []
        for path, label in files:
            try:
                pixels = video_files.read(path, column.shape, column.frame_rate, options.preprocessing).pixels
            except ValueError as error:
                bad.append(str(error))
                continue
            held += pixels.nbytes
            if held > MEMORY_LIMIT:
                raise ValueError(
                    f"{root} holds more video than {MEMORY_LIMIT:,} bytes of fitted frames; use a part of it"
                )
            clips.append(pixels)
            labels.append(label)
        parts[split] = clips, np.array(labels, np.int32)
    notes = []
    if bad:
        line = f"{len(bad)} of {sum(map(len, listed.values()))} videos cannot be read: {'; '.join(bad[:3])}"
        if not skip_bad:
            raise ValueError(f"{line}; repair or delete them, or leave them out with skip_bad=True (--skip-bad)")
        notes.append(f"{line}; left out")
    return from_parts(name, {"name": name, "skip_bad": skip_bad}, parts, model, target, options, class_names, notes)


def from_parts(name, identity, parts, model, target, options, class_names=None, notes=()) -> dataset.Data:
    """Splits of `{split: (videos, labels)}`; videos are an array (examples, frames, height, width, channels) or a list.

    The split "all" is carved into three. Frames are uint8, or floats in [0, 1], of any size.
    """
    if options.augment:
        raise ValueError(f"augment={options.asked!r} changes single pictures; clips are cut at random without it")
    column, notes, rows = columns.inputs_of(model)["video"], [*notes], {}
    for split, (videos, labels) in parts.items():
        label = f"{name} {split}"
        held = [_checked(label, place, video, column, options.preprocessing) for place, video in enumerate(videos)]
        held = checks.objects(held)
        checked, _ = target.check(f"{label} labels", labels, held)
        dataset.check_examples(label, held, checked)
        rows[split] = (held, checked)
    if "all" in rows:
        rows["train"] = rows.pop("all")
        notes += dataset.carve(name, rows, [_hashes(rows["train"][0])], options, "test")
    notes += dataset.carve(name, rows, [_hashes(rows["train"][0])], options)
    wanted = {}
    for split, (videos, labels) in rows.items():
        wanted[split] = dataset.ragged(videos), labels
    identity["content"] = dataset.digest_of([(x.values, x.row_splits, y) for x, y in wanted.values()])
    clip = Clip(column, target, options.preprocessing)
    draw = lambda key, count: tf.random.stateless_uniform([count], key)  # noqa: E731
    splits = dataset.make_splits(wanted, clip, options, draw)
    return dataset.make_data(name, {**identity, "class_names": class_names}, splits, options, class_names, notes=notes)


def _checked(label, place, video, column, preprocessing):
    """The frames of one video, fitted to the model's size; ValueError that says which example is none."""
    what = f"{label}: video {place}"
    video = checks.check_finite(what, checks.check_array(what, video))
    if video.ndim != 4 or len(video) < column.shape[0] or video.shape[-1] not in (1, 3):
        raise ValueError(
            f"{what} has shape {video.shape}; wanted ({column.shape[0]} frames or more, height, width, 1 or 3 channels)"
        )
    checks.check_scale(what, video, preprocessing)
    shape = resizing.image_shape(video.shape[1:], column.shape[1:])
    fitted = np.asarray(resizing.resize(video, shape, preprocessing))
    return fitted.repeat(3, axis=-1) if shape[-1] == 3 and fitted.shape[-1] == 1 else fitted


def _hashes(videos):
    return np.array(
        [hashlib.blake2b(np.ascontiguousarray(one).data, digest_size=8).hexdigest() for one in videos], object
    )


class Clip:
    """Clips of a fixed number of frames: from anywhere in training, from the middle of a video elsewhere."""

    def __init__(self, column, target, preprocessing):
        self.shape, self.target, self.preprocessing = column.shape, target, preprocessing

    def __call__(self, rows, random) -> tuple:
        """`(x, y)` of (ragged frames, labels) and a number in [0, 1) for each, or None."""
        videos, labels = rows
        count = self.shape[0]
        spare = tf.cast(videos.row_lengths(), tf.int32) - count
        begin = spare // 2 if random is None else tf.cast(random * tf.cast(spare + 1, tf.float32), tf.int32)
        places = tf.cast(videos.row_starts(), tf.int32)[:, None] + begin[:, None] + tf.range(count)
        frames = resizing.to_float(tf.gather(videos.values, tf.reshape(places, [-1])))
        frames = resizing.to_input(frames, self.shape[1:], self.preprocessing)
        x = tf.reshape(frames, (-1, *self.shape))
        return x, self.target.repeat(self.target.to_batch(labels))
