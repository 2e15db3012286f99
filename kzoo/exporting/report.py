"""The report of an export as a page for people."""

READABLE = "report.md"


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
    title = f"# {report['model']} as {report['format']}, {report.get('precision', 'float32')}"
    return "\n".join([title, "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items()), ""])
