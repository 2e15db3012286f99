"""What is written of a prediction: the structure, a picture of how far to trust it, and a page that turns it."""

import base64
import html
import json
import pathlib

import numpy as np

from kzoo.data.proteins import structure_files
from kzoo.support import atomic, drawing

VIEWER = pathlib.Path(__file__).with_name("viewer") / "3Dmol-min.js"
# the colours of the AlphaFold database: from this pLDDT up
COLOURS = ((90, "#0053d6", "very high"), (70, "#65cbf3", "high"), (50, "#ffdb13", "low"), (0, "#ff7d45", "very low"))
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 1.5em auto; max-width: 60em; padding: 0 1em; color: #222; }}
#structure {{ position: relative; width: 100%; height: 32em; border: 1px solid #ccc; }}
td, th {{ padding: .2em 1em .2em 0; text-align: left; }}
.key span {{ display: inline-block; width: 1em; height: 1em; margin: 0 .3em 0 1em; vertical-align: middle; }}
img {{ max-width: 100%; }}
</style>
</head>
<body>
<h1>{title}</h1>
<table>{rows}</table>
<p class="key">pLDDT {key}</p>
<div id="structure" role="img" aria-label="The predicted structure, coloured by pLDDT"></div>
<p>Drag to turn it, scroll to come nearer. <label><input type="checkbox" id="atoms"> side chains</label></p>
<img alt="pLDDT by residue and predicted aligned errors" src="data:image/png;base64,{picture}">
<p>Drawn by 3Dmol.js (Rego and Koes 2015, BSD-3-Clause), which is part of this page; nothing is loaded.</p>
<script>{viewer}</script>
<script>
const structure = {structure};
const colours = {colours};
const colour = atom => colours.find(row => atom.b >= row[0])[1];
const view = $3Dmol.createViewer("structure", {{backgroundColor: "white"}});
const atoms = document.getElementById("atoms");
view.addModel(structure, "pdb");
function draw() {{
  view.setStyle({{}}, {few} ? {{stick: {{colorfunc: colour}}}} : {{cartoon: {{colorfunc: colour}}}});
  if (atoms.checked) view.addStyle({{}}, {{stick: {{radius: 0.12, colorfunc: colour}}}});
  view.render();
}}
atoms.addEventListener("change", draw);
draw();
view.zoomTo();
view.render();
</script>
</body>
</html>
"""
FEW = 4  # residues that make no ribbon


def write(path, prediction) -> list:
    """Writes a `Prediction` as `.cif` or `.pdb`, and beside it as `.png` and `.html`; the paths of all three."""
    path = pathlib.Path(path)
    picture, page = path.with_suffix(".png"), path.with_suffix(".html")
    structure_files.write(path, prediction.structure)
    draw(picture, prediction)
    with atomic.file(page) as temporary:
        temporary.write_text(page_of(prediction, picture.read_bytes()), encoding="utf-8")
    return [path, picture, page]


def draw(path, prediction) -> None:
    """pLDDT along the chain, and where the network says so the expected error of every residue in every frame."""
    errors, values = prediction.aligned_errors, prediction.structure.confidence
    numbers = np.arange(1, len(values) + 1)
    with drawing.picture(path, (7 if errors is None else 12, 4.5)) as figure:
        axes = np.atleast_1d(figure.subplots(1, 1 if errors is None else 2))
        for (low, colour, _), high in zip(COLOURS, (100, 90, 70, 50), strict=True):
            axes[0].axhspan(low, high, color=colour, alpha=0.25, linewidth=0)
        axes[0].plot(numbers, values, color="black", linewidth=1, marker="." if len(values) < 3 else None)
        axes[0].set(
            ylim=(0, 100),
            xlabel="residue",
            ylabel="pLDDT",
            title=f"{prediction.structure.name}, mean {prediction.plddt:.1f}",
        )
        if errors is not None:
            extent = (0.5, len(values) + 0.5, len(values) + 0.5, 0.5)
            shown = axes[1].imshow(errors, cmap="Greens_r", vmin=0, vmax=31.75, extent=extent)
            axes[1].set(xlabel="residue", ylabel="in the frame of", title=f"pTM {prediction.predicted_tm:.2f}")
            figure.colorbar(shown, ax=axes[1], label="expected error, ångströms")


def page_of(prediction, picture) -> str:
    """A page that needs nothing else, with a picture's bytes in it."""
    structure = prediction.structure
    facts = {"residues": f"{len(structure.sequence):,}", "mean pLDDT": f"{prediction.plddt:.1f}"}
    if prediction.predicted_tm is not None:
        facts["predicted TM-score"] = f"{prediction.predicted_tm:.2f}"
    facts |= {"recycles": str(prediction.num_recycles), "seed": str(prediction.seed)}
    rows = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in facts.items())
    key = "".join(f'<span style="background:{colour}"></span>{words} ({low}+)' for low, colour, words in COLOURS)
    # what ends a script may not stand in one
    text = json.dumps(structure_files.as_pdb(structure)).replace("</", "<\\/")
    return PAGE.format(
        title=html.escape(structure.name), rows=rows, key=key, picture=base64.b64encode(picture).decode(),
        viewer=VIEWER.read_text(encoding="utf-8"), structure=text, colours=json.dumps([row[:2] for row in COLOURS]),
        few=str(len(structure.sequence) < FEW).lower(),
    )  # fmt: skip
