"""Compiled programs of a model, made once for each plan and each bucket of shapes."""

import weakref
from typing import Any

import keras

from kzoo.generation import beams, loop
from kzoo.generation.decoder import Decoder

PROGRAMS = weakref.WeakKeyDictionary()  # model -> Programs


def programs_of(model) -> "Programs":
    """The model's `Programs`, kept as long as the model lives; a fast writer has its own."""
    if hasattr(model, "programs"):
        return model.programs
    if model not in PROGRAMS:
        PROGRAMS[model] = Programs(model)
    return PROGRAMS[model]


class Programs:
    """The decoder of a model and its compiled programs.

    A program depends on a `Plan`, on the shapes of a request, and on nothing else: weights, settings and texts are
    arguments. `num_compiled` counts the compilations.
    """

    def __init__(self, model):
        self.decoder = Decoder(model)
        self.variables = self.decoder.variables(self.decoder.once + self.decoder.steps)
        self.functions = {}
        self.num_compiled = 0

    def write(self, plan, request, xla) -> dict:
        """The outcome of `loop.write`."""
        return self._call(loop.write, plan, xla, request)

    def begin(self, plan, request, xla) -> dict:
        """The state of `loop.prefill`."""
        return self._call(loop.prefill, plan, xla, request)

    def go_on(self, plan, request, state, xla) -> dict:
        """The state of `loop.advance` from a state."""
        return self._call(loop.advance, plan, xla, request, state)

    def search(self, plan, request, xla) -> tuple:
        """What `beams.search` finds."""
        return self._call(beams.search, plan, xla, request)

    def _call(self, function, plan, xla, *arguments):
        def traced(*arguments):
            self.num_compiled += 1  # runs when the backend traces, which is once a compilation
            return function(self.decoder, plan, *arguments)

        key = (function, plan, xla)
        if key not in self.functions:
            self.functions[key] = compiled(traced, self.variables, xla)
        return self.functions[key](*arguments)


def compiled(function, variables, xla, symbol=None) -> Any:
    """The function as a program of the active backend; without `xla` TensorFlow runs its own operations.

    Args:
        symbol: the `keras.KerasTensor`, or a structure of them, that stands for the function's one argument, where
            TensorFlow is to compile one program for every size that it leaves open.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        signature = None
        if symbol is not None:
            signature = [keras.tree.map_structure(lambda each: tf.TensorSpec(each.shape, each.dtype), symbol)]
        return tf.function(function, input_signature=signature, jit_compile=xla, autograph=False)
    if backend == "jax":
        import jax

        # Weights are arguments, since as constants of the program they would be held a second time.
        def stateless(values, *arguments):
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return function(*arguments)

        program = jax.jit(stateless)
        return lambda *arguments: program([variable.value for variable in variables], *arguments)
    raise ValueError(f"generate runs on the TensorFlow and JAX backends, not on {backend}")
