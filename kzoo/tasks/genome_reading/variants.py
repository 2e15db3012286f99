"""How variants change what a network says of a genome, as the package of SpliceAI computes it."""

import collections
import logging

import numpy as np

from kzoo.data import checks
from kzoo.data.genomes import genome_files, variant_files
from kzoo.tasks.genome_reading.windows import reader_of

STRANDS = {"+": ("+",), "-": ("-",), "both": ("+", "-")}
AT_ONCE = 64  # variants whose windows are read together


def predict_variants(model, genome, variants, distance=50, strand="both", genes=None, top=3, skip_bad=False) -> list:
    """Scores of variants, a row for each alternate allele and gene or strand.

    A network of sites, such as SpliceAI, gives for each class but the first the largest gain and the largest loss of
    its probability within `distance` letters, and where: positions are counted from the variant's, downstream of the
    contig. Jaganathan et al. 2019, https://doi.org/10.1016/j.cell.2018.12.015; deletions and insertions are laid side
    by side as their package does. Any other network gives the probability of each result with the alternate allele
    minus that with the reference, the largest changes first.

    Args:
        genome: path of a FASTA file; an index is written beside it where there is none.
        variants: path of a VCF file. Symbolic alleles are left out and counted, and by a network of sites those where
            several letters stand in place of several.
        distance: letters on either side of a variant in which sites are compared.
        strand: "+", "-" or "both", without `genes`.
        genes: path of a BED file of genes, or a table of SpliceAI's package: a variant is read on the strand of every
            gene that it lies in, and what is outside of the gene is unknown; variants in no gene are left out.
        top: how many results of other networks a row names.
        skip_bad: whether variants that do not fit the genome are left out and counted instead of refused.

    Raises ValueError that names the line of a variant whose reference is not what the genome has there, whose contig
    the genome lacks, or that lies beyond its end.
    """
    checks.check_count("distance", distance, minimum=0)
    if strand not in STRANDS:
        raise ValueError(f"strand must be one of {', '.join(STRANDS)}, got {strand!r}")
    reader, genome = reader_of(model), genome_files.Genome(genome)
    found, skipped = variant_files.read_vcf(variants)[1:]
    skipped, genes = collections.Counter(skipped), genes and variant_files.read_genes(genes, genome)
    rows, jobs = [], list(_jobs(reader, genome, found, genes, strand, distance, skip_bad, skipped))
    for begin in range(0, len(jobs), AT_ONCE):
        part = jobs[begin : begin + AT_ONCE]
        results = reader.results([text for job in part for text in job.texts])
        for place, job in enumerate(part):
            before, after = results[2 * place], results[2 * place + 1]
            scores = _of_sites(job, reader, before, after, distance) if reader.by_letter else _of_whole(
                reader, before, after, top)  # fmt: skip
            rows.append({**job.facts, **scores})
    for why, count in (+skipped).items():
        logging.getLogger("kzoo").warning("%s: %d %s left out", variants, count, why)
    return rows


class _Job:
    """A variant on one strand, with the letters around it as they are and as the variant has them."""

    def __init__(self, variant, contig, strand, gene, texts):
        self.variant, self.strand, self.texts = variant, strand, texts
        self.facts = {
            "contig": contig, "position": variant.position, "name": variant.name, "reference": variant.reference,
            "alternate": variant.alternate, **({"gene": gene} if gene else {}), "strand": strand,
        }  # fmt: skip


def _jobs(reader, genome, variants, genes, strand, distance, skip_bad, skipped):
    for variant in variants:
        try:
            contig = _checked(genome, variant)
        except ValueError as error:
            if not skip_bad:
                raise ValueError(f"{error}; leave such variants out with skip_bad=True (--skip-bad)") from error
            skipped["variants that do not fit the genome"] += 1
            continue
        if reader.by_letter and min(len(variant.reference), len(variant.alternate)) > 1:
            skipped["alleles of several letters in place of several"] += 1
            continue
        if reader.by_letter and len(variant.reference) > max(1, 2 * distance):
            skipped[f"deletions of more than {2 * distance} letters"] += 1
            continue
        places = [(one, None) for one in STRANDS[strand]]
        if genes:
            places = [
                (gene.strand, gene) for gene in genes
                if gene.contig == contig and gene.begin < variant.position <= gene.end
            ]  # fmt: skip
            skipped["variants in no gene"] += not places
        for side, gene in places:
            texts = _texts(reader, genome, contig, variant, gene, distance)
            texts = [genome_files.other_strand(text) for text in texts] if side == "-" else texts
            yield _Job(variant, contig, side, gene and gene.name, texts)


def _checked(genome, variant):
    """The genome's name of a variant's contig; ValueError unless its reference is what stands there."""
    contig = genome.contig(variant.place, variant.contig)
    begin, end = variant.position - 1, variant.position - 1 + len(variant.reference)
    if end > genome.lengths[contig]:
        raise ValueError(f"{variant.place}: {variant} lies beyond the end of {contig}, {genome.lengths[contig]:,}")
    there = genome.letters(contig, begin, end).upper()
    if there != variant.reference:
        raise ValueError(
            f"{variant.place}: the reference of {variant} is {variant.reference}, and {genome.path} has {there} there; "
            "is this the assembly that the variants were called with?"
        )
    return contig


def _texts(reader, genome, contig, variant, gene, distance):
    """The window around a variant with its reference and with its alternate, on the forward strand."""
    at, size = variant.position - 1, len(variant.reference)
    grown = len(variant.alternate) - size
    if reader.by_letter:
        half = distance + reader.reach
        begin, end = at - half, at + half + 1
    else:
        begin = at - (reader.length - 1) // 2
        end = begin + reader.length + max(-grown, 0)
    letters = genome.letters(contig, begin, end)
    if gene:
        before, after = max(gene.begin - begin, 0), max(end - gene.end, 0)
        letters = "N" * before + letters[before : len(letters) - after] + "N" * after
    changed = letters[: at - begin] + variant.alternate + letters[at - begin + size :]
    return [letters, changed] if reader.by_letter else [letters[: reader.length], changed[: reader.length]]


def _of_sites(job, reader, before, after, distance):
    """The largest gain and loss of every class but the first, and how far from the variant they are."""
    if job.strand == "-":
        before, after = before[::-1], after[::-1]
    size, new = len(job.variant.reference), len(job.variant.alternate)
    if size > 1:  # what was deleted is nothing
        gap = np.zeros((size - new, before.shape[-1]), before.dtype)
        after = np.concatenate([after[: distance + new], gap, after[distance + new :]])
    elif new > 1:  # what was inserted stands for one letter
        inserted = after[distance : distance + new].max(axis=0, keepdims=True)
        after = np.concatenate([after[:distance], inserted, after[distance + new :]])
    scores, places = {}, {}
    for which, name in enumerate(reader.names[1:], 1):
        change = after[:, which] - before[:, which]
        for kind, values in (("gain", change), ("loss", -change)):
            place = int(values.argmax())
            scores[f"{name}_{kind}"] = float(values[place])
            places[f"{name}_{kind}_position"] = place - distance
    return {**scores, **places}


def _of_whole(reader, before, after, top):
    """The results that change most."""
    order = np.argsort(-np.abs(after - before), kind="stable")[:top]
    return {"changes": [
        {"result": reader.names[index], "reference": float(before[index]), "alternate": float(after[index]),
         "difference": float(after[index] - before[index])}
        for index in order
    ]}  # fmt: skip
