"""Writes what README.md and README.zh.md take from the catalogue and from results: two tables and a picture.

    python scripts/make_readme.py

The tables stand between comments such as `<!-- models -->` and `<!-- /models -->`; tests/test_docs.py compares them.
"""

import json
import pathlib
import re

from kzoo import catalog
from kzoo.support import atomic

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PICTURE = ROOT / "docs" / "checked.png"

CHINESE = {
    "the document's torch module": "文档中的 torch 模块",
    "the document's `keras.Sequential`": "文档中的 `keras.Sequential`",
    "torchvision; the paper's two groups in torch": "torchvision；论文的双组结构（torch 实现）",
    "torchvision; the paper's form in torch": "torchvision；论文原始结构（torch 实现）",
    "the paper's form in torch": "论文原始形式（torch 实现）",
    "torchvision; a torch port": "torchvision；一个 torch 移植版",
    "a torch loop": "torch 手写循环",
    "torchvision, timm": "torchvision、timm",
    "`transformers.BertModel` and its heads": "`transformers.BertModel` 及其各任务头",
    "stacked `torch.nn.LSTM`": "多层 `torch.nn.LSTM`",
    "`torch.nn.LSTM`, `GRU`, `RNN`": "`torch.nn.LSTM`、`GRU`、`RNN`",
}
HEADS = {
    "models": {
        "README.md": "| model | parameters | agrees with | what it is |",
        "README.zh.md": "| 模型 | 参数量 | 与之对齐的参考实现 |",
    },
    "speed": {
        "README.md": "| work, batch | kzoo | `kzoo.fast` | ONNX Runtime | OpenVINO | OpenVINO, int8 | Keras side "
        "| fastest torch |",
        "README.zh.md": "| 任务，批大小 | kzoo | `kzoo.fast` | ONNX Runtime | OpenVINO | OpenVINO，int8 | Keras 一方 "
        "| 最快的 torch |",
    },
}
NUM_NAMES = 3  # variants of an architecture that the table names; the others are counted
WORKS = {
    "resnet50": ("ResNet-50", 8, "keras_applications"),
    "densenet121": ("DenseNet-121", 8, "keras_applications"),
    "bert_base": ("BERT-base", 8, "keras_hub"),
    "vit_b_16": ("ViT-B/16", 8, "keras_hub"),
    "lstm": ("LSTM", 32, "keras"),
}
OURS = ("kzoo", "kzoo_fast", "kzoo_fast_onnxruntime", "kzoo_fast_openvino", "kzoo_fast_openvino_int8")
TORCH = ("torch", "torch_channels_last", "torch_compiled", "transformers", "transformers_compiled")


def agrees_with(architecture):
    """The reference of an architecture, as its file names it; ValueError if it names none."""
    found = catalog.literals(architecture).get("AGREES_WITH")
    if not found:
        raise ValueError(f"{architecture}: no reference; write AGREES_WITH = '...' in kzoo/models/{architecture}.py")
    return found


def model_rows(page):
    """A row for every architecture but those that others are made of, the smallest first."""
    parameters = {name: counts["parameters"] for name, counts in catalog.figures().items()}
    variants = {}
    for name in catalog.list_models():
        variants.setdefault(catalog.find(name).architecture, []).append(name)
    assemblies = [catalog.literals(architecture).get("PARTS", {}) for architecture in variants]
    for part in {part["model"] for parts in assemblies for part in parts.values()}:
        variants.pop(catalog.find(part).architecture, None)
    rows = []
    for architecture, names in sorted(variants.items(), key=lambda item: min(parameters[name] for name in item[1])):
        listed = ", ".join(f"`{name}`" for name in names[:NUM_NAMES])
        others = len(names) - NUM_NAMES
        counts = sorted(parameters[name] for name in names)
        size = f"{counts[0]:,}" + (f" to {counts[-1]:,}" if len(counts) > 1 else "")
        reference, summary = agrees_with(architecture), catalog.find(names[0]).summary
        if page == "README.md":
            rows.append(f"| {listed}{f' and {others} more' if others > 0 else ''} | {size} | {reference} | {summary} |")
        else:
            more = f" 等 {len(names)} 个" if others > 0 else ""
            reference = CHINESE.get(reference, reference)
            rows.append(f"| {listed}{more} | {size.replace(' to ', ' 至 ')} | {reference} |")
    return rows


def times():
    """`{(work, side): milliseconds}`, the smallest of all turns, at the batch sizes of WORKS."""
    rows = json.loads((RESULTS / "peers.json").read_text(encoding="utf-8"))["rows"]
    return {
        (row["work"], row["side"]): row["step_time_ms"]["min"]
        for row in rows
        if row["work"] in WORKS and row["batch_size"] == WORKS[row["work"]][1] and row.get("step_time_ms")
    }


def _milliseconds(value):
    return f"{value:.0f}" if value >= 50 else f"{value:.1f}"


