"""What a network says of regions of a genome."""

import logging

from kzoo.data.genomes import genome_files
from kzoo.tasks import of_or_guess
from kzoo.tasks.genome_reading.windows import reader_of

AT_ONCE = 64


def predict_regions(model, genome, regions, top=3) -> list:
    """Results for regions, a row each, read on the strand that the BED file gives.

    A network of sites gives those of the region, with the genome around it as context; their places are counted from 1
    at the region's first letter on its strand. A network of sequences of one length reads so many letters around the
    middle of the region.

    Args:
        genome: path of a FASTA file; an index is written beside it where there is none.
        regions: path of a BED file.
        top: how many classes, or sites of each class, a row names.

    Raises ValueError that names the line of a region which the genome lacks.
    """
    reader, genome, task = reader_of(model), genome_files.Genome(genome), of_or_guess(model)
    found, rows = genome_files.read_bed(regions, genome), []
    other = sum(reader.length not in (None, one.end - one.begin) for one in found)
    if other:
        logging.getLogger("kzoo").warning(
            "%s: %d of %d regions have another length than %d letters, which are read around their middle", regions,
            other, len(found), reader.length,
        )  # fmt: skip
    for begin in range(0, len(found), AT_ONCE):
        part = found[begin : begin + AT_ONCE]
        results = reader.results([_text(reader, genome, region) for region in part])
        for region, one in zip(part, results, strict=True):
            facts = {"contig": region.contig, "begin": region.begin, "end": region.end, "name": region.name}
            facts["strand"] = region.strand
            rows.append({**facts, **task.rows([one], model.kzoo.class_names, top)[0]})
    return rows


def _text(reader, genome, region):
    grown = 0 if reader.length is None else reader.length - (region.end - region.begin)
    before = grown // 2
    if region.strand == "-":
        before = grown - before
    return genome_files.letters_of(genome, region, before + reader.reach, grown - before + reader.reach)
