"""TensorFlow: weights in a tf.function, as constants where that pays, compiled by XLA where that measures faster.

TensorFlow keeps a dozen copies of constants. Without XLA they save 7 to 10 % of the time of one example (BERT-base,
ResNet-50). With XLA they make an unrolled LSTM take 0.4 times as long, whereas BERT-base gains nothing from needing
7 GB of memory instead of 1.8 GB.
"""

import functools

import numpy as np
import tensorflow as tf

from kzoo import graph
from kzoo.rewrites.unrolling import is_recurrent, keeps_loops, num_steps
from kzoo.runtimes import samples
from kzoo.runtimes.comparison import interleaved
from kzoo.runtimes.frozen import freeze

MAX_CONSTANT_BYTES = {"plain": 2**29, "xla": 2**26}
MAX_COMPILED_STEPS = 512  # XLA compiles 40 unrolled steps of an LSTM in a second


def build(model, settings, calibration) -> tuple:
    """`(run, notes)`: a function from a list of arrays to a list of arrays, and what the report says of it.

    Candidates are plain, XLA and, for recurrent networks of a known length, unrolled without and with XLA; the fastest
    in one interleaved measurement is kept.
    """
    fixed = {"length": settings.length, "bfloat16": settings.precision == "bfloat16"}
    choices, failed = _candidates(model, settings)
    arrays = samples.random_inputs(model, settings.batch_size or 1, settings.length)
    functions = {}
    for name, how in choices.items():
        frozen = freeze(model, settings.batch_size, **fixed, **how)
        function = _caller(frozen)
        try:
            function(arrays)
        except Exception as error:  # XLA refuses some operations; whatever else fails also fails without it
            if len(choices) == 1 or not how.get("xla"):
                raise
            failed[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            continue
        functions[name] = (function, frozen)
    times = {}
    if len(functions) > 1:
        calls = {name: functools.partial(function, arrays) for name, (function, _) in functions.items()}
        times = interleaved(calls, settings.seconds, min_rounds=5)  # fewer would leave a large model to chance
    chosen = min(functions, key=lambda name: times[name]["min"] if times else 0)
    run, frozen = functions[chosen]
    measured = {"compiled": chosen, "measured_ms": times, "bytes": frozen.changes["constant_bytes"]}
    return run, {**frozen.changes, **measured, **({"refused": failed} if failed else {})}


def _candidates(model, settings):
    """`({name: arguments of freeze}, {name: why it is not tried})`."""
    size = graph.num_bytes(model.variables)
    plain = {"as_constants": size <= MAX_CONSTANT_BYTES["plain"]}
    compiled = {"as_constants": size <= MAX_CONSTANT_BYTES["xla"], "xla": True}
    choices = {"plain": {"flatten": True, **plain}, "xla": compiled}
    failed = {}
    if is_recurrent(model) and settings.length and not keeps_loops(model):
        choices["unrolled"] = {"unroll": True, **plain}
        steps = num_steps(model, settings.length)
        if steps <= MAX_COMPILED_STEPS:
            choices["unrolled_xla"] = {"unroll": True, "one_product": True, **compiled}
        else:
            why = f"{steps} unrolled steps; XLA would take too long to compile more than {MAX_COMPILED_STEPS}"
            failed["unrolled_xla"] = why
    if settings.xla is not None:
        choices = {name: how for name, how in choices.items() if how.get("xla", False) == settings.xla}
    return choices, failed


def _caller(frozen):
    concrete, dtypes = frozen.concrete, [spec.dtype for spec in frozen.specs]

    def run(arrays):
        tensors = [tf.constant(array, dtype) for array, dtype in zip(arrays, dtypes, strict=True)]
        return [np.asarray(output) for output in concrete(*tensors)]

    return run
