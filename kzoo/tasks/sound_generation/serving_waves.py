"""Sound for a server: `generate` of a model of samples, conditions in and 16-bit samples out."""

import numpy as np
import tensorflow as tf

from kzoo.data import columns
from kzoo.generation import writing_waves
from kzoo.tasks.endpoints import Endpoint
from kzoo.tasks.sound_generation.distributions import distribution_of
from kzoo.tasks.sound_generation.mels import Mels


def endpoints(model) -> dict:
    """`generate`: any number of clips of any length, with the queues inside; equal seeds give equal sound."""
    wanted, kind, writer = columns.inputs_of(model), distribution_of(model), writing_waves.writer_of(model)
    mels = Mels(model) if "mel" in wanted else None
    specs, words = {}, {}
    if mels:
        specs["mel"] = ((None, None, wanted["mel"].shape[-1]), "float32")
        words["mel"] = f"mel frames, {mels.context} of them before and after those that {mels.hop} samples each are of"
    else:
        specs["num_samples"], words["num_samples"] = ((), "int32"), "samples of each clip"
    if "speaker" in wanted:
        specs["speaker"], words["speaker"] = ((None,), "int32"), wanted["speaker"].words
    elif not mels:
        specs["num_clips"], words["num_clips"] = ((), "int32"), "the number of clips"
    specs |= {"temperature": ((), "float32"), "seed": ((), "int32")}
    words |= {"temperature": "1 for the model's own distribution, 0 for the likeliest", "seed": "of what is drawn"}

    def make(call):
        return lambda *values: {"samples": writing_waves.to_int16(_write(dict(zip(specs, values, strict=True))))}

    def _write(given):
        by_clip, covers = writer.read({name: given[name] for name in ("mel", "speaker") if name in given})
        source = given.get("mel", given.get("speaker"))
        batch_size = given["num_clips"] if source is None else tf.shape(source)[0]
        num_samples = mels.num_samples(tf.shape(given["mel"])[1]) if mels else given["num_samples"]
        num_chunks = -(-num_samples // writing_waves.CHUNK)
        covers = [tf.pad(x, [[0, 0], [0, writing_waves.CHUNK], [0, 0]]) for x in covers]
        last, caches = writer.first_state(batch_size)
        found = tf.TensorArray(tf.float32, num_chunks, element_shape=(None, writing_waves.CHUNK))

        def body(index, found, last, caches):
            place = index * writing_waves.CHUNK
            shape = (batch_size, writing_waves.CHUNK, kind.num_draws)
            uniform = tf.random.stateless_uniform(shape, tf.stack([given["seed"], index]))
            rows = [tf.slice(x, [0, place, 0], [-1, writing_waves.CHUNK, -1]) for x in covers]
            limit = tf.minimum(num_samples - place, writing_waves.CHUNK)
            state = place, limit, uniform, given["temperature"], last, caches
            samples, last, caches = writer.write(kind, by_clip, rows, *state)
            return index + 1, found.write(index, samples), last, caches

        start = tf.constant(0), found, last, caches
        _, found, _, _ = tf.while_loop(lambda index, *_: index < num_chunks, body, start)
        joined = tf.transpose(found.stack(), [1, 0, 2])
        return tf.reshape(joined, [batch_size, num_chunks * writing_waves.CHUNK])[:, :num_samples]

    def draw(random, batch_size):
        given = {"num_samples": np.int32(20 + batch_size), "num_clips": np.int32(batch_size)}
        given |= {"temperature": np.float32(1), "seed": np.int32(7)}
        if mels:
            frames = 2 * mels.context + 1 + batch_size % 2
            given["mel"] = random.standard_normal((batch_size, frames, wanted["mel"].shape[-1]), np.float32)
        if "speaker" in wanted:
            given["speaker"] = random.integers(0, wanted["speaker"].limit, batch_size, "int32")
        return [given[name] for name in specs]

    inputs = {name: f"{dtype} {shape}: {words[name]}" for name, (shape, dtype) in specs.items()}
    outputs = {"samples": f"int16 (None, samples): {wanted['waveform'].sample_rate:,} a second"}
    return {"generate": Endpoint(make, specs, inputs, outputs, draw, "samples", exact=True, shares_variables=True)}
