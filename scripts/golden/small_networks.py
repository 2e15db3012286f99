"""Makes tests/golden/NAME.safetensors for the small networks: random torch modules, their inputs and their outputs.

In an environment of its own (mnist_cnn, whose reference is a Keras `Sequential`, where kzoo is installed):

    pip install torch==2.13.0 safetensors numpy
    python scripts/golden/small_networks.py
    python scripts/golden/small_networks.py --only mnist_cnn

The other way, files NAME.safetensors that `kzoo.save_weights` wrote for the same configurations go back into torch:

    python scripts/golden/small_networks.py --check-back FOLDER
"""

import pathlib

import numpy as np
import safetensors.numpy
import writing
from writing import GOLDEN


def torch_references():
    """The documents' modules at small sizes, with the inputs they are run on: {name: (module, input)}."""
    import torch
    from torch import nn

    class CNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
            self.conv2 = nn.Conv2d(4, 5, 3, padding=1)
            self.pool = nn.MaxPool2d(2, 2)
            self.fc1 = nn.Linear(5 * 3 * 2, 7)
            self.fc2 = nn.Linear(7, 6)

        def forward(self, x):
            x = self.pool(torch.relu(self.conv1(x)))
            x = self.pool(torch.relu(self.conv2(x)))
            return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))

    class RNN(nn.Module):
        def __init__(self, cell):
            super().__init__()
            self.rnn = cell(10, 8, 2, batch_first=True)
            self.fc = nn.Linear(8, 2)

        def forward(self, x):
            return self.fc(self.rnn(x)[0][:, -1])

    class BidirectionalRNN(nn.Module):
        def __init__(self, cell):
            super().__init__()
            self.rnn = cell(10, 8, 2, batch_first=True, bidirectional=True)
            self.fc = nn.Linear(16, 2)

        def forward(self, x):
            last = self.rnn(x)[1]
            last = last[0] if isinstance(last, tuple) else last  # of an LSTM, without its cells
            return self.fc(torch.cat([last[-2], last[-1]], 1))

    class Perceptron(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(9, 1)

        def forward(self, x):
            return self.linear(x)

    class MLP(nn.Sequential):
        def forward(self, x):
            return super().forward(torch.flatten(x, 1))

    mlp = MLP(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3))
    random = np.random.default_rng(0)
    images = random.standard_normal((3, 14, 9, 3), "float32")  # neither square nor divisible by four
    sequences = random.standard_normal((3, 11, 10), "float32")
    return {
        "cnn": (CNN(), images),
        "rnn_lstm": (RNN(nn.LSTM), sequences),
        "rnn_gru": (RNN(nn.GRU), sequences),
        "rnn_simple": (RNN(nn.RNN), sequences),
        "rnn_lstm_bidirectional": (BidirectionalRNN(nn.LSTM), sequences),
        "rnn_gru_bidirectional": (BidirectionalRNN(nn.GRU), sequences),
        "perceptron": (Perceptron(), random.standard_normal((3, 9), "float32")),
        "mlp": (mlp, random.standard_normal((3, 4, 3, 1), "float32")),
    }


def run(module, x):
    import torch

    x = torch.from_numpy(x)
    with torch.no_grad():
        return module(x.permute(0, 3, 1, 2) if x.ndim == 4 else x).numpy()


def make_torch(name, module, x):
    import torch

    torch.manual_seed(sum(name.encode()))
    for parameter in module.parameters():  # biases too: zeros would hide a swap
        torch.nn.init.normal_(parameter, std=0.4)
    tensors = {**writing.arrays_of(module), "input": x, "output": run(module, x)}
    writing.write(name, tensors, torch=torch.__version__)


def make_packed():
    """rnn_packed: outputs and last states of packed sequences, by the networks and inputs of the files beside it."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    lengths = np.array([11, 4, 1])
    tensors = {"lengths": lengths}
    for name, (module, _) in torch_references().items():
        if not name.startswith("rnn_"):
            continue
        known = safetensors.numpy.load_file(GOLDEN / f"{name}.safetensors")
        x = torch.from_numpy(known.pop("input"))
        known.pop("output")
        module.load_state_dict({key: torch.from_numpy(value) for key, value in known.items()})
        with torch.no_grad():
            outputs, last = module.rnn(pack_padded_sequence(x, lengths, batch_first=True))
            outputs = pad_packed_sequence(outputs, batch_first=True)[0]
            hidden, *cell = last if isinstance(last, tuple) else (last,)
            ends = torch.cat([hidden[-2], hidden[-1]], 1) if "bidirectional" in name else hidden[-1]
            found = {"outputs": outputs, "logits": module.fc(ends), "hidden": hidden.transpose(0, 1)}
            found |= {"cell": cell[0].transpose(0, 1)} if cell else {}
        tensors |= {f"{name}.{key}": np.ascontiguousarray(value.numpy()) for key, value in found.items()}
    writing.write("rnn_packed", tensors, torch=torch.__version__)


def make_keras(name):
    """The document's `Sequential` with fewer filters; its own layer names, in the reference's layout."""
    import keras
    from keras import layers

    if name != "mnist_cnn":
        raise SystemExit(f"--only takes mnist_cnn, not {name}")

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((19, 23, 1)),
            layers.Conv2D(4, (3, 3), activation="relu", name="conv2d"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(5, (3, 3), activation="relu", name="conv2d_1"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(5, (3, 3), activation="relu", name="conv2d_2"),
            layers.Flatten(),
            layers.Dense(6, activation="relu", name="dense"),
            layers.Dense(7, activation="softmax", name="dense_1"),
        ]
    )
    random = np.random.default_rng(1)
    tensors = {}
    for layer in model.layers:
        for variable in layer.weights:
            value = random.standard_normal(variable.shape, "float32") * 0.4
            variable.assign(value)
            axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
            tensors[f"{layer.name}.{'bias' if value.ndim == 1 else 'weight'}"] = value.transpose(axes)
    x = random.random((3, 19, 23, 1), "float32")
    tensors |= {"input": x, "output": np.asarray(model(x))}
    writing.write("mnist_cnn", tensors, keras=keras.__version__)


def check_back(folder):
    """Loads kzoo's files strictly: SystemExit if a tensor is missing or left over, or an output differs."""
    for name, (module, x) in torch_references().items():
        writing.load_strictly(module, pathlib.Path(folder) / f"{name}.safetensors")
        wanted = safetensors.numpy.load_file(GOLDEN / f"{name}.safetensors")["output"]
        writing.must_agree(name, run(module, x), wanted)


def make_all():
    for name, (module, x) in torch_references().items():
        make_torch(name, module, x)
    make_packed()


if __name__ == "__main__":
    writing.main(__doc__, make_all, only=(make_keras, ("NAME",)), check_back=(check_back, ("FOLDER",)))
