"""`kzoo.explain`: why a model answers what it answers, by any of the methods of this room."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo import graph
from kzoo.catalog import card_of, literals_of
from kzoo.data import columns, prepare_inputs
from kzoo.explaining import class_activation, gradient_methods, perturbing
from kzoo.explaining.checking import CHECKS, Explained
from kzoo.explaining.points import Target, cut
from kzoo.layers import DotProductAttention
from kzoo.support.suggest import did_you_mean
from kzoo.tasks.base import gives_probabilities

METHODS = {
    "saliency": gradient_methods.saliency,
    "gradient_x_input": gradient_methods.gradient_x_input,
    "integrated_gradients": gradient_methods.integrated_gradients,
    "smoothgrad": gradient_methods.smoothgrad,
    "grad_cam": class_activation.grad_cam,
    "grad_cam++": class_activation.grad_cam_plus_plus,
    "occlusion": perturbing.occlusion,
    "rise": perturbing.rise,
}
AT_A_TAP = ("grad_cam", "grad_cam++")


@dataclasses.dataclass
class Explanation:
    """What speaks for the target in each example.

    Attributes:
        model, method: their names; at: the tap, where there is one.
        scores: an array in the input's own shape, or a dict of them by input; at a tap (batch, *places). Positive
            speaks for the target, negative against it; saliency and SmoothGrad have sizes alone.
        target: for each example the place in the output that is explained: a class, or (place, class).
        against: the same of what it is compared with; None where there is none.
        values: for each example the number there, a logit or the log-odds of a probability, or its difference to the
            other one.
        checks: what the method says of its own accuracy, {name: a number for each example}.
        inputs: the prepared arrays that were explained.
        words: for texts, the tokens of each example.
        class_names: those of the model, or None.
    """

    model: str
    method: str
    at: str | None
    scores: Any
    target: list
    against: list | None
    values: list
    checks: dict
    inputs: Any
    words: list | None = None
    class_names: list | None = None

    def name_of(self, example) -> str:
        """The target of an example in words."""
        names = [_named(places[example], self.class_names) for places in (self.target, self.against) if places]
        return " and not ".join(names)

    def draw(self, path, example=0) -> None:
        """Writes a picture of one example: a heat map beside a picture, a curve under a waveform, coloured words.

        Args:
            path: a `.png`, or for texts also an `.html`.
        """
        from kzoo.explaining import explanation_pictures

        explanation_pictures.draw(self, path, example)


def explain(
    model, x, method=None, target=None, against=None, at=None, output=None, checks=(), **settings
) -> Explanation:
    """Scores of every part of an example: how much it speaks for what the model answers.

    Args:
        x: what `kzoo.predict` takes: arrays, or texts for a model with a tokenizer.
        method: one of `kzoo.explaining.explanation.METHODS`; by default `"integrated_gradients"`, or `"grad_cam"` with
            `at`.
        target: what is explained: a class, its name, or (place, class) where every place has classes, such as
            (token, word) of a language model or (anchor, class) of a detector; a list has one for each example. By
            default the likeliest class, and of a language model the word that it would write next.
        against: what it is compared with, as target: why this and not that.
        at: the tap whose places Grad-CAM weighs, such as `"layer4"`; by default the last one with places.
        output: which output, by its name, of a model with several.
        checks: names of `kzoo.explaining.checking.CHECKS`, whose numbers go into the result's `checks`: `"deletion"`
            (and insertion), `"infidelity"`, `"sensitivity"`, `"randomization"`, which shuffles the model's weights for
            a while.
        settings: of the method: `steps`, `baseline` and `batch_size` of integrated gradients, `samples` and `noise` of
            SmoothGrad, `window` and `stride` of occlusion, `masks`, `cells` and `keep` of RISE, `seed`.

    Raises TypeError for an unknown setting, and ValueError for an unknown method, check, tap, target or output, for a
    model none of whose inputs can be explained, and as `kzoo.predict` does for x.
    """
    method = method or ("grad_cam" if at else "integrated_gradients")
    if method not in METHODS:
        raise ValueError(did_you_mean("method", method, METHODS))
    if at and method not in AT_A_TAP:
        raise ValueError(f"at={at!r} is for {' and '.join(AT_A_TAP)}; {method} explains the input")
    function = METHODS[method]
    _check_settings(method, function, settings)
    checks = [checks] if isinstance(checks, str) else list(checks)
    for name in checks:
        if name not in CHECKS:
            raise ValueError(did_you_mean("check", name, CHECKS))
    x, words = _read(model, x)
    halves = cut(model, at or _last_map(model)) if method in AT_A_TAP else cut(model)
    values = halves.values(x)
    outputs, which = halves.outputs(x, values), _which(model, output)
    answers = np.asarray(ops.convert_to_numpy(outputs[which]))
    meant = _target(model, x, answers, target)
    other = None if against is None else _target(model, x, answers, against)
    chosen = Target(meant, other, which, gives_probabilities(model))
    scores, numbers = function(halves, x, chosen, **settings)
    begin = Explained(cut(model), model, x, chosen, scores, lambda x: function(halves, x, chosen, **settings)[0])
    for name in checks:
        numbers |= CHECKS[name](dataclasses.replace(begin, seed=settings.get("seed", 0)))
    return Explanation(
        model.name, method, halves.names[0] if method in AT_A_TAP else None,
        scores if len(scores) > 1 else next(iter(scores.values())),
        *(None if places is None else _listed(places) for places in (meant, other)),
        [float(one) for one in gradient_methods.as_numpy(chosen.of(outputs))], numbers, x, words,
        card_of(model).class_names,
    )  # fmt: skip


def _check_settings(method, function: Callable, settings):
    import inspect

    known = [name for name in inspect.signature(function).parameters if name not in ("cut", "x", "target")]
    for name in settings:
        if name not in known:
            raise TypeError(f"{method}: {did_you_mean('setting', name, known)}")


def _read(model, x):
    """Prepared arrays, and the tokens of each example where x is texts."""
    from kzoo.tasks.feeding import given

    if not given.are_texts(x):
        return prepare_inputs(model, x), None
    from kzoo.data import token_rows
    from kzoo.tasks.texts import require_tokenizer

    tokenizer = require_tokenizer(model, card_of(model).tokenizer)
    writes = literals_of(model).get("WRITES") == "token_ids"
    arrays, real = token_rows.batch(model, x, tokenizer, framed=not writes)
    ids = np.asarray(arrays["token_ids"] if isinstance(arrays, dict) else arrays)
    words = [tokenizer.tokens([int(one) for one in row[mask > 0]]) for row, mask in zip(ids, real, strict=True)]
    return arrays, words


def _last_map(model):
    """The last layer whose output has several places and channels; where there is attention, what the last one reads.

    After it only the class token of a vision transformer leads to the answer.
    """
    _, steps, _ = graph.record(model)
    if name := _read_by_attention(steps):
        return name
    for step in reversed(steps):
        shape = getattr(step.outputs, "shape", ())
        if len(shape) in (3, 4, 5) and set(shape[1:-1]) != {1} and step.layer.name not in model.output_names:
            return step.layer.name
    raise ValueError(f"{model.name} has no layer with places, so Grad-CAM has nothing to draw a map of")


def _read_by_attention(steps):
    """The layer whose output the projections of the last attention layer share; None without one."""
    makers = {id(tensor): step for step in steps for tensor in keras.tree.flatten(step.outputs)}
    attention = [step for step in steps if isinstance(step.layer, DotProductAttention)]
    for step in reversed(attention):
        projections = [makers.get(id(tensor)) for tensor in step.inputs[:2]]
        if None not in projections:
            sources = [{id(tensor): tensor for tensor in one.inputs} for one in projections]
            shared = [makers[key] for key in sources[0] if key in sources[1] and key in makers]
            if shared:
                return shared[0].layer.name
    return None


def _which(model, output):
    if output is None:
        return 0
    names = list(model.output) if isinstance(model.output, dict) else model.output_names
    if output not in names:
        raise ValueError(f"{model.name}: {did_you_mean('output', output, names)}")
    return names.index(output)


def _target(model, x, outputs, wanted):
    """Places (batch, rank - 1) int32 in outputs (batch, ...)."""
    shape, names = outputs.shape[1:], card_of(model).class_names
    if wanted is None:
        return _likeliest(model, x, outputs)
    each = wanted if isinstance(wanted, list) else [wanted] * len(outputs)
    if len(each) != len(outputs):
        raise ValueError(f"target has {len(each)} entries for {len(outputs)} examples; wanted one, or one for each")
    places = []
    for one in each:
        place = one if isinstance(one, tuple) else (one,)
        place = tuple(_number(part, names, model) for part in place)
        axes = "(class,)" if len(shape) == 1 else f"({', '.join(['place'] * (len(shape) - 1))}, class)"
        if len(place) != len(shape):
            raise ValueError(f"target={one!r}: {model.name} has outputs {shape} for an example; wanted {axes}")
        if any(not -size <= part < size for part, size in zip(place, shape, strict=True)):
            raise ValueError(f"target={one!r} is outside of the outputs {shape} of {model.name}")
        places.append([part % size for part, size in zip(place, shape, strict=True)])
    return np.array(places, np.int32)


def _number(part, names, model):
    if isinstance(part, str):
        if not names:
            raise ValueError(f"target={part!r}: {model.name} has no names of classes; pass its number")
        if part not in names:
            raise ValueError(f"{model.name}: {did_you_mean('class', part, names)}")
        return list(names).index(part)
    if isinstance(part, bool) or not isinstance(part, int | np.integer):
        raise ValueError(f"target={part!r}: wanted a class as its number or name")
    return int(part)


def _likeliest(model, x, outputs):
    if outputs.ndim == 2:
        return outputs.argmax(-1).astype(np.int32)[:, None]
    if literals_of(model).get("WRITES") == "token_ids":
        masks = [name for name, column in columns.inputs_of(model).items() if column.kind == "mask"]
        real = np.asarray(x[masks[-1]]) if masks else np.ones(outputs.shape[:2])
        last = real.shape[1] - 1 - (real[:, ::-1] > 0).argmax(1)
        words = outputs[np.arange(len(outputs)), last].argmax(-1)
        return np.stack([last, words], -1).astype(np.int32)
    axes = ", ".join(["place"] * (outputs.ndim - 2))
    raise ValueError(f"{model.name} answers at {outputs.shape[1:]} places and classes; wanted target=({axes}, class)")


def _listed(places):
    return [row[0] if len(row) == 1 else tuple(row) for row in places.tolist()]


def _named(place, names):
    place = place if isinstance(place, tuple) else (place,)
    name = names[place[-1]] if names and place[-1] < len(names) else str(place[-1])
    return " ".join([name, *(f"at {part}" for part in place[:-1])])
