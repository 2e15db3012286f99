"""Scores of variants in the lines of their VCF file."""

from kzoo.data.genomes import variant_files
from kzoo.support import atomic

ID = "KZOO"


def write_vcf(path, variants, rows) -> None:
    """Writes the VCF file `variants` with a field `KZOO` of INFO: the scores that `predict_variants` gave, `|` between.

    Its parts are the allele, gene, strand and numbers of each row, as the header says; several rows are parted by
    commas. Lines without a row stay as they are.
    """
    lines, found, _ = variant_files.read_vcf(variants)
    places = {(one.contig.removeprefix("chr"), one.position, one.reference, one.alternate): one.line for one in found}
    fields, told = None, {}
    for row in rows:
        numbers = _numbers(row)
        fields = fields or ["ALLELE", "GENE", "STRAND", *numbers]
        place = places[row["contig"].removeprefix("chr"), row["position"], row["reference"], row["alternate"]]
        values = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in numbers.values())
        text = "|".join([row["alternate"], row.get("gene", "."), row["strand"], *values])
        told.setdefault(place, []).append(text)
    out = []
    for number, line in enumerate(lines):
        if line.startswith("#CHROM"):
            out.append(
                f'##INFO=<ID={ID},Number=.,Type=String,Description="Changes that a network predicts: '
                f'{"|".join(fields or ["ALLELE", "GENE", "STRAND"])}">'
            )
        cells = line.split("\t")
        if number in told:
            cells += ["."] * (8 - len(cells))
            given = f"{ID}={','.join(told[number])}"
            cells[7] = given if cells[7] in (".", "") else f"{cells[7]};{given}"
        out.append("\t".join(cells))
    with atomic.file(path) as temporary:
        temporary.write_text("\n".join(out) + "\n", encoding="utf-8")


def _numbers(row):
    """The scores of a row by what they are called."""
    if "changes" not in row:
        return {key: value for key, value in row.items() if key.endswith(("_gain", "_loss", "_position"))}
    found = {}
    for place, one in enumerate(row["changes"], 1):
        found |= {f"RESULT_{place}": one["result"], f"DIFFERENCE_{place}": one["difference"]}
    return found
