"""Sparse weights: masks by magnitude or N:M that grow while a model trains, and the sparsity of a model.

Zhu, Gupta 2017, https://arxiv.org/abs/1710.01878, section 3: in each layer the smallest weights become zero, at first
many in a step and later fewer. Mishra et al. 2021, https://arxiv.org/abs/2104.08378: of every M consecutive weights
along the inputs only the N largest stay, which some GPUs multiply twice as fast.

A mask is applied as a constraint of its variable, which Keras runs inside the step after momentum and weight decay. It
is one of the optimizer's variables while the model trains, so that a backup holds it; afterwards nothing of it remains.
"""

import contextlib
import math
import operator
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kzoo.catalog import card_of
from kzoo.training.fused import inner

# layer classes -> path of a kernel in the layer and the axis of its inputs, None where it depends on the layer
RECURRENT = (("cell.kernel", 0), ("cell.recurrent_kernel", 0))
PRUNABLE = (
    (layers.Dense, (("kernel", 0),)),
    (layers.EinsumDense, (("kernel", None),)),
    ((layers.Conv1D, layers.Conv2D, layers.Conv3D), (("kernel", -2),)),
    ((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), (("kernel", -1),)),
    ((layers.SeparableConv1D, layers.SeparableConv2D), (("pointwise_kernel", -2),)),
    ((layers.LSTM, layers.GRU, layers.SimpleRNN), RECURRENT),
)
LARGEST_GROUP = 64


