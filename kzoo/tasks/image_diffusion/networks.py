"""The networks of diffusion, one or several: what denoises, what makes latents of pictures, and what reads texts."""

import logging
import weakref
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kzoo import catalog
from kzoo.catalog import card_of
from kzoo.data import columns
from kzoo.generation.programs import compiled

AUTOENCODERS = ("vae", "vqvae")  # as diffusers calls the part
BYTES_AT_ONCE = 1 << 22  # of pictures that an autoencoder takes at a time
LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE = -30.0, 20.0
PROGRAMS = weakref.WeakKeyDictionary()  # network -> {input: the program from it to what depends on it}


class Networks(NamedTuple):
    """What a model or an Assembly has for diffusion.

    Attributes:
        denoiser: from `sample` and `timestep` to what is predicted; with a text encoder also of its hidden states.
        autoencoder: between pictures and latents, or None where the pixels themselves diffuse.
        text_encoder: from `token_ids` to hidden states, or None.
    """

    denoiser: keras.Model
    autoencoder: keras.Model | None = None
    text_encoder: keras.Model | None = None

    @property
    def shape(self) -> tuple:
        """(height, width, channels) of what diffuses."""
        return tuple(columns.inputs_of(self.denoiser)["sample"].shape)

    @property
    def picture_shape(self) -> tuple:
        """(height, width, channels) of pictures."""
        return self.shape if self.autoencoder is None else tuple(self.autoencoder.input["image"].shape[1:])

    def encode(self, pictures, random=None) -> np.ndarray:
        """What diffuses, for pictures float32 (batch, height, width, channels) in [-1, 1].

        Args:
            random: a generator that draws latents from their distribution; without it, their mean is taken.
        """
        if self.autoencoder is None:
            return pictures
        found = _in_parts(self.autoencoder, "image", pictures)
        if found.shape[-1] == 2 * self.shape[-1]:
            found, log_variance = np.split(found, 2, axis=-1)
            if random is not None:
                deviation = np.exp(0.5 * np.clip(log_variance, LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE))
                found = found + deviation * random.standard_normal(found.shape, np.float32)
        return found * np.float32(self.scale)

    def decode(self, samples) -> np.ndarray:
        """Pictures in about [-1, 1] of what has diffused."""
        if self.autoencoder is None:
            return samples
        return _in_parts(self.autoencoder, "latents", samples / np.float32(self.scale))

    @property
    def scale(self) -> float:
        """The factor of latents, by which they have about the variance of noise."""
        return catalog.arguments(self.autoencoder)["scaling_factor"]

    @property
    def length(self) -> int:
        """How many tokens a text has, filled up."""
        return catalog.arguments(self.text_encoder)["max_length"]

    def ids(self, texts, tokenizer=None) -> np.ndarray:
        """Token ids int32 (texts, length): the start token, the text, the end token, and padding.

        Texts that are too long are cut, and how many is logged.
        """
        tokenizer = tokenizer or card_of(self.text_encoder).tokenizer
        if tokenizer is None:
            raise ValueError(
                f"{self.text_encoder.name} has no tokenizer to read texts with; load one beside its weights"
            )
        start, end = (tokenizer.need(role, "a text for diffusion") for role in ("start", "end"))
        rows = tokenizer.encode(texts)
        cut = sum(len(row) > self.length - 2 for row in rows)
        if cut:
            logging.getLogger("kzoo").warning(
                "%d of %d texts have more than %d tokens and were cut", cut, len(rows), self.length - 2
            )
        padding = end if tokenizer.pad_id is None else tokenizer.pad_id
        found = np.full((len(rows), self.length), padding, np.int32)
        for place, row in enumerate(rows):
            row = [start, *row[: self.length - 2], end]
            found[place, : len(row)] = row
        return found

    def context(self, ids) -> dict:
        """The inputs of the denoiser that texts give."""
        return {"encoder_hidden_states": _program(self.text_encoder, "token_ids")(ids)}


def networks_of(model) -> Networks:
    """The `Networks` of a model or an `Assembly`; ValueError for parts that do not fit each other."""
    if isinstance(model, keras.Model):
        if "encoder_hidden_states" in columns.inputs_of(model):
            raise ValueError(f"{model.name} reads a text encoder; pass the Assembly of both")
        return Networks(model)
    if "unet" not in model:
        raise ValueError(f"{model.name} has the parts {', '.join(model)}; wanted unet among them")
    autoencoder = next((model[part] for part in AUTOENCODERS if part in model), None)
    found = Networks(model["unet"], autoencoder, model["text_encoder"] if "text_encoder" in model else None)
    if autoencoder is not None:
        latents = tuple(autoencoder.input["latents"].shape[1:])
        if latents != found.shape:
            raise ValueError(
                f"{model.name}: the autoencoder's latents are {latents} and the unet takes {found.shape}; build both "
                "for pictures of one size, unet={'input_shape': …} and vae={'input_shape': …}"
            )
    wanted = columns.inputs_of(found.denoiser).get("encoder_hidden_states")
    if (wanted is None) != (found.text_encoder is None):
        raise ValueError(f"{model.name}: the unet {'needs' if wanted else 'has no use for'} a text_encoder")
    width = None if wanted is None else found.text_encoder.outputs[0].shape[-1]
    if wanted is not None and wanted.shape[-1] != width:
        raise ValueError(
            f"{model.name}: the text_encoder gives {width} numbers a token and the unet reads {wanted.shape[-1]}; "
            f"build the unet with context_dim={width}"
        )
    return found


def _program(model, name) -> Callable:
    """A compiled function of arrays of one input, for as many examples as there are, to the output that it leads to."""
    programs = PROGRAMS.setdefault(model, {})
    if name not in programs:
        symbol, output = model.input, model.output
        if isinstance(symbol, dict):
            key = "decoded" if name == "latents" else next(key for key in output if key != "decoded")
            symbol, output = symbol[name], output[key]
        half = keras.Model(symbol, output)
        function = compiled(lambda x: half(x, training=False), half.variables, xla=False, symbol=symbol)
        programs[name] = lambda x: ops.convert_to_numpy(function(ops.convert_to_tensor(x, symbol.dtype)))
    return programs[name]


def _in_parts(model, name, x):
    """What a half of an autoencoder gives, for as many examples at a time as memory is meant for."""
    count = max(BYTES_AT_ONCE // (4 * int(np.prod(model.input["image"].shape[1:]))), 1)
    run = _program(model, name)
    return np.concatenate([run(x[begin : begin + count]) for begin in range(0, len(x), count)])
