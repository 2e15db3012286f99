"""Which letters of a sequence matter: every letter is replaced by every other, and the model is asked each time.

In-silico mutagenesis, as Zhou, Troyanskaya 2015, https://doi.org/10.1038/nmeth.3547, have it.
"""

from typing import Any

import numpy as np

from kzoo.data import columns
from kzoo.data.genomes import alphabet
from kzoo.support import drawing
from kzoo.support.suggest import did_you_mean
from kzoo.tasks import of_or_guess
from kzoo.tasks.base import gives_probabilities

COLOURS = {"A": "#109648", "C": "#255c99", "G": "#f7b32b", "T": "#d62839", "U": "#d62839"}
LETTER_INCHES, PER_ROW = 0.16, 100


def mutagenesis(model, sequence, target=None, place=None, begin=0, end=None, batch_size=64) -> np.ndarray:
    """How much each letter matters, float32 (end - begin, num_letters): what its replacement adds to the log-odds.

    The log-odds are ln(p / (1 - p)), of the probability p that the model gives the target; 0 stands in the column of
    the letter that is there. An unknown letter becomes each of the alphabet.

    Args:
        model: one that reads letters, and tells classes or labels of a sequence, or of its letters.
        sequence: a string.
        target: the class or label, by name or number; the likeliest by default, of letters the likeliest but the first.
        place: of a model of letters, which letter the target is of, counted from 1; the likeliest by default.
        begin, end: the part of the sequence whose letters are replaced, counted from 0; all by default.

    Raises ValueError for a model without letters, an unknown target, and a place or a part that the sequence lacks.
    """
    return _changes(model, sequence, target, place, begin, end, batch_size)[0]


def _changes(model, sequence, target, place, begin, end, batch_size):
    """What `mutagenesis` gives, the ids of the part, the name of the target and its place."""
    column = columns.lettered(model)
    if column is None or len(model.outputs) != 1:
        raise ValueError(f"{model.name} takes {', '.join(columns.inputs_of(model))}; wanted a model of letters of DNA")
    ids, _ = alphabet.encode("sequence", sequence, column.letters)
    if column.shape[0] not in (None, len(ids)):
        raise ValueError(f"sequence has {len(ids):,} letters and {model.name} takes {column.shape[0]:,}")
    end = len(ids) if end is None else end
    if not 0 <= begin < end <= len(ids):
        raise ValueError(f"begin={begin} and end={end} are no part of {len(ids):,} letters, counted from 0")
    by_letter = len(model.outputs[0].shape) == 3
    if place is not None and (not by_letter or not 1 <= place <= len(ids)):
        wanted = f"1 to {len(ids)}" if by_letter else "None, since the model tells what whole sequences are"
        raise ValueError(f"place={place!r}: wanted {wanted}")
    own = _log_odds(model, ids[None], batch_size)[0]
    target, name = _target(model, target, own, place)
    if by_letter:
        place = int(own[:, target].argmax()) if place is None else place - 1
        own = own[place]
    rows = np.repeat(ids[None], (end - begin) * len(column.letters), axis=0)
    where = np.repeat(np.arange(begin, end), len(column.letters))
    rows[np.arange(len(rows)), where] = np.tile(np.arange(1, len(column.letters) + 1), end - begin)
    changed = (rows != ids).any(axis=1)
    found = np.full(len(rows), own[target], np.float64)
    scores = _log_odds(model, rows[changed], batch_size, place if by_letter else None)
    found[changed] = scores[:, target]
    differences = (found - own[target]).astype(np.float32).reshape(end - begin, -1)
    return differences, ids[begin:end], name, place


def _log_odds(model, ids, batch_size, place=None):
    """ln(p / (1 - p)) of every result, from logits where the model gives those, so that no certainty is too great.

    Args:
        place: of results by letter, the only one that is wanted.
    """
    task, parts = of_or_guess(model), []
    for begin in range(0, len(ids), batch_size):
        outputs = model.predict_on_batch(ids[begin : begin + batch_size].astype(np.int32))
        outputs = outputs if place is None else outputs[:, place]
        probabilities = np.asarray(task.read(model, outputs), np.float64)
        if gives_probabilities(model) or probabilities.shape != outputs.shape:
            clipped = np.clip(probabilities, 1e-12, 1 - 1e-12)
            parts.append(np.log(clipped / (1 - clipped)))
        elif np.allclose(probabilities.sum(-1), 1, atol=1e-4):
            parts.append(_of_softmax(outputs.astype(np.float64)))
        else:
            parts.append(outputs.astype(np.float64))
    return np.concatenate(parts)


