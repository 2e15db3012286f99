"""Leaving Keras: a SavedModel that is written beside, reloaded, compared with the model, and only then renamed."""

import json
import pathlib
import time

import keras
import numpy as np

from kzoo import atomic, tasks
from kzoo.data.synthetic import synthetic_batch
from kzoo.detection.anchors import anchors_of
from kzoo.detection.boxes import MAX_DETECTIONS, detect
from kzoo.generation import serving
from kzoo.suggest import did_you_mean
from kzoo.version import __version__

FORMATS = ("saved_model",)
REPORT_FILE = "kzoo_export.json"
BATCH_SIZES = (1, 3)
TOLERANCE = 1e-5  # of the outputs' scale; looser for half precision, whose last bit is that large
HALF_TOLERANCE = 2e-2


def export(model, path, format="saved_model", overwrite=False):
    """Exports a model for servers that have neither kzoo nor Keras, and proves the export equal to the model.

    The SavedModel's signature `serve` (also `serving_default`) takes the model's inputs with any batch size and gives
    its outputs. Image classifiers also get `serve_images`: uint8 images (batch, height, width, channels) of any size,
    to `probabilities` (batch, num_classes) and `label` (batch,). Those of a detector of one input size give `boxes`
    (batch, 300, 4), left, top, right, bottom in pixels of the images as they come, `scores` and `labels` (batch, 300),
    the best first, -1 after the last, and `count` (batch,).

    Args:
        path: folder to create; it must be absent or empty unless `overwrite`.

    Returns the report, also stored in the folder as `kzoo_export.json`: signatures, the largest difference between
    reloaded export and model on random inputs at two batch sizes and the scale of the outputs it refers to, bytes.
    Raises ValueError if the path is occupied, the format is unknown, or the export differs; nothing is left then.
    """
    if format not in FORMATS:
        raise ValueError(did_you_mean("format", format, FORMATS))
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"a SavedModel needs KERAS_BACKEND=tensorflow; this process runs {keras.backend.backend()}")
    path = pathlib.Path(path)
    begin = time.perf_counter()
    with atomic.folder(path, overwrite) as temporary:
        endpoints = _write(model, temporary)
        report = {
            "model": model.name,
            "format": format,
            "signatures": endpoints,
            **_compare(model, temporary),
            "batch_sizes": list(BATCH_SIZES),
            "bytes": sum(file.stat().st_size for file in temporary.rglob("*") if file.is_file()),
            "seconds": round(time.perf_counter() - begin, 2),
            "versions": _versions(),
        }
        (temporary / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return {"path": str(path), **report}


def _versions():
    import tensorflow as tf

    return {"kzoo": __version__, "keras": keras.__version__, "tensorflow": tf.__version__}


def _takes_images(model):
    takes = len(model.inputs) == 1 and len(model.inputs[0].shape) == 4 and model.inputs[0].name.startswith("image")
    return takes and not (_detects(model) and None in model.inputs[0].shape[1:])  # whose anchors need a size


def _detects(model):
    return getattr(getattr(model, "kzoo", None), "task", None) == "object_detection"


def _write(model, folder):
    """Writes the SavedModel and returns its signatures {name: {"inputs", "outputs"}} in words."""
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    wanted = keras.tree.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype, name=t.name), model.input)
    archive.add_endpoint("serve", lambda inputs: model(inputs, training=False), input_signature=[wanted])
    described = {"serve": {"inputs": _words(model.inputs), "outputs": _words(model.outputs)}}
    if _takes_images(model):
        channels = model.inputs[0].shape[-1]
        raw = tf.TensorSpec((None, None, None, channels), tf.uint8, name="images")
        archive.add_endpoint("serve_images", _image_endpoint(model), input_signature=[raw])
        described["serve_images"] = {
            "inputs": {"images": f"uint8 (None, None, None, {channels})"},
            "outputs": _image_outputs(model),
        }
    if serving.writes_tokens(model):
        generate, wanted = serving.greedy(model)
        specs = [tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype, _) in wanted.items()]
        endpoint = _positional(generate, list(wanted))
        archive.add_endpoint("generate", endpoint, input_signature=specs)
        described["generate"] = {
            "inputs": {name: f"{dtype} {shape}: {what}" for name, (shape, dtype, what) in wanted.items()},
            "outputs": {"tokens": "int32 (None, max_new_tokens)", "lengths": "int32 (None,)"},
        }
    archive.write_out(str(folder), verbose=False)
    return described


def _positional(function, names):
    """The function with positional arguments in the order of `names`, as an endpoint is traced."""
    return lambda *values: function(**dict(zip(names, values, strict=True)))


