"""How much memory a prediction will need, said before it starts."""

import os

from kzoo import catalog

BYTES = 4
ALIVE = 6  # tensors of a kind that a block holds at once
GIGABYTE = 2**30


def needed(model, residues, rows, extra_rows) -> int:
    """About how many bytes an iteration needs at its peak, weights included.

    The largest of what a block holds at once: pairs, attention over pairs, over the alignment and over extra rows, and
    the outer product, of each as many as `chunk` lets it.
    """
    given = catalog.arguments(model)
    chunk = given["chunk"] or residues
    at_once = min(chunk, residues)
    pairs = residues**2 * given["pair_dim"] * ALIVE
    heads, pair_heads, _ = given["num_heads"]
    of_pairs = 2 * at_once * residues**2 * pair_heads
    of_rows = (
        2 * max(min(given["chunk"] or rows, rows), min(given["chunk"] or extra_rows, extra_rows)) * residues**2 * heads
    )
    of_columns = 2 * at_once * rows**2 * heads
    product = at_once * residues * given["outer_dim"] ** 2
    alignment = residues * ALIVE * (rows * given["msa_dim"] + extra_rows * given["extra_dim"])
    return model.count_params() * BYTES + BYTES * (pairs + alignment + max(of_pairs, of_rows, of_columns, product))


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


def check(model, residues, rows, extra_rows, templates=1) -> int:
    """The bytes that a prediction will need; ValueError where there are not as many, which says what would do."""
    wanted, there = needed(model, residues, rows, extra_rows), free()
    if there is None or wanted <= there:
        return wanted
    given = catalog.arguments(model)
    told = f"{residues:,} residues and {rows + extra_rows:,} rows need about {wanted / GIGABYTE:,.1f} GB of memory"
    fix = "take a machine with more, or a part of the chain"
    if given["chunk"] is None or given["chunk"] > 4:
        fix = f"build the network with a small chunk (--set chunk=4), {fix}"
    raise ValueError(f"{told}, and {there / GIGABYTE:,.1f} GB are free; {fix}")
