"""Explanations as pictures: heat maps over images and frames, coloured words and letters, curves over sounds."""

import html
import pathlib

import numpy as np

from kzoo.support import atomic, drawing

MOST_FRAMES = 8
WORDS_ACROSS = 12


def draw(explanation, path, example=0) -> None:
    """Writes one example of an `Explanation` as a PNG, or a text as HTML; ValueError for another ending."""
    count = len(explanation.target)
    if not 0 <= example < count:
        raise ValueError(f"example={example}; there are {count}")
    if check_path(path) == ".html":
        if explanation.words is None:
            raise ValueError(f"{path}: an explanation as .html is one of texts; name a .png")
        with atomic.file(path) as temporary:
            temporary.write_text(_page(explanation, example), encoding="utf-8")
        return
    scores = explanation.scores if isinstance(explanation.scores, dict) else {None: explanation.scores}
    inputs = explanation.inputs if isinstance(explanation.inputs, dict) else {None: explanation.inputs}
    parts = []
    for name, array in scores.items():
        shown = inputs.get(name, next(iter(inputs.values())))
        parts.append((name, np.asarray(array[example], np.float32), np.asarray(shown[example])))
    heights = [_height(explanation, scores, shown) for _, scores, shown in parts]
    with drawing.picture(path, (7.0, sum(heights) + 0.4)) as figure:
        panels = figure.subfigures(len(parts), 1, height_ratios=heights, squeeze=False)[:, 0]
        for panel, (name, scores, shown) in zip(panels, parts, strict=True):
            _panel(panel, explanation, name, scores, shown, example)
        figure.suptitle(_title(explanation, example), fontsize=9)


def check_path(path) -> str:
    """The ending of a file for an explanation; ValueError for one that none is written as."""
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in (".png", ".html"):
        raise ValueError(f"{path}: explanations are written as .png, and those of texts also as .html")
    return suffix


def _title(explanation, example):
    at = f" at {explanation.at}" if explanation.at else ""
    value = explanation.values[example]
    return f"{explanation.model}, {explanation.method}{at}: {explanation.name_of(example)} ({value:.3g})"


def _height(explanation, scores, shown):
    if explanation.words is not None:
        return 0.8 + 0.42 * (len(scores) // WORDS_ACROSS + 1)
    return 3.2 if _is_picture(shown) else 2.0


def _is_picture(shown):
    return shown.ndim >= 3 and shown.shape[-1] in (1, 3)


def _panel(panel, explanation, name, scores, shown, example):
    if explanation.words is not None:
        return _words(panel, explanation.words[example], scores)
    if _is_picture(shown):
        return _pictures(panel, scores, shown)
    axis = panel.subplots()
    if name:
        axis.set_ylabel(name, fontsize=7)
    axis.tick_params(labelsize=6)
    if scores.ndim == 2:  # steps and features, such as mel frames
        limit = np.abs(scores).max() or 1.0
        shades = axis.imshow(scores.T, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", origin="lower")
        panel.colorbar(shades, ax=axis, shrink=0.8).ax.tick_params(labelsize=6)
        return None
    if scores.size > 400:  # samples of a sound
        axis.plot(shown, color="0.6", linewidth=0.5)
        other = axis.twinx()
        other.plot(scores, color="tab:red", linewidth=0.7)
        other.tick_params(labelsize=6)
        return None
    axis.bar(range(scores.size), scores.ravel(), color=np.where(scores.ravel() > 0, "tab:red", "tab:blue"))
    axis.axhline(0, color="black", linewidth=0.5)
    return None


def _pictures(panel, scores, shown):
    """Each frame beside its map; an image is one frame."""
    frames = shown[None] if shown.ndim == 3 else shown
    is_video = shown.ndim == 4
    if scores.ndim == shown.ndim and scores.shape[-1] == shown.shape[-1]:
        scores = scores.sum(-1) if (scores < 0).any() else scores.max(-1)
    maps = scores if is_video else scores[None]
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).round().astype(int)
    axes = panel.subplots(2, len(chosen), squeeze=False) if is_video else panel.subplots(1, 2, squeeze=False).T
    limit = np.abs(scores).max() or 1.0
    colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if (scores < 0).any() else {"cmap": "inferno"}
    for column, index in enumerate(chosen):
        pixels = _pixels(frames[index])
        shades_of = maps[min(index * len(maps) // len(frames), len(maps) - 1)]
        above, below = axes[0][column], axes[1][column]
        above.imshow(pixels)
        below.imshow(pixels.mean(-1), cmap="gray", vmin=0, vmax=1)
        height, width = pixels.shape[:2]
        smooth = "nearest" if shades_of.shape == (height, width) else "bilinear"
        shades = below.imshow(
            shades_of, alpha=0.65, extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation=smooth, **colours
        )
        for axis in (above, below):
            axis.set_axis_off()
    panel.colorbar(shades, ax=axes.ravel().tolist(), shrink=0.8).ax.tick_params(labelsize=6)


def _pixels(frame):
    """A prepared frame as RGB in [0, 1], whatever it was normalised by."""
    low, high = frame.min(), frame.max()
    pixels = (frame - low) / ((high - low) or 1.0)
    return np.repeat(pixels, 3, -1) if pixels.shape[-1] == 1 else pixels


def _words(panel, words, scores):
    import matplotlib

    axis = panel.subplots()
    axis.set_axis_off()
    limit = np.abs(scores).max() or 1.0
    scores = scores[: len(words)]
    colours = matplotlib.colormaps["RdBu_r"]
    rows = len(words) // WORDS_ACROSS + 1
    axis.set_xlim(0, WORDS_ACROSS)
    axis.set_ylim(rows, 0)
    for place, (word, score) in enumerate(zip(words, scores, strict=True)):
        down, across = divmod(place, WORDS_ACROSS)
        axis.text(
            across + 0.5, down + 0.5, word, ha="center", va="center", fontsize=7,
            bbox={"boxstyle": "round,pad=0.3", "facecolor": colours(0.5 + 0.4 * score / limit), "linewidth": 0},
        )  # fmt: skip


def _page(explanation, example):
    """A page on which words are coloured, red for and blue against the target, with their scores as hints."""
    words = explanation.words[example]
    scores = np.asarray(explanation.scores[example], np.float32)[: len(words)]
    limit = np.abs(scores).max() or 1.0
    spans = []
    for word, score in zip(words, scores, strict=True):
        colour = "214,69,65" if score > 0 else "65,105,214"
        shade = f"background:rgba({colour},{abs(score) / limit * 0.7:.2f})"
        spans.append(f'<span style="{shade}" title="{score:.4g}">{html.escape(word)}</span>')
    title = html.escape(_title(explanation, example))
    style = "body{font:18px/2 sans-serif;margin:2em;max-width:50em}span{padding:.2em .1em;border-radius:.2em}"
    return (
        f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{title}</title><style>{style}</style></head>'
        f"<body><h1 style='font-size:16px'>{title}</h1><p>{' '.join(spans)}</p></body></html>\n"
    )
