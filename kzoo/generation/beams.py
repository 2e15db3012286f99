"""Beam search with a length penalty, in the form that Hugging Face's `generate` gives it.

Sutskever et al. 2014, section 3.2; the penalty divides the sum of log probabilities by length^penalty (Wu et al. 2016,
https://arxiv.org/abs/1609.08144, equation 14, in its plain form). A candidate may end a sequence only if it is among
the best `num_beams`; twice as many are kept, so that enough of them continue. The search ends when no running sequence
of the present length could beat the worst finished one.
"""

import keras
from keras import ops

from kzoo.generation.loop import is_stop, read_prompts

LOW = -1e9


def search(decoder, plan, request) -> tuple:
    """The best sequences of each prompt, the best first: tokens (batch * num_sequences, max_new_tokens) int32, filled
    after the end, and their scores (batch * num_sequences,).

    Args:
        request: as `loop.prefill` takes it, with `length_penalty` in place of what sampling needs.
    """
    batch_size, prompt_length = request["prompt"].shape
    context, logits, caches = read_prompts(decoder, plan, request)
    spread = lambda x: ops.repeat(x, plan.num_beams, axis=0)  # noqa: E731 (batch, ...) to (batch * num_beams, ...)
    context, caches = keras.tree.map_structure(spread, (context, caches))
    num_pads = spread(request["num_pads"])
    empty = ops.zeros((batch_size, plan.num_beams, plan.max_new_tokens), "int32") + request["fill"]
    lowest = ops.full((batch_size, plan.num_beams), LOW, "float32")
    state = {
        "count": ops.zeros((), "int32"),
        "running": empty,
        # All beams begin equal, and would stay so if more than the first counted.
        "scores": ops.concatenate([lowest[:, :1] * 0, lowest[:, 1:]], axis=1),
        "ended": empty,
        "ended_scores": lowest,
        "has_ended": ops.zeros((batch_size, plan.num_beams), "bool"),
        "hopeful": ops.ones((batch_size, 1), "bool"),
        "goes_on": ops.ones((), "bool"),
        "caches": caches,
    }
    state = _extend(plan, request, state, spread(logits))

    def unfinished(state):
        return ops.logical_and(state["goes_on"], ops.any(state["hopeful"]))

    def body(state):
        last = ops.reshape(ops.take(state["running"], state["count"] - 1, axis=2), (-1, 1))
        place = prompt_length + state["count"] - 1
        logits, caches = decoder.step(last, place, num_pads, context, state["caches"])
        return [_extend(plan, request, {**state, "caches": caches}, logits)]

    state = ops.while_loop(unfinished, body, [state])[0]
    best = state["ended"][:, : plan.num_sequences], state["ended_scores"][:, : plan.num_sequences]
    return ops.reshape(best[0], (-1, plan.max_new_tokens)), ops.reshape(best[1], (-1,))


def _extend(plan, request, state, logits):
    """The state in which every running sequence is one token longer."""
    batch_size, num_beams = state["scores"].shape
    count, vocabulary_size = state["count"], logits.shape[-1]
    scores = ops.reshape(ops.log_softmax(logits, axis=-1), (batch_size, num_beams, vocabulary_size))
    scores = ops.reshape(scores + state["scores"][:, :, None], (batch_size, num_beams * vocabulary_size))
    num_candidates = max(2, 1 + plan.num_stops) * num_beams
    scores, places = ops.top_k(scores, num_candidates, sorted=True)
    beams, tokens = places // vocabulary_size, ops.cast(places % vocabulary_size, "int32")
    sequences = ops.slice_update(_choose(state["running"], beams), (0, 0, count), tokens[:, :, None])
    ends = ops.logical_or(is_stop(tokens, request["stops"]), count + 1 >= request["limit"])

    going, kept = ops.top_k(ops.where(ends, scores + LOW, scores), num_beams, sorted=True)
    rows = ops.arange(batch_size, dtype="int32")[:, None] * num_beams
    rows = ops.reshape(rows + ops.cast(ops.take_along_axis(beams, kept, axis=1), "int32"), (-1,))

    length = ops.cast(count + 1, "float32")
    may_end = ops.logical_and(ends, ops.arange(num_candidates, dtype="int32")[None, :] < num_beams)
    may_end_now = ops.logical_and(may_end, state["hopeful"])
    final = ops.where(may_end_now, scores / length ** request["length_penalty"], LOW)
    ended_scores = ops.concatenate([state["ended_scores"], final], axis=1)
    ended_scores, best = ops.top_k(ended_scores, num_beams, sorted=True)
    has_ended = ops.take_along_axis(ops.concatenate([state["has_ended"], may_end], axis=1), best, axis=1)
    worst = ops.where(has_ended, ended_scores[:, -1:], LOW)
    possible = going[:, :1] / length ** request["length_penalty"]
    return {
        "count": count + 1,
        "running": _choose(sequences, kept),
        "scores": going,
        "ended": _choose(ops.concatenate([state["ended"], sequences], axis=1), best),
        "ended_scores": ended_scores,
        "has_ended": has_ended,
        "hopeful": ops.logical_and(state["hopeful"], ops.any(possible > worst, axis=1, keepdims=True)),
        "goes_on": ops.logical_not(ops.all(ends)),
        "caches": keras.tree.map_structure(lambda cache: ops.take(cache, rows, axis=0), state["caches"]),
    }


def _choose(sequences, index):
    """Rows (batch, n, length) of sequences (batch, m, length) by index (batch, n)."""
    return ops.take_along_axis(sequences, index[:, :, None], axis=1)
