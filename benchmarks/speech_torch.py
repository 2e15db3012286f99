"""The torch side of `speech.py`: both references from waveform to logits, written out, with the names of their files.

`DeepSpeech2` is SeanNaren's `deepspeech.pytorch`, `DeepSpeech` torchaudio's, each after its front end by `torch.stft`.
"""

import pathlib

import numpy as np
import torch
from peer_models import WEIGHTS
from torch import nn


class DeepSpeech2(nn.Module):
    """Bidirectional LSTM over two masked convolutions; (logits, numbers of frames)."""

    def __init__(self, tables, hidden_dim=1024, num_layers=5, num_labels=29):
        super().__init__()
        self.conv = nn.Module()
        self.conv.seq_module = nn.Sequential(
            nn.Conv2d(1, 32, (41, 11), (2, 2), (20, 5)), nn.BatchNorm2d(32), nn.Hardtanh(0, 20),
            nn.Conv2d(32, 32, (21, 11), (2, 1), (10, 5)), nn.BatchNorm2d(32), nn.Hardtanh(0, 20),
        )  # fmt: skip
        self.rnns = nn.ModuleList(
            BatchRNN(hidden_dim if index else 1312, hidden_dim, index) for index in range(num_layers)
        )
        head = SequenceWise(nn.BatchNorm1d(hidden_dim), nn.Linear(hidden_dim, num_labels, bias=False))
        self.fc = nn.Sequential(head)
        self.register_buffer("window", torch.hamming_window(320), persistent=False)

    def forward(self, waveform, num_samples):
        transform = torch.stft(waveform, 320, 160, 320, self.window, return_complex=True)
        x = torch.log1p(transform.abs())
        x = (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True)
        lengths = num_samples // 160 + 1
        for index, module in enumerate(self.conv.seq_module):
            x = module(x[:, None] if index == 0 else x)
            if index == 0:
                lengths = (lengths + 2 * 5 - 11) // 2 + 1
            mask = torch.zeros_like(x, dtype=torch.bool)
            for row, length in zip(mask, lengths.tolist(), strict=True):
                row[:, :, length:] = True
            x = x.masked_fill(mask, 0)
        x = x.flatten(1, 2).permute(2, 0, 1).contiguous()
        for rnn in self.rnns:
            x = rnn(x, lengths)
        return self.fc(x).transpose(0, 1)


class BatchRNN(nn.Module):
    """Batch norm, but in the first, and an LSTM whose directions are summed."""

    def __init__(self, features, hidden_dim, has_norm):
        super().__init__()
        self.batch_norm = SequenceWise(nn.BatchNorm1d(features)) if has_norm else None
        self.rnn = nn.LSTM(features, hidden_dim, bidirectional=True)

    def forward(self, x, lengths):
        x = self.batch_norm(x) if self.batch_norm else x
        x, _ = self.rnn(nn.utils.rnn.pack_padded_sequence(x, lengths))
        x, _ = nn.utils.rnn.pad_packed_sequence(x)
        return x.view(x.shape[0], x.shape[1], 2, -1).sum(2)


class SequenceWise(nn.Module):
    """Modules over frames and clips together."""

    def __init__(self, *modules):
        super().__init__()
        self.module = nn.Sequential(*modules) if len(modules) > 1 else modules[0]

    def forward(self, x):
        return self.module(x.flatten(0, 1)).view(*x.shape[:2], -1)


class FullyConnected(nn.Module):
    def __init__(self, features, hidden_dim):
        super().__init__()
        self.fc = nn.Linear(features, hidden_dim)

    def forward(self, x):
        return torch.clamp(nn.functional.relu(self.fc(x)), max=20)


class DeepSpeech(nn.Module):
    """Five layers over normalised MFCC; logarithms of probabilities."""

    def __init__(self, tables, hidden_dim=2048, num_labels=29):
        super().__init__()
        for name in ("filters", "cosines"):
            self.register_buffer(name, torch.from_numpy(tables[name]), persistent=False)
        self.register_buffer("window", torch.hann_window(512), persistent=False)
        self.fc1 = FullyConnected(26, hidden_dim)
        self.fc2, self.fc3, self.fc4 = (FullyConnected(hidden_dim, hidden_dim) for _ in range(3))
        self.bi_rnn = nn.RNN(hidden_dim, hidden_dim, nonlinearity="relu", bidirectional=True)
        self.out = nn.Linear(hidden_dim, num_labels)

    def forward(self, waveform, num_samples):
        power = torch.stft(waveform, 512, 320, 512, self.window, return_complex=True).abs().square()
        decibels = 10 * torch.log10(torch.clamp(power.transpose(1, 2) @ self.filters, min=1e-10))
        x = torch.maximum(decibels, decibels.amax((1, 2), keepdim=True) - 80) @ self.cosines
        x = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)
        x, _ = self.bi_rnn(self.fc3(self.fc2(self.fc1(x))).transpose(0, 1))
        x = self.out(self.fc4(x[..., : x.shape[-1] // 2] + x[..., x.shape[-1] // 2 :]))
        return nn.functional.log_softmax(x.transpose(0, 1), dim=2)


NETWORKS = {"deepspeech": DeepSpeech, "deepspeech2": DeepSpeech2}


def caller(work, folder, compiled):
    """A function from kzoo's inputs to the network's output as a NumPy array."""
    from safetensors.torch import load_file

    folder = pathlib.Path(folder)
    network = NETWORKS[work](np.load(folder / "tables.npz"))
    missing, unknown = network.load_state_dict(load_file(folder / WEIGHTS), strict=False)
    if unknown or not all(name.endswith("num_batches_tracked") for name in missing):
        raise ValueError(f"the weights do not fit: {missing} missing, {unknown} unknown")
    network.eval()
    run = torch.compile(network) if compiled else network

    @torch.inference_mode()
    def call(inputs):
        return run(torch.from_numpy(inputs["waveform"]), torch.from_numpy(inputs["num_samples"]).long()).numpy()

    return call


def product(size):
    """A matrix product."""
    x = torch.randn(size, size)
    return lambda: torch.mm(x, x)
