"""Options of commands that fold proteins, and the file among others that a structure is written into."""

import pathlib

import click

from kzoo.cli import entry

NAMES = ("msa", "template", "recycles", "tolerance", "seed", "seeds", "sequence")
STRUCTURES = (".cif", ".mmcif", ".pdb", ".ent")

folding = entry.with_options(
    click.option(
        "--msa", multiple=True, metavar="FILE", help="Of a protein: an alignment with relatives, .a3m or .sto."
    ),
    click.option(
        "--structure",
        "template",
        multiple=True,
        metavar="FILE[:CHAIN]",
        help="Of a protein: the known structure of a relative, its template.",
    ),
    click.option("--recycles", type=click.IntRange(0), help="How often a fold is read again (3)."),
    click.option(
        "--tolerance", type=float, metavar="ANGSTROMS", help="End earlier where distances change less than this."
    ),
    click.option("--seed", type=click.IntRange(0), help="Of the alignment's rows that are drawn (0)."),
    click.option("--seeds", type=click.IntRange(1), help="Try so many seeds, keep the best by pLDDT."),
    click.option("--sequence", metavar="NAME", help="The sequence of a FASTA file that is meant."),
)


def taken(files, options) -> tuple:
    """The files to read, and how proteins among them are folded; what was given leaves a command's other options.

    Of several files the last one is written if it is a structure.
    """
    given = {name: options.pop(name) for name in NAMES}
    given = {name: value for name, value in given.items() if value not in (None, ())}
    if len(files) > 1 and pathlib.Path(files[-1]).suffix.lower() in STRUCTURES:
        *files, given["output"] = files
    return tuple(files), given


def progress(done, total, change) -> None:
    """One line for each iteration, on standard error."""
    moved = "" if change is None else f", distances moved by {change:.2f} angstroms"
    click.echo(f"iteration {done} of at most {total}{moved}", err=True)
