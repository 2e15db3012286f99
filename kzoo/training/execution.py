"""How training steps are run on the device at hand, where the recipe leaves it open.

XLA is off on CPUs: training steps of a CNN, a ResNet and an LSTM measured 0.60 to 0.64 times as fast with it. It is on
where there is a GPU and steps need not repeat bit for bit, which XLA cannot promise in TensorFlow. Small models run
several steps between two returns to Python, which would cost more than a step. Batch norm and Adam are fused in steps
without XLA on CPUs, see `kzoo.training.fused`: those of a ResNet-50 measured 1.3 times as fast.
"""

import contextlib
import dataclasses

import keras

from kzoo.support import onednn
from kzoo.training import fused, gradients

SMALL_MODEL = 5_000_000  # parameters; below, the way back to Python between steps costs more than it tells
SMALL_MODEL_STEPS = 20


@dataclasses.dataclass(frozen=True)
class Execution:
    """What was chosen: `options` go to `model.compile`, `reason` says why XLA is on or off.

    `fuse` says whether batch norm and Adam are fused.
    """

    options: dict
    reason: str
    fuse: bool


def choose(recipe, model, optimizer, num_batches):
    """The `Execution` of a recipe with its optimizer on this machine.

    Raises ValueError for XLA where TensorFlow is to repeat bit for bit: Keras would turn it off with a mere warning;
    and for fused operations on another backend.
    """
    steps = recipe.steps_per_execution or (SMALL_MODEL_STEPS if model.count_params() < SMALL_MODEL else 1)
    steps = min(steps, num_batches, recipe.backup_steps or steps)
    jit_compile, reason = _choose_xla(recipe)
    options = {"steps_per_execution": steps, "jit_compile": jit_compile}
    is_fusible = fused.is_fusible(optimizer) or bool(fused.fusible_norms(model))
    return Execution(options, reason, _choose_fused(recipe, jit_compile) and is_fusible)


def _choose_fused(recipe, jit_compile):
    is_tensorflow = keras.backend.backend() == "tensorflow"
    if recipe.fuse and not is_tensorflow:
        raise ValueError(
            f"fuse=True is for TensorFlow, and Keras runs on {keras.backend.backend()}; leave it out (no --fuse)"
        )
    if recipe.fuse is not None:
        return recipe.fuse
    return is_tensorflow and not jit_compile and not _gpus()


def _choose_xla(recipe):
    if keras.backend.backend() != "tensorflow":
        return ("auto", "as the backend does") if recipe.jit_compile is None else (recipe.jit_compile, "as asked")
    if recipe.jit_compile and recipe.deterministic:
        raise ValueError(
            "jit_compile=True cannot repeat bit for bit in TensorFlow; pass deterministic=False (--no-deterministic) "
            "with it, or leave jit_compile out"
        )
    if recipe.jit_compile is not None:
        return recipe.jit_compile, "as asked"
    if not _gpus():
        return False, "steps measure slower with it on CPUs"
    if recipe.deterministic:
        return False, "it does not repeat bit for bit; deterministic=False allows it"
    return True, "there is a GPU"


def _gpus():
    import tensorflow as tf

    return tf.config.list_physical_devices("GPU")


@contextlib.contextmanager
def in_effect(networks, fuse):
    """While entered, the training steps that are traced of these networks run as `kzoo.fit` runs them.

    Args:
        networks: pairs of a Keras model and its optimizer.
    """
    with contextlib.ExitStack() as stack:
        for network, optimizer in networks:
            if keras.backend.backend() == "tensorflow":
                stack.enter_context(gradients.summed(optimizer))
            if fuse:
                stack.enter_context(fused.fused_steps(network, optimizer))
        yield


def describe(trainee, execution):
    """One line that says how the steps of a compiled trainee run."""
    model, optimizer = trainee.networks[0]
    xla, reason = "on" if trainee.runner.jit_compile else "off", execution.reason
    if execution.options["jit_compile"] is True and not trainee.runner.jit_compile:
        reason = "Keras refuses it: this process must repeat bit for bit, or a layer cannot be compiled"
    steps = execution.options["steps_per_execution"]
    policy = keras.dtype_policies.get(model.dtype_policy).name
    every = "every step" if steps == 1 else f"every {steps} steps"
    on_cpu = keras.backend.backend() == "tensorflow" and not _gpus()
    kernels = f", {onednn.describe()}" if on_cpu else ""
    parts = ["batch norm"] * bool(fused.fusible_norms(model)) + ["Adam"] * fused.is_fusible(optimizer)
    in_one = f", {' and '.join(parts)} in one operation" if execution.fuse else ""
    return f"XLA {xla} ({reason}), back in Python {every}, dtype policy {policy}{kernels}{in_one}"
