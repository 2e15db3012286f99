"""Golden values of kzoo/layers/spectra.py from torch and torchaudio: python scripts/golden/spectra.py"""

import pathlib

import numpy as np
import torch
import torchaudio
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "spectra.safetensors"
LENGTHS = (1531, 1103)
SHAPES = {"whole": (200, 100, 200), "uneven": (203, 90, 256)}  # window, hop, transform
FILTERS = {
    "htk": ("htk", None),
    "slaney": ("slaney", None),
    "htk_area": ("htk", "slaney"),
    "area": ("slaney", "slaney"),
}


def stft(x, shape, window, centre="reflect"):
    length, hop, fft = shape
    window = {"hann": torch.hann_window, "hamming": torch.hamming_window}[window](length)
    how = {"center": True, "pad_mode": centre} if centre else {"center": False}
    return torch.stft(x, fft, hop, length, window, return_complex=True, **how).abs().T


def normalized(x):
    return (x - x.mean()) / x.std()


def main():
    generator = np.random.default_rng(5)
    clips = [
        (np.sin(np.arange(n) ** 1.5 / 90) * 0.4 + 0.05 * generator.standard_normal(n)).astype("float32")
        for n in LENGTHS
    ]
    found = {f"clip{i}": clip for i, clip in enumerate(clips)}
    for i, x in enumerate(map(torch.from_numpy, clips)):
        for name, shape in SHAPES.items():
            found[f"log_{name}{i}"] = torch.log1p(stft(x, shape, "hamming"))
        found[f"zeros{i}"] = torch.log1p(stft(x, SHAPES["uneven"], "hann", "constant"))
        found[f"none{i}"] = torch.log1p(stft(x, SHAPES["uneven"], "hann", None))
        found[f"clip_norm{i}"] = normalized(torch.log1p(stft(x, SHAPES["whole"], "hamming")))
        mel = torchaudio.transforms.MelSpectrogram(8000, 256, 203, 90, n_mels=20, norm="slaney", mel_scale="slaney")
        found[f"mel{i}"] = torch.log(mel(x) + 1e-6).T
        options = {"n_fft": 256, "win_length": 203, "hop_length": 90, "n_mels": 26}
        found[f"mfcc{i}"] = torchaudio.transforms.MFCC(8000, 13, melkwargs=options)(x[None])[0].T
    for name, (scale, norm) in FILTERS.items():
        found[f"filters_{name}"] = torchaudio.functional.melscale_fbanks(129, 50.0, 3800.0, 20, 8000, norm, scale)
    save_file({key: np.ascontiguousarray(np.asarray(value)) for key, value in found.items()}, OUT)


if __name__ == "__main__":
    main()
