"""Sequences from prompts: a user's request, checked and brought into a program's shape, and the answer in words."""

import math

import keras
import numpy as np

from kzoo.catalog import card_of
from kzoo.data import Tokenizer
from kzoo.data.checks import check_count, check_token_ids
from kzoo.generation.ending import Ending, Written
from kzoo.generation.loop import Plan
from kzoo.generation.programs import programs_of
from kzoo.support import forks

BUCKET = 32  # lengths of prompts, and of what is written, are rounded up to a multiple of this
STOPS = 4  # the places for stop tokens are rounded up to a multiple of this
STREAM_TOKENS = 4  # how many tokens are written between two calls of `stream`


def generate(
    model, prompt, tokenizer=None, max_new_tokens=64, temperature=0.0, top_k=None, top_p=None, repetition_penalty=1.0,
    num_beams=1, length_penalty=1.0, num_return_sequences=None, stop=None, start=None, seed=0, stream=None, xla=True,
) -> Written | list[Written] | list[list[Written]]:  # fmt: skip
    """Continues prompts, or translates them, with a cache, in one compiled program.

    A program is compiled once for each number of prompts and bucket of lengths (multiples of 32), whatever the prompts,
    weights and settings are. The default is greedy, and equal to recomputing everything for every token.

    Args:
        model: a language or translation model, or what `kzoo.fast_writer` made of one.
        prompt: a text or a list of texts (with a tokenizer), or a list of lists or arrays of token ids. For translation
            they are the sources; token ids of a source are given as the model reads them, end included.
        tokenizer: a `kzoo.data.Tokenizer` or its file; by default the one the model was trained or loaded with.
        max_new_tokens: the most tokens to write.
        temperature: 0 takes the likeliest token; above 0 tokens are drawn, from a flatter distribution the higher it
            is.
        top_k, top_p: draw from this many of the likeliest tokens, or from the likeliest that together reach this
            probability.
        repetition_penalty: above 1, tokens that occurred already become less likely.
        num_beams: above 1, beam search.
        length_penalty: for beam search; the higher it is, the better longer sequences score.
        num_return_sequences: how many sequences of each prompt to return: the best beams, the best first, of which
            there may be `num_beams`, or as many that are drawn apart at a temperature above 0.
        stop: token ids or texts that end a sequence, and stand in none; the tokenizer's end by default. A text that is
            one token ends it as that token alone, any other wherever it occurs in what is written, with the tokens that
            make it up.
        start: for translation, the id that the decoder begins with; the tokenizer's start by default.
        seed: decides what is drawn.
        stream: a function that is called with each new piece of text (token ids without a tokenizer) of one prompt.
        xla: whether XLA compiles the program; if not, TensorFlow runs its own operations.

    Returns a `Written` for one text, a list of them for a list; with `num_return_sequences` each is a list. Raises
    ValueError or TypeError that name the argument.
    """
    forks.check("kzoo.generate")
    programs = programs_of(model)
    tokenizer = _tokenizer(model, tokenizer, programs.decoder.vocabulary_size)
    check_count("max_new_tokens", max_new_tokens)
    settings = _settings(temperature, top_k, top_p, repetition_penalty, num_beams, length_penalty, programs)
    single = isinstance(prompt, str)
    rows = _encode([prompt] if single else prompt, tokenizer, programs.decoder)
    each = _check_sequences(num_return_sequences, num_beams, temperature)
    if num_beams == 1:
        rows = [row for row in rows for _ in range(each)]
    stops, phrases = _stops(stop, tokenizer, programs.decoder.vocabulary_size)
    ending = Ending(stops, phrases, tokenizer)
    request = _request(programs.decoder, rows, tokenizer, start, max_new_tokens)
    room = _round_up(max_new_tokens)
    drawn = {"sampled": temperature > 0, "top_k": top_k, "with_top_p": top_p is not None}
    searched = {"num_beams": num_beams, "num_stops": len(stops), "num_sequences": each} if num_beams > 1 else {}
    plan = Plan(room, **drawn, with_penalty=repetition_penalty != 1.0, **searched)
    request |= {
        "limit": np.int32(max_new_tokens),
        "stops": np.array(stops + [-1] * (_round_up(max(len(stops), 1), STOPS) - len(stops)), np.int32),
        "fill": np.int32(stops[0] if stops else 0),
        **settings,
    }
    if num_beams == 1:
        request["uniform"] = np.random.default_rng(seed).random((len(rows), room), "float32")
    request = keras.tree.map_structure(keras.ops.convert_to_tensor, request)
    scores = None
    if stream and num_beams > 1:
        reason = "stream shows tokens as they are written, and beam search settles them at the end"
        raise ValueError(f"{reason}; stream with num_beams=1")
    if stream and len(rows) > 1:
        raise ValueError(f"stream takes one prompt at a time, got {len(rows)}")
    if phrases and num_beams > 1:
        raise ValueError(f"stop {phrases[0]!r} is several tokens, which beam search does not take; pass num_beams=1")
    if num_beams > 1:
        tokens, scores = programs.search(plan, request, xla)
        scores = keras.ops.convert_to_numpy(scores)
    elif stream or phrases:
        tokens = _in_steps(programs, plan, request, xla, stream, ending, max_new_tokens)
    else:
        tokens = programs.write(plan, request, xla)["tokens"]
    written = ending.written(keras.ops.convert_to_numpy(tokens)[:, :max_new_tokens], scores)
    if num_return_sequences is not None:
        written = [written[first : first + each] for first in range(0, len(written), each)]
    return written[0] if single else written


