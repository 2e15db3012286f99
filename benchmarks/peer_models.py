"""The works of `peers.py` and how each side builds them: one architecture, with kzoo's weights where a side takes them.

A side is a function of a work and the folder of its weights. It returns a `Peer`; it raises `Unable` with the reason
where it cannot take part. Only the libraries of the side that runs are imported.
"""

import contextlib
import functools
import json
import pathlib

import numpy as np

IMAGES = {"sizes": (224, 224, 3), "train_batch": 8}
# work -> catalogue name and overrides, shape of an example, batch of a training step, batches of inference, and the
# side to which speeds are related
WORKS = {
    # what the machine can do: four products of 2048 x 2048
    "matrix_product": {
        "name": "mlp", "build": {"input_shape": (2048,), "hidden_dims": (2048,) * 3, "num_classes": 2048},
        "sizes": (2048,), "train_batch": 2048, "batch_sizes": (2048,), "reference": "kzoo",
    },
    "resnet50": {"build": {}, **IMAGES, "reference": "keras_applications"},
    "vgg16": {"build": {}, **IMAGES, "reference": "keras_applications"},
    "densenet121": {"build": {}, **IMAGES, "reference": "keras_applications"},
    "googlenet": {"build": {}, **IMAGES, "reference": "kzoo"},
    "bert_base": {"build": {}, "tokens": 128, "train_batch": 8, "output": "tokens", "reference": "keras_hub"},
    "vit_b_16": {"build": {}, **IMAGES, "reference": "keras_hub"},
    "lstm": {
        "name": "rnn_lstm", "build": {"units": 128, "num_features": 64}, "sizes": (100, 64), "train_batch": 32,
        "batch_sizes": (32,), "reference": "keras",
    },
    # small enough to try the benchmark itself
    "tiny_cnn": {"name": "mnist_cnn", "build": {}, "sizes": (28, 28, 1), "train_batch": 4, "reference": "keras"},
    "tiny_lstm": {
        "name": "rnn_lstm", "build": {}, "sizes": (12, 10), "train_batch": 4, "batch_sizes": (2,), "reference": "keras",
    },
    "tiny_bert": {
        "name": "bert_tiny", "build": {}, "tokens": 16, "train_batch": 2, "output": "tokens", "reference": "keras_hub",
    },
}  # fmt: skip
DEFAULT_WORKS = tuple(work for work in WORKS if not work.startswith("tiny"))
TOLERANCE = 1e-3  # of the largest output: sums in another order pass, another epsilon or padding does not
WEIGHTS = "model.safetensors"  # the name that keras-hub and transformers look for


class Unable(Exception):
    """A side that cannot do a work or a mode; its message says why."""


class Peer:
    """One side's model.

    infer(inputs): the main output as a NumPy array.
    train(inputs): a training step with Adam on the mean square of the main output, the same in every library; None
        where only inference runs.
    note: what differs from kzoo's model.
    same_weights: whether the outputs can be compared with kzoo's at all.
    is_exact: whether they must be equal to within `TOLERANCE`; int8 need not.
    """

    def __init__(self, infer, train=None, note="", same_weights=True, is_exact=True):
        self.infer, self.train, self.note, self.same_weights = infer, train, note, same_weights
        self.is_exact = is_exact


def make_inputs(work, batch_size):
    """Random inputs in kzoo's structure, the same on every side."""
    random = np.random.default_rng(batch_size)
    if "tokens" not in WORKS[work]:
        return random.normal(size=(batch_size, *WORKS[work]["sizes"])).astype("float32")
    shape = (batch_size, WORKS[work]["tokens"])
    ids = random.integers(1, 30522, shape).astype("int32")
    return {"token_ids": ids, "padding_mask": np.ones(shape, "int32"), "segment_ids": np.zeros(shape, "int32")}


def sequence_length(work):
    """Steps of a work's sequences, None for images."""
    shape = first_shape(make_inputs(work, 1))
    return shape[1] if len(shape) < 4 else None


def build_kzoo(work, weights=None):
    import kzoo

    return kzoo.build(WORKS[work].get("name", work), weights, **WORKS[work]["build"])


def count_macs(work):
    """Multiply-accumulates of kzoo's model for one example, counted without its weights."""
    import kzoo

    length = sequence_length(work)
    options = {"length": length} if length else {}
    return kzoo.info(WORKS[work].get("name", work), **options, **WORKS[work]["build"])["macs"]


