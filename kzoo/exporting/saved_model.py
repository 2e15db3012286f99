"""Leaving Keras: an export that is written beside, reloaded, compared with the model, and only then renamed."""

import json
import pathlib
import time

import keras
import numpy as np

from kzoo import tasks
from kzoo.catalog import card_of
from kzoo.data.synthetic import synthetic_batch
from kzoo.exporting import other_formats as exports
from kzoo.generation import serving
from kzoo.generation.decoder import writes_tokens
from kzoo.runtimes import choices, samples, verdicts
from kzoo.runtimes.fast_path import Settings, folder_bytes
from kzoo.runtimes.frozen import MAX_GRAPH_BYTES, freeze
from kzoo.support import atomic
from kzoo.support.suggest import did_you_mean
from kzoo.tasks.detection.anchors import anchors_of
from kzoo.tasks.detection.matching import MAX_DETECTIONS, detect
from kzoo.version import __version__

FORMATS = tuple(choices.FORMATS)
REPORT_FILE = "kzoo_export.json"
BATCH_SIZES = (1, 3)
TOLERANCE = 1e-5  # of the outputs' scale; looser for half precision, whose last bit is that large
HALF_TOLERANCE = 2e-2


def export(
    model,
    path,
    format="saved_model",
    overwrite=False,
    precision="float32",
    calibration=None,
    data=None,
    length=None,
    ranges=None,
    with_preprocessing=False,
):
    """Exports a model for servers that have neither kzoo nor Keras, and proves the export equal to the model.

    The SavedModel's signature `serve` (also `serving_default`) takes the model's inputs with any batch size and gives
    its outputs. Image classifiers also get `serve_images`: uint8 images (batch, height, width, channels) of any size,
    to `probabilities` (batch, num_classes) and `label` (batch,). Those of a detector of one input size give `boxes`
    (batch, 300, 4), left, top, right, bottom in pixels of the images as they come, `scores` and `labels` (batch, 300),
    the best first, -1 after the last, and `count` (batch,). Batch norm is folded and weights are constants, but for
    models that `generate`, whose signatures share variables, and for more than 2 GiB. The other formats hold the
    model's inputs and outputs alone, or with preprocessing uint8 images to `probabilities`: `litert` one file, `onnx`
    (open batch), `openvino` two files. None of them holds `generate`, whose loop keeps a cache.

    Args:
        path: folder to create; it must be absent or empty unless `overwrite`.
        format: "saved_model", "litert", "onnx" or "openvino"; all but the first are extras of kzoo.
        precision, calibration, length, ranges: as for `kzoo.fast`.
        with_preprocessing: an image classifier takes uint8 images (batch, height, width, channels) of its input size
            and normalises them itself. A SavedModel does so anyway in `serve_images`, which resizes too.
        data: a data set of kzoo, or its name, on which the report compares accuracy before and after.

    Returns the report, also stored in the folder as `kzoo_export.json` and, for people, `report.md`: signatures, the
    largest difference between reloaded export and model on random inputs at two batch sizes and the scale of the
    outputs it refers to, bytes, latency before and after. Raises ValueError if the path is occupied, the format is
    unknown, or the export differs; nothing is left then.
    """
    if format not in FORMATS:
        raise ValueError(did_you_mean("format", format, FORMATS))
    choices.check(choices.FORMATS[format], precision, calibration, ranges)
    if with_preprocessing:
        _check_preprocessing(model, format)
    if format == "saved_model" and precision != "float32":
        raise ValueError(
            f"a SavedModel keeps the model's own precision; build the model with dtype='mixed_bfloat16' instead of "
            f"precision={precision!r}"
        )
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"exports need KERAS_BACKEND=tensorflow; this process runs {keras.backend.backend()}")
    path = pathlib.Path(path)
    begin = time.perf_counter()
    if isinstance(data, str):
        from kzoo.data import load

        data = load(data, model)
    with atomic.folder(path, overwrite) as temporary:
        report = {"model": model.name, "format": format}
        if format == "saved_model":
            report |= _write_saved_model(model, temporary, data)
        else:
            how = {"precision": precision, "calibration": calibration, "data": data, "length": length, "ranges": ranges}
            report |= _write_other(model, temporary, choices.FORMATS[format], with_preprocessing, **how)
        report |= {"seconds": round(time.perf_counter() - begin, 2), "versions": _versions()}
        (temporary / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (temporary / exports.READABLE).write_text(exports.readable(report), encoding="utf-8")
    return {"path": str(path), **report}


def _check_preprocessing(model, format):
    """ValueError unless the format can hold what stands before the model."""
    if writes_tokens(model):
        raise ValueError(
            f"with_preprocessing: {model.name} takes token ids, and no format holds a tokenizer; `generate` is part of "
            "a SavedModel alone, since its loop with a cache has no form in the other formats"
        )
    if not _takes_images(model):
        raise ValueError(f"with_preprocessing is for models of images of one size; {model.name} takes "
                         f"{', '.join(_words(model.inputs).values())}")  # fmt: skip
    if format != "saved_model" and _detects(model):
        raise ValueError(
            f"with_preprocessing: {model.name} finds objects, and their boxes are decoded by `serve_images` of format "
            f"saved_model alone; format {format!r} holds the model's own inputs and outputs"
        )


def _write_other(model, folder, runtime, with_preprocessing, **how):
    """Writes what another runtime reads and returns the report of it."""
    finish = (lambda outputs: tasks.probabilities(model, outputs)) if with_preprocessing else None
    signatures = {"serve": _serve_signature(model, with_preprocessing)}
    return {"signatures": signatures, **exports.write(model, folder, runtime, finish=finish, **how)}


def _serve_signature(model, with_preprocessing):
    """The one signature of the other formats in words."""
    if not with_preprocessing:
        return {"inputs": _words(model.inputs), "outputs": _words(model.outputs)}
    size = (None, *model.inputs[0].shape[1:])
    return {"inputs": {"images": f"uint8 {size}"},
            "outputs": {"probabilities": f"float32 (None, {tasks.num_classes(model)})"}}  # fmt: skip


def _write_saved_model(model, folder, data):
    import tensorflow as tf

    signatures = _write(model, folder)
    loaded = tf.saved_model.load(str(folder))
    report = {
        "precision": "float32",
        "signatures": signatures,
        "weights": _weights(model),
        **_compare(model, loaded),
        "batch_sizes": list(BATCH_SIZES),
        "bytes": folder_bytes(folder),
    }
    run = _runner(model, loaded)
    report |= verdicts.latency(model, run, Settings(seconds=0.3))
    if data is not None:
        report["accuracy"] = verdicts.accuracy(model, run, data.test or data.validation)
    return report


def _runner(model, loaded):
    """The reloaded `serve` as a function from a list of arrays to a list of arrays."""
    import tensorflow as tf

    def run(arrays):
        x = keras.tree.pack_sequence_as(model.input, [tf.constant(array) for array in arrays])
        return [np.asarray(output) for output in keras.tree.flatten(loaded.serve(x))]

    return run


def _weights(model):
    """How a SavedModel of the model holds its weights, in words."""
    if writes_tokens(model):
        return "variables, which serve and generate share"
    size = sum(variable.value.dtype.size * int(np.prod(variable.shape)) for variable in model.variables)
    return "constants" if size <= MAX_GRAPH_BYTES else f"variables: {size:,} bytes are more than a graph holds"


def _versions():
    import tensorflow as tf

    return {"kzoo": __version__, "keras": keras.__version__, "tensorflow": tf.__version__}


def _takes_images(model):
    takes = len(model.inputs) == 1 and len(model.inputs[0].shape) == 4 and model.inputs[0].name.startswith("image")
    return takes and not (_detects(model) and None in model.inputs[0].shape[1:])  # whose anchors need a size


def _detects(model):
    return card_of(model).task == "object_detection"


def _write(model, folder):
    """Writes the SavedModel and returns its signatures {name: {"inputs", "outputs"}} in words."""
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    if _weights(model) == "constants":
        call = _constant_call(model)
    else:
        archive.track(model)

        def call(inputs):
            return model(inputs, training=False)

    wanted = keras.tree.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype, name=t.name), model.input)
    archive.add_endpoint("serve", call, input_signature=[wanted])
    described = {"serve": {"inputs": _words(model.inputs), "outputs": _words(model.outputs)}}
    if _takes_images(model):
        channels = model.inputs[0].shape[-1]
        raw = tf.TensorSpec((None, None, None, channels), tf.uint8, name="images")
        archive.add_endpoint("serve_images", _image_endpoint(model, call), input_signature=[raw])
        described["serve_images"] = {
            "inputs": {"images": f"uint8 (None, None, None, {channels})"},
            "outputs": _image_outputs(model),
        }
    if writes_tokens(model):
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


