"""Options of predictions for variants and regions of a genome."""

import pathlib
from typing import Any

import click

from kzoo.cli import entry, row_files

OPTIONS = {
    "variants": click.option("--variants", metavar="FILE.vcf", help="Score these variants of the genome FILES."),
    "regions": click.option("--regions", metavar="FILE.bed", help="Predict for these regions of the genome FILES."),
    "genes": click.option("--genes", metavar="FILE", help="Of variants: a BED file or SpliceAI's table of genes."),
    "strand": click.option("--strand", help="Of variants without --genes: +, - or both (by default)."),
    "distance": click.option("--distance", type=int, help="Letters beside a variant where sites count (50)."),
}
genome = entry.with_options(*OPTIONS.values())
both_strands = click.option("--both-strands", is_flag=True, help="Of DNA: the mean over a sequence's two strands.")


def taken(options) -> dict:
    """The options of genomes that were given, taken out of `options`; UsageError for those that need another."""
    found = {name: options.pop(name) for name in OPTIONS}
    found = {name: value for name, value in found.items() if value is not None}
    if len({"variants", "regions"} & found.keys()) == 2:
        raise click.UsageError("--variants and --regions are two kinds of predictions; pass one of them")
    loose = found.keys() - {"variants", "regions"} if "variants" not in found else ()
    if loose:
        raise click.UsageError(f"--{min(loose)} goes with --variants FILE.vcf")
    return found


def of_strands(model, is_asked) -> Any:
    """The model, or where it is asked for, the mean of what it says of both strands."""
    if not is_asked:
        return model
    from kzoo.tasks.genome_reading import both_strands as mean

    return mean(model)


def rows_of(model, files, found, top, skip_bad) -> list:
    """A row for each variant or region of the genome that FILES names."""
    if len(files) != 1:
        raise click.UsageError(f"--variants and --regions need one genome, a FASTA file; got {len(files)} files")
    if "regions" in found:
        from kzoo.tasks.genome_reading.regions import predict_regions

        return predict_regions(model, files[0], found["regions"], top)
    from kzoo.tasks.genome_reading.variants import predict_variants

    how = {name: value for name, value in found.items() if name != "variants"}
    return predict_variants(model, files[0], found["variants"], **how, top=top, skip_bad=skip_bad)


def line(row, task) -> str:
    """A row of a variant, or of a region by its task, as text."""
    if "alternate" not in row:
        name = f"{row['contig']}:{row['begin'] + 1:,}-{row['end']:,}({row['strand']}) {row['name']}".rstrip()
        return task.line({"file": name, **row})
    name = f"{row['contig']}:{row['position']:,} {row['reference']}>{row['alternate']}"
    name += f" {row['gene']}({row['strand']})" if "gene" in row else f" ({row['strand']})"
    if "changes" in row:
        told = [f"{one['result']} {one['reference']:.3f} -> {one['alternate']:.3f}" for one in row["changes"]]
    else:
        scores = [key for key in row if f"{key}_position" in row]
        told = [f"{key.replace('_', ' ')} {row[key]:.2f} at {row[f'{key}_position']:+d}" for key in scores]
    return f"{name}: {', '.join(told)}"


def check_output(path, found) -> Any:
    """UsageError unless rows can be written to a file of that name: beside tables, variants into a VCF file."""
    if pathlib.Path(path).suffix.lower() == ".vcf" and "variants" in found:
        return
    row_files.check(path)


def write(path, rows, found) -> None:
    """Writes rows into a table, or those of variants into the lines of their VCF file."""
    if pathlib.Path(path).suffix.lower() != ".vcf":
        return row_files.write(path, rows)
    from kzoo.tasks.genome_reading.annotated import write_vcf

    return write_vcf(path, found["variants"], rows)
