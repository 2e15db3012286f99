"""What training hears: clips as they are and as augmentation changes them, as a picture or a page that plays them."""

import base64
import html
import pathlib
import tempfile

import numpy as np

from kzoo.data.sounds import sound_files
from kzoo.support import atomic, drawing

CELL = (3.2, 1.8)  # inches per clip
NUM_MELS = 64
WINDOW, HOP = 0.025, 0.010  # seconds
RANGE = 80  # decibels below the loudest that have a shade


def draw(path, data, epochs, count) -> None:
    """Writes the first clips of epoch 0, one row each: as they are, then as in each of so many epochs.

    A `.png` has waveforms over log-mel pictures; an `.html` has players beside the pictures, all in the one file.
    """
    ids = data.train.example_ids(0)[:count]
    columns = [_clips(data.train.examples(ids, epoch)[0]) for epoch in (None, *range(epochs))]
    titles = [_title(data, target) for target in _targets(data.train.examples(ids)[1], len(ids))]
    write = _page if pathlib.Path(path).suffix.lower() in (".html", ".htm") else _picture
    write(path, columns, titles, data)


def _clips(x):
    """The clips of a batch, each without the zeros after its end where that is known."""
    if not isinstance(x, dict):
        return list(np.asarray(x))
    lengths = np.asarray(next(value for value in x.values() if len(value.shape) == 1))
    waveform = np.asarray(next(value for value in x.values() if len(value.shape) == 2))
    return [clip[:length] for clip, length in zip(waveform, lengths, strict=True)]


def _targets(y, count):
    return np.asarray(y)[:count] if not isinstance(y, dict) else [None] * count


def _title(data, target):
    if target is None:
        return ""
    if np.ndim(target) and data.tokenizer is not None:
        return data.tokenizer.decode([target])[0]
    place = int(np.ravel(target)[0])
    return data.class_names[place] if data.class_names else str(place)


def log_mel(clip, sample_rate) -> np.ndarray:
    """Decibels (mels, frames) of a clip, as pictures show them."""
    from scipy import signal

    from kzoo.layers.spectra import mel_filterbank

    window = min(round(WINDOW * sample_rate), len(clip))
    overlap = max(0, window - max(1, round(HOP * sample_rate)))
    _, _, power = signal.spectrogram(clip, sample_rate, "hann", window, overlap, mode="magnitude")
    bands = mel_filterbank(min(NUM_MELS, power.shape[0]), 2 * (power.shape[0] - 1) or 2, sample_rate)
    return 20 * np.log10(np.maximum(bands.T @ power, 1e-10))


def _picture(path, columns, titles, data):
    width, height = CELL[0] * len(columns), CELL[1] * len(titles)
    with drawing.picture(path, (width, height)) as figure:
        rows = figure.subplots(2 * len(titles), len(columns), squeeze=False, height_ratios=[1, 2] * len(titles))
        for column, clips in enumerate(columns):
            for row, (clip, title) in enumerate(zip(clips, titles, strict=True)):
                top, bottom = rows[2 * row][column], rows[2 * row + 1][column]
                when = "original" if column == 0 else f"epoch {column - 1}"
                top.set_title(f"{when}: {title}"[:60], fontsize=6, pad=2)
                _draw_clip(top, bottom, clip, data.sample_rate)


def _draw_clip(top, bottom, clip, sample_rate):
    seconds = len(clip) / sample_rate
    top.plot(np.arange(len(clip)) / sample_rate, clip, linewidth=0.4)
    top.set_xlim(0, seconds)
    top.set_ylim(-1, 1)
    top.set_axis_off()
    mels = log_mel(clip, sample_rate)
    bottom.imshow(
        mels, origin="lower", aspect="auto", vmin=mels.max() - RANGE, vmax=mels.max(),
        extent=(0, seconds, 0, sample_rate / 2000), cmap="magma",
    )  # fmt: skip
    bottom.tick_params(labelsize=5)
    bottom.set_ylabel("kHz (mel)", fontsize=5)
    bottom.set_xlabel("s", fontsize=5, labelpad=0)


def _page(path, columns, titles, data):
    heads = ["original", *(f"epoch {epoch}" for epoch in range(len(columns) - 1))]
    cells = [
        f"<tr><th>{html.escape(title)}</th>"
        + "".join(f"<td>{_player(clips[row], data.sample_rate)}</td>" for clips in columns)
        + "</tr>"
        for row, title in enumerate(titles)
    ]
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(data.name)}</title>'
        "<style>body{font-family:sans-serif}img,audio{display:block;width:320px}th{text-align:left;max-width:16em}"
        "table{border-spacing:12px}</style>"
        f"<h1>{html.escape(data.name)}</h1><table><tr><th></th>"
        + "".join(f"<th>{head}</th>" for head in heads)
        + "</tr>"
        + "".join(cells)
        + "</table></html>\n"
    )
    with atomic.file(path) as temporary:
        pathlib.Path(temporary).write_text(text, encoding="utf-8")


def _player(clip, sample_rate):
    """A picture of a clip over what plays it."""
    with tempfile.TemporaryDirectory() as folder:
        sound, image = pathlib.Path(folder) / "clip.wav", pathlib.Path(folder) / "clip.png"
        sound_files.write(sound, clip, sample_rate)
        with drawing.picture(image, CELL) as figure:
            top, bottom = figure.subplots(2, 1, height_ratios=[1, 2])
            _draw_clip(top, bottom, clip, sample_rate)
        return (
            f'<img alt="" src="{_embedded(image, "image/png")}">'
            f'<audio controls src="{_embedded(sound, "audio/wav")}"></audio>'
        )


def _embedded(path, kind):
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
