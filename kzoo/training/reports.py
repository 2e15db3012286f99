"""What a run leaves for people: history as JSON and CSV, learning curves, TensorBoard events."""

import csv
import json
import math

from kzoo.support import atomic, drawing


def metrics_of(row) -> dict:
    """The losses and metrics of one epoch's row of the history, of training and of validation."""
    return {key: value for key, value in row.items() if key not in ("epoch", "seconds", "learning_rate")}


def write_history(folder, history) -> None:
    """Writes `history.json` and `history.csv`, one row per epoch; a value that is not finite becomes null."""
    rows = [
        {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
        for row in history
    ]
    with atomic.file(folder / "history.json") as temporary:
        temporary.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with atomic.file(folder / "history.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def draw_curves(path, history, title) -> None:
    """Draws losses and metrics over the epochs as a PNG, with training solid and validation dashed."""
    names = [name for name in metrics_of(history[0]) if not name.startswith("val_")]
    epochs = [row["epoch"] for row in history]
    with drawing.picture(path, (4.5 * len(names), 3.5), dpi=120) as figure:
        for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            for key, style, label in ((name, "o-", "training"), (f"val_{name}", "s--", "validation")):
                if key in history[0]:
                    axis.plot(epochs, [row.get(key) for row in history], style, markersize=3, label=label)
            axis.set(xlabel="epoch", title=name.replace("_", " "))
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.grid(alpha=0.3)
            axis.legend(frameon=False)
        figure.suptitle(title)


class EventWriter:
    """TensorBoard scalars, one point per epoch; training and validation are two runs that share a chart."""

    def __init__(self, folder):
        import tensorflow as tf

        self.summary = tf.summary
        self.writers = {kind: tf.summary.create_file_writer(str(folder / kind)) for kind in ("train", "validation")}

    def write(self, row) -> None:
        """Adds the point of one epoch to every chart."""
        for key, value in row.items():
            kind, name = ("validation", key[4:]) if key.startswith("val_") else ("train", key)
            with self.writers[kind].as_default(step=row["epoch"]):
                self.summary.scalar(name, value)
        for writer in self.writers.values():
            writer.flush()  # what is buffered is lost when the process is killed

    def close(self) -> None:
        """Closes the files."""
        for writer in self.writers.values():
            writer.close()
