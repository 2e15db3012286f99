"""How far two sets of feature vectors are from each other: the Fréchet distance, precision and recall. NumPy only."""

import numpy as np

NEIGHBOURS = 3  # Kynkäänniemi et al. 2019, section 3.1
PIECE = 1024  # rows whose distances to all others are in memory at once


def frechet_distance(real, fake) -> float:
    """The Fréchet distance, squared, of the normal distributions with the means and covariances of two sets.

    Dowson, Landau 1982; as Heusel et al. 2017, https://arxiv.org/abs/1706.08500, equation 6, take it of Inception's
    features. The trace of the root of the product of both covariances is the sum of the singular values of the product
    of their factors, which is exact whether or not there are more examples than features.

    Args:
        real, fake: features (examples, dim), at least two examples each.

    Raises ValueError for other shapes, and for features that are not finite.
    """
    real, fake = _checked(real, fake)
    factors = []
    for rows in (real, fake):
        centred = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
        factors.append(np.linalg.qr(centred, mode="r") if len(rows) > rows.shape[1] else centred)
    means = np.sum((real.mean(axis=0) - fake.mean(axis=0)) ** 2)
    traces = sum(np.sum(factor**2) for factor in factors)
    common = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    return float(max(means + traces - 2 * common, 0.0))


def precision_and_recall(real, fake, neighbours=NEIGHBOURS) -> tuple:
    """Which share of fake examples lies among the real ones, and of real ones among the fake.

    Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991, equations 1 and 2: an example lies among others if it is
    as near to one of them as that one's third neighbour.

    Args:
        real, fake: features (examples, dim), more than `neighbours` examples each.

    Raises ValueError as `frechet_distance` does, and for too few examples.
    """
    real, fake = _checked(real, fake)
    if min(len(real), len(fake)) <= neighbours:
        raise ValueError(
            f"precision and recall need more than {neighbours} examples, got {len(real)} real and {len(fake)} fake"
        )
    return _share_among(fake, real, neighbours), _share_among(real, fake, neighbours)


def _share_among(rows, others, neighbours):
    # The nearest of an example among its own is itself.
    radii = np.concatenate([np.partition(part, neighbours, axis=1)[:, neighbours] for part in _squares(others, others)])
    return float(np.mean(np.concatenate([(part <= radii).any(axis=1) for part in _squares(rows, others)])))


def _squares(rows, others):
    """The squared distances of rows to all others, piece by piece."""
    lengths = np.sum(others**2, axis=1)
    for start in range(0, len(rows), PIECE):
        part = rows[start : start + PIECE]
        yield np.maximum(np.sum(part**2, axis=1)[:, None] - 2 * part @ others.T + lengths, 0)


def _checked(real, fake):
    found = []
    for name, rows in {"real": real, "fake": fake}.items():
        rows = np.asarray(rows, np.float64)
        if rows.ndim != 2 or len(rows) < 2:
            raise ValueError(f"{name} must be features (examples, dim) of at least two examples, got {rows.shape}")
        if not np.isfinite(rows).all():
            raise ValueError(f"{name}: features contain NaN or infinity")
        found.append(rows)
    if found[0].shape[1] != found[1].shape[1]:
        raise ValueError(f"real has {found[0].shape[1]} features an example and fake {found[1].shape[1]}")
    return tuple(found)
