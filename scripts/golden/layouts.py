"""Makes tests/golden/layouts.safetensors: random torch modules of every kind that layouts.py knows, with outputs.

In an environment of its own:

    pip install torch==2.13.0 safetensors numpy
    python scripts/golden/layouts.py

The other way, files NAME.safetensors that `kzoo.save_weights` wrote for the same modules go back into torch:

    python scripts/golden/layouts.py --check-back FOLDER
"""

import argparse
import collections
import pathlib

import safetensors.torch
import torch
from torch import nn

FILE = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "layouts.safetensors"


def modules():
    """{name: (module, shape of its input, channels last)}; one called `layer`, or `rnn` where it is recurrent."""

    def separable(conv, dims):
        parts = {"depthwise": conv(3, 6, 3, groups=3, bias=False), "pointwise": conv(6, 4, 1)}
        return nn.Sequential(collections.OrderedDict(parts)), (2, *dims, 3)

    found = {
        "linear": (nn.Linear(3, 4), (2, 5, 3)),
        "conv1d": (nn.Conv1d(3, 4, 3, stride=2), (2, 9, 3)),
        "conv2d": (nn.Conv2d(4, 6, (3, 2), groups=2), (2, 5, 6, 4)),
        "conv3d": (nn.Conv3d(2, 3, (3, 2, 1)), (2, 4, 5, 3, 2)),
        "conv1d_transpose": (nn.ConvTranspose1d(3, 4, 4, stride=2), (2, 5, 3)),
        "conv2d_transpose": (nn.ConvTranspose2d(3, 4, (3, 4), stride=(2, 1)), (2, 4, 5, 3)),
        "conv3d_transpose": (nn.ConvTranspose3d(2, 3, (3, 2, 2), stride=2), (2, 2, 3, 2, 2)),
        "depthwise_conv1d": (nn.Conv1d(3, 6, 3, groups=3), (2, 7, 3)),
        "depthwise_conv2d": (nn.Conv2d(3, 6, (3, 2), groups=3), (2, 5, 6, 3)),
        "separable_conv1d": separable(nn.Conv1d, (7,)),
        "separable_conv2d": separable(nn.Conv2d, (5, 6)),
        "layer_norm": (nn.LayerNorm(5, eps=1e-5), (2, 3, 5)),
        "rms_norm": (nn.RMSNorm(5, eps=1e-6), (2, 3, 5)),
        "group_norm": (nn.GroupNorm(2, 6, eps=1e-5), (2, 3, 4, 6)),
        "batch_norm": (nn.BatchNorm2d(6, eps=1e-5), (2, 3, 4, 6)),
        "embedding": (nn.Embedding(7, 3), (2, 5)),
        "lstm_without_bias": (nn.LSTM(3, 4, batch_first=True, bias=False), (2, 6, 3)),
    }
    for name, cell in {"lstm": nn.LSTM, "gru": nn.GRU, "simple": nn.RNN}.items():
        found[f"{name}_both_ways"] = (cell(3, 4, 2, batch_first=True, bidirectional=True), (2, 6, 3))
    return found


def state(name, module):
    """The module's tensors under the names they have in a network, without counters."""
    prefix = "rnn" if isinstance(module, nn.RNNBase) else "layer"
    return {f"{prefix}.{key}": value for key, value in module.state_dict().items() if "num_batches" not in key}


@torch.no_grad()
def run(name, module, x):
    """What the module gives, channels last as Keras has them."""
    if name == "embedding" or isinstance(module, nn.Linear | nn.LayerNorm | nn.RMSNorm):
        return module(x)
    if isinstance(module, nn.RNNBase):
        return module(x)[0]
    return module(x.movedim(-1, 1)).movedim(1, -1)


def draw(name, module, shape):
    """Random weights, variances above zero, and an input."""
    torch.manual_seed(sum(name.encode()))
    for key, tensor in module.state_dict().items():
        if "num_batches" not in key:
            tensor.copy_(torch.rand(tensor.shape) + 0.5 if "var" in key else 0.5 * torch.randn(tensor.shape))
    return torch.randint(0, 7, shape, dtype=torch.int32) if name == "embedding" else torch.randn(shape)


def make():
    tensors = {}
    for name, (module, shape) in modules().items():
        x = draw(name, module.eval(), shape)
        tensors |= {f"{name}/{key}": value for key, value in state(name, module).items()}
        tensors |= {f"{name}/input": x, f"{name}/output": run(name, module, x)}
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    safetensors.torch.save_file(tensors, FILE, {"torch": torch.__version__})
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")


def check_back(folder):
    """Loads kzoo's files strictly: SystemExit if a tensor is missing or left over, or an output differs."""
    golden = safetensors.torch.load_file(FILE)
    for name, (module, _) in modules().items():
        written = safetensors.torch.load_file(folder / f"{name}.safetensors")
        written = {key.partition(".")[2]: value for key, value in written.items()}
        counters = {key: value for key, value in module.state_dict().items() if "num_batches" in key}
        module.eval().load_state_dict({**written, **counters}, strict=True)
        difference = (run(name, module, golden[f"{name}/input"]) - golden[f"{name}/output"]).abs().max()
        print(f"{name}: nothing missing, nothing unexpected; largest difference {difference:.1e}")
        if difference > 1e-5:
            raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check-back", metavar="FOLDER", type=pathlib.Path)
    arguments = parser.parse_args()
    check_back(arguments.check_back) if arguments.check_back else make()
