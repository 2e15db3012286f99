"""A contact sheet: training images as they are and as augmentation changes them, as a PNG."""

import numpy as np

from kzoo.data import checks
from kzoo.support import drawing

CELL = 1.5  # inches per image


def draw(path, data, epochs=2, count=8) -> None:
    """Writes a PNG with one row per example: as it is, then as in each epoch; (1 + epochs) x count cells.

    Sounds become waveforms over log-mel pictures, or, in an `.html`, a page that plays them. Raises ValueError for data
    without images and for counts below 1.
    """
    epochs, count = checks.check_count("epochs", epochs), checks.check_count("count", count)
    if data.sample_rate is not None:
        from kzoo.data.sounds import sound_sheet

        sound_sheet.draw(path, data, epochs, count)
        return
    ids = data.train.example_ids(0)[:count]
    columns = [data.train.examples(ids, epoch) for epoch in (None, *range(epochs))]
    if np.ndim(columns[0][0]) != 4:
        raise ValueError(f"data set {data.name!r} gives the model no images or sounds that could be shown")
    with drawing.picture(path, (CELL * len(columns), CELL * 1.2 * len(ids))) as figure:
        axes = figure.subplots(len(ids), len(columns), squeeze=False)
        for column, (x, y) in enumerate(columns):
            mean, std = (np.array(values) for values in data.preprocessing.constants(x.shape[-1]))
            pictures = np.clip(np.asarray(x) * std + mean, 0, 1)
            for axis, picture, target in zip(axes[:, column], pictures, np.asarray(y), strict=True):
                axis.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=1)
                when = f"epoch {column - 1}" if column else "original"
                axis.set_title(f"{when}\n{_title(target, data.class_names)}", fontsize=6, pad=2)
                axis.set_axis_off()


def _title(target, names):
    """The name of a label, or the shares of the two largest classes of a mixed target."""
    shares = {int(target.reshape(-1)[0]): 1.0}
    if target.size > 1:
        shares = {int(index): target[index] for index in np.argsort(-target)[:2] if target[index] > 0.005}
    labels = [names[index] if names else str(index) for index in shares]
    if len(labels) == 1:
        return labels[0][:30]
    return " + ".join(f"{share:.2f} {label[:10]}" for share, label in zip(shares.values(), labels, strict=True))
