"""The ledger: what every architecture is compared with, and how far it is from it. scripts/ledger writes it anew.

One row a comparison: the architecture, the reference, the largest difference of the outputs as a share of the
reference's largest, the variant that the name builds and its parameters. The comparisons are those of the tests beside
this file; the formats and precisions of exports are those that benchmarks/exports.py measured.
"""

import importlib.metadata
import json
import pathlib
import tempfile

import golden_files
import numpy as np
import test_alphafold
import test_clip
import test_detection
import test_diffusion_models
import test_genomes
import test_inception_vit_recurrent_cnn
import test_models
import test_sound_classification
import test_speech_models
import test_text_models
import test_transformer
import test_translation_models
import test_videos
import test_vision_models
import test_wavenet

from kzoo import catalog
from kzoo.support import atomic

ROOT = pathlib.Path(__file__).parents[1]
LEDGER = ROOT / "docs" / "ledger.json"
EXPORTS = ROOT / "benchmarks" / "results" / "exports.json"
FORMATS = {"saved_model": "SavedModel", "litert": "LiteRT", "onnx": "ONNX", "openvino": "OpenVINO"}
# What has no published implementation in torch is written in torch from the paper, in scripts/golden.
FROM_PAPERS = ("alexnet_2012", "gan_", "googlenet_2014", "recurrent_cnn", "resnet20", "seq2seq")


def comparisons():
    """{reference: (variant or architecture, function of a folder that gives our outputs and theirs, its arguments)}."""
    found, entries = {}, catalog.entries()

    def add(library, case, name, compare, *arguments):
        library = "torch, from the paper" if case.startswith(FROM_PAPERS) else library
        is_variant = case in entries and entries[case].name == case
        found[f"{case} ({library})"] = case if is_variant else name, compare, arguments

    for name, overrides in test_models.GOLDENS:
        library = "Keras Sequential" if name == "mnist_cnn" else "torch"
        library = "pytorch/examples" if name.startswith("dcgan") else library
        library = "selene's class" if name in ("deepsea", "danq") else library
        add(library, name, name, test_models.compare, name, overrides)
    for case, overrides in test_vision_models.CASES.items():
        add("torchvision", case, case, golden_files.compare_drawn, case, case, overrides)
    for case, row in test_inception_vit_recurrent_cnn.CASES.items():
        add("torchvision", case, row[0], golden_files.compare_drawn, case, *row)
    for case in test_videos.CASES:
        add("torchvision", case, case, test_videos.compare, case)
    add("timm", "vit", "vit_ti_16", test_inception_vit_recurrent_cnn.compare_timm)
    for kind, overrides in test_detection.NARROW.items():
        case = f"retinanet over {overrides['backbone']}"
        add("torchvision", case, "retinanet", test_detection.compare, kind)
    add("transformers", "marian with sinusoids in halves", "transformer", test_transformer.compare)
    for case in test_speech_models.CASES:
        library = "SeanNaren's deepspeech.pytorch" if case.startswith("deepspeech2") else "torchaudio"
        add(library, case, case, test_speech_models.compare, case)
    add("MLPerf Tiny's Keras model", "ds_cnn_s", "ds_cnn_s", test_sound_classification.compare)
    for case in test_wavenet.CASES:
        library = "ibab's tensorflow-wavenet" if case.endswith("ibab") else "r9y9's wavenet_vocoder"
        add(library, case, case, test_wavenet.compare, case)
    add("the authors' Keras graph", "spliceai", "spliceai", test_genomes.compare, "spliceai")
    add("transformers", "dnabert", "dnabert_6", test_genomes.compare, "dnabert")
    for case in test_clip.CASES:
        name = "clip_laion_b_32" if case == "laion" else "clip"
        add("transformers", f"clip {case}", name, test_clip.compare, case)
    for case in test_alphafold.ALPHAFOLD_CASES:
        add("DeepMind's alphafold", f"alphafold {case}", "alphafold", test_alphafold.compare, case)
    for case, (name, _) in test_diffusion_models.CASES.items():
        library = "transformers" if case.startswith("clip") else "diffusers"
        add(library, case.replace("_", " "), name, test_diffusion_models.compare, case)
    for module in (test_text_models, test_translation_models):
        for case, (*_, name, _) in module.CASES.items():
            add("transformers", case, name, module.compare, case)
    return found


def measure(reference):
    """One row of the ledger."""
    name, compare, arguments = comparisons()[reference]
    with tempfile.TemporaryDirectory() as folder:
        pairs = list(compare(pathlib.Path(folder), *arguments))
    return {
        "reference": reference,
        "max_difference": float(max(np.abs(got - wanted).max() / np.abs(wanted).max() for got, wanted in pairs)),
        **facts(name),
    }


def facts(name):
    """Architecture, variant and parameters of a name of the catalogue."""
    entry = catalog.find(name)
    parameters = catalog.figures()[entry.name]["parameters"]
    return {"architecture": entry.architecture, "variant": entry.name, "parameters": parameters}


def exports():
    """{architecture: {format: {precision: largest difference as a share of the outputs' scale, or a reason}}}."""
    found = {}
    for row in json.loads(EXPORTS.read_text(encoding="utf-8"))["rows"]:
        difference = row.get("reason") or row["max_difference"] / max(row["scale"], 1e-12)
        found.setdefault(row["model"], {}).setdefault(row["format"], {})[row["precision"]] = difference
    return found


def page(document):
    """The ledger in Markdown."""
    columns = ("architecture", "reference", "largest difference", "variant", "parameters", *FORMATS.values())
    lines = [
        "# The ledger",
        "",
        "How far every architecture is from the implementation that it is compared with, and how far its exports are",
        "from it. A difference is the largest of all outputs, as a share of the largest output. References and exports",
        "run at small sizes with random weights, and int8 is calibrated on random inputs. Parameters are those of the",
        "whole variant; the tests compare them with the paper or the reference. `scripts/ledger` writes this page, and",
        "`tests/test_ledger.py` compares it with the code.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for row in document["rows"]:
        cells = [f"`{row['architecture']}`", row["reference"], f"{row['max_difference']:.1e}", f"`{row['variant']}`"]
        measured = document["exports"].get(row["architecture"], {})
        cells += [f"{row['parameters']:,}", *map(cell, map(measured.get, FORMATS))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(precisions):
    """The precisions of a format with their differences."""
    said = {key: f"{value:.1e}" if isinstance(value, float) else value for key, value in (precisions or {}).items()}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in said.items()) or "not measured"


def main():
    """Writes docs/ledger.json and docs/ledger.md."""
    document = {
        "versions": {package: importlib.metadata.version(package) for package in ("keras", "tensorflow", "numpy")},
        "rows": sorted(map(measure, comparisons()), key=lambda row: (row["architecture"], row["reference"])),
        "exports": exports(),
    }
    LEDGER.parent.mkdir(exist_ok=True)
    for path, text in ((LEDGER, json.dumps(document, indent=1) + "\n"), (LEDGER.with_suffix(".md"), page(document))):
        with atomic.file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
