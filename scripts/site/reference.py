"""Hooks of the site's generator: the pages of the API reference, and links from names of kzoo in the text to them.

A name that kzoo does not have is a warning, which a strict build fails on. Everything is read from source text.
"""

import importlib
import logging
import pathlib
import re

import griffe
from mkdocs.structure.files import File

log = logging.getLogger("mkdocs.plugins.kzoo")
PACKAGE = griffe.load("kzoo", search_paths=[pathlib.Path(__file__).parents[2]], resolve_aliases=True)
INTRODUCTIONS = {
    "kzoo": "What `import kzoo` gives. Names resolve on first use, so the import loads neither Keras nor TensorFlow.",
    "kzoo.data": "Data sets as batches in a model's input structure, and the checks they pass.",
    "kzoo.layers": "Layers that own weights or subtle mathematics and serve more than one model.",
}
NAME = re.compile(r"(?<![\[`])`(kzoo(?:\.[A-Za-z_]\w*)+)(\([^`]*\))?`(?!`)")


def _rooms(module):
    """`{public name: where it is defined}` of one of the three public modules."""
    package = PACKAGE if module == "kzoo" else PACKAGE[module.removeprefix("kzoo.")]
    if "ROOMS" not in package.members:
        return {name: f"{module}.{name}" for name in package.exports}
    rooms = importlib.import_module(module).ROOMS  # names that resolve on first use: the import is light
    places = {name: room if room.startswith("kzoo.") else f"{module}.{room}" for name, room in rooms.items()}
    return {name: f"{place}.{name}" for name, place in places.items()}


PUBLIC = {f"{module}.{name}": place for module in INTRODUCTIONS for name, place in _rooms(module).items()}


def _page(module):
    names = sorted((name for name in PUBLIC if name.rpartition(".")[0] == module), key=str.lower)
    entries = [
        f'<a id="{name}"></a>\n\n::: {PUBLIC[name]}\n    options:\n      heading: {name}\n      toc_label: {name}\n'
        for name in names
    ]
    return f"# {module}\n\n{INTRODUCTIONS[module]}\n\n" + "\n".join(entries)


def _file(module):
    return f"reference/{module.rpartition('.')[2]}.md"


def on_files(files, config):
    """Adds a page for each public module."""
    for module in INTRODUCTIONS:
        files.append(File.generated(config, _file(module), content=_page(module)))
    return files


def _exists(name):
    if name in PUBLIC or name in INTRODUCTIONS or name in ("kzoo.__version__", "kzoo.__all__"):
        return True
    try:
        PACKAGE[name.removeprefix("kzoo.")]
    except (KeyError, griffe.AliasResolutionError):
        return False
    return True


def on_page_markdown(markdown, page, config, files):
    """Links `kzoo.name` in running text to the reference; warns of a name that does not exist."""
    if page.file.src_uri.startswith("reference/"):
        return markdown

    def linked(match):
        name, arguments = match[1], match[2] or ""
        if not _exists(name):
            log.warning("%s: kzoo has no %s", page.file.src_uri, name)
        if name not in PUBLIC:
            return match[0]
        return f"[`{name}{arguments}`]({_file(name.rpartition('.')[0])}#{name})"

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.M | re.S)
    return "".join(part if part.startswith("```") else NAME.sub(linked, part) for part in parts)
