"""What a network reads of an alignment: rows drawn as the centres of clusters, some letters hidden, the rest as extra.

Jumper et al. 2021, https://doi.org/10.1038/s41586-021-03819-2, supplementary section 1.2.7, as DeepMind's
`data_transforms.py` does it. Every draw comes from the generator that is passed, and from nothing else.
"""

import numpy as np

from kzoo.layers.residues import GAP, MASKED, UNKNOWN

NUM_LETTERS = MASKED + 1
HIDDEN = 0.15  # share of the letters that are hidden or changed, in prediction as well
UNIFORM, FROM_PROFILE, SAME = 0.1, 0.1, 0.1  # of those: any amino acid, one of the column, itself; else MASKED
AT_ONCE = 2**25  # numbers in one product of rows with rows


def generator(*keys) -> np.random.Generator:
    """Random numbers that depend on non-negative ints, such as a seed, an epoch and an example, alone."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([int(key) for key in keys])))


def one_hot(ids, size) -> np.ndarray:
    """float32 (..., size)."""
    return np.eye(size, dtype=np.float32)[ids]


def of_alignment(aatype, alignment, random, max_clusters, max_extra, hidden=HIDDEN) -> dict:
    """The features of a chain and its alignment, by DeepMind's names, none of them padded.

    Args:
        aatype: int32 (residues,), as `Protein.ids` gives it.
        alignment: an `Alignment`, whose first row is always drawn.
        random: a `numpy.random.Generator`.
        max_clusters, max_extra: how many rows are drawn as centres, and how many of the rest are kept.
        hidden: the share of letters that are hidden or changed in the rows drawn.

    Returns `target_feat` float32 (residues, 22), `msa_feat` (clusters, residues, 49), `msa_mask` and `bert_mask`
    (clusters, residues), `true_msa` int32 of that shape, `extra_msa` int32 (extra, residues), `extra_has_deletion`,
    `extra_deletion_value` and `extra_msa_mask` float32 (extra, residues).
    """
    rows, deletions = alignment.rows, alignment.deletions
    order = np.concatenate([[0], 1 + random.permutation(len(rows) - 1)])
    drawn, rest = order[:max_clusters], order[max_clusters:]
    true = rows[drawn]
    changed, chosen = mask(true, profile(rows), random, hidden)
    extra, extra_deletions = rows[rest], deletions[rest]
    cluster_profile, deletion_mean = summarize(
        changed, deletions[drawn], extra, extra_deletions, nearest(changed, extra)
    )
    kept = random.permutation(len(extra))[:max_extra]
    msa_feat = [
        one_hot(changed, NUM_LETTERS), *_deletion_features(deletions[drawn]), cluster_profile, squashed(deletion_mean),
    ]  # fmt: skip
    has_deletion, value = _deletion_features(extra_deletions[kept])
    zeros = np.zeros_like(aatype)  # no breaks within a chain
    return {
        "target_feat": np.concatenate([zeros[:, None], one_hot(aatype, UNKNOWN + 1)], axis=-1).astype(np.float32),
        "msa_feat": np.concatenate([x if x.ndim == 3 else x[..., None] for x in msa_feat], axis=-1),
        "msa_mask": np.ones(true.shape, np.float32),
        "true_msa": true.astype(np.int32),
        "bert_mask": chosen.astype(np.float32),
        "extra_msa": extra[kept].astype(np.int32),
        "extra_has_deletion": has_deletion,
        "extra_deletion_value": value,
        "extra_msa_mask": np.ones((len(kept), len(aatype)), np.float32),
    }


def of_chain(aatype, residue_index, alignment, random, max_clusters, max_extra) -> dict:
    """All features of a chain but those of earlier iterations and of templates; arguments as of `of_alignment`.

    Without any extra row there is one that is masked.
    """
    found = of_alignment(aatype, alignment, random, max_clusters, max_extra)
    if not len(found["extra_msa"]):
        found = padded(found, len(aatype), {"extra": 1})
    ones = np.ones(len(aatype), np.float32)
    return {**found, "aatype": aatype, "residue_index": residue_index.astype(np.int32), "seq_mask": ones}


def squashed(deletions) -> np.ndarray:
    """Counts of deletions in [0, 1), float32."""
    return (np.arctan(deletions / 3.0) * (2.0 / np.pi)).astype(np.float32)


def _deletion_features(deletions):
    return np.clip(deletions, 0, 1).astype(np.float32), squashed(deletions)


def profile(rows) -> np.ndarray:
    """How often each letter stands in each column, float32 (residues, 22)."""
    counts = np.stack([(rows == letter).sum(axis=0) for letter in range(GAP + 1)], axis=-1)
    return (counts / len(rows)).astype(np.float32)


def mask(rows, frequencies, random, share) -> tuple:
    """Rows with a share of their letters hidden or changed, and where that is so, bool (rows, residues).

    Supplementary section 1.9.9: of the letters that are chosen one in ten becomes any amino acid, one is drawn from its
    column, one stays, and seven become MASKED.
    """
    chosen = random.random(rows.shape) < share
    drawn = random.random(rows.shape)
    uniform = random.integers(0, UNKNOWN, rows.shape)
    # inverse sampling from each column's frequencies
    steps = np.cumsum(frequencies, axis=-1)
    place = random.random(rows.shape)[..., None] * steps[:, -1:]
    from_column = np.minimum((steps < place).sum(axis=-1), GAP)
    bounds = np.cumsum([UNIFORM, FROM_PROFILE, SAME])
    replaced = np.select([drawn < bound for bound in bounds], [uniform, from_column, rows], MASKED)
    return np.where(chosen, replaced, rows), chosen


def nearest(centres, extra) -> np.ndarray:
    """The cluster of each extra row, int (extra,): the centre that has most of its letters, of equal ones the first.

    Neither gaps nor hidden letters count.
    """
    of_centres = one_hot(centres, NUM_LETTERS)[..., :GAP].reshape(len(centres), -1)
    found, step = [np.zeros(0, int)], max(1, AT_ONCE // of_centres.shape[1])
    for begin in range(0, len(extra), step):
        rows = one_hot(extra[begin : begin + step], NUM_LETTERS)[..., :GAP]
        found.append(np.argmax(rows.reshape(len(rows), -1) @ of_centres.T, axis=1))
    return np.concatenate(found)


def summarize(centres, deletions, extra, extra_deletions, assignment) -> tuple:
    """How often each letter stands in each cluster (clusters, residues, 23), and its mean of deletions, float32.

    The centre counts as one row of its cluster.
    """
    num_clusters, length = centres.shape
    place = assignment[:, None] * length + np.arange(length)  # of each letter in (clusters, residues)
    size = num_clusters * length
    sizes = 1e-6 + 1 + np.bincount(place.ravel(), minlength=size).reshape(num_clusters, length)
    letters = np.bincount((place * NUM_LETTERS + extra).ravel(), minlength=size * NUM_LETTERS)
    letters = letters.reshape(num_clusters, length, NUM_LETTERS) + one_hot(centres, NUM_LETTERS)
    deleted = np.bincount(place.ravel(), extra_deletions.ravel(), size).reshape(num_clusters, length) + deletions
    return (letters / sizes[..., None]).astype(np.float32), (deleted / sizes).astype(np.float32)


def _axis(name, x):
    """Where a feature has its residues: behind the rows of an alignment or templates, else first; None for nowhere."""
    if x.ndim == 0 or name == "template_mask":
        return None
    return int(name.startswith(("msa_", "true_msa", "bert_", "extra_", "template_")))


def cut(features, start, length) -> dict:
    """Residues `start` to `start + length` of all features."""
    part, found = slice(start, start + length), {}
    for name, x in features.items():
        axis = _axis(name, x)
        found[name] = x if axis is None else x[(slice(None),) * axis + (part,)]
    return found


def padded(features, num_residues, rows) -> dict:
    """Features with zeros after their end, to one number of residues and of the rows that `rows` names.

    Args:
        rows: `{first part of a name: rows}`, such as `{"msa": 128, "extra": 1024}`.
    """
    found = {}
    for name, x in features.items():
        axis = _axis(name, x)
        widths = [(0, 0)] * x.ndim
        if axis is not None:
            widths[axis] = (0, num_residues - x.shape[axis])
        count = next((count for prefix, count in rows.items() if name.startswith(prefix)), None)
        if axis and count is not None:
            widths[0] = (0, count - x.shape[0])
        found[name] = np.pad(x, widths) if widths else x
    return found
