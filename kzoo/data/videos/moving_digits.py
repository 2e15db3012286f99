"""The data set `moving_digits`: real digits of MNIST that move in one of eight directions, which is to be told.

A digit of 14 x 14 pixels begins anywhere on a field of 32 x 32 and leaves it on one side to come back on the other. So
where a digit is in a frame says nothing of its direction: no single frame solves the task.
"""

import numpy as np

from kzoo.data.sources.digits import SPLITS, read_digits

# (down, right) of a step
DIRECTIONS = {
    "up": (-1, 0), "up right": (-1, 1), "right": (0, 1), "down right": (1, 1), "down": (1, 0), "down left": (1, -1),
    "left": (0, -1), "up left": (-1, -1),
}  # fmt: skip
FIELD = 32
FRAMES = 12
SPEEDS = (1, 2, 3)  # pixels a frame


def moving_digits(seed=0) -> dict:
    """`{split: (clips, labels)}`: uint8 (examples, 12, 32, 32, 1) and places in DIRECTIONS, a pure function of `seed`.

    3,500 / 500 / 1,000 clips, one of each digit of the data set `digits`; none is in two splits.
    """
    images, kinds = read_digits()
    small = images[..., 0].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).round().astype(np.uint8)
    parts = {name: [] for name in SPLITS}
    for kind in range(10):
        order = np.random.RandomState(kind).permutation(np.flatnonzero(kinds == kind))
        for name, rows in zip(SPLITS, np.split(order, np.cumsum([*SPLITS.values()])[:-1]), strict=True):
            parts[name].extend(rows)
    return {
        name: _clips(small[rows], np.random.default_rng((seed, place)))
        for place, (name, rows) in enumerate(parts.items())
    }


def _clips(digits, random):
    """Each digit on its way."""
    labels = random.permutation(np.arange(len(digits)) % len(DIRECTIONS)).astype(np.int32)
    speeds = random.choice(SPEEDS, len(digits))
    steps = np.array([*DIRECTIONS.values()])[labels] * speeds[:, None]
    starts = random.integers(0, FIELD, (len(digits), 2))
    clips = np.zeros((len(digits), FRAMES, FIELD, FIELD, 1), np.uint8)
    rows, columns = np.mgrid[:14, :14]
    for frame in range(FRAMES):
        at = starts + frame * steps
        down = (at[:, 0, None, None] + rows) % FIELD
        right = (at[:, 1, None, None] + columns) % FIELD
        clips[np.arange(len(digits))[:, None, None], frame, down, right, 0] = digits
    return clips, labels