def _check_sequences(number, num_beams, temperature):
    """How many sequences of each prompt are returned; ValueError if so many different ones cannot be had."""
    if number is None:
        return 1
    check_count("num_return_sequences", number)
    if num_beams > 1 and number > num_beams:
        raise ValueError(f"num_return_sequences is {number}, but num_beams={num_beams} finds no more than {num_beams}")
    if num_beams == 1 and number > 1 and temperature == 0:
        fix = "pass num_beams or a temperature above 0"
        raise ValueError(f"num_return_sequences is {number}, but the likeliest sequence is one; {fix}")
    return number


def _tokenizer(model, tokenizer, vocabulary_size):
    tokenizer = card_of(model).tokenizer if tokenizer is None else tokenizer
    if tokenizer is not None and not isinstance(tokenizer, Tokenizer):
        tokenizer = Tokenizer.load(tokenizer)
    if tokenizer is not None and tokenizer.vocabulary_size > vocabulary_size:
        sizes = f"the tokenizer has {tokenizer.vocabulary_size} tokens and {model.name} knows {vocabulary_size}"
        raise ValueError(f"{sizes}; pass the tokenizer that the model was trained with")
    return tokenizer


def _settings(temperature, top_k, top_p, repetition_penalty, num_beams, length_penalty, programs):
    """The settings that a program takes as arguments; ValueError if they are out of range or contradict each other."""
    numbers = {"temperature": temperature, "repetition_penalty": repetition_penalty}
    for name, value in {**numbers, "length_penalty": length_penalty}.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise TypeError(f"{name} must be a number, got {value!r}")
    if temperature < 0:
        raise ValueError(f"temperature must be at least 0 (0 takes the likeliest token), got {temperature!r}")
    if repetition_penalty <= 0:
        raise ValueError(f"repetition_penalty must be above 0 (1 changes nothing), got {repetition_penalty!r}")
    if top_p is not None and (not isinstance(top_p, int | float) or not 0 < top_p <= 1):
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p!r}")
    if top_k is not None and check_count("top_k", top_k) > programs.decoder.vocabulary_size:
        raise ValueError(f"top_k is {top_k}, but there are {programs.decoder.vocabulary_size} tokens")
    check_count("num_beams", num_beams)
    for name, value in {"top_k": top_k, "top_p": top_p}.items():
        if value is not None and temperature == 0:
            reason = f"{name} chooses what tokens are drawn from, and temperature=0 draws none"
            raise ValueError(f"{reason}; pass a temperature above 0")
    if num_beams > 1:
        if temperature > 0 or repetition_penalty != 1:
            fix = "leave them out or pass num_beams=1"
            raise ValueError(f"beam search (num_beams above 1) takes neither temperature nor repetition_penalty; {fix}")
        return {"length_penalty": np.float32(length_penalty)}
    values = {"temperature": temperature or 1.0, "top_p": top_p or 1.0, "penalty": repetition_penalty}
    return {name: np.float32(value) for name, value in values.items()}


def _encode(prompts, tokenizer, decoder):
    """Token ids of every prompt, as lists of ints."""
    prompts = list(prompts)
    if not prompts:
        raise ValueError("prompt is an empty list; pass at least one text or list of token ids")
    if any(isinstance(prompt, str) for prompt in prompts):
        if not all(isinstance(prompt, str) for prompt in prompts):
            raise TypeError("prompt mixes texts and token ids; pass one kind")
        if tokenizer is None:
            raise ValueError("prompt is text, and there is no tokenizer to read it; pass tokenizer= or token ids")
        rows = tokenizer.encode(prompts)
        if decoder.is_encoder_decoder:
            rows = [[*row, tokenizer.end_id] for row in rows]
    else:
        rows = [_ids(index, prompt, decoder.source_vocabulary_size) for index, prompt in enumerate(prompts)]
    begin = None
    if tokenizer is not None and not decoder.is_encoder_decoder:
        begin = tokenizer.end_id if tokenizer.start_id is None else tokenizer.start_id
    if begin is None and not all(rows):
        raise ValueError(f"prompt {[bool(row) for row in rows].index(False)} is empty; pass at least one token")
    return [row or [begin] for row in rows]


