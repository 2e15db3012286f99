"""What `kzoo info` prints for people."""


def short(count):
    """A count with three digits and its unit."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def show(console, facts):
    """Prints what `kzoo.info` gave: the model in a few lines, then its layers where they were asked for."""
    from rich.table import Table

    table = Table(box=None, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for key in ("name", "architecture", "task", "summary", "paper"):
        table.add_row(key, facts[key])
    for key in ("inputs", "outputs"):
        for tensor, kind in facts[key].items():
            table.add_row(key[:-1], f"{tensor}  {kind['dtype']} {tuple(kind['shape'])}")
    table.add_row("parameters", f"{facts['parameters']:,} trainable, {facts['non_trainable_parameters']:,} not")
    at = f" at sequence length {facts['length']}" if facts["length"] else ""
    table.add_row("MACs", f"{facts['macs']:,} ({short(facts['macs'])}) an example{at}")
    table.add_row("activations", f"{facts['activation_bytes']:,} bytes an example{at}, every output kept")
    where = f", at {facts['activation_peak_at']}" if facts["activation_peak_at"] else ""
    table.add_row("peak", f"{facts['activation_peak_bytes']:,} bytes alive at once in inference{where}")
    if facts["cache_bytes"] is not None:
        growth = f"{facts['cache_bytes_per_token']:,} for every token written"
        table.add_row("cache", f"{facts['cache_bytes']:,} bytes a sequence{at}, {growth}")
    if facts["uncounted"]:
        table.add_row("not counted", ", ".join(facts["uncounted"]))
    console.print(table)
    if "layers" in facts:
        console.print()
        console.print(_layers(facts["layers"], facts["cache_bytes"] is not None))


def _layers(rows, caches):
    """One line a call, with the shares of MACs; `?` where no rule counts them."""
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("output", no_wrap=True)
    headings = ["parameters", "MACs", "of all", "bytes", *(["cache bytes"] if caches else [])]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    total = sum(row["macs"] or 0 for row in rows) or 1
    for row in rows:
        macs = "?" if row["macs"] is None else f"{row['macs']:,}"
        share = "" if not row["macs"] else f"{100 * row['macs'] / total:.1f} %"
        parameters = row["parameters"] + row["non_trainable_parameters"]
        shape = " x ".join(map(str, row["output_shape"])) or "scalar"
        cells = [f"{parameters:,}", macs, share, f"{row['activation_bytes']:,}"]
        table.add_row(row["name"], row["kind"], shape, *cells, *([f"{row['cache_bytes']:,}"] if caches else []))
    return table
