"""Makes the golden files of networks that read DNA: tests/golden/deepsea, danq, dnabert and spliceai.safetensors.

DeepSEA and DanQ in torch with the names and shapes of selene's classes (FunctionLab/selene, models/), at small sizes;
DNABERT's is `transformers.BertModel`. In an environment of its own:

    pip install torch==2.13.0 safetensors numpy transformers
    python scripts/golden/genomes.py

SpliceAI is the graph in the authors' file with weights drawn by their names, so that nothing of theirs is stored;
where kzoo is installed, with spliceai1.h5 of the package `spliceai` 1.3.1:

    python scripts/golden/genomes.py --spliceai spliceai1.h5

Selene's class DanQ passes (length, batch, channels) to an LSTM with `batch_first=True`, which so runs over the examples
of a batch; here it runs over the sequence, as the paper has it. The other way, files deepsea.safetensors and
danq.safetensors that kzoo wrote at full size go into selene's own classes:

    python scripts/golden/genomes.py --check-back deepsea.py deepsea.safetensors ids.npy logits.npy
"""

import importlib.util
import pathlib

import numpy as np
import safetensors.numpy
import writing


def one_hot(ids):
    """(batch, length) to (batch, 4, length), a quarter for what is unknown."""
    return (np.eye(5, dtype="float32")[ids][..., 1:] + 0.25 * (ids == 0)[..., None].astype("float32")).swapaxes(1, 2)


def references():
    """{name: (module, ids)}."""
    import torch
    from torch import nn

    class DeepSEA(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_net = nn.Sequential(
                *(nn.Conv1d(4, 6, 3), nn.ReLU(), nn.MaxPool1d(2, 2), nn.Dropout(0.2)),
                *(nn.Conv1d(6, 7, 3), nn.ReLU(), nn.MaxPool1d(2, 2), nn.Dropout(0.2)),
                *(nn.Conv1d(7, 8, 3), nn.ReLU(), nn.Dropout(0.5)),
            )
            self.classifier = nn.Sequential(nn.Linear(8 * 7, 9), nn.ReLU(), nn.Linear(9, 5))

        def forward(self, x):
            return self.classifier(self.conv_net(x).flatten(1))

    class DanQ(nn.Module):
        def __init__(self):
            super().__init__()
            self.nnet = nn.Sequential(nn.Conv1d(4, 6, 5), nn.ReLU(), nn.MaxPool1d(3, 3), nn.Dropout(0.2))
            self.bdlstm = nn.Sequential(nn.LSTM(6, 4, batch_first=True, bidirectional=True))
            self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(8 * 12, 9), nn.ReLU(), nn.Linear(9, 5))

        def forward(self, x):
            return self.classifier(self.bdlstm(self.nnet(x).transpose(1, 2))[0].flatten(1))

    torch.manual_seed(0)
    ids = np.random.default_rng(0).integers(0, 5, (3, 42)).astype("int32")
    return {"deepsea": (DeepSEA(), ids), "danq": (DanQ(), ids)}


def make():
    """Writes those of torch and transformers."""
    import torch
    import transformers

    for name, (module, ids) in references().items():
        with torch.no_grad():
            output = module.eval()(torch.from_numpy(one_hot(ids))).numpy()
        writing.write(name, {**writing.arrays_of(module), "input": ids, "output": output}, torch=torch.__version__)
    config = transformers.BertConfig(
        vocab_size=4**2 + 5, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=24,
    )  # fmt: skip
    module = transformers.BertModel(config).eval()
    ids = np.array([[2, 9, 5, 13, 20, 3], [2, 1, 7, 3, 0, 0]], "int32")
    mask = (ids > 0).astype("int32")
    with torch.no_grad():
        found = module(torch.from_numpy(ids).long(), torch.from_numpy(mask))
    outputs = {"output.tokens": found.last_hidden_state.numpy(), "output.pooled": found.pooler_output.numpy()}
    inputs = {"input.token_ids": ids, "input.padding_mask": mask, "input.segment_ids": np.zeros_like(ids)}
    weights = {key: value for key, value in writing.arrays_of(module).items() if not key.endswith("_ids")}
    writing.write("dnabert", {**weights, **inputs, **outputs}, transformers=transformers.__version__)


def make_spliceai(path):
    """Writes what the authors' graph says with drawn weights."""
    import keras
    import spliceai_files
    from seeded_weights import draw_weights

    import kzoo

    model = keras.models.load_model(path, compile=False)
    drawn = draw_weights({name: array.shape for name, array in spliceai_files.tensors(path).items()})
    for layer in model.layers:
        for variable in layer.weights:
            kind = variable.path.rpartition("/")[2]
            array = drawn[f"{layer.name}.{spliceai_files.NAMES[kind]}"]
            variable.assign(array.transpose(2, 1, 0) if kind == "kernel" else array)
    model.layers[-1].activation = keras.activations.linear  # logits, since drawn weights saturate a softmax
    ids = np.random.default_rng(0).integers(0, 5, (1, 41)).astype("int32")
    around = np.eye(5, dtype="float32")[np.pad(ids, ((0, 0), (5000, 5000)))][..., 1:]
    output = model.predict(around, verbose=0)
    writing.write("spliceai", {"input": ids, "output": output}, keras=keras.__version__, kzoo=kzoo.__version__)


def check_back(source, weights, ids, logits):
    """Whether what kzoo wrote goes into selene's own class, which then says the same."""
    import torch

    spec = importlib.util.spec_from_file_location("selene_model", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tensors = safetensors.numpy.load_file(weights)
    labels = len(tensors[max(key for key in tensors if key.startswith("classifier") and key.endswith("bias"))])
    name = "DanQ" if hasattr(module, "DanQ") else "DeepSEA"
    model = writing.load_strictly(getattr(module, name)(1000, labels), pathlib.Path(weights)).eval()
    if name == "DanQ":
        model.bdlstm[0].batch_first = False
    with torch.no_grad():
        found = model(torch.from_numpy(one_hot(np.load(ids)))).numpy()
    writing.must_agree(name, 1 / (1 + np.exp(-np.load(logits).astype("float64"))), found)


if __name__ == "__main__":
    ways = {"spliceai": (make_spliceai, ("FILE",)), "check_back": (check_back, ("CLASS", "WEIGHTS", "IDS", "LOGITS"))}
    writing.main(__doc__, make, **ways)
