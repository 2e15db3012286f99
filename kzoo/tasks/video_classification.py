"""Video classification: moving pictures to one of several classes."""

from typing import Any

from kzoo.data import columns
from kzoo.tasks import base

GENERATED = "moving_digits"


class VideoClassification(base.Task):
    """One class per clip of a fixed number of frames."""

    name = "video_classification"
    default_data = GENERATED
    generated_data = (GENERATED,)
    recipe = {
        "optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 1e-4, "schedule": "cosine", "warmup_steps": 100,
        "epochs": 30, "batch_size": 32,
    }  # fmt: skip  # Kay et al. 2017 trained by this kind of descent

    def width_of(self, name, model, how) -> int | None:
        from kzoo.data.sources import folders
        from kzoo.data.videos.moving_digits import DIRECTIONS

        if name in self.generated_data:
            return len(DIRECTIONS)
        folder = None if name == "synthetic" else folders.find(name)
        return len(folders.survey(folder)[0]) if folder is not None else None

    def batches(self, name, model, how) -> Any:
        from kzoo.data.sources import folders
        from kzoo.data.videos import clips, moving_digits

        if name in self.generated_data:
            names = [*moving_digits.DIRECTIONS]
            parts = moving_digits.moving_digits()
            return clips.from_parts(name, {"name": name}, parts, model, self.target(model), how.options, names)
        folder = folders.find(name)
        if folder is None:
            raise ValueError(
                f"{name!r} is no data set of videos: wanted {GENERATED}, synthetic, or a folder with a folder of "
                "videos for each class"
            )
        return clips.from_folder(name, folder, model, self.target(model), how.options, how.skip_bad)

    def arrays(self, name, parts, model, options, class_names=None) -> Any:
        from kzoo.data.videos import clips

        pairs = {split: (x, y) for split, (x, y, _) in parts.items()}
        return clips.from_parts(name, {"name": name}, pairs, model, self.target(model), options, class_names)

    def synthetic(self, name, model, how) -> Any:
        from kzoo.data.videos import clips
        from kzoo.tasks.feeding.synthetic_batches import synthetic_batch

        sizes = {split: size // 16 for split, size in base.SYNTHETIC_SIZES.items()}  # a video has many pictures
        parts = {split: synthetic_batch(model, size, seed)[:2] for seed, (split, size) in enumerate(sizes.items())}
        return clips.from_parts(name, {"name": name}, parts, model, self.target(model), how.options)

    def endpoints(self, model) -> dict:
        """`serve_videos`: uint8 clips of the model's number of frames and any size."""
        import tensorflow as tf

        from kzoo.catalog import card_of
        from kzoo.data import resizing
        from kzoo.tasks import endpoints

        shape, how = columns.inputs_of(model)["video"].shape, card_of(model).preprocessing

        def make(call):
            def serve(videos):
                height, width = tf.shape(videos)[2], tf.shape(videos)[3]
                frames = tf.reshape(videos, (-1, height, width, shape[-1]))
                fitted = resizing.to_float(resizing.resize(frames, shape[1:], how))
                found = self.read(model, call(tf.reshape(resizing.to_input(fitted, shape[1:], how), (-1, *shape))))
                return {self.results: found, "label": tf.argmax(found, axis=-1, output_type=tf.int32)}

            return serve

        spec = ((None, shape[0], None, None, shape[-1]), "uint8")
        words = {**endpoints.results_in_words(self, model), "label": "int32 (None,)"}
        return {"serve_videos": endpoints.Endpoint(
            make, {"videos": spec}, {"videos": f"uint8 {spec[0]}"}, words,
            lambda random, batch_size: [random.integers(0, 256, (batch_size, *shape), "uint8")], self.results,
        )}  # fmt: skip


TASK = VideoClassification()
