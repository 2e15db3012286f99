"""Bits a sample of spoken digits: a histogram, linear predictors of one and six samples, and a trained WaveNet.

    python benchmarks/bits_per_sample.py runs/wavenet_small     # benchmarks/results/bits_per_sample.json

All code the same thing, the mu-law class (256) of every sample of the test split. The histogram counts classes. A
predictor is fitted by least squares; what it predicts becomes probabilities by a discretised Laplace distribution
around it, in the companded scale, whose width is fitted for each of 16 bands of the loudness of the last 32 samples.
Everything is fitted on the training split. The last line on stdout is one JSON document, also stored.
"""

import json
import pathlib
import sys

import harness

RESULT = pathlib.Path(__file__).parent / "results" / "bits_per_sample.json"
NUM_LEVELS, NUM_BANDS, WINDOW = 256, 16, 32


def clips_of(split):
    """Waveforms (samples,) of a split, each without its padding."""
    import numpy as np

    for _, y, weight in split.as_it_is().dataset:
        for row, count in zip(np.asarray(y), np.asarray(weight).sum(1).astype(int), strict=True):
            yield row[:count]


def classes_of(samples):
    """nnmnkwii's mu-law."""
    import numpy as np

    mu = NUM_LEVELS - 1
    return ((np.sign(samples) * np.log1p(mu * np.abs(samples)) / np.log1p(mu) + 1) / 2 * mu).astype(int)


def histogram(train, test):
    """Bits a class under the shares of the training split, each class counted once more."""
    import numpy as np

    counts = np.bincount(classes_of(np.concatenate(train)), minlength=NUM_LEVELS) + 1.0
    return float(-np.log2(counts / counts.sum())[classes_of(np.concatenate(test))].mean())


def predictor(train, test, order):
    """Bits a class of a linear predictor of `order` samples."""
    import numpy as np

    def rows(clips):
        padded = [np.pad(clip, (order, 0)) for clip in clips]
        pasts = [np.stack([clip[order - k : len(clip) - k] for k in range(1, order + 1)], 1) for clip in padded]
        loud = [np.sqrt(np.convolve(np.square(clip), np.ones(WINDOW) / WINDOW)[: len(clip)]) for clip in clips]
        loud = [np.concatenate([[0.0], each[:-1]]) for each in loud]  # of samples that came before
        return np.concatenate(pasts), np.concatenate(loud), np.concatenate(clips)

    past, loud, targets = rows(train)
    weights, *_ = np.linalg.lstsq(past, targets, rcond=None)
    edges = np.quantile(loud, np.linspace(0, 1, NUM_BANDS + 1)[1:-1])
    levels, widths = np.arange(NUM_LEVELS), np.geomspace(0.3, 40, 24)

    def bits(past, loud, targets, chosen=None):
        """Bits of every width in each band, or of the chosen width; how many samples each band has."""
        centres, ids = classes_of(np.clip(past @ weights, -1, 1)), classes_of(targets)
        bands = np.searchsorted(edges, loud)
        found = np.zeros((NUM_BANDS, len(widths)))
        for column, width in enumerate(widths):
            table = np.exp(-np.abs(levels[:, None] - levels[None]) / width)
            cost = -np.log2(0.999 * table / table.sum(1, keepdims=True) + 0.001 / NUM_LEVELS)
            found[:, column] = np.bincount(bands, cost[centres, ids], NUM_BANDS)
        return found if chosen is None else found[np.arange(NUM_BANDS), chosen].sum() / len(ids)

    best = bits(past, loud, targets).argmin(1)
    return float(bits(*rows(test), chosen=best))


def run(options):
    import kzoo
    from kzoo.training import open_run

    model = kzoo.load(options.run)
    data = kzoo.data.load("spoken_digits", model, batch_size=8)
    train, test = (list(clips_of(split)) for split in (data.train, data.test))
    facts, history = open_run(options.run).facts, json.loads((options.run / "history.json").read_text())
    document = harness.begin("bits_per_sample", run=options.run.name, facts=facts, epochs=history)
    scored = kzoo.evaluate(model, data)
    document["rows"] = {
        "histogram": {"bits_per_sample": histogram(train, test)},
        "linear predictor of 1 sample": {"bits_per_sample": predictor(train, test, 1)},
        "linear predictor of 6 samples": {"bits_per_sample": predictor(train, test, 6)},
        model.name: {"bits_per_sample": scored["bits_per_sample"]},
    }
    return document


def main():
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("run", type=pathlib.Path, help="the folder of a trained wavenet")
    parser.add_argument("--output", type=pathlib.Path, default=RESULT, help="JSON file to store the result in")
    options = parser.parse(None)
    document = run(options)
    for name, row in document["rows"].items():
        harness.say(f"{name:32} {row['bits_per_sample']:.3f} bits a sample")
    return int(harness.store_and_tell(document, options.output, document["rows"].values()) > 0)


if __name__ == "__main__":
    sys.exit(main())
