"""Sound classification: recordings, each of one class, such as a word, a speaker or an event."""

from typing import Any

import numpy as np

from kzoo.tasks.base import SYNTHETIC_SIZES, Task

RECIPE = {
    "optimizer": "adam", "learning_rate": 2e-3, "schedule": "cosine", "augment": "sounds", "epochs": 30,
    "batch_size": 64,
}  # fmt: skip


class SoundClassification(Task):
    """One class per recording."""

    name = "sound_classification"
    default_data = "spoken_digits"
    recipe = RECIPE

    def takes(self, builder) -> bool:
        features, keys = builder.info.features, builder.info.supervised_keys or ()
        kinds = [features[key] for key in keys if key in features]
        return len(kinds) == 2 and hasattr(kinds[0], "sample_rate") and hasattr(kinds[1], "num_classes")

    def width_of(self, name, model, how) -> int | None:
        if name == "synthetic":
            return None
        found = self._recordings(name, model, how)
        return len(found.class_names or {target for part in found.targets.values() for target in part})

    def batches(self, name, model, how) -> Any:
        found = self._recordings(name, model, how)
        return self._made(name, found, model, how.options, found.class_names or model.kzoo.class_names)

    def _recordings(self, name, model, how):
        """Those of a table of paths and classes, a folder of class folders of recordings, or a data set of TFDS."""
        from kzoo.data.sounds import recordings, sound_batches
        from kzoo.data.sources import folders, table_files

        sample_rate, skip_bad = sound_batches.SoundInputs(model).sample_rate, how.skip_bad
        files = table_files.find(name)
        if files is not None:
            return recordings.from_table(files, sample_rate, how.columns, trim=how.trim, skip_bad=skip_bad)
        folder = folders.find(name)
        if folder is not None:
            return recordings.from_classes(folder, sample_rate, trim=how.trim, skip_bad=skip_bad)
        builder = self.prepared(name, how)
        if not self.takes(builder):
            raise ValueError(
                f"data set {name!r} declares no pair of a sound and its class (its features: "
                f"{', '.join(builder.info.features)}); {model.name} is for {self.words}"
            )
        return recordings.from_tfds(name, builder, sample_rate, builder.info.supervised_keys[1], how.trim)

    def arrays(self, name, parts, model, options, class_names=None) -> Any:
        """Clips of any length: a list of arrays, or one array with zeros after the end of each."""
        from kzoo.data import checks, columns, dataset
        from kzoo.data.sounds import recordings

        (column,) = columns.inputs_of(model).values()
        found = recordings.Recordings({}, {}, {}, {"name": name, "trim": False}, [])
        for split, (x, y, _) in parts.items():
            clips = checks.objects([column.clip(clip) for clip in x])
            dataset.check_examples(f"{name} {split}", clips, np.asarray(y))
            recordings.hold(found, split, clips, list(y))
        return self._made(name, found, model, options, class_names)

    def synthetic(self, name, model, how) -> Any:
        from kzoo.tasks.feeding.synthetic_batches import synthetic_batch

        parts = {
            split: synthetic_batch(model, size, seed) for seed, (split, size) in enumerate(SYNTHETIC_SIZES.items())
        }
        return self.arrays(name, parts, model, how.options)

    def _made(self, name, found, model, options, class_names):
        from kzoo.data import checks
        from kzoo.data.sounds import sound_batches

        target, labels = self.target(model), {}
        for split, y in found.targets.items():
            where = f"{name} {split} labels"
            y, class_names = target.encode(where, np.asarray(y), class_names)
            labels[split], _ = target.check(where, y, None)
        class_names = class_names and checks.check_names(name, class_names, target.num_classes)
        options = sound_batches.sound_options(options, self.recipe["augment"])
        rows, notes = sound_batches.carve(name, found, found.keys, options)
        found.notes += notes
        labels = {split: labels[source][places] for split, (places, source) in rows.items()}
        return sound_batches.from_recordings(
            name, found, rows, labels, target.to_batch, model, options, class_names=class_names
        )

    def rows_of_files(self, model, paths, top=3, skip_bad=False) -> list:
        """One row per recording, with what was done to its sound; of a long one its beginning is heard."""
        from kzoo.data.sounds import sound_batches, sound_files
        from kzoo.tasks import reading

        inputs, rows = sound_batches.SoundInputs(model), []
        for path, clip in reading.readable(
            lambda path: sound_files.read(path, inputs.sample_rate, model.kzoo.trims_silence), paths, skip_bad
        ):
            changes = list(clip.changes)
            if inputs.length and len(clip.samples) > inputs.length:
                changes.append(f"cut to its first {inputs.length / inputs.sample_rate:g} s")
            found = self.predict(model, inputs.of_clips([clip.samples]))
            (row,) = self.rows(found, model.kzoo.class_names, top)
            rows.append({"file": str(path), **row, **({"sound": changes} if changes else {})})
        return rows

    def line(self, row) -> str:
        return super().line(row) + (f" (sound {', '.join(row['sound'])})" if row.get("sound") else "")


TASK = SoundClassification()
