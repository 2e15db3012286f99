"""The networks of diffusion, one or several: what denoises, what makes latents of pictures, and what reads texts."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from kzoo import catalog
from kzoo.catalog import card_of
from kzoo.data import columns
from kzoo.generation import latents

AUTOENCODERS = ("vae", "vqvae")  # as diffusers calls the part


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
        """What diffuses, for pictures float32 (batch, height, width, channels) in [-1, 1]; `random` draws latents."""
        return pictures if self.autoencoder is None else latents.encode(self.autoencoder, pictures, random)

    def decode(self, samples) -> np.ndarray:
        """Pictures in about [-1, 1] of what has diffused."""
        return samples if self.autoencoder is None else latents.decode(self.autoencoder, samples)

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
        return {"encoder_hidden_states": latents.program(self.text_encoder)(ids)}


def networks_of(model) -> Networks:
    """The `Networks` of a model or an `Assembly`; ValueError for parts that do not fit each other."""
    if isinstance(model, keras.Model):
        if "encoder_hidden_states" in columns.inputs_of(model):
            raise ValueError(f"{model.name} reads a text encoder; pass the Assembly of both")
        return Networks(model)
    if "unet" not in model:
        raise ValueError(f"{model.name} has the parts {', '.join(model)}; wanted unet among them")
    autoencoder = next((model[part] for part in AUTOENCODERS if part in model), None)
    found = Networks(model["unet"], autoencoder, model.get("text_encoder"))
    if autoencoder is not None:
        shape = tuple(autoencoder.input["latents"].shape[1:])
        if shape != found.shape:
            raise ValueError(
                f"{model.name}: the autoencoder's latents are {shape} and the unet takes {found.shape}; build both "
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


def decoder_of(networks) -> Callable:
    """From a tensor of what has diffused to pictures, as part of a larger graph."""
    autoencoder = networks.autoencoder
    if autoencoder is None:
        return lambda samples: samples
    half, scale = latents.half(autoencoder, "latents"), np.float32(latents.scale_of(autoencoder))
    return lambda samples: half(samples / scale, training=False)