def stir(model):
    """Gives biases and batch norms random values: zeros and ones would be folded away, and nobody's weights are so."""
    random = np.random.default_rng(0)
    for variable in model.variables:
        if variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(random.uniform(-0.2, 0.2, variable.shape))
        elif variable.name in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.8, 1.2, variable.shape))


def write_weights(work, folder):
    """Random weights of kzoo, their file, and what the peers read beside it."""
    import keras

    import kzoo

    keras.utils.set_random_seed(0)
    model = build_kzoo(work)
    stir(model)
    kzoo.save_weights(model, pathlib.Path(folder) / WEIGHTS)
    if "tokens" in WORKS[work]:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(bert_config(model)))


def bert_config(model):
    """Hugging Face's description of a BERT, read off the graph."""
    layers = {layer.name: layer for layer in model.layers}
    first = "bert.encoder.layer.0"
    hidden = layers[f"{first}.attention.self.query"].units
    return {
        "architectures": ["BertModel"], "model_type": "bert", "vocab_size": 30522, "hidden_size": hidden,
        "num_hidden_layers": sum(name.endswith("attention.self.query") for name in layers),
        "num_attention_heads": layers[f"{first}.attention.self"].num_heads,
        "intermediate_size": layers[f"{first}.intermediate.dense"].units, "max_position_embeddings": 512,
        "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    }  # fmt: skip


def keras_peer(model, output=None, rename=None, tracing=None, **facts):
    """A Keras model by `predict_on_batch` and `train_on_batch`; `output` names the main one of several.

    The training step is traced within the context that `tracing(compiled model)` gives.
    """
    import keras

    outputs = model.output[output] if output else model.outputs[0]
    trained = []

    def infer(inputs):
        found = model.predict_on_batch(rename(inputs) if rename else inputs)
        return np.asarray(found[output] if output else found)

    def train(inputs):
        if not trained:
            trained.append(keras.Model(model.inputs if output is None else model.input, outputs))
            trained[0].compile(keras.optimizers.Adam(1e-5), "mse")
        shape = [size or given for size, given in zip(outputs.shape, first_shape(inputs), strict=False)]
        zeros = np.zeros((*shape, *outputs.shape[len(shape) :]), "float32")
        is_traced = trained[0].train_function or not tracing
        with contextlib.nullcontext() if is_traced else tracing(trained[0]):
            return trained[0].train_on_batch(rename(inputs) if rename else inputs, zeros)

    return Peer(infer, train, **facts)


def first_shape(inputs):
    return (next(iter(inputs.values())) if isinstance(inputs, dict) else inputs).shape


def kzoo_side(work, folder):
    """Trained as `kzoo.fit` does it, with fused operations where it has them."""
    model = build_kzoo(work, pathlib.Path(folder) / WEIGHTS)
    try:
        from kzoo.training.execution import in_effect
    except ImportError:  # an earlier kzoo
        return keras_peer(model, WORKS[work].get("output"))
    return keras_peer(model, WORKS[work].get("output"), tracing=lambda one: in_effect([(one, one.optimizer)], True))


def kzoo_fast_side(work, folder, precision="float32", runtime="tensorflow"):
    """`kzoo.fast`, one program for every batch size; int8 is calibrated with random inputs like the measured ones."""
    import kzoo

    if not hasattr(kzoo, "fast"):
        raise Unable("this kzoo has no kzoo.fast")
    model, output = build_kzoo(work, pathlib.Path(folder) / WEIGHTS), WORKS[work].get("output")
    calibration = None if precision == "float32" else [(make_inputs(work, 8),)]
    length = sequence_length(work)  # torch.compile fixes it too

    @functools.cache
    def program(batch_size):
        options = {"precision": precision, "runtime": runtime, "calibration": calibration, "length": length}
        return kzoo.fast(model, batch_size=batch_size, **options)

    def infer(inputs):
        found = program(first_shape(inputs)[0])(inputs)
        return np.asarray(found[output] if output else found)

    is_exact = precision == "float32"
    return Peer(infer, note="" if is_exact else precision, is_exact=is_exact)


def keras_side(work, folder):
    """Keras's own layers, as a user writes them, in a Sequential model, with kzoo's weights in order."""
    import keras
    from keras import layers

    ours = build_kzoo(work, pathlib.Path(folder) / WEIGHTS)
    if WORKS[work].get("name") == "rnn_lstm":
        units, length = WORKS[work]["build"].get("units", 8), WORKS[work]["sizes"]
        parts = [layers.LSTM(units, return_sequences=True), layers.LSTM(units), layers.Dense(2)]
        model = keras.Sequential([keras.Input(length), *parts])
    else:
        conv = functools.partial(layers.Conv2D, kernel_size=3, activation="relu")
        pool = layers.MaxPooling2D
        parts = [conv(32), pool(2), conv(64), pool(2), conv(64), layers.Flatten(), layers.Dense(64, "relu")]
        model = keras.Sequential([keras.Input((28, 28, 1)), *parts, layers.Dense(10, "softmax")])
    model.set_weights(ours.get_weights())
    return keras_peer(model)


def keras_applications_side(work, folder):
    """VGG and DenseNet take kzoo's weights in order; its ResNet is the first version, so only its speed compares."""
    import keras

    ours = {"resnet50": "ResNet50", "vgg16": "VGG16", "densenet121": "DenseNet121"}
    model = getattr(keras.applications, ours[work])(weights=None, classifier_activation=None)
    if work == "resnet50":
        note = "speed only: version 1, strides on the 1x1 convolutions and biases in all of them"
        return keras_peer(model, note=note, same_weights=False)
    source = build_kzoo(work, pathlib.Path(folder) / WEIGHTS)
    weighted = [[layer for layer in each.layers if layer.weights] for each in (model, source)]
    for mine, given in zip(*weighted, strict=True):
        values = given.get_weights()
        if mine.name == "fc1":  # kzoo flattens channels first, as torchvision does
            values[0] = values[0].reshape(512, 7, 7, -1).transpose(1, 2, 0, 3).reshape(values[0].shape)
        mine.set_weights(values)
    return keras_peer(model)


def keras_hub_side(work, folder):
    """BERT reads the folder; its image models have other names and blocks, so they keep random weights."""
    import keras_hub

    found = keras_hub.models
    if "tokens" in WORKS[work]:
        backbone = found.BertBackbone.from_preset(str(folder))
        return keras_peer(backbone, "sequence_output")
    speed_only = {"note": "speed only: random weights", "same_weights": False}
    if work == "vit_b_16":
        backbone = found.ViTBackbone((224, 224, 3), 16, 12, 12, 768, 3072)
        return keras_peer(found.ViTImageClassifier(backbone, 1000, pooling="token"), **speed_only)
    if work == "resnet50":
        blocks = [256, 512, 1024, 2048], [3, 4, 6, 3], [1, 2, 2, 2]
        backbone = found.ResNetBackbone([64], [7], [n // 4 for n in blocks[0]], *blocks[1:], "bottleneck_block")
    else:
        backbone = found.DenseNetBackbone([6, 12, 24, 16])
    model = found.ImageClassifier(backbone, 1000)
    return keras_peer(model, **speed_only)


TIMM_NAMES = (
    ("class_token", "cls_token"),
    ("encoder.pos_embedding", "pos_embed"),
    ("conv_proj", "patch_embed.proj"),
    ("encoder.layers.encoder_layer_", "blocks."),
    ("encoder.ln", "norm"),
    ("heads.head", "head"),
    (".ln_", ".norm"),
    ("self_attention.in_proj_", "attn.qkv."),
    ("self_attention.out_proj", "attn.proj"),
    ("mlp.0.", "mlp.fc1."),
    ("mlp.3.", "mlp.fc2."),
)


VGG16 = (64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3, "M")


def zeromodels_side(work, folder):
    """Its own converters from timm's and transformers' names, fed from kzoo's file."""
    import importlib

    from safetensors.numpy import load_file

    classes = {
        "resnet50": ("resnet", "ResNetImageClassify", {"depths": (3, 4, 6, 3), "filters": (64, 128, 256, 512)}),
        "vgg16": ("vgg", "VGGImageClassify", {"num_filters": VGG16}),
        "densenet121": ("densenet", "DenseNetImageClassify", {}),
        "vit_b_16": ("vit", "ViTImageClassify", {}),
    }
    state = load_file(pathlib.Path(folder) / WEIGHTS)
    if "tokens" in WORKS[work]:
        bert = importlib.import_module("zeromodels.models.bert").BertModel
        config = json.loads((pathlib.Path(folder) / "config.json").read_text())
        rates = {"dropout": "hidden_dropout_prob", "attention_dropout": "attention_probs_dropout_prob"}
        model = bert(**bert.config_from_hf(config) | {ours: config[theirs] for ours, theirs in rates.items()})
        convert, names = bert.transfer_from_hf, ("input_ids", "attention_mask", "token_type_ids")
    else:
        package, name, options = classes[work]
        kind = getattr(importlib.import_module(f"zeromodels.models.{package}"), name)
        model, convert = kind(**options), kind.transfer_from_timm
        if work == "vit_b_16":
            for ours, theirs in TIMM_NAMES:
                state = {key.replace(ours, theirs): value for key, value in state.items()}
    facts = {}
    try:
        convert(model, state)
    except Exception as error:  # its converters are made for its own downloads
        facts = {"same_weights": False, "note": f"speed only: its converter refused kzoo's file ({error!r:.80})"}
    if "tokens" not in WORKS[work]:
        return keras_peer(model, **facts)
    output = "last_hidden_state" if isinstance(model.output, dict) else None
    ours = ("token_ids", "padding_mask", "segment_ids")
    return keras_peer(model, output, lambda x: {n: x[o] for n, o in zip(names, ours, strict=True)}, **facts)


def torch_module(work, folder):
    """The torch network with kzoo's weights, and a function from kzoo's inputs to the main output."""
    import torch
    from safetensors.torch import load_file

    state = load_file(pathlib.Path(folder) / WEIGHTS)
    if WORKS[work].get("name") == "rnn_lstm":

        class Recurrent(torch.nn.Module):
            def __init__(self):
                super().__init__()
                sizes = WORKS[work]["sizes"][-1], WORKS[work]["build"].get("units", 8)
                self.rnn = torch.nn.LSTM(*sizes, num_layers=2, batch_first=True)
                self.fc = torch.nn.Linear(sizes[1], 2)

            def forward(self, x):
                return self.fc(self.rnn(x)[0][:, -1])

        network = Recurrent()
    elif work == "matrix_product":
        parts = [torch.nn.Linear(2048, 2048) if index % 2 == 0 else torch.nn.ReLU() for index in range(7)]
        network = torch.nn.Sequential(*parts)
    else:
        import sys
        import types

        # torchvision's compiled operators fit only its own build of torch, and classifiers need none of them.
        sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))
        import torchvision

        options = {"aux_logits": False, "init_weights": False} if work == "googlenet" else {}
        network = getattr(torchvision.models, work)(weights=None, **options)
    network.load_state_dict(state)
    return network.eval()


def to_torch(inputs):
    import torch

    x = torch.from_numpy(inputs)
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def torch_peer(network, call, compiled=False, **facts):
    """A torch network in inference mode and in training; `call(network, inputs)` gives the main output."""
    import torch

    run = torch.compile(call) if compiled else call
    optimizer = []

    def infer(inputs):
        network.eval()
        with torch.inference_mode():
            return run(network, inputs).numpy()

    def train(inputs):
        if not optimizer:
            optimizer.append(torch.optim.Adam(network.parameters(), 1e-5))
        network.train()
        optimizer[0].zero_grad()
        loss = (run(network, inputs) ** 2).mean()
        loss.backward()
        optimizer[0].step()
        return loss.item()

    return Peer(infer, train, **facts)


def torch_side(work, folder, compiled=False, channels_last=False):
    import torch

    network = torch_module(work, folder)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)

    def place(inputs):
        # The array is channels last already, so `contiguous` copies for channels first only.
        x = to_torch(inputs)
        return x if channels_last else x.contiguous()

    peer = torch_peer(network, lambda network, x: network(x), compiled)
    return Peer(lambda inputs: peer.infer(place(inputs)), lambda inputs: peer.train(place(inputs)))


