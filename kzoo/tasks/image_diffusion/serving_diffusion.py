"""Pictures of diffusion for a server: `generate`, noise and token ids in and pixels out, with the whole loop inside."""

import numpy as np
from keras import ops

from kzoo.catalog import card_of
from kzoo.generation import denoising, samplers
from kzoo.generation.samplers import LEFT
from kzoo.tasks.endpoints import Endpoint
from kzoo.tasks.image_diffusion.networks import decoder_of

NUM_STEPS, SAMPLER = 20, "dpm_solver"  # which draws no noise of its own


def endpoints(networks, noise) -> dict:
    """`generate` of one network or several: uint8 pictures of standard normal noise, any number at once.

    Args:
        networks: the `Networks`.
        noise: their schedule of noise.
    """
    plan = samplers.plan(noise, NUM_STEPS, SAMPLER)
    reads, decode = networks.text_encoder is not None, decoder_of(networks)
    specs, words = {"noise": ((None, *networks.shape), "float32")}, {"noise": "standard normal"}
    if reads:
        for name, what in (("token_ids", "of the texts"), ("negative_token_ids", "of what pictures go away from")):
            specs[name] = ((None, networks.length), "int32")
            words[name] = f"{what}, from the start token on, filled up as the tokenizer's files say"
        specs["guidance"], words["guidance"] = ((), "float32"), "how closely pictures follow the texts, such as 7.5"
    tables = [np.asarray(table, np.float32) for table in (*plan[:4], plan.levels[1:])]

    def generate(noise, token_ids=None, negative_token_ids=None, guidance=1.0):
        context = {}
        if reads:
            ids = ops.concatenate([negative_token_ids, token_ids], axis=0)
            context = {"encoder_hidden_states": networks.text_encoder(ids, training=False)}
        first = ops.expand_dims(np.float32(plan.first) * noise, 0)
        state = ops.concatenate([first, *[ops.zeros_like(first)] * (len(LEFT) - 1)], axis=0)
        nothing = np.zeros((1, 1, 1, 1), np.float32)
        fixed = (np.float32(plan.limit), NUM_STEPS, np.zeros((NUM_STEPS, 1, 1, 1, 1), np.float32), nothing, nothing)
        given = [ops.convert_to_tensor(each) for each in (*tables, *fixed, nothing + 1)]
        guided = ops.stack([ops.cast(guidance, "float32"), ops.zeros((), "float32")])
        state, _ = denoising.take_steps(networks.denoiser, reads, state, *given, guided, context)
        return {"images": denoising.to_uint8(decode(state[0]))}

    def draw(random, batch_size):
        found = [random.standard_normal((batch_size, *networks.shape), np.float32)]
        if reads:
            tokenizer = card_of(networks.text_encoder).tokenizer
            most = tokenizer.vocabulary_size if tokenizer else 100
            found += [random.integers(0, most, (batch_size, networks.length), "int32") for _ in range(2)]
            found.append(np.float32(3))
        return found

    inputs = {name: f"{dtype} {shape}: {words[name]}" for name, (shape, dtype) in specs.items()}
    outputs = {"images": f"uint8 {(None, *networks.picture_shape)}, by {NUM_STEPS} steps of {SAMPLER}"}
    return {"generate": Endpoint(lambda call: generate, specs, inputs, outputs, draw, "images", shares_variables=True)}
