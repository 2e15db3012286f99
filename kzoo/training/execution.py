"""How training steps are run on the device at hand, where the recipe leaves it open.

XLA is off on CPUs: training steps of a CNN, a ResNet and an LSTM measured 0.60 to 0.64 times as fast with it. It is on
where there is a GPU and steps need not repeat bit for bit, which XLA cannot promise in TensorFlow. Small models run
several steps between two returns to Python, since each return would cost more than a step. Steps on CPUs without XLA
fuse batch norm and Adam, see `kzoo.training.fused`: those of a ResNet-50 measured 1.3 times as fast.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

import keras

from kzoo.support import onednn
from kzoo.training import averaging, fused, gradients

SMALL_MODEL = 5_000_000  # parameters; below that, returning to Python after every step costs more than it tells
SMALL_MODEL_STEPS = 20


@dataclasses.dataclass(frozen=True)
class Execution:
    """How steps run: the `options` of `model.compile`, the `reason` why XLA is on or off, and whether they `fuse`."""

    options: dict
    reason: str
    fuse: bool


def choose(recipe, model, optimizer, num_batches) -> Execution:
    """The `Execution` of a recipe with its optimizer on this machine.

    Raises ValueError for XLA where TensorFlow is to repeat bit for bit, since Keras would turn it off with a mere
    warning, and for fused operations on another backend.
    """
    backend = keras.backend.backend()
    if recipe.fuse and backend != "tensorflow":
        raise ValueError(f"fuse=True is for TensorFlow, and Keras runs on {backend}; leave it out (no --fuse)")
    steps = recipe.steps_per_execution or (SMALL_MODEL_STEPS if model.count_params() < SMALL_MODEL else 1)
    steps = min(steps, num_batches, recipe.backup_steps or steps)
    jit_compile, reason = _choose_xla(recipe)
    fuse = recipe.fuse
    if fuse is None:
        fuse = backend == "tensorflow" and not jit_compile and not _gpus()
    fuse = fuse and (fused.is_fusible(optimizer) or bool(fused.fusible_norms(model)))
    return Execution({"steps_per_execution": steps, "jit_compile": jit_compile}, reason, fuse)


def _choose_xla(recipe):
    is_tensorflow = keras.backend.backend() == "tensorflow"
    if is_tensorflow and recipe.jit_compile and recipe.deterministic:
        raise ValueError(
            "jit_compile=True cannot repeat bit for bit in TensorFlow; pass deterministic=False (--no-deterministic) "
            "with it, or leave jit_compile out"
        )
    if recipe.jit_compile is not None:
        return recipe.jit_compile, "as asked"
    if not is_tensorflow:
        return "auto", "as the backend does"
    if not _gpus():
        return False, "steps measure slower with it on CPUs"
    if recipe.deterministic:
        return False, "it does not repeat bit for bit; deterministic=False allows it"
    return True, "there is a GPU"


def _gpus():
    import tensorflow as tf

    return tf.config.list_physical_devices("GPU")


@contextlib.contextmanager
def in_effect(networks, fuse) -> Iterator[None]:
    """While entered, the training steps that are traced for these networks run as `kzoo.fit` runs them.

    Args:
        networks: pairs of a Keras model and its optimizer.
    """
    with contextlib.ExitStack() as stack:
        for network, optimizer in networks:
            if keras.backend.backend() == "tensorflow":
                stack.enter_context(gradients.summed(optimizer))
            stack.enter_context(averaging.kept_apart(optimizer))
            if fuse:
                stack.enter_context(fused.fused_steps(network, optimizer))
        yield


def describe(trainee, execution) -> str:
    """One line that says how the steps of a compiled trainee run."""
    model, optimizer = trainee.networks[0]
    is_on, reason, steps = trainee.runner.jit_compile, execution.reason, execution.options["steps_per_execution"]
    if execution.options["jit_compile"] is True and not is_on:
        reason = "Keras refuses it: this process must repeat bit for bit, or a layer cannot be compiled"
    facts = [
        f"XLA {'on' if is_on else 'off'} ({reason})",
        f"back in Python every {'step' if steps == 1 else f'{steps} steps'}",
        f"dtype policy {keras.dtype_policies.get(model.dtype_policy).name}",
    ]
    if keras.backend.backend() == "tensorflow" and not _gpus():
        facts.append(onednn.describe())
    if execution.fuse:
        parts = ["batch norm"] * bool(fused.fusible_norms(model)) + ["Adam"] * fused.is_fusible(optimizer)
        facts.append(f"{' and '.join(parts)} in one operation")
    return ", ".join(facts)
