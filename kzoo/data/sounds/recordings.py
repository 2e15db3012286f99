"""Recordings and what is said of each: from tables of paths, LibriSpeech's folders, class folders and TFDS."""

import concurrent.futures
import dataclasses
import hashlib
import itertools
import os
import pathlib
from typing import Any

import numpy as np

from kzoo.data import checks
from kzoo.data.columns import SOUNDS
from kzoo.data.pictures import MEMORY_LIMIT
from kzoo.data.sounds import sound_files
from kzoo.data.sources import chosen_columns, folders, prepared, table_files
from kzoo.data.tokenizing.tokenizer_files import read_text, split_lines

TRANSCRIPTS = "*.trans.txt"  # LibriSpeech: lines of a recording's name and its words, beside the recordings
BYTES = 4  # of a sample in memory


@dataclasses.dataclass
class Recordings:
    """Sounds by split, with one target each.

    Args:
        clips: `{split: objects}`: arrays of samples, or the paths of files where those do not fit into memory.
        lengths: `{split: int (clips,)}`, numbers of samples.
        keys: `{split: list}`, what is alike in equal recordings: a hash of the file, or of the samples.
        targets: `{split: list}`; "all" is the only split where some are to be set aside.
        identity: what a fingerprint says of them.
        notes: what a user should read.
        class_names: of targets that are classes, where the source names them.
    """

    clips: dict
    lengths: dict
    targets: dict
    identity: dict
    notes: list
    class_names: list | None = None
    keys: dict = dataclasses.field(default_factory=dict)


def from_table(files, sample_rate, columns=None, trim=False, skip_bad=False) -> Recordings:
    """The rows of tables (.csv, .tsv, .jsonl, .parquet) with a path, relative to the table, and a target."""
    opened = chosen_columns.open_tables(files, columns, "sounds", 1, skip_bad=skip_bad)
    parts = {}
    for split, table in opened.tables.items():
        (paths,) = chosen_columns.inputs_of(table, opened.chosen.inputs, "sounds")
        targets = chosen_columns.texts_of(table, opened.chosen.targets[0])
        good = table.good_rows(skip_bad)
        parts[split] = [(paths[row], targets[row]) for row in good]
        opened.notes += table.notes
    made = _read(parts, sample_rate, trim, skip_bad, opened.notes)
    made.identity |= opened.identity
    return made


def find_spoken(name) -> Any:
    """The folder of LibriSpeech's kind that a name stands for, or None."""
    path = pathlib.Path(name).expanduser()
    return path if path.is_dir() and next(path.rglob(TRANSCRIPTS), None) is not None else None


def from_transcripts(root, sample_rate, trim=False, skip_bad=False) -> Recordings:
    """LibriSpeech's layout: files `*.trans.txt` with a recording's name and its words on each line.

    Folders train, validation (or val, dev) and test are splits; LibriSpeech's own train-clean-100, dev-clean and so on
    are taken by how their names begin.
    """
    parts = {}
    for file in sorted(root.rglob(TRANSCRIPTS)):
        split = _split_of(file.relative_to(root).parts[:-1])
        for number, line in enumerate(split_lines(read_text(file)), 1):
            name, _, words = line.strip().partition(" ")
            if not name:
                continue
            there = [file.parent / f"{name}{suffix}" for suffix in SOUNDS]
            path = next((path for path in there if path.is_file()), None)
            if path is None:
                raise ValueError(f"{file}, line {number}: no recording {name}{{{','.join(SOUNDS)}}}")
            parts.setdefault(split, []).append((path, words.strip()))
    if "all" in parts and len(parts) > 1:
        raise ValueError(f"{root} has transcripts both in folders of splits and beside them")
    if not {"all", "train"} & {*parts}:
        raise ValueError(f"{root} has transcripts for {', '.join(parts)}, and none for train")
    return _read(parts, sample_rate, trim, skip_bad, [])


def _split_of(parts):
    for part in parts:
        first = part.lower().replace("_", "-").split("-")[0]
        if first in table_files.SPLIT_FILES:
            return table_files.SPLIT_FILES[first]
    return "all"


def from_classes(root, sample_rate, trim=False, skip_bad=False) -> Recordings:
    """A folder with one folder of recordings for each class, or such folders in train, validation and test."""
    names, parts = folders.survey(root)
    made = _read(parts, sample_rate, trim, skip_bad, [])
    return dataclasses.replace(made, class_names=names)


