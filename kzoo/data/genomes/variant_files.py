"""Variants in VCF files, and genes in BED files or the tables of SpliceAI's package."""

import collections
import dataclasses

from kzoo.data.genomes import genome_files
from kzoo.data.genomes.genome_files import Region

SYMBOLIC = frozenset("<>[]*.-")
COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT")
GENE_COLUMNS = ("#NAME", "CHROM", "STRAND", "TX_START", "TX_END")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One alternate allele: what stands in place of `reference`, whose first letter has `position`, counted from 1.

    Attributes:
        line: of the file, counted from 0.
        place: the same for errors.
    """

    contig: str
    position: int
    reference: str
    alternate: str
    name: str
    line: int
    place: str

    def __str__(self) -> str:
        return f"{self.contig}:{self.position} {self.reference}>{self.alternate}"


def read_vcf(path) -> tuple:
    """`(lines, list of Variants, {why: number of alleles left out})` of a VCF file, which may be gzipped.

    An allele without letters of its own, such as `<DEL>`, `*` or a breakend, is left out and counted.

    Raises ValueError that names the line: no header, too few columns, no position, a letter that is none of ACGTN.
    """
    lines, variants, skipped = genome_files.read_lines(path), [], collections.Counter()
    header = next((line for line in lines if line.startswith("#CHROM")), "")
    if not lines or not lines[0].startswith("##fileformat=VCF") or tuple(header.split("\t")[:5]) != COLUMNS:
        raise ValueError(
            f"{path} has no header of VCF; wanted ##fileformat=VCFv4.2 as its first line, and one of the columns "
            f"{' '.join(COLUMNS)}, parted by tabs"
        )
    for number, line in enumerate(lines):
        if line.startswith("#") or not line.strip():
            continue
        cells, place = line.split("\t"), f"{path}, line {number + 1}"
        if len(cells) < len(COLUMNS) or not cells[1].isdecimal() or int(cells[1]) < 1:
            raise ValueError(f"{place} is {line[:60]!r}; wanted {' '.join(COLUMNS)}, POS counted from 1, with tabs")
        contig, position, name, reference, alternates = cells[:5]
        for alternate in alternates.split(","):
            if SYMBOLIC & {*alternate}:
                skipped["symbolic alleles"] += 1
                continue
            for allele in (reference, alternate):
                if not allele or {*allele.upper()} - {*"ACGTN"}:
                    raise ValueError(f"{place}: the allele {allele!r} is not made of the letters A, C, G, T and N")
            alleles = reference.upper(), alternate.upper()
            variants.append(Variant(contig, int(position), *alleles, name, number, place))
    return lines, variants, dict(skipped)


def read_genes(path, genome) -> list:
    """Genes as `Region`s, by the names that a genome has for contigs; those on others are left out.

    Args:
        path: a BED file with strands in its sixth column, or a table of SpliceAI's package, whose header is #NAME CHROM
            STRAND TX_START TX_END, ….

    Raises ValueError as `kzoo.data.genomes.genome_files.read_bed` does, and where no gene lies on the genome.
    """
    lines = genome_files.read_lines(path)
    if tuple((lines or [""])[0].split("\t")[:5]) == GENE_COLUMNS:
        rows = [line.split("\t") for line in lines[1:] if line.strip()]
        short = next((number for number, row in enumerate(rows, 2) if len(row) < 5), None)
        if short:
            raise ValueError(f"{path}, line {short}: fewer than {len(GENE_COLUMNS)} columns, {' '.join(GENE_COLUMNS)}")
        genes = [Region(row[1], int(row[3]), int(row[4]), row[0], row[2]) for row in rows]
    else:
        genes = genome_files.read_bed(path)
    found = []
    for gene in genes:
        known = next((name for name in (gene.contig, f"chr{gene.contig}", gene.contig.removeprefix("chr"))
                      if name in genome.lengths), None)  # fmt: skip
        if known:
            found.append(dataclasses.replace(gene, contig=known))
    if not found:
        raise ValueError(f"{path}: none of {len(genes):,} genes lies on a contig of {genome.path}")
    return found
