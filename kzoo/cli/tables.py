"""What `kzoo list` and `kzoo info` print for people."""

import textwrap

import click

NARROW = "\u202f"  # a space within a setting, at which no line ends
LEAST = 24  # letters of a last column that is worth showing


def short(count) -> str:
    """A count with three digits and its unit."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def show_rows(rows, right=(), width=None) -> None:
    """Prints rows of texts as aligned columns, the first row as a heading.

    Args:
        right: the numbers of the columns that are aligned to the right.
        width: the length at which a line is cut; the last column is left out where almost nothing of it would show.
    """
    if width and sum(max(map(len, column)) + 2 for column in list(zip(*rows, strict=True))[:-1]) + LEAST > width:
        rows = [row[:-1] for row in rows]  # too little room for its last column to say anything
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [">" if index in right else "<" for index in range(len(widths))]
    for index, row in enumerate(rows):
        line = "  ".join(f"{cell:{side}{size}}" for cell, side, size in zip(row, sides, widths, strict=True)).rstrip()
        line = line if width is None or len(line) <= width else f"{line[: width - 1]}…"
        click.secho(line, bold=index == 0 or None)


def show(facts, settings=(), recipe=None) -> None:
    """Prints what `kzoo.info` returned: the model in a few lines, then its layers where they were asked for.

    Args:
        settings: {keyword: value} of what can be set.
        recipe: {field: value} of how it is trained by default.
    """
    if "parts" in facts:
        return show_rows([*_said(facts), *_of_parts(facts), *_chosen(settings, recipe)])
    at = f" at sequence length {facts['length']}" if facts["length"] else ""
    where = f", at {facts['activation_peak_at']}" if facts["activation_peak_at"] else ""
    rows = _said(facts)
    for key in ("inputs", "outputs"):
        for tensor, kind in facts[key].items():
            rows.append((key[:-1], f"{tensor}  {kind['dtype']} {tuple(kind['shape'])}"))
    rows += [
        ("parameters", f"{facts['parameters']:,} trainable, {facts['non_trainable_parameters']:,} non-trainable"),
        ("MACs", f"{facts['macs']:,} ({short(facts['macs'])}) per example{at}"),
        ("activations", f"{facts['activation_bytes']:,} bytes per example{at}, with every output kept"),
        ("peak", f"{facts['activation_peak_bytes']:,} bytes alive at once in inference{where}"),
    ]
    if facts["cache_bytes"] is not None:
        growth = f"{facts['cache_bytes_per_token']:,} for every token written"
        rows.append(("cache", f"{facts['cache_bytes']:,} bytes per sequence{at}, {growth}"))
    if facts["uncounted"]:
        rows.append(("not counted", ", ".join(facts["uncounted"])))
    show_rows([*rows, *_chosen(settings, recipe)])
    if "layers" in facts:
        click.echo()
        show_rows(_layers(facts["layers"], facts["cache_bytes"] is not None), right=range(3, 8))
    return None


def _said(facts):
    return [(key, facts[key] or "") for key in ("name", "architecture", "task", "summary", "paper")]


def _of_parts(facts):
    """The whole of several networks, then one line for each."""
    rows = [("parameters", f"{facts['parameters']:,} trainable, {facts['non_trainable_parameters']:,} non-trainable")]
    rows.append(("MACs", f"{facts['macs']:,} ({short(facts['macs'])}) of one call of every part"))
    for part, row in facts["parts"].items():
        sides = (
            ", ".join(f"{name} {tuple(kind['shape'])}" for name, kind in row[side].items())
            for side in ("inputs", "outputs")
        )
        size = f"{row['parameters']:,} parameters, {short(row['macs'])} MACs"
        rows.append((part, f"{row['name']}: {size}, {' to '.join(sides)}"))
    return rows


def _chosen(settings, recipe):
    rows = []
    for name, values in {"settings": settings, "recipe": recipe}.items():
        pairs = [f"{key}={value!r}".replace(" ", NARROW) for key, value in dict(values or ()).items()]
        lines = textwrap.wrap("  ".join(pairs), 60)
        rows += [(name if not index else "", line.replace(NARROW, " ")) for index, line in enumerate(lines)]
    return rows


def _layers(rows, caches):
    """One row per call, with the shares of MACs; `?` where no rule counts them."""
    heading = ["layer", "kind", "output", "parameters", "MACs", "of all", "bytes", *(["cache bytes"] if caches else [])]
    found, total = [heading], sum(row["macs"] or 0 for row in rows) or 1
    for row in rows:
        macs = "?" if row["macs"] is None else f"{row['macs']:,}"
        share = f"{100 * row['macs'] / total:.1f} %" if row["macs"] else ""
        shape = " x ".join(map(str, row["output_shape"])) or "scalar"
        parameters = f"{row['parameters'] + row['non_trainable_parameters']:,}"
        cells = [row["name"], row["kind"], shape, parameters, macs, share, f"{row['activation_bytes']:,}"]
        found.append([*cells, *([f"{row['cache_bytes']:,}"] if caches else [])])
    return found
