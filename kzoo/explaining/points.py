"""Where an explanation begins: the first real numbers that each input becomes, or a tap inside the graph.

A picture or a waveform is such numbers itself. Ids of tokens or letters become them in a table or in one-hot vectors,
and the graph is cut there, so that gradients have something to flow to.
"""

import dataclasses
import weakref
from typing import Any

import keras
from keras import ops

from kzoo import graph
from kzoo.data import columns
from kzoo.generation.programs import compiled

OF_IDS = ("tokens", "letters")
# columns that say how an example is to be read, or that are no property of it
NOT_EXPLAINED = ("mask", "segments", "category", "num_samples", "noise", "timestep")
_cuts = weakref.WeakKeyDictionary()  # model -> {tap or None: Cut}


def cut(model, tap=None) -> "Cut":
    """The `Cut` of a model at its inputs, or at a tap, made once.

    Raises ValueError for a model that is not flat, for one without an input that can be explained, and for a tap that
    no layer has, with the nearest names.
    """
    found = _cuts.setdefault(model, {})
    if tap not in found:
        found[tap] = Cut(model, tap)
    return found[tap]


@dataclasses.dataclass(frozen=True)
class Target:
    """Places in an output, (batch, rank - 1) int32 each: the number there, or how much it is above another.

    Attributes:
        output: which of the model's outputs, by its place among them.
        of_chances: whether these are probabilities, whose log-odds are explained then, as logits are of other models:
            a probability near 1 hardly changes with anything.
    """

    places: object
    against: object = None
    output: int = 0
    of_chances: bool = False

    def of(self, outputs) -> Any:
        """The numbers (batch,) in outputs (batch, ...) of the model, float32."""
        output = outputs[self.output]
        if self.of_chances:
            chance = ops.clip(ops.cast(output, "float32"), 1e-6, 1 - 1e-6)
            output = ops.log(chance) - ops.log1p(-chance)
        found = _at(output, self.places)
        return found if self.against is None else found - _at(output, self.against)


class Cut:
    """A model in two halves that share its layers: what comes before some tensors, and what comes after.

    Attributes:
        names: what the tensors are called: the names of inputs, or a tap.
        kinds: the kind of column that each of them comes from.
    """

    def __init__(self, model, tap):
        graph.require_flat(model, "explain")
        inputs, steps, outputs = graph.record(model)
        kinds = {name: column.kind for name, column in columns.inputs_of(model).items()}
        by_name = {tensor.name: tensor for tensor in keras.tree.flatten(inputs)}
        if tap is None:
            places = _first_numbers(by_name, kinds, steps)
            if not places:
                taken = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
                raise ValueError(f"{model.name} takes {taken}; none of these can be explained")
        else:
            layer = graph.find_tap(model, tap)
            places = {layer.name: next(step.outputs for step in steps if step.layer is layer)}
            if not isinstance(places[layer.name], keras.KerasTensor):
                raise ValueError(f"{model.name}: {layer.name} has several outputs; wanted a tap with one")
        self.names = list(places)
        self.kinds = {name: kinds.get(name) for name in places}
        self.input_names = list(by_name)
        self.before = keras.Model(inputs, [places[name] for name in places])
        self.after = self._rest(inputs, steps, outputs, places)
        self.variables = list({id(one): one for one in (*self.before.variables, *self.after.variables)}.values())
        self._programs = {}

    def _rest(self, inputs, steps, outputs, places):
        fresh = {
            name: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=f"at.{name}")
            for name, tensor in places.items()
        }
        stands_for = {id(places[name]): symbol for name, symbol in fresh.items()}
        values = {id(tensor): stands_for.get(id(tensor), tensor) for tensor in keras.tree.flatten(inputs)}

        def call(step, args, kwargs):
            found = stands_for.get(id(step.outputs))
            return step.layer(*args, **kwargs) if found is None else found

        graph.replay(steps, values, call)
        return keras.Model(
            [*keras.tree.flatten(inputs), *fresh.values()],
            [values[id(tensor)] for tensor in keras.tree.flatten(outputs)],
        )

    def values(self, x) -> list:
        """The tensors at which the model is cut, for prepared arrays in its input structure."""

        def run(given):
            return keras.tree.flatten(self.before(self._structured(given), training=False))

        return self._run("values", run, self._flat(x))

    def outputs(self, x, values) -> list:
        """All outputs of the model, in order, for tensors at the cut; what does not follow from them comes from x."""
        return self._run("outputs", self._outputs, self._flat(x), list(values))

    def scores(self, x, values, target) -> Any:
        """The numbers (batch,) that a `Target` means."""
        keys, given = _parts(target)

        def run(x, values, given):
            return Target(*_whole(keys, given)).of(self._outputs(x, values))

        return self._run(("scores", keys), run, self._flat(x), list(values), given)

    def gradients(self, x, values, target) -> tuple:
        """Those numbers, and their gradients with respect to the tensors at the cut, float32 or as they are."""
        keys, given = _parts(target)

        def run(x, values, given):
            def scored(values):
                return Target(*_whole(keys, given)).of(self._outputs(x, values))

            return value_and_gradient(scored, values)

        return self._run(("gradients", keys), run, self._flat(x), list(values), given)

    def _outputs(self, x, values):
        return keras.tree.flatten(self.after([*x, *values], training=False))

    def _structured(self, given):
        return given[0] if len(given) == 1 else dict(zip(self.input_names, given, strict=True))

    def _flat(self, x):
        arrays = [x[name] for name in self.input_names] if isinstance(x, dict) else [x]
        return [ops.convert_to_tensor(array) for array in arrays]

    def _run(self, key, function, *arguments):
        if key not in self._programs:
            self._programs[key] = compiled(function, self.variables, False)
        return self._programs[key](*arguments)


