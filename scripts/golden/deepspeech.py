"""Makes the golden files of deepspeech and deepspeech2 from torchaudio and SeanNaren's repository; checks the way back.

Weights and clips are drawn by tests/seeded_weights.py, so the files hold outputs only. In an environment of its own:

    pip install torch==2.13.0 safetensors numpy && pip install --no-deps torchaudio && rm -r .../torchaudio/lib
    git clone https://github.com/SeanNaren/deepspeech.pytorch
    PYTHONPATH=deepspeech.pytorch python scripts/golden/deepspeech.py

The way back, at full size: kzoo writes a checkpoint and its output, where kzoo is installed; torch loads the checkpoint
strictly and must give the same output.

    PYTHONPATH=. python scripts/golden/deepspeech.py --write FOLDER [NAME ...]
    PYTHONPATH=deepspeech.pytorch python scripts/golden/deepspeech.py --check-back FOLDER
"""

import pathlib
import sys
import types
import unittest.mock

import numpy as np
import writing
from seeded_weights import draw_clips

CLIPS = {"deepspeech": (8000, (6000, 3320)), "deepspeech2": (2000, (1500, 830))}  # rate and lengths
SMALL = {  # of tests/test_speech_models.py
    "deepspeech": {"hidden_dim": 24},
    "deepspeech_context9": {"hidden_dim": 24},
    "deepspeech2": {"hidden_dim": 12, "num_layers": 3},
    "deepspeech2_gru": {"hidden_dim": 12, "num_layers": 2},
    "deepspeech2_lookahead": {"hidden_dim": 12, "num_layers": 2, "lookahead": 7},
}
FULL_LENGTHS = (32000, 20000)  # at 16 kHz


def import_seannaren():
    """That repository's model file, whose trainer, configuration and scores are not needed."""
    import torch

    sys.modules["torch.cuda.amp"] = torch.amp
    torch.amp.autocast = getattr(torch.amp, "autocast", None)
    names = ("omegaconf", "deepspeech_pytorch.configs.train_config", "deepspeech_pytorch.decoder",
             "deepspeech_pytorch.validation")  # fmt: skip
    sys.modules |= {name: unittest.mock.MagicMock() for name in names}
    lightning = types.ModuleType("pytorch_lightning")
    lightning.LightningModule = type("Module", (torch.nn.Module,), {"save_hyperparameters": lambda self: None})
    sys.modules["pytorch_lightning"] = lightning
    from deepspeech_pytorch import model

    model.OmegaConf.get_type = lambda config: config.kind
    model.BiDirectionalConfig = "both"
    return model.DeepSpeech


def second(name, rate, hidden_dim=1024, num_layers=5, lookahead=20):
    """SeanNaren's network, which gives logits."""
    import torch

    kind = torch.nn.GRU if name.endswith("gru") else torch.nn.LSTM
    config = types.SimpleNamespace(
        kind="one" if name.endswith("lookahead") else "both", hidden_size=hidden_dim, hidden_layers=num_layers,
        rnn_type=types.SimpleNamespace(value=kind), lookahead_context=lookahead,
    )  # fmt: skip
    spectra = types.SimpleNamespace(sample_rate=rate, window_size=0.02)
    network = import_seannaren()(list("_'ABCDEFGHIJKLMNOPQRSTUVWXYZ "), config, 32, None, spectra)
    network.inference_softmax = torch.nn.Identity()
    return network.eval()


def first(name, hidden_dim=2048):
    """torchaudio's network, which gives the logarithms of probabilities."""
    import torchaudio

    return torchaudio.models.DeepSpeech(494 if "context9" in name else 26, hidden_dim, 29).eval()


def spectrogram(clip, rate):
    """What that repository computes with librosa: (bins, frames)."""
    import torch

    length, hop = int(rate * 0.02), int(rate * 0.01)
    window = torch.hamming_window(length)
    x = torch.log1p(torch.stft(torch.from_numpy(clip), length, hop, length, window, return_complex=True).abs())
    return (x - x.mean()) / x.std()


def mfcc(clip, rate, context):
    """(frames, features) with neighbours, each coefficient normalised."""
    import torch
    import torchaudio

    options = {"n_fft": rate * 32 // 1000, "hop_length": rate // 50, "n_mels": 40}
    x = torchaudio.transforms.MFCC(rate, 26, melkwargs=options)(torch.from_numpy(clip)[None])[0].T
    x = (x - x.mean(0)) / x.std(0)
    padded = torch.nn.functional.pad(x, (0, 0, context, context))
    return torch.cat([padded[place : place + len(x)] for place in range(2 * context + 1)], 1)


def outputs(name, network, rate, waveform, lengths):
    """Logits clip by clip, without padding, and what the convolutions give for the batch."""
    import torch

    clips = [row[:length] for row, length in zip(waveform, lengths, strict=True)]
    found = {}
    with torch.no_grad():
        if name.startswith("deepspeech2"):
            network.conv.register_forward_hook(lambda module, given, result: found.update(conv=result[0]))
            features = [spectrogram(clip, rate) for clip in clips]
            batch = torch.nn.utils.rnn.pad_sequence([x.T for x in features], batch_first=True).transpose(1, 2)
            logits, counts, _ = network(batch[:, None], torch.tensor([x.shape[1] for x in features]))
            found |= {f"logits{i}": row[:count] for i, (row, count) in enumerate(zip(logits, counts, strict=True))}
        else:
            context = 9 if "context9" in name else 0
            for index, clip in enumerate(clips):
                found[f"logits{index}"] = network(mfcc(clip, rate, context)[None, None])[0]
    return {key: value.numpy() for key, value in found.items()}


def network_of(name, rate, **options):
    return second(name, rate, **options) if name.startswith("deepspeech2") else first(name, **options)


def make():
    import torch

    for name, options in SMALL.items():
        rate, lengths = CLIPS[name.partition("_")[0]]
        network = network_of(name, rate, **options)
        writing.load_drawn(network)
        found = outputs(name, network, rate, *draw_clips(lengths))
        if name != "deepspeech2":  # its convolutions are those of the others
            found.pop("conv", None)
        writing.write(name, found, torch=torch.__version__)


def write(folder, *names):
    """Where kzoo is installed."""
    import kzoo

    for name in names or SMALL:
        model = kzoo.build(name)
        path = pathlib.Path(folder) / f"{name}.safetensors"
        writing.save_drawn_model(model, path)
        waveform, lengths = draw_clips(FULL_LENGTHS)
        np.save(path.with_suffix(".npy"), model.predict_on_batch({"waveform": waveform, "num_samples": lengths}))


def check_back(folder):
    """Where torch is installed."""
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        network = network_of(path.stem, 16000)
        tracked = {key: value for key, value in network.state_dict().items() if key.endswith("_tracked")}
        import safetensors.torch

        network.load_state_dict({**safetensors.torch.load_file(path), **tracked}, strict=True)
        ours = np.load(path.with_suffix(".npy"))
        for key, wanted in outputs(path.stem, network, 16000, *draw_clips(FULL_LENGTHS)).items():
            if key.startswith("logits"):
                row = ours[int(key[-1])][: len(wanted)]
                if not path.stem.startswith("deepspeech2"):
                    row = row - np.logaddexp.reduce(row, axis=-1, keepdims=True)
                writing.must_agree(f"{path.stem} {key}", row, wanted)


if __name__ == "__main__":
    writing.main(__doc__, make, write=(write, ("FOLDER", "[NAME]")), check_back=(check_back, ("FOLDER",)))
