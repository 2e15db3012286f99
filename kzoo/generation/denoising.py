"""Pictures out of noise: one compiled loop that asks a network, takes a step, and asks again, for every sampler.

A step is a small matrix (`kzoo.generation.samplers`), so the loop knows no sampler. It is compiled once for a network
and the shape of its pictures, whatever the sampler, the number of steps and the weights; a chunk of steps runs between
two looks at the clock.
"""

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kzoo.generation.programs import compiled
from kzoo.generation.samplers import KNOWN, LEFT, Plan

CHUNK = 10  # steps that a program takes at most between two looks at the clock
LOOPS = weakref.WeakKeyDictionary()  # network -> {key: program}


class Guidance(NamedTuple):
    """How far answers go from those without a condition towards those with it.

    Attributes:
        scale: 1 takes the answers with the condition as they are; Ho and Salimans 2021, equation 6, counts from 0.
        rescale: how much of the guided answers' spread is brought back to what it was, Lin et al. 2024, section 3.4.
    """

    scale: float = 1.0
    rescale: float = 0.0


class Start(NamedTuple):
    """A picture that is there in part, as arrays (batch, height, width, channels) of the network's own space.

    Attributes:
        picture: from which sampling begins, at the level of noise where the plan begins.
        mask: 1 where the picture is to be painted anew and 0 where it stays, (batch, height, width, 1); None for all.
    """

    picture: np.ndarray
    mask: np.ndarray | None = None


UNGUIDED = Guidance()


def denoise(
    model, plan: Plan, shape, context=None, guidance=UNGUIDED, seed=0, start=None, progress=None, xla=False
) -> np.ndarray:
    """Pictures (batch, height, width, channels), float32, which the network made out of noise.

    What the i-th is depends on the seed and on i, not on how many others there are.

    Args:
        model: a network of `sample` and `timestep`, and of what `context` names.
        shape: (batch, height, width, channels).
        context: `{input: array (batch, ...)}`; with a guidance other than 1 (2 batch, ...), those without it first.
        start: a `Start`, or None for noise alone.
        progress: a function of the number of steps done, of all, and of the clean pictures that are seen so far.
        xla: whether XLA compiles the loop.

    Raises FloatingPointError if what comes out is not finite.
    """
    batch_size, size, total = shape[0], shape[1:], len(plan.timesteps)
    randoms = [np.random.default_rng([seed, index]) for index in range(batch_size)]

    def drawn():
        return np.stack([random.standard_normal(size, np.float32) for random in randoms])

    noise, kept = drawn(), np.zeros(shape, np.float32)
    picture = plan.first * noise
    if start is not None:
        kept = np.asarray(start.picture, np.float32)
        picture = plan.levels[0, 0] * kept + plan.levels[0, 1] * noise
    mask = np.ones((batch_size, *size[:2], 1), np.float32) if start is None or start.mask is None else start.mask
    is_random = plan.steps[:, 0, KNOWN.index("noise")] != 0
    state = np.concatenate([picture[None], np.zeros((len(LEFT) - 1, *shape))]).astype(np.float32)
    run, context = _program(model, guidance.scale != 1, xla), context or {}
    scales = ops.convert_to_tensor(np.array(guidance, np.float32))
    for begin in range(0, total, CHUNK):
        count = min(CHUNK, total - begin)
        fresh = np.zeros((CHUNK, *shape), np.float32)
        for index in np.flatnonzero(is_random[begin : begin + count]):
            fresh[index] = drawn()
        tables = [_padded(table[begin : begin + count]) for table in plan[:4]] + [_padded(plan.levels[begin + 1 :])]
        fixed = [np.float32(plan.limit), np.int32(count), fresh, kept, noise, np.asarray(mask, np.float32)]
        given = [ops.convert_to_tensor(each) for each in (*tables, *fixed)]
        state, clean = run(ops.convert_to_tensor(state), *given, scales, context)
        if progress:
            progress(begin + count, total, ops.convert_to_numpy(clean))
    found = ops.convert_to_numpy(state[0])
    if not np.isfinite(found).all():
        raise FloatingPointError(
            f"{model.name} gave pictures that are not finite; it may not be trained, or in float16"
        )
    return found


def _padded(table):
    return np.pad(table[:CHUNK], [(0, max(CHUNK - len(table), 0)), *[(0, 0)] * (table.ndim - 1)]).astype(np.float32)


def _program(model, is_guided, xla) -> Callable:
    programs = LOOPS.setdefault(model, {})
    if (is_guided, xla) not in programs:
        network = keras.Model(model.input, model.output)  # the same layers, since a program would keep the model alive
        programs[is_guided, xla] = compiled(
            lambda *given: take_steps(network, is_guided, *given), network.variables, xla
        )
    return programs[is_guided, xla]


def take_steps(
    network, is_guided, state, timesteps, scales, cleans, steps, levels, limit, count, fresh, kept, noise, mask,
    guidance, context,
) -> tuple:  # fmt: skip
    """The state after `count` steps, and the clean pictures that the last answer meant.

    Args:
        network: the Keras model, from `{input: tensor}` to answers.
        state: (LEFT, batch, height, width, channels), the picture first.
        timesteps, scales, cleans, steps, levels: rows of a `Plan`, levels from after the first step on.
        fresh: noise for each step, (steps, batch, height, width, channels).
        kept, noise, mask: a clean picture, its noise, and where it does not stay; of these and `fresh` every axis but
            that of the steps may be 1.
        guidance: a `Guidance` as a tensor (2,).
    """

    def body(index, state, _):
        picture = state[0]
        answer = _ask(network, is_guided, picture * scales[index], timesteps[index], guidance, context)
        clean = ops.clip(cleans[index, 0] * picture + cleans[index, 1] * answer, -limit, limit)
        known = ops.concatenate(
            [ops.stack([picture, answer, clean, fresh[index] + ops.zeros_like(picture)]), state[1:]], axis=0
        )
        state = ops.reshape(steps[index] @ ops.reshape(known, (len(KNOWN), -1)), ops.shape(state))
        stays = levels[index, 0] * kept + levels[index, 1] * noise
        return index + 1, ops.concatenate([(mask * state[0] + (1 - mask) * stays)[None], state[1:]], axis=0), clean

    start = ops.zeros((), "int32"), state, ops.zeros_like(state[0])
    _, state, clean = ops.while_loop(lambda index, *_: index < count, body, start)
    return state, clean


def _ask(network, is_guided, picture, timestep, guidance, context):
    """The answer (batch, height, width, channels) in float32, guided where there are answers of both kinds."""
    several = ops.concatenate([picture, picture], axis=0) if is_guided else picture
    inputs = {"sample": several, "timestep": ops.broadcast_to(timestep, ops.shape(several)[:1]), **context}
    answer = ops.cast(network(inputs, training=False), "float32")
    if not is_guided:
        return answer
    without, with_it = ops.split(answer, 2, axis=0)
    guided = without + guidance[0] * (with_it - without)
    spreads = [ops.std(each, axis=(1, 2, 3), keepdims=True) for each in (with_it, guided)]
    return guided * (1 + guidance[1] * (spreads[0] / ops.maximum(spreads[1], keras.config.epsilon()) - 1))


def to_uint8(pictures) -> Any:
    """Pictures in [-1, 1] as uint8; what lies outside is cut off."""
    return ops.cast(ops.round(ops.clip(pictures * 127.5 + 127.5, 0, 255)), "uint8")