def speed_rows(page):
    """A row for every work: milliseconds, and in brackets the speed over the Keras side."""
    measured = times()
    rows = []
    for work, (title, batch_size, rival) in WORKS.items():
        reference = measured[work, rival]
        torch = min(measured[work, side] for side in TORCH if (work, side) in measured)
        cells = [_milliseconds(measured[work, "kzoo"])]
        cells += [
            f"{_milliseconds(measured[work, side])} ({reference / measured[work, side]:.2f})" for side in OURS[1:]
        ]
        rows.append(
            f"| {title}, {batch_size} | {' | '.join(cells)} | {rival.replace('_', '.' if 'app' in rival else '-')} "
            f"{_milliseconds(reference)} | {_milliseconds(torch)} |"
        )
    return rows


def with_tables(text, page):
    """The page's text with its generated tables as they should be."""
    for name, rows in (("models", model_rows(page)), ("speed", speed_rows(page))):
        head = HEADS[name][page]
        table = "\n".join([head, "|---" * (head.count("|") - 1) + "|", *rows])
        text, count = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda found, table=table: f"{found[1]}{table}\n{found[2]}",
            text, flags=re.S,
        )  # fmt: skip
        if count != 1:
            raise ValueError(f"{page} has {count} places <!-- {name} --> ... <!-- /{name} -->, wanted one")
    return text


def draw(path):
    """Left: how far exports differ from their model; right: how fast the same networks run beside their peers."""
    import matplotlib
    from PIL import Image

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), width_ratios=(1, 1.05), dpi=110)
    _draw_differences(left)
    _draw_speeds(right)
    figure.tight_layout()
    with atomic.file(path) as temporary:
        figure.savefig(temporary, format="png")
        with Image.open(temporary) as image:
            image.convert("RGB").quantize(64).save(temporary, format="png", optimize=True)
    pyplot.close(figure)


def _draw_differences(axes):
    rows = json.loads((RESULTS / "exports.json").read_text(encoding="utf-8"))["rows"]
    rows = [row for row in rows if row["precision"] == "float32" and "reason" not in row]
    names = sorted({row["model"] for row in rows}, reverse=True)
    formats = {"saved_model": "SavedModel", "litert": "LiteRT", "onnx": "ONNX", "openvino": "OpenVINO"}
    for (name, title), marker in zip(formats.items(), "osD^", strict=True):
        points = [
            (max(row["max_difference"] / row["scale"], 1e-8), row["model"]) for row in rows if row["format"] == name
        ]
        axes.plot([x for x, _ in points], [names.index(y) for _, y in points], marker, ms=4, alpha=0.8, label=title)
    axes.axvline(1e-5, color="0.3", lw=1, ls="--")
    axes.text(8e-6, len(names) - 0.6, "a SavedModel's bound, 1e-5", ha="right", va="bottom", fontsize=7)
    axes.set(xscale="log", xlim=(7e-9, 2e-5), yticks=range(len(names)), ylim=(-0.7, len(names) + 0.4))
    axes.set_yticklabels(names, fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel("largest difference by the outputs' scale, float32 (1e-8: none at all)", fontsize=8)
    axes.set_title("Every export is compared with its model", fontsize=10)
    axes.legend(fontsize=7, loc="lower right", bbox_to_anchor=(0.88, 0))


def _draw_speeds(axes):
    measured = times()
    sides = {"kzoo_fast": "kzoo.fast", "kzoo_fast_onnxruntime": "… ONNX Runtime", "kzoo_fast_openvino": "… OpenVINO",
             "kzoo_fast_openvino_int8": "… OpenVINO, int8", "torch": "torch, eager or compiled"}  # fmt: skip
    for place, (side, title) in enumerate(sides.items()):
        ways = TORCH if side == "torch" else (side,)
        best = {work: min(measured[work, way] for way in ways if (work, way) in measured) for work in WORKS}
        ratios = [measured[work, rival] / best[work] for work, (_, _, rival) in WORKS.items()]
        positions = [row + (place - 2) * 0.16 for row in range(len(WORKS))]
        bars = axes.barh(positions, ratios, 0.15, label=title, color="0.6" if side == "torch" else f"C{place}")
        axes.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], fontsize=6, padding=2)
    axes.axvline(1, color="0.3", lw=1, ls="--")
    axes.set_yticks(range(len(WORKS)), [f"{title}\nbatch {batch}" for title, batch, _ in WORKS.values()], fontsize=7)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=7)
    axes.set(xlim=(0, 6))
    axes.set_xlabel("speed over the Keras side, inference on two cores (AMD EPYC, AVX-512)", fontsize=8)
    axes.set_title("The same networks, in turns with their peers", fontsize=10)
    axes.legend(fontsize=7, loc="lower right")


if __name__ == "__main__":
    for name in HEADS["models"]:
        path = ROOT / name
        changed = with_tables(path.read_text(encoding="utf-8"), name)
        with atomic.file(path) as temporary:
            temporary.write_text(changed, encoding="utf-8")
        print(f"wrote {path}")
    draw(PICTURE)
    print(f"wrote {PICTURE}")