def _ids(index, prompt, vocabulary_size):
    if isinstance(prompt, int | np.integer):
        wanted = "a text, a list of texts or a list of lists of token ids"
        raise TypeError(f"prompt must be {wanted}, got a list of ids; pass [ids]")
    ids = np.asarray(prompt)
    if ids.ndim != 1:
        raise ValueError(f"prompt {index} has shape {ids.shape}; wanted token ids (length,)")
    return check_token_ids(f"prompt {index}", ids, vocabulary_size).tolist() if ids.size else []


def _stops(stop, tokenizer, vocabulary_size):
    """(ids of the stop tokens, texts of several tokens)."""
    if stop is None:
        return [] if tokenizer is None or tokenizer.end_id is None else [tokenizer.end_id], []
    stops, phrases = [], []
    for item in [stop] if isinstance(stop, str | int) else stop:
        if isinstance(item, str):
            if tokenizer is None:
                raise ValueError(f"stop {item!r} is text, and there is no tokenizer to read it; pass token ids")
            (ids,) = tokenizer.encode([item])
            if not item:
                raise ValueError("stop '' is an empty text, which would end every sequence at its beginning")
            if len(ids) != 1:
                phrases.append(item)
                continue
            item = ids[0]
        stops.append(item)
    return check_token_ids("stop", np.array(stops, np.int64), vocabulary_size).tolist() if stops else [], phrases


def _request(decoder, rows, tokenizer, start, max_new_tokens):
    """The prompts in a bucket's shape; ValueError if they and what is to be written do not fit the decoder."""
    longest = max(map(len, rows))
    length = _round_up(longest)
    if not decoder.is_encoder_decoder:
        _check_length(decoder, longest, max_new_tokens)
        length = min(length, decoder.max_length or length)
        prompt = np.array([[0] * (length - len(row)) + row for row in rows], np.int32)
        num_pads = np.array([length - len(row) for row in rows], np.int32)
        return {"prompt": prompt, "num_pads": num_pads, "sources": {}}
    start = (None if tokenizer is None else tokenizer.start_id) if start is None else start
    if start is None:
        raise ValueError("start, the id that the decoder begins with, is not known without a tokenizer; pass start=")
    check_token_ids("start", np.array([start]), decoder.vocabulary_size)
    _check_length(decoder, 1, max_new_tokens)
    sources = {
        "encoder_token_ids": np.array([row + [0] * (length - len(row)) for row in rows], np.int32),
        "encoder_padding_mask": np.array([[1] * len(row) + [0] * (length - len(row)) for row in rows], np.int32),
    }
    prompt, num_pads = np.full((len(rows), 1), start, np.int32), np.zeros(len(rows), np.int32)
    return {"prompt": prompt, "num_pads": num_pads, "sources": sources}


def _check_length(decoder, longest, max_new_tokens):
    if decoder.max_length is not None and longest + max_new_tokens > decoder.max_length:
        room = decoder.max_length - longest
        fix = f"pass max_new_tokens={room} or fewer" if room > 0 else "shorten the prompt"
        both = f"a prompt of {longest} tokens and max_new_tokens={max_new_tokens}"
        raise ValueError(f"{both} together exceed the context of {decoder.max_length} tokens; {fix}")


def _round_up(number, multiple=BUCKET):
    return -(-number // multiple) * multiple


def _in_steps(programs, plan, request, xla, stream, ending, max_new_tokens):
    """Writes a few tokens at a time, ends sequences at texts, hands each new piece to `stream`; returns the tokens."""
    limited = lambda limit: {**request, "limit": keras.ops.convert_to_tensor(np.int32(limit))}  # noqa: E731
    limit, shown, state = 1, 0, programs.begin(plan, limited(1), xla)
    while True:
        count = int(state["count"])
        written = ending.written(keras.ops.convert_to_numpy(state["tokens"])[:, :count])
        finished = [one.stopped for one in written]
        is_over = all(finished) or count >= max_new_tokens
        if stream:
            whole = written[0].ids if written[0].text is None else written[0].text
            ready = len(whole) if is_over else ending.num_settled(whole)
            if ready > shown:
                stream(whole[shown:ready])
                shown = ready
        if is_over:
            return state["tokens"]
        state = {**state, "finished": keras.ops.convert_to_tensor(np.array(finished))}
        limit = min(limit + STREAM_TOKENS, max_new_tokens)
        state = programs.go_on(plan, limited(limit), state, xla)