def transformers_side(work, folder, compiled=False):
    import torch
    import transformers

    network = transformers.BertModel.from_pretrained(folder).eval()
    peer = torch_peer(network, lambda network, x: network(**x).last_hidden_state, compiled)
    names = {"input_ids": "token_ids", "attention_mask": "padding_mask", "token_type_ids": "segment_ids"}

    def place(inputs):
        return {theirs: torch.from_numpy(inputs[ours]).long() for theirs, ours in names.items()}

    return Peer(lambda inputs: peer.infer(place(inputs)), lambda inputs: peer.train(place(inputs)))


def onnx_file(work, folder):
    """The torch or transformers network as an ONNX file with a free batch."""
    import torch

    path = pathlib.Path(folder) / f"{work}.{id(torch)}.onnx"
    inputs = make_inputs(work, 2)
    if isinstance(inputs, dict):
        import transformers

        network = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
        given = tuple(torch.from_numpy(inputs[name]) for name in ("token_ids", "padding_mask", "segment_ids"))
        names = ["token_ids", "padding_mask", "segment_ids"]
    else:
        network, given, names = torch_module(work, folder), (to_torch(inputs).contiguous(),), ["x"]
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = tuple({0: batch} for _ in given)
    torch.onnx.export(network, given, path, input_names=names, dynamic_shapes=shapes, dynamo=True, verbose=False)
    return path, names


