"""Generation as a function that an export can hold: any number of prompts, any length, with the cache inside."""

from keras import ops

from kzoo.generation import loop
from kzoo.generation.programs import programs_of


def greedy(model) -> tuple:
    """Greedy generation as `(function, {input: (shape, dtype, what it is)})`.

    The function takes the inputs by name and returns `tokens` (batch, max_new_tokens) int32, and `lengths` (batch,)
    int32: how many of them come before a stop token. After it, the first of `stops` fills the rest.
    """
    decoder = programs_of(model).decoder
    inputs = {
        "max_new_tokens": ((), "int32", "the most tokens to write"),
        "stops": ((None,), "int32", "token ids that end a sequence; [-1] for none"),
    }
    if decoder.is_encoder_decoder:
        inputs |= {
            "encoder_token_ids": ((None, None), "int32", "sources"),
            "encoder_padding_mask": ((None, None), "int32", "1 for real tokens"),
            "start": ((), "int32", "the token id that the decoder begins with"),
        }
    else:
        inputs |= {
            "token_ids": ((None, None), "int32", "prompts, padded on the left"),
            "padding_mask": ((None, None), "int32", "1 for real tokens, 0 for padding before them"),
        }

    def generate(**given):
        stops, limit = given["stops"], given["max_new_tokens"]
        if decoder.is_encoder_decoder:
            sources = {name: given[name] for name in ("encoder_token_ids", "encoder_padding_mask")}
            batch_size = ops.shape(given["encoder_token_ids"])[0]
            prompt = ops.zeros((batch_size, 1), "int32") + given["start"]
            num_pads = ops.zeros((batch_size,), "int32")
        else:
            sources, prompt = {}, given["token_ids"]
            num_pads = ops.sum(ops.cast(ops.equal(given["padding_mask"], 0), "int32"), axis=1)
        request = {"prompt": prompt, "num_pads": num_pads, "sources": sources}
        request |= {"limit": limit, "stops": stops, "fill": stops[0]}
        tokens = loop.write(decoder, loop.Plan(limit), request)["tokens"]
        before = ops.cumsum(ops.cast(loop.is_stop(tokens, stops), "int32"), axis=1) == 0
        return {"tokens": tokens, "lengths": ops.sum(ops.cast(before, "int32"), axis=1)}

    return generate, inputs
