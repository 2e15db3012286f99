"""LoRA: a frozen model of which only low-rank updates of chosen Dense layers train, and merging them.

Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.
"""

import math

import keras

from kzoo import catalog, graph
from kzoo.layers import LowRankDense
from kzoo.rewrites import carry, rewrites_of
from kzoo.rewrites.patterns import as_list, matching, text_of
from kzoo.support.suggest import did_you_mean

# variables that an optimizer keeps for each trained one
SLOTS = {"adam": 2, "adamw": 2, "sgd": 1}


def lora(model, rank, layers=None, alpha=None, dropout=0.0, train=()) -> keras.Model:
    """A model with low-rank updates beside chosen Dense layers, y = W x + (alpha / rank) B A x, that alone train.

    It computes the same as the given model at first (B is zero) and shares its layers, which are frozen from then on,
    in `model` too. It can be trained, saved, exported and generated with like any model of the catalogue.

    Args:
        model: a flat functional model.
        rank: width of the updates, from 1 to the smaller side of the matrices.
        layers: names of Dense layers, or the ends of such names after a dot (`"query"`), shell-style patterns included
            (`"*.layer.1[01].*"`), or compiled regular expressions of whole names; one or a list. By default the queries
            and values of an architecture (`LORA_LAYERS` of its file).
        alpha: with it the update keeps its size when the rank changes; by default the rank, a factor of 1.
        dropout: share of an update's inputs to drop while training.
        train: names or patterns of more layers to train, such as a new head; they become copies.

    Raises ValueError or TypeError: a rank, alpha or dropout out of range, names that match nothing, layers that are not
    Dense, a model that has low-rank updates already or is not flat.
    """
    graph.require_flat(model, "lora")
    check_numbers(rank, alpha, dropout)
    if any(isinstance(layer, LowRankDense) for layer in model.layers):
        raise ValueError(f"{model.name} has low-rank updates already; merge them first with kzoo.merge_lora")
    chosen = _dense_layers(model, _default_layers(model) if layers is None else layers)
    for layer in chosen:
        if rank > min(layer.kernel.shape):
            raise ValueError(
                f"rank {rank} is larger than layer {layer.name}, whose matrix is {tuple(layer.kernel.shape)}; choose a "
                f"rank of at most {min(layer.kernel.shape)}, or leave that layer out of layers"
            )
    trained = _trained_layers(model, train, chosen)

    def replace(layer):
        if layer in chosen:
            return LowRankDense(layer, rank, alpha, dropout)
        if layer in trained:
            return type(layer).from_config(layer.get_config())
        layer.trainable = False
        return layer

    adapted = keras.models.clone_model(model, clone_function=replace)
    for layer in trained:
        adapted.get_layer(layer.name).set_weights(layer.get_weights())
    settings = {"rewrite": "lora", "rank": rank, "alpha": rank if alpha is None else alpha, "dropout": dropout}
    settings |= {"layers": [layer.name for layer in chosen], "train": [layer.name for layer in trained]}
    return carry(model, adapted, (*rewrites_of(model), settings))


def repeat(model, **settings) -> keras.Model:
    """The same for a model whose weights are loaded later."""
    return lora(model, **settings)


def merge_lora(model) -> keras.Model:
    """The model without its low-rank updates, which are added to the matrices: W + (alpha / rank) A B.

    It has layers of its own, all trainable, in the architecture that `lora` was given. Raises ValueError if the model
    has no updates.
    """
    find_settings(model)

    def replace(layer):
        source = layer.dense if isinstance(layer, LowRankDense) else layer
        return type(source).from_config({**source.get_config(), "trainable": True})

    merged = keras.models.clone_model(model, clone_function=replace)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, LowRankDense):
            weights = layer.dense.get_weights()
            a, b = (keras.ops.convert_to_numpy(keras.ops.cast(v, "float32")) for v in (layer.lora_a, layer.lora_b))
            weights[0] = (weights[0] + layer.scale * (a.astype("float64") @ b)).astype(weights[0].dtype)
        merged.get_layer(layer.name).set_weights(weights)
    return carry(model, merged, [row for row in rewrites_of(model) if row["rewrite"] != "lora"])


