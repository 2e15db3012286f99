"""One self-contained HTML page of every benchmark result, to be read on a phone as well.

    python benchmarks/report.py                          # benchmarks/results/*.json -> benchmarks/results/report.html

A result of another machine stands beside as NAME.MACHINE.json, such as fast.avx512.json. Nothing is measured here and
nothing is fetched when the page is read. A result that is absent or damaged is named. Exit
status: 0, 1 if no result could be shown, 2 for bad arguments.
"""

import html
import json
import pathlib
import sys

import harness

from kzoo.support import atomic

LEVEL = 0.03  # a difference that two runs may have
RESULTS = pathlib.Path(__file__).with_name("results")
STYLE = """
:root { color-scheme: light dark; --kzoo: #d9730d; --other: #6b8fb5; --track: #8882; }
body { font: 17px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.3rem; margin-top: 2.5rem; } h3 { font-size: 1.05rem; margin: 1.5rem 0 .3rem; }
.facts { font-size: .9rem; opacity: .85; } code { overflow-wrap: anywhere; font-size: .9em; }
.bar { margin: .35rem 0; } .bar .label { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; }
.bar .value { font-variant-numeric: tabular-nums; } .track { background: var(--track); border-radius: 4px; }
.fill { height: .7rem; border-radius: 4px; background: var(--other); min-width: 2px; }
.kzoo .fill { background: var(--kzoo); } .kzoo .name { font-weight: 600; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .95rem; }
th, td { padding: .3rem .7rem .3rem 0; text-align: right; white-space: nowrap; } th:first-child, td:first-child { text-align: left; }
tr + tr td { border-top: 1px solid var(--track); } .absent { opacity: .75; font-size: .9rem; }
"""  # noqa: E501