def parse_pattern(text) -> tuple:
    """(N, M) of a text such as "2:4"; raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+):(\d+)", text)
    kept, size = (int(part) for part in match.groups()) if match else (0, 0)
    if not 0 < kept < size <= LARGEST_GROUP:
        raise ValueError(
            f"prune must be a share such as 0.8 or N:M with 0 < N < M <= {LARGEST_GROUP} such as '2:4', got {text!r}"
        )
    return kept, size


def kernels(model) -> list:
    """(layer, path, axis of the inputs, variable) of each kernel that can be pruned.

    These are the matrices of Dense, convolutional and recurrent layers. Biases, norms and depthwise kernels hold too
    few of the weights to be pruned, and embeddings a row for each token.
    """
    found = {}
    for layer in model.layers:
        for path, axis in next((rows for kinds, rows in PRUNABLE if isinstance(layer, kinds)), ()):
            variable = operator.attrgetter(path)(layer)
            found.setdefault(id(variable), (layer, path, axis, variable))
    return list(found.values())


def sparsity(model) -> dict:
    """How many weights of a model are exactly zero.

    Returns a dict: `sparsity`, the share of zeros in all kernels that can be pruned (see `kernels`); `parameters` and
    `zeros`, of those kernels; `model_sparsity`, the zeros as a share of all parameters; `layers`, rows of `name`,
    `weight`, `shape`, `parameters`, `zeros`, `sparsity`. Raises ValueError for a model that has no such kernel.
    """
    rows = []
    for layer, path, _, variable in kernels(model):
        size = math.prod(variable.shape)
        zeros = size - np.count_nonzero(ops.convert_to_numpy(ops.cast(variable.value, "float32")))
        counts = {"parameters": size, "zeros": zeros, "sparsity": zeros / size}
        rows.append({"name": layer.name, "weight": path, "shape": list(variable.shape), **counts})
    if not rows:
        raise ValueError(f"{model.name} has no kernel that can be pruned: no Dense, convolutional or recurrent layer")
    size, zeros = (sum(row[key] for row in rows) for key in ("parameters", "zeros"))
    counts = {"sparsity": zeros / size, "parameters": size, "zeros": zeros}
    return {**counts, "model_sparsity": zeros / model.count_params(), "layers": rows}


class Schedule:
    """When masks are updated and how sparse they become: s = final - final (1 - progress)^3 (Zhu, Gupta, equation 1).

    Args:
        recipe: a `Recipe` that prunes.
        num_steps: steps of the run; the schedule begins and ends at the recipe's shares of them.
    """

    def __init__(self, recipe, num_steps):
        self.pattern = parse_pattern(recipe.prune) if isinstance(recipe.prune, str) else None
        self.final = 1 - self.pattern[0] / self.pattern[1] if self.pattern else recipe.prune
        self.end = min(round(recipe.prune_end * num_steps), num_steps - 1)
        self.begin = min(round(recipe.prune_begin * num_steps), self.end)
        self.every = recipe.prune_every or max(1, min(100, (self.end - self.begin) // 20))

    def is_due(self, step) -> Any:
        """Whether masks are updated in a step, counted from 0, as a bool tensor."""
        on_time = ops.logical_or(ops.equal((step - self.begin) % self.every, 0), ops.equal(step, self.end))
        return ops.logical_and(on_time, ops.logical_and(step >= self.begin, step <= self.end))

    def num_zeros(self, step, size) -> Any:
        """How many of `size` weights are zero after a step, as an int32 tensor."""
        progress = ops.cast(step - self.begin, "float32") / max(1, self.end - self.begin)
        share = self.final * (1 - (1 - ops.clip(progress, 0.0, 1.0)) ** 3)
        # The last count is exact; float32 has too few digits for large kernels.
        return ops.where(step >= self.end, round(self.final * size), ops.cast(share * size, "int32"))


class Masked(keras.constraints.Constraint):
    """The constraint of one kernel: keeps its masked weights at zero and updates the mask when that is due.

    Args:
        mask: bool variable of the kernel's shape, True for a weight that stays.
        axis: the axis along which an N:M pattern groups the weights.
        before: the kernel's own constraint, which remains in force, or None.
    """

    def __init__(self, schedule, optimizer, variable, mask, axis, before):
        self.schedule, self.optimizer, self.mask = schedule, optimizer, mask
        self.shape, self.axis, self.before = tuple(variable.shape), axis, before

    def __call__(self, weights):
        weights = ops.convert_to_tensor(self.before(weights) if self.before else weights)
        step, mask = ops.cast(self.optimizer.iterations, "int32"), ops.convert_to_tensor(self.mask)
        mask = ops.cond(self.schedule.is_due(step), lambda: self.update(weights, mask, step), lambda: mask)
        self.mask.assign(mask)
        return ops.where(mask, weights, ops.zeros_like(weights))

    def update(self, weights, mask, step) -> Any:
        """The mask after a step: what was zero stays zero, and the smallest of the rest join it."""
        sizes = ops.where(mask, ops.abs(ops.cast(weights, "float32")), -1.0)
        if self.schedule.pattern:
            sizes = ops.where(self._largest_of_groups(sizes), math.inf, sizes)
        order = ops.argsort(ops.reshape(sizes, (-1,)))
        size = math.prod(self.shape)
        stays = ops.arange(size) >= self.schedule.num_zeros(step, size)
        places = ops.cast(order, "int32")[:, None]
        stays = ops.reshape(ops.scatter(places, ops.cast(stays, "int32"), (size,)), self.shape)
        return ops.logical_and(mask, ops.cast(stays, "bool"))

    def _largest_of_groups(self, sizes):
        """Whether each weight is among the N largest of its group of M."""
        kept, group = self.schedule.pattern
        moved = ops.moveaxis(sizes, self.axis, -1)
        ranks = ops.argsort(ops.argsort(ops.reshape(moved, (-1, group)), axis=-1), axis=-1)
        return ops.moveaxis(ops.reshape(ranks, moved.shape), -1, self.axis) >= group - kept


@contextlib.contextmanager
def pruned(trainee, recipe, num_steps) -> Iterator["Pruning | None"]:
    """While entered, training steps prune a compiled trainee if the recipe says so; yields its `Pruning`, or None."""
    if not recipe.prune:
        yield None
        return
    if len(trainee.parts) > 1:
        raise ValueError(f"prune={recipe.prune!r} is for one network; {trainee.model.name} trains {len(trainee.parts)}")
    pruning = Pruning(trainee.parts[0], recipe, num_steps)
    try:
        yield pruning
    finally:
        pruning.end()


class Pruning:
    """The masks of a compiled model in training; `end` removes every trace of them.

    Raises ValueError for a model with low-rank updates, or without a trained kernel that can be pruned.
    """

    def __init__(self, model, recipe, num_steps):
        if any(row["rewrite"] == "lora" for row in card_of(model).rewrites):
            raise ValueError(
                f"prune={recipe.prune!r}: {model.name} has low-rank updates, which would fill the zeros again; "
                "merge them first (kzoo.merge_lora) or leave prune out"
            )
        self.schedule = Schedule(recipe, num_steps)
        self.optimizer = inner(model.optimizer)  # which runs the constraints
        self.masked = []
        for axis, variable in self._chosen(model, recipe):
            mask = self.optimizer.add_variable(variable.shape, "ones", "bool", name="pruning_mask")
            constraint = Masked(self.schedule, self.optimizer, variable, mask, axis, variable.constraint)
            self.masked.append((variable, constraint))
            variable.constraint = constraint

    def _chosen(self, model, recipe):
        trained, text = {id(variable) for variable in model.trainable_variables}, f"prune={recipe.prune!r}"
        found = [(axis, variable) for _, _, axis, variable in kernels(model) if id(variable) in trained]
        if not found:
            raise ValueError(f"{text}: {model.name} trains no Dense, convolutional or recurrent kernel")
        if self.schedule.pattern:
            group = self.schedule.pattern[1]
            found = [(axis, one) for axis, one in found if axis is not None and one.shape[axis] % group == 0]
            if not found:
                raise ValueError(f"{text}: no kernel of {model.name} has a number of inputs that {group} divides")
        return found

    def is_complete(self) -> bool:
        """Whether the last update has been made."""
        return int(ops.convert_to_numpy(self.optimizer.iterations)) > self.schedule.end

    def finish(self) -> None:
        """Makes the last update now if it is still due: float16 may skip steps, which are then not counted."""
        for variable, constraint in [] if self.is_complete() else self.masked:
            weights, mask = ops.convert_to_tensor(variable), ops.convert_to_tensor(constraint.mask)
            mask = constraint.update(weights, mask, ops.convert_to_tensor(self.schedule.end, "int32"))
            constraint.mask.assign(mask)
            variable.assign(ops.where(mask, weights, ops.zeros_like(weights)))

    def end(self) -> None:
        """Leaves a plain model, and an optimizer as it would be without pruning."""
        masks = {id(constraint.mask) for _, constraint in self.masked}
        for variable, constraint in self.masked:
            variable.constraint = constraint.before
        # Otherwise a saved .keras file would hold more optimizer variables than the optimizer that loads them.
        self.optimizer._variables = [one for one in self.optimizer._variables if id(one) not in masks]
