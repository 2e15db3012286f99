"""Makes tests/golden/wavenet_*.safetensors: small networks of r9y9's `wavenet_vocoder`, their losses and gradients.

In an environment of its own, with the head of the repository r9y9/wavenet_vocoder (commit a35fff7; the release 0.1.1 is
older and differs) on PYTHONPATH:

    pip install torch==2.13.0 safetensors numpy
    PYTHONPATH=wavenet_vocoder python scripts/golden/wavenet_r9y9.py

The other way, files that `kzoo.save_weights` wrote for the same configurations go back into the modules:

    python scripts/golden/wavenet_r9y9.py --check-back wavenet_mulaw weights.safetensors
"""

import warnings

import numpy as np
import safetensors.numpy
import torch
import writing
from wavenet_vocoder.mixture import discretized_mix_logistic_loss, mix_gaussian_loss
from wavenet_vocoder.wavenet import WaveNet
from writing import GOLDEN

warnings.filterwarnings("ignore")
SIZES = {"layers": 4, "stacks": 2, "residual_channels": 6, "gate_channels": 8, "skip_out_channels": 5, "dropout": 0.0}
MEL = {"cin_channels": 7, "upsample_conditional_features": True}
SCALES, CONTEXT, FRAMES, HOP = [2, 3], 1, 9, 6
MEL["upsample_params"] = {"upsample_scales": SCALES, "cin_channels": 7, "cin_pad": CONTEXT}
SPEAKER = {"gin_channels": 3, "n_speakers": 4, "use_speaker_embedding": True}
CASES = {
    "wavenet_mulaw": {"out_channels": 16, "kernel_size": 3, **MEL, **SPEAKER},
    "wavenet_logistics": {"out_channels": 9, "kernel_size": 3, "scalar_input": True, **MEL},
    "wavenet_gaussian": {"out_channels": 2, "kernel_size": 2, "scalar_input": True, **SPEAKER},
}


def mu_law_classes(x, mu):
    """nnmnkwii's `mulaw_quantize`."""
    return ((np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu) + 1) / 2 * mu).astype(int)


def random_model(case):
    torch.manual_seed(0)
    model = WaveNet(**SIZES, **CASES[case]).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.3)
        if name.endswith("weight_g"):  # the length of each output's weights
            torch.nn.init.uniform_(parameter, 1, 2)
    return model


def random_inputs(name):
    random = np.random.default_rng(0)
    samples = (FRAMES - 2 * CONTEXT) * HOP
    inputs = {"waveform": random.uniform(-1, 1, (2, samples)).astype("float32")}
    if "cin_channels" in CASES[name]:
        inputs["mel"] = random.standard_normal((2, FRAMES, 7)).astype("float32")
    if "gin_channels" in CASES[name]:
        inputs["speaker"] = np.array([1, 3], "int32")
    return inputs


def run(model, name, inputs):
    x = torch.from_numpy(inputs["waveform"])
    if "scalar_input" not in CASES[name]:
        classes = torch.from_numpy(mu_law_classes(inputs["waveform"], CASES[name]["out_channels"] - 1))
        x = torch.nn.functional.one_hot(classes, CASES[name]["out_channels"]).float().transpose(1, 2)
    else:
        x = x[:, None]
    c = torch.from_numpy(inputs["mel"]).transpose(1, 2) if "mel" in inputs else None
    g = torch.from_numpy(inputs["speaker"]).long()[:, None] if "speaker" in inputs else None
    return model(x, c, g).transpose(1, 2)


def losses():
    """Each loss a sample and the gradient of their sum, for outputs from the centre of a level to far away.

    In float64, since the reference subtracts what cancels to few digits in float32.
    """
    random, found = np.random.default_rng(1), {}
    y = np.concatenate([[-1, -0.9995, -0.9985, 0.9985, 0.9995, 1, 0], random.uniform(-1, 1, 33)]).astype("float32")
    targets = torch.from_numpy(y).double()[None, :, None]
    kinds = {
        "logistics_256": (9, lambda x: discretized_mix_logistic_loss(x, targets, 256, -7.0, reduce=False)),
        "logistics_65536": (9, lambda x: discretized_mix_logistic_loss(x, targets, 65536, -16.0, reduce=False)),
        "gaussian": (2, lambda x: mix_gaussian_loss(x, targets, -16.0, reduce=False)),
    }
    for kind, (channels, loss) in kinds.items():
        outputs = random.uniform(-1, 1, (1, len(y), channels)).astype("float32")
        outputs[..., channels - channels // 3 - (channels == 2) :] *= 9  # log-scales, some below the least
        x = torch.from_numpy(outputs).double().requires_grad_()
        values = loss(x.transpose(1, 2))
        values.sum().backward()
        found |= {f"{kind}.outputs": outputs, f"{kind}.loss": values.detach().numpy()[..., 0]}
        found[f"{kind}.gradient"] = x.grad.numpy()
    return {"targets": y[None], **found}


@torch.no_grad()
def make(name):
    model, inputs = random_model(name), random_inputs(name)
    tensors = writing.arrays_of(model)
    tensors.update({f"input.{key}": value for key, value in inputs.items()})
    tensors[f"output.{name}"] = run(model, name, inputs).numpy()
    writing.write(name, tensors, torch=torch.__version__)


@torch.no_grad()
def check_back(name, path):
    """Loads the file strictly, weight norm removed; SystemExit unless it gives the golden outputs."""
    model = random_model(name)
    model.make_generation_fast_()
    writing.load_strictly(model, path)
    golden = safetensors.numpy.load_file(GOLDEN / f"{name}.safetensors")[f"output.{name}"]
    writing.must_agree(name, run(model, name, random_inputs(name)).numpy(), golden)


def make_all():
    for name in CASES:
        make(name)
    writing.write("wavenet_losses", losses(), torch=torch.__version__)


if __name__ == "__main__":
    writing.main(__doc__, make_all, check_back=(check_back, ("NAME", "FILE")))