def onnxruntime_side(work, folder):
    import onnxruntime

    path, names = onnx_file(work, folder)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def infer(inputs):
        given = inputs if isinstance(inputs, dict) else {names[0]: np.ascontiguousarray(to_torch(inputs).numpy())}
        return session.run(None, {name: given[name] for name in names})[0]

    return Peer(infer, note="the torch network through ONNX")


def openvino_side(work, folder):
    import openvino

    path, names = onnx_file(work, folder)
    core = openvino.Core()
    # OpenVINO lowers float32 to bfloat16 by itself where the processor has it.
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}

    @functools.cache
    def program(batch_size):
        model = core.read_model(path)
        model.reshape({port.any_name: [batch_size, *port.partial_shape[1:]] for port in model.inputs})
        return core.compile_model(model, "CPU", options)

    def infer(inputs):
        given = inputs if isinstance(inputs, dict) else {names[0]: np.ascontiguousarray(to_torch(inputs).numpy())}
        return program(first_shape(inputs)[0])({name: given[name] for name in names})[0]

    return Peer(infer, note="the torch network through ONNX")


CLASSIFIERS = {"resnet50", "vgg16", "densenet121", "googlenet", "vit_b_16"}
TORCH, ONNX = ("torch", "torchvision"), ("torch", "torchvision", "transformers", "onnx", "onnxscript")
BERTS, RECURRENT = {"bert_base", "tiny_bert"}, {"lstm", "tiny_lstm"}
# side -> how it is built, the packages it needs, the works it can do
SIDES = {
    "kzoo": (kzoo_side, (), set(WORKS)),
    "kzoo_fast": (kzoo_fast_side, (), set(WORKS)),
    "kzoo_fast_onnxruntime": (functools.partial(kzoo_fast_side, runtime="onnxruntime"), ("onnxruntime",), set(WORKS)),
    "kzoo_fast_openvino": (functools.partial(kzoo_fast_side, runtime="openvino"), ("openvino",), set(WORKS)),
    "kzoo_fast_openvino_int8": (
        functools.partial(kzoo_fast_side, precision="int8", runtime="openvino"),
        ("openvino", "nncf"),
        set(WORKS),
    ),
    "kzoo_fast_litert_int8": (functools.partial(kzoo_fast_side, precision="int8", runtime="litert"), (), set(WORKS)),
    "keras": (keras_side, (), {*RECURRENT, "tiny_cnn"}),
    "keras_applications": (keras_applications_side, (), {"resnet50", "vgg16", "densenet121"}),
    "keras_hub": (keras_hub_side, ("keras-hub",), {*BERTS, "resnet50", "densenet121", "vit_b_16"}),
    "zeromodels": (zeromodels_side, ("zeromodels",), {*BERTS, "resnet50", "vgg16", "densenet121", "vit_b_16"}),
    "torch": (torch_side, TORCH, CLASSIFIERS | RECURRENT | {"matrix_product"}),
    "torch_channels_last": (functools.partial(torch_side, channels_last=True), TORCH, CLASSIFIERS),
    "torch_compiled": (functools.partial(torch_side, compiled=True), TORCH, CLASSIFIERS | RECURRENT),
    "transformers": (transformers_side, ("torch", "transformers"), BERTS),
    "transformers_compiled": (functools.partial(transformers_side, compiled=True), ("torch", "transformers"), BERTS),
    "onnxruntime": (
        onnxruntime_side,
        (*ONNX, "onnxruntime"),
        CLASSIFIERS | RECURRENT | BERTS,
    ),
    "openvino": (openvino_side, (*ONNX, "openvino"), CLASSIFIERS | RECURRENT | BERTS),
}
KERAS_SIDES = ("keras", "keras_applications", "keras_hub", "zeromodels")
SIDES |= {f"{side}_onednn": SIDES[side] for side in KERAS_SIDES}


def has_onednn(side):
    """Whether a side runs with TensorFlow's oneDNN kernels whatever the processor; others as TensorFlow chooses."""
    return side.startswith("kzoo") or side.endswith("_onednn")
