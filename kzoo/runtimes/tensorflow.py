"""TensorFlow: weights held by a tf.function, as constants where that gains, compiled by XLA where that measures faster.

TensorFlow keeps a dozen copies of constants. They are worth 7 to 10 % of one example's time without XLA (BERT-base,
ResNet-50). With XLA an unrolled LSTM takes 0.4 times as long for them, and BERT-base gains nothing from 7 GB of memory
where 1.8 GB will do.
"""

from kzoo import graph
from kzoo.rewrites.unrolling import is_recurrent, num_steps
from kzoo.runtimes import samples
from kzoo.runtimes.comparison import interleaved
from kzoo.runtimes.frozen import freeze

MAX_CONSTANT_BYTES = {"plain": 2**29, "xla": 2**26}
MAX_COMPILED_STEPS = 512  # XLA compiles 40 unrolled steps of an LSTM a second


def build(model, settings, calibration):
    """`(run, notes)`: a function from a list of arrays to a list of arrays, and what the report says of it.

    Candidates are plain, XLA and, for recurrent networks of a known length, unrolled without and with XLA; the fastest
    of one interleaved measurement is kept.
    """
    import numpy as np

    bfloat16 = settings.precision == "bfloat16"
    fixed = {"batch_size": settings.batch_size, "length": settings.length, "bfloat16": bfloat16}
    choices, failed = _candidates(model, settings)
    arrays = samples.random_inputs(model, settings.batch_size or 1, settings.length)
    functions = {}
    for name, how in choices.items():
        frozen = freeze(model, **fixed, **how)
        function = _caller(frozen, np)
        try:
            function(arrays)
        except Exception as error:  # XLA refuses some operations; whatever else fails, fails plainly too
            if len(choices) == 1 or not how.get("xla"):
                raise
            failed[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            continue
        functions[name] = (function, frozen)
    times = {}
    if len(functions) > 1:
        calls = {name: lambda f=f: f(arrays) for name, (f, _) in functions.items()}
        times = interleaved(calls, settings.seconds, min_rounds=5)  # a large model would be chosen on chance by less
    chosen = min(functions, key=lambda name: times[name]["min"] if times else 0)
    run, frozen = functions[chosen]
    notes = {**frozen.changes, "compiled": chosen, "measured_ms": times}
    notes["bytes"] = frozen.changes["constant_bytes"]
    return run, {**notes, "refused": failed} if failed else notes


def _candidates(model, settings):
    """`({name: arguments of freeze}, {name: why it is not tried})`."""
    size = graph.num_bytes(model.variables)
    plain = {"as_constants": size <= MAX_CONSTANT_BYTES["plain"]}
    compiled = {"as_constants": size <= MAX_CONSTANT_BYTES["xla"], "xla": True}
    choices = {"plain": {"flatten": True, **plain}, "xla": compiled}
    failed = {}
    if is_recurrent(model) and settings.length:
        choices["unrolled"] = {"unroll": True, **plain}
        steps = num_steps(model, settings.length)
        if steps <= MAX_COMPILED_STEPS:
            choices["unrolled_xla"] = {"unroll": True, "one_product": True, **compiled}
        else:
            why = f"{steps} unrolled steps; XLA would compile more than {MAX_COMPILED_STEPS} too long"
            failed["unrolled_xla"] = why
    if settings.xla is not None:
        choices = {name: how for name, how in choices.items() if how.get("xla", False) == settings.xla}
    return choices, failed


def _caller(frozen, np):
    import tensorflow as tf

    concrete = frozen.concrete
    dtypes = [spec.dtype for spec in frozen.specs]

    def run(arrays):
        tensors = [tf.constant(array, dtype) for array, dtype in zip(arrays, dtypes, strict=True)]
        return [np.asarray(output) for output in concrete(*tensors)]

    return run
