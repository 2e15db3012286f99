"""The report of an export as a page for people."""

from kzoo.runtimes.interface import sentence

REPORT_FILE = "kzoo_export.json"
READABLE = "report.md"
TOKENIZER_FILES = ("tokenizer.json", "special_tokens_map.json")


def readable(report) -> str:
    """The report as a page of Markdown."""
    scale = max(report["scale"], 1e-12)
    rows = {
        "largest difference": f"{report['max_difference']:.3g} on outputs up to {report['scale']:.3g} "
        f"({report['max_difference'] / scale:.2g} of that), batch sizes {report['batch_sizes']}",
        "bytes": f"{report['bytes']:,}",
    }
    if report.get("weights"):
        rows["weights"] = report["weights"]
    if report.get("int8_coverage") is not None:
        rows["int8 covers"] = f"{100 * report['int8_coverage']:.1f} % of multiply-accumulates"
    if report.get("ranges"):
        rows["ranges of activations"] = report["ranges"]
    if found := report.get("real_inputs"):
        rows["on real inputs"] = f"{found['max_difference']:.3g} on outputs up to {found['scale']:.3g}"
    if found := report.get("accuracy"):
        rows["accuracy"] = (
            f"{100 * found['before']:.2f} % before, {100 * found['after']:.2f} % after, on "
            f"{found['num_examples']} examples; both agree on {100 * found['agreement']:.2f} %"
        )
    if found := report.get("latency_ms"):
        rows["latency"] = (
            f"{found['before']['min']:.3g} ms before (predict_on_batch), {found['after']['min']:.3g} ms after: "
            f"{report['speedup']:.2f} times as fast at batch size {report['measured_batch_size']}"
        )
    rows |= _surroundings(report["interface"], report["files"])
    title = f"# {report['model']} as {report['format']}, {report.get('precision', 'float32')}"
    table = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    sides = [line for name, one in report["signatures"].items() for line in _signature(name, one, report["interface"])]
    program = ["## A program that runs it", "", "In this folder:", "", "```python", report["snippet"] + "```", ""]
    return "\n".join([title, "", *table, "", "## Signatures", "", *sides, *program])


def _surroundings(interface, files):
    """Rows about what lies between people and the numbers of the model."""
    rows = {}
    if how := interface["preprocessing"]:
        cut = f"the shorter side / {how['crop']}, then its centre" if how["crop"] else "the whole image"
        scaled = f"; pixels / 255, minus {how['mean']}, divided by {how['std']}" if "mean" in how else ""
        rows["images"] = f"{cut}, resized ({how['interpolation']}, antialiased){scaled}"
    if classes := interface["class_names"]:
        rows["classes"] = ", ".join(classes[:10]) + (f" ... ({len(classes)} in {REPORT_FILE})" if classes[10:] else "")
    if found := interface["tokenizer"]:
        special = ", ".join(f"{role} {index}" for role, index in found["special_ids"].items())
        named = ", ".join(f"`{name}`" for name in files if name.endswith(TOKENIZER_FILES))
        rows["tokenizer"] = f"{named} (of the library `tokenizers`): {found['vocabulary_size']} tokens; {special}"
    return {name: value.replace("|", "\\|").replace("\n", " ") for name, value in rows.items()}


def _signature(name, one, interface):
    lines = [f"`{name}`", "", "| | | |", "|---|---|---|"]
    for side in ("inputs", "outputs"):
        for key, shaped in one[side].items():
            row = interface[side].get(key) if name == "serve" else None
            lines.append(f"| {side.removesuffix('s')} `{key}` | {shaped} | {sentence(row) if row else ''} |")
    return [*lines, ""]