def _compare_writing(model, loaded):
    """ValueError unless the exported `generate` writes what the model writes, for prompts of several lengths."""
    import tensorflow as tf

    generate, wanted = serving.greedy(model)
    random, high = np.random.default_rng(0), min(tensor.shape[-1] for tensor in model.outputs)
    for batch_size in BATCH_SIZES:
        length, lengths = 5 + batch_size, random.integers(1, 5, batch_size)
        places = np.arange(length)[None, :]
        on_the_right = places < lengths[:, None] if "start" in wanted else places >= length - lengths[:, None]
        given = {"max_new_tokens": 6, "stops": np.array([-1]), "start": 1}
        for name, (shape, _, _) in wanted.items():
            if len(shape) == 2:
                drawn = random.integers(1, high, on_the_right.shape)
                given[name] = on_the_right * (1 if "mask" in name else drawn)
        given = [tf.constant(given[name], tf.int32) for name in wanted]
        ours = _positional(generate, list(wanted))(*given)["tokens"]
        theirs = loaded.generate(*given)["tokens"]
        if not np.array_equal(keras.ops.convert_to_numpy(ours), theirs.numpy()):
            raise ValueError(f"export: generate writes other tokens than the model at batch size {batch_size}; nothing "
                             "was kept")  # fmt: skip


def _image_endpoint(model):
    """What `serve_images` does: a function from uint8 images of any size to a dict of tensors."""
    import tensorflow as tf

    fit_images = _image_fitter(model)
    if not _detects(model):

        def classify(images):
            outputs = tasks.probabilities(model, model(fit_images(images), training=False))
            return {"probabilities": outputs, "label": tf.argmax(outputs, axis=-1, output_type=tf.int32)}

        return classify
    anchors = anchors_of(model)

    def find(images):
        found = detect(model(fit_images(images), training=False), anchors)
        height, width = (tf.cast(tf.shape(images)[axis], tf.float32) / anchors.size[axis - 1] for axis in (1, 2))
        return {**found, "boxes": found["boxes"] * tf.stack([width, height, width, height])}

    return find


def _image_outputs(model):
    """The outputs of `serve_images` in words."""
    if _detects(model):
        rows = {"boxes": f"float32 (None, {MAX_DETECTIONS}, 4)", "scores": f"float32 (None, {MAX_DETECTIONS})"}
        return {**rows, "labels": f"int32 (None, {MAX_DETECTIONS})", "count": "int32 (None,)"}
    return {"probabilities": f"float32 (None, {tasks.num_classes(model)})", "label": "int32 (None,)"}


def _image_fitter(model):
    """The model's preprocessing as a function from uint8 images of any size to its input."""
    from kzoo.data import images

    shape = tuple(model.inputs[0].shape[1:])
    how = getattr(model, "preprocessing", images.DEFAULT)
    return lambda pixels: images.to_input(images.to_float(images.resize(pixels, shape, how)), shape, how)


def _words(tensors):
    return {tensor.name: f"{tensor.dtype} {tuple(tensor.shape)}" for tensor in tensors}


def _compare(model, folder):
    """Reloads the SavedModel and compares both signatures with the model; ValueError if they differ."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    endpoint, compared = (_image_endpoint(model), _compared(model)) if _takes_images(model) else (None, None)
    half = "16" in model.dtype_policy.name or any("16" in layer.dtype_policy.name for layer in model.layers)
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    if serving.writes_tokens(model):
        _compare_writing(model, loaded)
    difference, scale = 0.0, 0.0
    for seed, batch_size in enumerate(BATCH_SIZES):
        open_size = (96 if _takes_images(model) else 9) + 4 * seed  # of heights, widths and lengths left open
        x, _, _ = synthetic_batch(model, batch_size, seed=seed, sequence_length=open_size)
        wanted = keras.tree.flatten(model(x, training=False))
        served = keras.tree.flatten(loaded.serve(keras.tree.map_structure(tf.constant, x)))
        for ours, theirs in zip(wanted, served, strict=True):
            ours, theirs = keras.ops.convert_to_numpy(ours), np.asarray(theirs)
            difference, scale = _worst("serve", theirs, ours, batch_size, tolerance, difference, scale)
        if _takes_images(model):
            pixels = np.random.default_rng(seed).integers(0, 256, x.shape, "uint8")
            wanted = np.asarray(endpoint(tf.constant(pixels))[compared])
            got = np.asarray(loaded.serve_images(tf.constant(pixels))[compared])
            difference, scale = _worst("serve_images", got, wanted, batch_size, tolerance, difference, scale)
    return {"max_difference": difference, "scale": scale, "tolerance": tolerance}


def _compared(model):
    """The output of `serve_images` that is compared: boxes of like scores may change places."""
    return "scores" if _detects(model) else "probabilities"


def _worst(signature, got, wanted, batch_size, tolerance, difference, scale):
    if got.shape != wanted.shape:
        raise ValueError(
            f"export: {signature} gives shape {got.shape} at batch size {batch_size}, wanted {wanted.shape}"
        )
    largest = float(np.max(np.abs(got.astype("float64") - wanted)))
    size = float(np.max(np.abs(wanted)))
    if not largest <= tolerance * max(size, 1e-6):
        raise ValueError(f"export: {signature} differs from the model by {largest:.3g} at batch size {batch_size} "
                         f"(outputs up to {size:.3g}, tolerance {tolerance:g} of that); nothing was kept")  # fmt: skip
    return max(difference, largest), max(scale, size)
