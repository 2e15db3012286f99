"""One row of `throughput.py`, measured in this process: `throughput_row.py '{"kind": "model", ...}'`.

The last line on stdout is the row as JSON. TensorFlow is imported only when it is the backend.
"""

import json
import math
import os
import sys
import time

import failures
import timing

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
MATMUL_SIZES = {"cpu": 2048, "gpu": 8192}


def gpu_names():
    """Names of the GPUs the backend sees."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")
        return [tf.config.experimental.get_device_details(device).get("device_name", "GPU") for device in devices]
    if BACKEND == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform == "gpu"]
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def gpu_peak_bytes():
    """The most memory tensors took on the first GPU; None where the backend does not tell."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    if BACKEND == "jax":
        import jax

        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    import torch

    return torch.cuda.max_memory_allocated()


def wait(result):
    """Returns when the device has computed `result`, a tensor or a structure of tensors."""
    import keras

    for tensor in keras.tree.flatten(result):
        if BACKEND == "jax":
            tensor.block_until_ready()
        else:
            # one element: a stream works in order, and copying the whole tensor would be timed too
            keras.ops.convert_to_numpy(tensor[(0,) * len(tensor.shape)])


def compiled(function, xla=False):
    """`function` of tensors as the backend runs it fastest by its ordinary means, and what that is in words."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=xla), f"tf.function, XLA {'on' if xla else 'off'}"
    if BACKEND == "jax":
        import jax

        # block on every call: on a CPU, JAX may run calls of one round side by side
        jitted = jax.jit(function)
        on_cpu = jax.devices()[0].platform == "cpu"
        return (lambda *inputs: jax.block_until_ready(jitted(*inputs))) if on_cpu else jitted, "jax.jit"
    import torch

    return torch.inference_mode()(function), "eager, torch.inference_mode"


def time_matmul(device, seconds, **_):
    """The rate of one large float32 matrix product: the yardstick the models are held against."""
    import keras

    size = MATMUL_SIZES[device]
    left, right = (keras.random.uniform((size, size), seed=seed) for seed in (0, 1))
    multiply, path = compiled(keras.ops.matmul)
    samples, _ = timing.time_rounds(lambda: multiply(left, right), wait, seconds)
    best = min(samples)
    return {"size": size, "dtype": "float32", "path": path, "seconds": best, "macs_per_second": size**3 / best}


def inference_step(model, x):
    """A call without arguments that runs the model on `x`, and how it does so in words."""
    if BACKEND != "jax":
        call, path = compiled(lambda inputs: model(inputs, training=False), bool(model.jit_compile))
        return lambda: call(x), path
    # the weights are arguments: as captured constants they would be compiled into the program
    weights = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]

    def stateless(weights, others, inputs):
        return model.stateless_call(weights, others, inputs, training=False)[0]

    call, path = compiled(stateless)
    return lambda: call(weights, others, x), f"{path} of model.stateless_call"


def training_step(model, x, y, weight, fuse):
    """A call without arguments that trains one step and returns a weight, and how it does so in words."""
    smallest = min(model.trainable_variables, key=lambda variable: math.prod(variable.shape))

    def step():
        model.train_on_batch(x, y, sample_weight=weight)
        return smallest.value

    how = f"jit_compile={bool(model.jit_compile)}" + ", fused" * fuse
    return step, f"model.train_on_batch, Adam, the task's loss and metrics, {how}"


def time_model(model, mode, batch_size, seconds, sequence_length, device, **_):
    """Builds a catalogue model, times its steps on one synthetic batch that lies on the device, counts its work."""
    import keras

    import kzoo
    from kzoo import measure, tasks
    from kzoo.tasks.feeding.synthetic_batches import synthetic_batch
    from kzoo.training import execution
    from kzoo.training.recipe import make_recipe

    start = time.perf_counter()
    network = kzoo.build(model)
    if network.kzoo.task == "feature_extraction":  # which has no loss to train with
        start = time.perf_counter()
        network = kzoo.build(model, head="classification")
    build_seconds = time.perf_counter() - start
    optimizer = keras.optimizers.Adam()
    recipe = make_recipe({}, {"steps_per_execution": 1, "deterministic": False})
    chosen = execution.choose(recipe, network, optimizer, 1)
    tasks.compile_model(network, optimizer, **chosen.options)
    batch = synthetic_batch(network, batch_size, sequence_length=sequence_length)
    x, y, weight = (
        None if part is None else keras.tree.map_structure(keras.ops.convert_to_tensor, part) for part in batch
    )
    step, path = inference_step(network, x) if mode == "infer" else training_step(network, x, y, weight, chosen.fuse)
    start = time.perf_counter()
    with execution.in_effect([(network, network.optimizer)], chosen.fuse):
        wait(step())
    first_call_seconds = time.perf_counter() - start
    samples, steps_per_round = timing.time_rounds(step, wait, seconds)
    memory = {"peak_memory_bytes": timing.peak_memory_bytes(), "gpu_peak_bytes": None}
    if device == "gpu":
        memory["gpu_peak_bytes"] = gpu_peak_bytes()
    summary = timing.summarize(samples)
    counts = measure.measure(network, sequence_length)
    size = network.inputs[0].shape[1] if len(network.inputs) == 1 and len(network.inputs[0].shape) == 4 else None
    return {
        "path": path,
        "img_size": size,
        "sequence_length": sequence_length if any(None in tensor.shape[1:] for tensor in network.inputs) else None,
        "samples_per_sec": batch_size / summary["median"],
        "step_time_ms": {key: 1000 * summary[key] for key in ("median", "min", "spread")},
        "num_rounds": summary["num_samples"],
        "steps_per_round": steps_per_round,
        "build_seconds": build_seconds,
        "first_call_seconds": first_call_seconds,
        **memory,
        "param_count": counts["parameters"],
        "macs_per_example": counts["macs"],
        "macs_per_second": timing.MACS_PER_FORWARD_MAC[mode] * counts["macs"] * batch_size / summary["median"],
    }


def list_gpus(**_):
    return {"gpus": gpu_names()}


JOBS = {"gpus": list_gpus, "matmul": time_matmul, "model": time_model}


def main():
    job = json.loads(sys.argv[1])
    try:
        if job.get("device") == "gpu" and not gpu_names():
            raise RuntimeError(f"{BACKEND} sees no GPU")
        row = JOBS[job["kind"]](**job)
    except Exception as error:  # every failure is a row of the table
        row = {"error": failures.in_one_line(error)}
    print(json.dumps(row))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