def text(value):
    """A value as HTML text: numbers with three digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    return html.escape(str(value))


def bars(rows):
    """Horizontal bars: rows of (name, share of the longest, what it says, whether it is kzoo's)."""
    longest = max((length for _, length, _, _ in rows), default=1) or 1
    return "".join(
        f'<div class="bar{" kzoo" if ours else ""}"><div class="label"><span class="name">{text(name)}</span>'
        f'<span class="value">{text(said)}</span></div>'
        f'<div class="track"><div class="fill" style="width:{100 * length / longest:.1f}%"></div></div></div>'
        for name, length, said, ours in rows
    )


def table(headings, rows):
    """A table that scrolls sideways on narrow screens."""
    head = "".join(f"<th>{text(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(document):
    """The machine, its load, the versions and the command behind a result, as far as it says them."""
    lines = []
    machine = document.get("machine")
    if isinstance(machine, dict):
        memory = machine.get("memory_bytes", 0) / 2**30
        vector_sets = f" ({', '.join(machine['vector_sets'])})" if machine.get("vector_sets") else ""
        lines.append(
            f"{text(machine.get('cpu_model'))}{text(vector_sets)}, {text(machine.get('num_cpu_cores'))} cores, "
            f"{memory:.0f} GiB, {text(machine.get('system'))}, load {text(machine.get('load_average'))} when it began"
        )
    elif machine:
        lines.append(f"{text(machine)}, {text(document.get('cores'))} cores, load {text(document.get('load'))}")
    versions = document.get("versions") or {}
    if versions:
        lines.append(", ".join(f"{text(name)} {text(version)}" for name, version in versions.items() if version))
    command = document.get("command")
    if command:
        command = command if isinstance(command, str) else " ".join(command)
        lines.append(f"<code>{text(command)}</code>")
    if document.get("interrupted"):
        lines.append("This run was interrupted; what was finished is shown.")
    return (
        f'<p class="facts">{"<br>".join(lines)}</p>' if lines else '<p class="facts">The result names no machine.</p>'
    )


def gpu_note(document):
    """Which GPU was used, or that there was none."""
    names = [device["name"] for device in document.get("devices", []) if device.get("device") == "gpu"]
    if names:
        return f"<p>GPU: {text(', '.join(names))}.</p>"
    reasons = [left["reason"] for left in document.get("left_out", []) if left.get("device") == "gpu"]
    return f'<p class="absent">GPU columns are empty: {text(reasons[0] if reasons else "no GPU was had")}.</p>'


def show_throughput(document):
    merged = {}
    for row in document["rows"]:
        key = row["model"], row["mode"], row["batch_size"], row["backend"]
        merged.setdefault(key, {})[row["device"]] = row
    rows = []
    for key, devices in merged.items():
        cpu, gpu = (devices.get(device, {}) for device in ("cpu", "gpu"))
        over = (
            gpu["samples_per_sec"] / cpu["samples_per_sec"] if {"samples_per_sec"} <= cpu.keys() & gpu.keys() else None
        )
        share = cpu.get("share_of_matmul")
        rows.append(
            [
                *key,
                cpu.get("samples_per_sec", cpu.get("error")),
                cpu.get("step_time_ms", {}).get("min"),
                None if share is None else f"{share:.0%}",
                gpu.get("samples_per_sec", gpu.get("error")),
                over,
            ]
        )
    headings = ["model", "mode", "batch", "backend", "CPU examples/s", "CPU ms/step, min", "of matmul"]
    headings += ["GPU examples/s", "GPU over CPU"]
    numbers = f"<details><summary>All numbers</summary>{table(headings, rows)}</details>"
    return _shares(document["rows"]) + gpu_note(document) + numbers


def _shares(rows):
    """Bars of what each model reaches of the device's matrix product, one group a mode and device."""
    groups, parts = {}, []
    for row in rows:
        if "share_of_matmul" in row:
            groups.setdefault((row["mode"], row["device"]), []).append(row)
    for (mode, device), found in groups.items():
        parts.append(f"<h3>{text(mode)} on the {text(device)}: share of its rate of matrix products</h3>")
        parts.append(bars([
            (f"{row['model']} × {row['batch_size']}", row["share_of_matmul"],
             f"{row['share_of_matmul']:.2g} × · {row['samples_per_sec']:,.0f} examples/s", False)
            for row in found
        ]))  # fmt: skip
    return "".join(parts)


def _of_matmul(row):
    return f" · {row['share_of_matmul']:.0%} of the matrix rate" if "share_of_matmul" in row else ""


def show_peers(document):
    groups, parts = {}, []
    for row in document["rows"]:
        groups.setdefault((row["work"], row["mode"], row["batch_size"]), []).append(row)
    for (work, mode, batch_size), rows in groups.items():
        measured = [row for row in rows if "ratio" in row]
        reference = f": speed over {measured[0]['reference']}" if measured else ""
        parts.append(f"<h3>{text(work)}, {text(mode)}, batch {text(batch_size)}{text(reference)}</h3>")
        parts.append(bars([
            (row["side"], row["ratio"], f"{row['ratio']:.2f} × · {row['step_time_ms']['min']:.2f} ms" + _of_matmul(row),
             row["side"].startswith("kzoo"))
            for row in measured
        ]))  # fmt: skip
        said = [
            f"{row['side']}: {row.get('error') or row['note']}" for row in rows if row.get("error") or row.get("note")
        ]
        away = [
            f"{absent['side']}: {absent['reason']}"
            for absent in document.get("absent", [])
            if (absent["work"], absent["mode"]) == (work, mode)
        ]
        if said or away:
            notes = "".join(f"<li>{text(line)}</li>" for line in said + away)
            parts.append(f'<details class="absent"><summary>Notes and absent sides</summary><ul>{notes}</ul></details>')
    parts.append('<p class="absent">GPU columns are empty: this benchmark ran on the CPU only.</p>')
    headings = ["work", "mode", "batch", "side", "CPU ms", "GPU ms", "difference", "first call s", "peak MB"]
    rows = [
        [row["work"], row["mode"], row["batch_size"], row["side"], row["step_time_ms"]["min"], None,
         row["max_difference"], row["first_call_seconds"], row["peak_memory_bytes"] / 1e6]
        for row in document["rows"] if "error" not in row
    ]  # fmt: skip
    return "".join(parts) + f"<details><summary>All numbers</summary>{table(headings, rows)}</details>"


def show_generation(document):
    rows, away = [], []
    for side, row in document["sides"].items():
        if "absent" in row or "error" in row:
            away.append(f"{side}: {row.get('absent') or row['error']}")
            continue
        speed, ratio = row["tokens_per_second"]["best"], (row.get("times_keras_hub") or {}).get("best")
        said = f"{ratio:.2f} × keras_hub · " if ratio else ""
        rows.append((side, speed, f"{said}{speed:.1f} tokens/s · agrees: {row['agrees']}", side.startswith("kzoo")))
    bound = document.get("bound_tokens_per_second")
    ends = f"<p>Memory bounds float32 at {text(bound)} tokens/s.</p>" if bound else ""
    return bars(rows) + ends + "".join(f'<p class="absent">{text(line)}</p>' for line in away)


def show_fit(document):
    sides = {side: found["fit_seconds"]["median"] for side, found in document["sides"].items()}
    first = sides.get("document")
    rows = [
        (
            side,
            1 / seconds,
            f"{first / seconds:.2f} × · {seconds:.1f} s" if first else f"{seconds:.1f} s",
            side == "kzoo",
        )
        for side, seconds in sides.items()
    ]
    return bars(rows)


def show_input(document):
    rows = [(row["name"], row["images_per_second"], f"{row['images_per_second']:,.0f} images/s · {row['ratio']:.2f} ×",
             row["name"].startswith("kzoo")) for row in document["rows"] if "images_per_second" in row]  # fmt: skip
    away = "".join(
        f'<p class="absent">{text(row["name"])}: {text(row["absent"])}</p>'
        for row in document["rows"]
        if "absent" in row
    )
    return bars(rows) + f"<p>{text(document['verdict'])}</p>" + away


def show_recipes(document):
    rows = []
    for name, row in document.items():
        measured = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in row.get("mean", {}).items())
        rows.append([name, row.get("model"), row.get("data"), measured, len(row.get("seeds", [])), row.get("reached")])
    return table(["recipe", "model", "data", "mean over seeds", "seeds", "bound reached"], rows)


def show_any(document):
    """Rows of plain values as a table; other results as their plain values."""
    rows = next((value for value in document.values() if _is_table(value)), None)
    if rows:
        columns = list(dict.fromkeys(key for row in rows for key, value in row.items() if _is_plain(value)))
        return table(columns, [[row.get(column) for column in columns] for row in rows])
    plain = [(key, value) for key, value in _flat(document) if key.partition(".")[0] not in ("machine", "versions")]
    return table(["what", "value"], [row for row in plain if row[0] != "command"])


def _is_plain(value):
    return value is None or isinstance(value, str | int | float)


def _is_table(value):
    return isinstance(value, list) and value and all(isinstance(row, dict) for row in value)


def _flat(nested, prefix=""):
    if not isinstance(nested, dict):
        return [(prefix[:-1], nested if _is_plain(nested) else json.dumps(nested)[:200])]
    return [pair for key, value in nested.items() for pair in _flat(value, f"{prefix}{key}.")]


# file -> heading, what it shows, how; other JSON files follow as they are
SECTIONS = {
    "peers": ("Beside peers", "Longer bars are faster. Outputs were compared before anything was timed.", show_peers),
    "fast": ("The fast path", "What kzoo.fast does to speed and outputs.", show_any),
    "generation": ("Writing with GPT-2", "Tokens a second, batch 1, float32.", show_generation),
    "throughput": ("Throughput of the catalogue", "Examples a second, median over rounds.", show_throughput),
    "fit_versus_document": ("kzoo.fit", "A whole training, medians: speed over the document's script.", show_fit),
    "input_pipeline": ("Input pipeline", "Images a second from files to batches.", show_input),
    "exports": ("Exports", "Every export is compared with its model.", show_any),
    "recipes": ("Trained models", "Means over seeds, and whether the bound was reached.", show_recipes),
}


def _best(rows, ours):
    """The fastest side that is kzoo's, or that is not."""
    found = [row for row in rows if "ratio" in row and row["side"].startswith("kzoo") == ours]
    return max(found, key=lambda row: row["ratio"], default=None)


def _beside(folder):
    """(work, mode, batch, kzoo's best side, the best other, times as fast) of the comparisons in float32."""
    found = []
    for name in ("peers", "peers.training"):
        try:
            rows = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["rows"]
            groups = {}
            for row in rows:
                if row["work"] != "matrix_product" and "int8" not in row["side"]:
                    groups.setdefault((row["work"], row["mode"], row["batch_size"]), []).append(row)
            for key, group in groups.items():
                ours, theirs = _best(group, True), _best(group, False)
                if ours and theirs:
                    found.append((*key, ours["side"], theirs["side"], ours["ratio"] / theirs["ratio"]))
        except (OSError, ValueError, KeyError, TypeError):  # its own section says what is wrong
            continue
    return found


def conclusion(folder):
    """What the comparisons come to, and what a row of this page is."""
    found = _beside(folder)
    rows = (
        "<p>A bar is one way to run one network at one batch size: a library, or one of kzoo's runtimes. Its number is "
        "how many times as fast it is as the way that the heading names, by the shortest of many calls, which took "
        "turns with those of all others in one run; outputs were compared before. Orange is kzoo.</p>"
    )
    if not found:
        return rows
    ahead, behind = ([row for row in found if sign * (row[-1] - 1) > LEVEL] for sign in (1, -1))
    listed = "; ".join(f"{work}, {mode}, {times:.2f} ×" for work, mode, *_, times in behind)
    says = (
        f"<p><strong>In float32 kzoo's fastest way is ahead of the fastest of every other library in {len(ahead)} of "
        f"{len(found)} comparisons, level with it (within {LEVEL:.0%}) in {len(found) - len(ahead) - len(behind)} and "
        f"behind in {len(behind)}.</strong>{f' Behind in: {text(listed)}.' if behind else ''}</p>"
    )
    headings = ["network", "mode", "batch", "kzoo's fastest", "the fastest other", "times as fast"]
    return says + rows + table(headings, found)


def section(path, name):
    """HTML of one result; says so if it is absent or cannot be read."""
    base, _, elsewhere = name.partition(".")
    heading, says, show = SECTIONS.get(base, (base.replace("_", " "), "", show_any))
    heading += f", {elsewhere}" if elsewhere else ""
    title = f'<h2 id="{text(name)}">{text(heading)}</h2>'
    if not path.is_file():
        return f'{title}<p class="absent">Not measured: there is no {text(path.name)}.</p>', False
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        body = f"<p>{text(says)}</p>{show(document)}{facts(document) if show is not show_recipes else ''}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f'{title}<p class="absent">{text(path.name)} cannot be shown: {text(repr(error))}</p>', False
    return title + body, True


def make_page(folder):
    """The page of every result in a folder, and how many results it shows."""
    stems = sorted(path.stem for path in folder.glob("*.json") if path.stem not in SECTIONS)
    names = [n for base in SECTIONS for n in (base, *(stem for stem in stems if stem.startswith(f"{base}.")))]
    names += [stem for stem in stems if stem not in names]
    found = [section(folder / f"{name}.json", name) for name in names]
    links = " · ".join(f'<a href="#{text(name)}">{text(name.replace("_", " "))}</a>' for name in names)
    links = f"<details><summary>All results</summary><p>{links}</p></details>"
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>kzoo benchmarks</title><style>{STYLE}</style></head><body><h1>kzoo benchmarks</h1>"
        f"{conclusion(folder)}{links}{''.join(body for body, _ in found)}</body></html>\n"
    )
    return page, sum(shown for _, shown in found)


def main(arguments=None):
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, metavar="FOLDER", help="of JSON results")
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE", help="default: report.html in that folder")
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        parser.error(f"no folder at {options.results}; name one with --results")
    output = options.output or options.results / "report.html"
    page, shown = make_page(options.results)
    try:
        with atomic.file(output) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except (OSError, ValueError) as error:
        parser.error(f"cannot write {output}: {error}")
    print(f"wrote {output}: {shown} results, {len(page.encode()) / 1000:.0f} kB")
    return int(shown == 0)


if __name__ == "__main__":
    sys.exit(main())