def lora_report(model, optimizer="adam") -> dict:
    """What training a model's updates costs, compared with training the whole model.

    Args:
        optimizer: "adam", "adamw" or "sgd", which decides how many variables it keeps for each trained one.

    Returns a dict: `parameters`, `trainable_parameters`, `trainable_share`; `gradient_bytes` and `optimizer_bytes`;
    `full_gradient_bytes` and `full_optimizer_bytes`, those of the model without updates, all trained.
    """
    find_settings(model)
    if optimizer not in SLOTS:
        raise ValueError(did_you_mean("optimizer", optimizer, SLOTS))
    apart = {id(variable) for layer in model.layers for variable in _updates(layer) + _statistics(layer)}
    base = [variable for variable in model.weights if id(variable) not in apart]
    trained, whole = graph.num_bytes(model.trainable_variables), graph.num_bytes(base)
    count = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    total = model.count_params()
    return {
        "parameters": total,
        "trainable_parameters": count,
        "trainable_share": count / total,
        "gradient_bytes": trained,
        "optimizer_bytes": SLOTS[optimizer] * trained,
        "full_gradient_bytes": whole,
        "full_optimizer_bytes": SLOTS[optimizer] * whole,
    }


def report_line(report) -> str:
    """A `lora_report` in one line."""
    ours = report["gradient_bytes"] + report["optimizer_bytes"]
    full = report["full_gradient_bytes"] + report["full_optimizer_bytes"]
    return (
        f"LoRA trains {report['trainable_parameters']:,} of {report['parameters']:,} parameters "
        f"({report['trainable_share']:.2%}); gradients and optimizer take {ours / 1e6:,.2f} MB, for the whole model "
        f"{full / 1e6:,.2f} MB"
    )


def find_settings(model) -> dict:
    """The keywords of the `lora` that made a model; ValueError if none did."""
    for row in reversed(rewrites_of(model)):
        if row["rewrite"] == "lora":
            return row
    layers = [layer for layer in getattr(model, "layers", ()) if isinstance(layer, LowRankDense)]
    if not layers:
        raise ValueError(f"{model.name} has no low-rank updates; kzoo.lora makes a model that has")
    first = layers[0]
    settings = {"rank": first.rank, "alpha": first.alpha, "dropout": first.dropout}
    return {**settings, "layers": [layer.name for layer in layers], "train": []}


def _updates(layer):
    return [layer.lora_a, layer.lora_b] if isinstance(layer, LowRankDense) else []


def _statistics(layer):
    """What a layer accumulates rather than trains."""
    is_norm = isinstance(layer, keras.layers.BatchNormalization)
    return [layer.moving_mean, layer.moving_variance] if is_norm else []


def check_numbers(rank, alpha, dropout) -> None:
    """ValueError or TypeError for a rank, alpha (None: the rank) or dropout out of range."""
    if type(rank) is not int:
        raise TypeError(f"rank must be an int, got {rank!r}")
    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}")
    if alpha is not None and (isinstance(alpha, bool) or not isinstance(alpha, int | float)):
        raise TypeError(f"alpha must be a number, got {alpha!r}")
    if alpha is not None and not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be a finite number above 0, got {alpha!r}")
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"dropout must be a number from 0 up to but not including 1, got {dropout!r}")


def _default_layers(model):
    layers = catalog.literals_of(model).get("LORA_LAYERS")
    if layers is None:
        dense = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)]
        raise ValueError(
            f"{model.name} has no layers that are usually chosen for lora; name them with layers= (Dense layers: "
            f"{', '.join(dense[:6]) or 'none'}{', ...' if len(dense) > 6 else ''})"
        )
    return layers


def _dense_layers(model, patterns):
    """The Dense layers of the graph that patterns choose; ValueError for what matches nothing, or nothing Dense."""
    found = []
    for pattern in as_list("layers", patterns):
        matched = matching(model, pattern)
        dense = [layer for layer in matched if isinstance(layer, keras.layers.Dense)]
        if not dense and matched:
            kinds = ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in matched[:3])
            raise ValueError(
                f"layers {text_of(pattern)!r} chooses no Dense layer but {kinds}; lora updates Dense layers"
            )
        if not dense:
            names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)]
            ends = {name.rpartition(".")[2] for name in names}
            raise ValueError(f"{model.name}: {did_you_mean('layers', text_of(pattern), sorted({*names, *ends}))}")
        found += dense
    return [layer for layer in model.layers if layer in found]


def _trained_layers(model, patterns, chosen):
    found = []
    for pattern in as_list("train", patterns, empty=True):
        matched = [layer for layer in matching(model, pattern) if layer.weights]
        if not matched:
            names = [layer.name for layer in model.layers if layer.weights]
            raise ValueError(f"{model.name}: {did_you_mean('layer with weights', text_of(pattern), names)}")
        found += matched
    both = [layer.name for layer in found if layer in chosen]
    if both:
        raise ValueError(f"{', '.join(both[:3])}: chosen by both layers and train; a layer that trains needs no update")
    return [layer for layer in model.layers if layer in found]