def _constant_call(model):
    """The model as a function of its inputs, through one graph of constants that all signatures share."""
    frozen = freeze(model, flatten=True)

    def call(inputs):
        outputs = frozen.function(*keras.tree.flatten(inputs))
        return keras.tree.pack_sequence_as(model.output, outputs)

    return call


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


def _image_endpoint(model, call=None):
    """What `serve_images` does: a function from uint8 images of any size to a dict of tensors.

    Args:
        call: what stands for the model.
    """
    import tensorflow as tf

    call = call or (lambda x: model(x, training=False))

    fit_images = _image_fitter(model)
    if not _detects(model):

        def classify(images):
            outputs = tasks.probabilities(model, call(fit_images(images)))
            return {"probabilities": outputs, "label": tf.argmax(outputs, axis=-1, output_type=tf.int32)}

        return classify
    anchors = anchors_of(model)

    def find(images):
        found = detect(call(fit_images(images)), anchors)
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
    how = card_of(model).preprocessing
    return lambda pixels: images.to_input(images.to_float(images.resize(pixels, shape, how)), shape, how)


def _words(tensors):
    return {tensor.name: f"{tensor.dtype} {tuple(tensor.shape)}" for tensor in tensors}


def _compare(model, loaded):
    """Compares all signatures of the reloaded SavedModel with the model; ValueError if they differ."""
    import tensorflow as tf

    endpoint, compared = (_image_endpoint(model), _compared(model)) if _takes_images(model) else (None, None)
    half = "16" in model.dtype_policy.name or any("16" in layer.dtype_policy.name for layer in model.layers)
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    if writes_tokens(model):
        _compare_writing(model, loaded)
    difference, scale = 0.0, 0.0
    for seed, batch_size in enumerate(BATCH_SIZES):
        x, _, _ = synthetic_batch(model, batch_size, seed=seed, sequence_length=samples.open_size(model, seed))
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