def _first_numbers(by_name, kinds, steps):
    """{input: the first floating-point tensor that follows from it alone}."""
    wanted = {name: kind for name, kind in kinds.items() if kind not in NOT_EXPLAINED}
    places = {name: by_name[name] for name, kind in wanted.items() if kind not in OF_IDS}
    comes_from = {id(by_name[name]): name for name in wanted if name not in places}
    for step in steps:
        sources = {comes_from.get(id(tensor)) for tensor in step.inputs}
        if len(sources) != 1 or None in sources or not isinstance(step.outputs, keras.KerasTensor):
            continue
        (name,) = sources
        if name not in places and keras.backend.is_float_dtype(step.outputs.dtype):
            places[name] = step.outputs
        comes_from[id(step.outputs)] = name
    return {name: places[name] for name in wanted if name in places}


def value_and_gradient(function, values) -> tuple:
    """`(numbers (batch,), gradients)` of a function of a list of tensors, each example's of its own number."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(values)
            numbers = function(values)
        return numbers, tape.gradient(numbers, values, unconnected_gradients="zero")
    import jax

    def summed(values):
        numbers = function(values)
        return numbers.sum(), numbers

    gradients, numbers = jax.grad(summed, has_aux=True)(values)
    return numbers, gradients


def _at(output, places):
    """The numbers (batch,) at places (batch, rank - 1) of a tensor (batch, ...)."""
    shape = ops.shape(output)
    flat = ops.reshape(ops.cast(output, "float32"), (shape[0], -1))
    index = places[:, 0]
    for axis, size in enumerate(shape[2:], 1):
        index = index * size + places[:, axis]
    return ops.take_along_axis(flat, index[:, None], axis=1)[:, 0]


def _parts(target):
    """What of a target a program is made for, and the arrays that it is given."""
    keys = (target.against is not None, target.output, target.of_chances)
    return keys, [array for array in (target.places, target.against) if array is not None]


def _whole(keys, given):
    return given[0], given[1] if keys[0] else None, *keys[1:]
