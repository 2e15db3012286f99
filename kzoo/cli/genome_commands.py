"""The command that looks at letters."""

import click

from kzoo.cli import entry


@entry.command("show-letters runs/deepsea_small letters.png SEQUENCE --target EI")
@click.argument("source")
@click.argument("path", metavar="OUTPUT.png")
@click.argument("sequence")
@entry.model_options
@click.option("--target", metavar="NAME", help="The class or label that is looked at; the likeliest by default.")
@click.option("--place", type=int, help="Of a model of sites: the letter that is looked at, counted from 1.")
@click.option("--begin", type=int, default=0, help="The first letter that is replaced, counted from 0.")
@click.option("--end", type=int, help="The letter before which that ends; all by default.")
def show_letters(source, path, sequence, overrides, weights, dtype, **part):
    """Draw which letters of a sequence matter to a model, as a PNG.

    SOURCE is a run folder, a saved folder or a catalogue name; SEQUENCE is letters, or a FASTA file whose first record
    is read. Every letter is replaced by every other: letters are drawn as high as their replacement costs, and the map
    below them says what each replacement does to the log-odds.
    """
    from kzoo.data.genomes import genome_files

    if genome_files.is_fasta(sequence):
        sequence = next(iter(genome_files.read_fasta(sequence).values()))
    model = entry.open_model(source, overrides, weights, dtype)
    from kzoo.explaining import letter_changes

    click.echo(f"wrote {letter_changes.draw(path, model, sequence, **part)}")
