"""Makes tests/golden/seq2seq.safetensors and seq2seq_attention.safetensors: small stacked torch.nn.LSTMs, random.

In an environment of its own:

    pip install torch==2.13.0 safetensors numpy
    python scripts/golden/seq2seq.py

The other way, files that `kzoo.save_weights` wrote for the same two configurations go back into the modules:

    python scripts/golden/seq2seq.py --check-back seq2seq weights.safetensors
"""

import numpy as np
import safetensors.numpy
import torch
import writing
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from writing import GOLDEN

SOURCE_VOCABULARY, VOCABULARY, HIDDEN_DIM, NUM_LAYERS = 31, 37, 12, 3


class Side(nn.Module):
    """A table of word vectors under a stack of LSTM layers."""

    def __init__(self, vocabulary_size):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, HIDDEN_DIM)
        self.lstm = nn.LSTM(HIDDEN_DIM, HIDDEN_DIM, NUM_LAYERS, batch_first=True)


class Attention(nn.Module):
    """Luong's global attention with the general score, written out one target step at a time."""

    def __init__(self):
        super().__init__()
        self.score = nn.Linear(HIDDEN_DIM, HIDDEN_DIM, bias=False)
        self.combine = nn.Linear(2 * HIDDEN_DIM, HIDDEN_DIM, bias=False)

    def forward(self, h, encoded, lengths):
        rows = []
        for example, length in enumerate(lengths):
            steps = []
            for h_t in h[example]:
                h_s = encoded[example, :length]
                a_t = torch.softmax(h_s @ self.score(h_t) / HIDDEN_DIM**0.5, dim=0)
                c_t = (a_t[:, None] * h_s).sum(0)
                steps.append(torch.tanh(self.combine(torch.cat([c_t, h_t]))))
            rows.append(torch.stack(steps))
        return torch.stack(rows)


class Seq2Seq(nn.Module):
    """Every source is turned round by itself and packed, so that no padding enters the encoder at all."""

    def __init__(self, attention):
        super().__init__()
        self.encoder, self.decoder = Side(SOURCE_VOCABULARY), Side(VOCABULARY)
        if attention:
            self.attention = Attention()
        self.projection = nn.Linear(HIDDEN_DIM, VOCABULARY)

    def forward(self, source, lengths, target):
        turned = torch.zeros_like(source)
        for example, length in enumerate(lengths):
            turned[example, :length] = source[example, :length].flip(0)
        packed = pack_padded_sequence(self.encoder.embedding(turned), lengths, batch_first=True, enforce_sorted=False)
        encoded, states = self.encoder.lstm(packed)
        encoded, _ = pad_packed_sequence(encoded, batch_first=True)
        h, _ = self.decoder.lstm(self.decoder.embedding(target), states)
        return self.projection(self.attention(h, encoded, lengths) if hasattr(self, "attention") else h)


def random_model(name):
    torch.manual_seed(0)
    model = Seq2Seq("attention" in name).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def random_inputs():
    """A batch of three: no padding, some, and all but one token."""
    random = np.random.default_rng(0)
    mask = (np.arange(11) < np.array([11, 6, 1])[:, None]).astype("int32")
    return {
        "encoder_token_ids": np.where(mask, random.integers(1, SOURCE_VOCABULARY, mask.shape), 0).astype("int32"),
        "encoder_padding_mask": mask,
        "decoder_token_ids": random.integers(1, VOCABULARY, (3, 9)).astype("int32"),
    }


@torch.no_grad()
def logits(model, inputs):
    ids, mask, target = (torch.from_numpy(array).long() for array in inputs.values())
    return model(ids, mask.sum(1), target).numpy()


def make(name):
    model, inputs = random_model(name), random_inputs()
    tensors = writing.arrays_of(model)
    tensors.update({f"input.{key}": value for key, value in inputs.items()})
    tensors[f"output.{name}"] = logits(model, inputs)
    writing.write(name, tensors, torch=torch.__version__)


def check_back(name, path):
    """Loads the file strictly; SystemExit unless it gives the golden logits."""
    model = writing.load_strictly(random_model(name), path)
    golden = safetensors.numpy.load_file(GOLDEN / f"{name}.safetensors")[f"output.{name}"]
    writing.must_agree(name, logits(model, random_inputs()), golden)


def make_all():
    for name in ("seq2seq", "seq2seq_attention"):
        make(name)


if __name__ == "__main__":
    writing.main(__doc__, make_all, check_back=(check_back, ("NAME", "FILE")))
