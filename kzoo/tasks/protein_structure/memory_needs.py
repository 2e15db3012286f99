"""How much memory a prediction will need, said before it starts."""

import os

from kzoo import catalog
from kzoo.generation import recycling

BYTES = 4
PAIRS, ROWS = 10, 6  # tensors of pairs, and of an alignment, that are there at once
PROGRAM = 300 * 2**20  # of a compiled network
GIGABYTE = 2**30


def needed(model, residues, rows, extra_rows) -> int:
    """About how many bytes an iteration needs at its peak, weights included.

    What a block holds of pairs and of the alignment, and the largest that it makes of them on the way: attention over
    pairs, over the alignment and over extra rows, and the outer product, of as many lines at once as `chunk` says. From
    `recycling.LONG` residues on layers without a `chunk` take as few lines as stay in a cache.
    """
    given = catalog.arguments(model)
    lines = given["chunk"] or (1 if residues >= recycling.LONG else residues)
    heads, pair_heads, _ = given["num_heads"]
    on_the_way = (
        2 * min(lines, residues) * residues**2 * pair_heads,
        2 * min(lines, max(rows, extra_rows)) * residues**2 * heads,
        2 * min(lines, residues) * rows**2 * heads,
        min(lines, residues) * residues * given["outer_dim"] ** 2,
    )
    pairs = PAIRS * residues**2 * given["pair_dim"]
    alignment = ROWS * residues * (rows * given["msa_dim"] + extra_rows * given["extra_dim"])
    return PROGRAM + BYTES * (model.count_params() + pairs + alignment + max(on_the_way))


def free() -> int | None:
    """Bytes of memory that a process can still have; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            rows = dict(line.split(":", 1) for line in file)
        return int(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check(model, residues, rows, extra_rows) -> int:
    """The bytes that a prediction will need; ValueError where there are not as many, which says what would do."""
    wanted, there = needed(model, residues, rows, extra_rows), free()
    if there is None or wanted <= there:
        return wanted
    chunk = catalog.arguments(model)["chunk"]
    fix = "take a part of the chain, or a machine with more"
    if chunk is not None and chunk > 1:
        fix = f"build the network without chunk={chunk}, {fix}"
    raise ValueError(
        f"{residues:,} residues and {rows + extra_rows:,} rows need about {wanted / GIGABYTE:,.1f} GB of memory, and "
        f"{there / GIGABYTE:,.1f} GB are free; {fix}"
    )