def _of_softmax(logits):
    """Each logit minus the logarithm of the sum of the others' exponentials."""
    others = np.repeat(logits[..., None, :], logits.shape[-1], axis=-2)
    others[..., np.arange(logits.shape[-1]), np.arange(logits.shape[-1])] = -np.inf
    largest = others.max(-1, keepdims=True)
    return logits - (np.log(np.exp(others - largest).sum(-1)) + largest[..., 0])


def _target(model, target, own, place):
    """The number and the name of the result that is meant."""
    count = own.shape[-1]
    names = model.kzoo.class_names or [str(index) for index in range(count)]
    if target is None:
        first = own.ndim - 1  # of letters, the first class is no site
        scores = own if own.ndim == 1 else own.max(axis=0) if place is None else own[place - 1]
        target = first + int(scores[first:].argmax())
    if isinstance(target, str) and target in names:
        target = names.index(target)
    elif isinstance(target, str) and target.isdecimal():
        target = int(target)
    if not isinstance(target, int | np.integer) or not 0 <= target < count:
        raise ValueError(f"{model.name}: {did_you_mean('target', str(target), names)}")
    return int(target), names[target]


def draw(path, model, sequence, **part) -> str:
    """Draws `mutagenesis` as a PNG: letters as high as they matter, and below them what each replacement does.

    A letter's height is what its replacements take from the log-odds in the mean. `part` holds the further arguments of
    `mutagenesis`. Returns a line that says what was drawn.
    """
    differences, ids, name, place = _changes(
        model, sequence, part.get("target"), part.get("place"), part.get("begin", 0), part.get("end"), 64
    )
    letters, first = columns.lettered(model).letters, part.get("begin", 0)
    rows = -(-len(ids) // PER_ROW)
    width = 1.5 + LETTER_INCHES * min(len(ids), PER_ROW)
    height = -differences.sum(axis=1) / np.maximum((differences != 0).sum(axis=1), 1)
    limit, tall = max(np.abs(differences).max(), 1e-6), max(np.abs(height).max(), 1e-6)
    told = f"{name} of letter {place + 1:,}" if place is not None else name
    with drawing.picture(path, (width, 0.4 + 2.2 * rows)) as figure:
        axes = np.asarray(figure.subplots(2 * rows, 1, squeeze=False))[:, 0]
        for row in range(rows):
            part_of = slice(row * PER_ROW, min((row + 1) * PER_ROW, len(ids)))
            own, places = ids[part_of], np.arange(len(ids))[part_of] + first + 1
            logo, grid = axes[2 * row], axes[2 * row + 1]
            _logo(logo, [letters[index - 1] if index else "N" for index in own], height[part_of], tall)
            shades = grid.imshow(differences[part_of].T, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
            grid.set_yticks(range(len(letters)), [*letters], fontsize=6)
            ticks = np.flatnonzero(places % 10 == 0)
            grid.set_xticks(ticks, [str(places[tick]) for tick in ticks], fontsize=6)
        scale = figure.colorbar(shades, ax=list(axes), shrink=0.5)
        scale.set_label("change of the log-odds", fontsize=7)
        scale.ax.tick_params(labelsize=6)
        figure.suptitle(f"{model.name}: {told}", fontsize=9)
    return f"{path} ({told})"


def _logo(axis, letters, heights, tall) -> Any:
    """Letters as high as their numbers, those below 0 hanging from the axis."""
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    for place, (letter, height) in enumerate(zip(letters, heights, strict=True)):
        outline = TextPath((0, 0), letter, size=1)
        box = outline.get_extents()
        fit = Affine2D().translate(-box.x0, -box.y0).scale(0.9 / box.width, height / box.height)
        shape = fit.translate(place - 0.45, 0).transform_path(outline)
        axis.add_patch(PathPatch(shape, color=COLOURS.get(letter, "#555555"), linewidth=0))
    axis.set_xlim(-0.5, len(letters) - 0.5)
    axis.set_ylim(min(heights.min(), 0) * 1.05, tall * 1.05)
    axis.set_xticks([])
    axis.tick_params(labelsize=6)