def from_tfds(name, builder, sample_rate, target, trim=False) -> Recordings:
    """A prepared data set with a feature of kind `Audio`, and what is said of each in the feature `target`."""
    key = audio_key(name, builder)
    rate = builder.info.features[key].sample_rate
    if not rate:
        raise ValueError(f"data set {name!r}: its feature {key!r} does not say its sample rate")
    made = Recordings({}, {}, {}, {**prepared.identity(name, builder), "trim": trim}, [])
    feature, every = builder.info.features[target], []
    for split in prepared.sizes(builder):
        clips, targets = [], []
        with prepared.damage_named(builder):
            for place, row in enumerate(prepared.records(builder, split, [key, target]).as_numpy_iterator()):
                where = f"data set {name!r}: clip {place} of {split} "
                clips.append(sound_files.fitted(_as_floats(row[key]), rate, sample_rate, trim, where))
                targets.append(row[target].decode() if isinstance(row[target], bytes) else row[target])
        every += clips
        hold(made, split, [clip.samples for clip in clips], targets)
    made.notes += sound_files.notes_of(name, every)
    return dataclasses.replace(made, class_names=getattr(feature, "names", None))


def audio_key(name, builder) -> str:
    """The one feature of sound that a data set has; ValueError for any other number of them."""
    keys = [key for key, feature in builder.info.features.items() if hasattr(feature, "sample_rate")]
    if len(keys) != 1:
        raise ValueError(
            f"data set {name!r} has {len(keys) or 'no'} features of sound; its features: "
            f"{', '.join(builder.info.features)}"
        )
    return keys[0]


def _as_floats(samples):
    """Samples of TFDS in [-1, 1]: whole numbers are PCM of 16 bits, whatever the width they are kept in."""
    return samples / np.float32(32768) if samples.dtype.kind in "iu" else samples


def _read(parts, sample_rate, trim, skip_bad, notes):
    """Reads all files once, so that a bad one is known before training, and keeps them if they are small enough."""
    made, bad, every, digest, kept_bytes = Recordings({}, {}, {}, {}, [*notes]), {}, [], hashlib.blake2b(), 0

    def one(path):
        try:
            contents = pathlib.Path(path).read_bytes() if pathlib.Path(path).is_file() else None
            if contents is None:
                raise ValueError(f"{path}: no file")
            clip = sound_files.decode(contents, sample_rate, trim, f"{path} ")
            return clip, hashlib.blake2b(contents, digest_size=8).digest()
        except (ValueError, OSError) as error:
            return None, str(error)

    for split, files in parts.items():
        clips, lengths, targets, paths, keys = [], [], [], [], []
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for (path, target), (clip, found) in zip(files, pool.map(one, [path for path, _ in files]), strict=True):
                if clip is None:
                    bad[path] = found
                    continue
                digest.update(found)
                digest.update(repr(target).encode())
                every.append(dataclasses.replace(clip, samples=None))
                kept_bytes += BYTES * len(clip.samples)
                clips.append(clip.samples if kept_bytes <= MEMORY_LIMIT else None)
                lengths.append(len(clip.samples))
                targets.append(target)
                paths.append(str(path))
                keys.append(found.hex())
        made.clips[split], made.keys[split] = (paths, clips), keys
        made.lengths[split], made.targets[split] = np.array(lengths, np.int64), targets
    for split, (paths, clips) in made.clips.items():
        made.clips[split] = checks.objects(clips if kept_bytes <= MEMORY_LIMIT else paths)
    _refuse(bad, sum(map(len, parts.values())), skip_bad, made.notes)
    made.notes += sound_files.notes_of("sound", every)
    made.identity = {"content": digest.hexdigest()[:16], "trim": trim, "sample_rate": sample_rate}
    return made


def _refuse(bad, count, skip_bad, notes):
    if not bad:
        return
    listed = "; ".join(itertools.islice(bad.values(), 5)) + (f"; and {len(bad) - 5} more" if len(bad) > 5 else "")
    line = f"{len(bad)} of {count} recordings cannot be read: {listed}"
    if not skip_bad:
        raise ValueError(f"{line}; repair or delete them, or leave them out with skip_bad=True (--skip-bad)")
    if len(bad) == count:
        raise ValueError(line)
    notes.append(f"{line}; left out")


def hold(made, split, clips, targets) -> None:
    """Takes clips in memory, float32 (num_samples,) each, and their targets as a split of `made`."""
    made.clips[split], made.targets[split] = checks.objects(clips), targets
    made.lengths[split] = np.array([len(clip) for clip in clips], np.int64)
    made.keys[split] = [hashlib.blake2b(clip.tobytes(), digest_size=8).hexdigest() for clip in clips]
