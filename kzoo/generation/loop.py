"""Writing token by token: prefill, then a loop over a cache of fixed size, as functions to be compiled whole."""

import dataclasses
from typing import Any

from keras import ops

from kzoo.generation.sampling import penalise, sample


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a compiled program depends on, beside the shapes of its arguments.

    max_new_tokens: the number of tokens the cache has room for; how many are written is an argument.
    sampled: whether tokens are drawn, rather than the likeliest taken.
    top_k, with_top_p, with_penalty: which forms of `sampling` are compiled in.
    num_beams: 1 to follow a single sequence for each prompt.
    num_stops: the number of stop tokens, for beam search: the more tokens may end a sequence, the more candidates it
        keeps.
    num_sequences: for beam search, how many of the best sequences of each prompt are returned.
    """

    max_new_tokens: int
    sampled: bool = False
    top_k: int | None = None
    with_top_p: bool = False
    with_penalty: bool = False
    num_beams: int = 1
    num_stops: int = 0
    num_sequences: int = 1


def read_prompts(decoder, plan, request) -> tuple:
    """Context, logits (batch, vocabulary_size) of the first new token, and caches that hold the prompts."""
    batch_size, prompt_length = ops.shape(request["prompt"])
    context = decoder.read(request["sources"])
    caches = decoder.empty_caches(batch_size, prompt_length + plan.max_new_tokens, context)
    return context, *decoder.step(request["prompt"], ops.zeros((), "int32"), request["num_pads"], context, caches)


def prefill(decoder, plan, request) -> dict:
    """Reads the prompts and chooses the first token: the state that `advance` continues from.

    Args:
        request: dict of tensors: `prompt` (batch, prompt_length) int32, padded on the left, `num_pads` (batch,),
            `sources` (dict by input name), `limit` scalar, `stops` (any number,) padded with -1, `fill` scalar, the id
            that follows the end, `uniform` (batch, max_new_tokens), `temperature`, `top_p`, `penalty` scalars.

    The state is a dict: `count` of tokens written, `tokens` (batch, max_new_tokens), `last`, `finished`, `seen`,
    `context` and `caches`.
    """
    prompt, num_pads = request["prompt"], request["num_pads"]
    batch_size, prompt_length = ops.shape(prompt)
    context, logits, caches = read_prompts(decoder, plan, request)
    seen = ops.zeros((batch_size, decoder.vocabulary_size if plan.with_penalty else 1), "bool")
    if plan.with_penalty:
        real = ops.arange(prompt_length, dtype="int32")[None, :] >= num_pads[:, None]
        hot = ops.one_hot(prompt, decoder.vocabulary_size, dtype="bool")
        seen = ops.any(ops.logical_and(hot, real[:, :, None]), axis=1)
    state = {
        "count": ops.zeros((), "int32"),
        "tokens": ops.zeros((batch_size, plan.max_new_tokens), "int32") + request["fill"],
        "last": prompt[:, -1],
        "finished": ops.zeros((batch_size,), "bool"),
        "seen": seen,
        "context": context,
        "caches": caches,
    }
    return choose(decoder, plan, request, state, logits)


def advance(decoder, plan, request, state) -> dict:
    """Continues until `limit` tokens are written or every sequence has met a stop token."""
    context, prompt_length = state["context"], ops.shape(request["prompt"])[1]
    moving = {key: value for key, value in state.items() if key != "context"}

    def body(state):
        place = prompt_length + state["count"] - 1
        logits, caches = decoder.step(state["last"][:, None], place, request["num_pads"], context, state["caches"])
        return [choose(decoder, plan, request, {**state, "caches": caches}, logits)]

    return {**ops.while_loop(lambda state: unfinished(request, state), body, [moving])[0], "context": context}


def write(decoder, plan, request) -> dict:
    """`tokens`, `count` and `finished` of the last state, from prompts to their end."""
    state = advance(decoder, plan, request, prefill(decoder, plan, request))
    return {key: state[key] for key in ("tokens", "count", "finished")}


def unfinished(request, state) -> Any:
    """Whether tokens are left to write: a scalar bool."""
    return ops.logical_and(state["count"] < request["limit"], ops.logical_not(ops.all(state["finished"])))


def choose(decoder, plan, request, state, logits) -> dict:
    """The state with one more token, chosen from logits (batch, vocabulary_size); its caches do not change."""
    count, finished, seen = state["count"], state["finished"], state["seen"]
    if plan.with_penalty:
        logits = penalise(logits, seen, request["penalty"])
    if plan.sampled:
        uniform = ops.take(request["uniform"], count, axis=1)
        top_p = request["top_p"] if plan.with_top_p else None
        token = sample(logits, uniform, request["temperature"], plan.top_k, top_p)
    else:
        token = ops.cast(ops.argmax(logits, axis=-1), "int32")
    token = ops.where(finished, request["fill"], token)
    if plan.with_penalty:
        seen = ops.logical_or(seen, ops.one_hot(token, decoder.vocabulary_size, dtype="bool"))
    return {
        **state,
        "count": count + 1,
        "tokens": ops.slice_update(state["tokens"], (0, count), token[:, None]),
        "last": token,
        "finished": ops.logical_or(finished, is_stop(token, request["stops"])),
        "seen": seen,
    }


def is_stop(tokens, stops) -> Any:
    """Whether each token is one of `stops` (any number,): bool in the shape of `tokens`."""
    return ops.any(ops.equal(tokens[..., None], stops), axis=-1)
