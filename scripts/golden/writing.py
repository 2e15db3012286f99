"""What the writers of golden files share: where the files stand, how one is written, the way back, the command line."""

import argparse
import pathlib
import sys
import tempfile

import numpy as np
import safetensors.numpy

TESTS = pathlib.Path(__file__).parents[2] / "tests"
GOLDEN = TESTS / "golden"
sys.path.insert(0, str(TESTS))  # for seeded_weights, which both sides of a comparison draw from


def write(name, tensors, **metadata):
    """Writes tests/golden/NAME.safetensors; `metadata` says which versions made it."""
    path = GOLDEN / f"{name}.safetensors"
    tensors = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    safetensors.numpy.save_file(tensors, path, metadata or None)
    path.chmod(0o644)
    print(f"{path}: {path.stat().st_size:,} bytes")


def arrays_of(module):
    """The tensors of a torch module by name, as arrays."""
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


def load_drawn(module, rename=lambda name: name):
    """Drawn weights into a torch module, by the names that kzoo has for its tensors; their shapes by these names."""
    import torch
    from seeded_weights import draw_weights

    theirs = {rename(name): name for name in shapes_of(module)}
    shapes = {name: shapes_of(module)[their] for name, their in theirs.items()}
    drawn = {theirs[name]: torch.from_numpy(value) for name, value in draw_weights(shapes).items()}
    missing, unexpected = module.load_state_dict(drawn, strict=False)
    if unexpected or not all(key.endswith("_tracked") for key in missing):
        raise SystemExit(f"missing {missing}, unexpected {unexpected}")
    return shapes


def shapes_of(module):
    return {key: tuple(value.shape) for key, value in module.state_dict().items() if not key.endswith("_tracked")}


def save_drawn_model(model, path):
    """The checkpoint that kzoo writes for a model with drawn weights."""
    from seeded_weights import load_drawn_weights

    import kzoo

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        load_drawn_weights(model, pathlib.Path(folder))
    kzoo.save_weights(model, path)
    print(f"wrote {path}", flush=True)


def load_strictly(module, path):
    """Puts a checkpoint into a torch module; an error if a tensor is missing, left over or of another shape."""
    import safetensors.torch

    module.load_state_dict(safetensors.torch.load_file(path), strict=True)
    return module


def must_agree(what, ours, reference):
    """SystemExit unless the greatest difference is at most 1e-5 of the reference's scale."""
    difference = np.abs(ours - reference).max() / np.abs(reference).max()
    print(f"{what}: nothing missing, nothing unexpected; largest difference {difference:.1e} of the scale")
    if not difference <= 1e-5:
        raise SystemExit(1)


def main(description, make, **ways):
    """Calls `make()`, or the function of the way that the command line names with its operands.

    A way is (function, operands): `check_back=(check_back, ("NAME", "FILE"))` is `--check-back NAME FILE`. A last
    operand in brackets may come any number of times.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_mutually_exclusive_group()
    for way, (_, operands) in ways.items():
        count = "+" if operands[-1].startswith("[") else len(operands)
        metavar = tuple(operand.strip("[]") for operand in operands)
        chosen.add_argument(f"--{way.replace('_', '-')}", nargs=count, metavar=metavar)
    given = vars(parser.parse_args())
    for way, (function, _) in ways.items():
        if given[way]:
            return function(*given[way])
    return make()
