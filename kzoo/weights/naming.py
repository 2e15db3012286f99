"""The names that other families of checkpoints give the tensors of a network, read and written.

`NAMES` of a model file has a table for each family, {name there: name here}. `{}` in the middle of both stands for one
part between dots, at an end for everything, and `name[0]`, `name[1]`, ... are parts of one tensor along its first axis.
A name that is in no row is the same here and there, and one that leads to None is of a tensor that the family lacks.
With `like`, an earlier family, names here are those of that one. The layers are named after the first family.
"""

import itertools
import re

import numpy as np

from kzoo import catalog
from kzoo.support.suggest import did_you_mean

# what wrappers put before every name: torch.compile, DataParallel, Lightning's usual attribute, sentence-transformers
WRAPPERS = ("_orig_mod.", "module.", "model.", "0.auto_model.")
PART = re.compile(r"(.+)\[\d\]")


class Family:
    """The names of one family, `name`, in terms of those of its `parent`, or of this network's if that is None."""

    def __init__(self, name, rows, parent=None):
        self.name, self.parent = name, parent
        self.rows = [(_pattern(there), there, here) for there, here in rows.items()]
        self.reverse = {}  # name here, without its place among parts -> (pattern, [names there])
        for there, here in rows.items():
            if here is not None:
                whole = whole_of(here)
                self.reverse.setdefault(whole, (_pattern(whole), []))[1].append(there)

    def here(self, name) -> str:
        """This network's name of a tensor."""
        found = ((match, here) for pattern, _, here in self.rows if here and (match := pattern.fullmatch(name)))
        name = next((here.format(*match.groups()) for match, here in found), name)
        return self.parent.here(name) if self.parent else name

    def there(self, name) -> list:
        """The family's name of a tensor, or the names of its parts."""
        if self.parent:
            return [each for inner in self.parent.there(name) for each in self._there(inner)]
        return self._there(name)

    def _there(self, name):
        for pattern, names in self.reverse.values():
            if match := pattern.fullmatch(name):
                return [there.format(*match.groups()) for there in names]
        return [name]

    def lacks(self, name) -> bool:
        """Whether the family has no tensor for one of this network's."""
        return any(here is None and any(map(pattern.fullmatch, self.there(name))) for pattern, _, here in self.rows)


def whole_of(name) -> str:
    """A name without its place among the parts of one tensor."""
    match = PART.fullmatch(name)
    return match[1] if match else name


def families_of(model) -> dict[str, Family]:
    """The families whose names a model's weights are known by; none for a model with one family only."""
    found = {}
    for name, table in catalog.literals_of(model).get("NAMES", {}).items():
        rows = {there: here for there, here in table.items() if there != "like"}
        found[name] = Family(name, rows, found.get(table.get("like")))
    return found


def recognise(model, names, is_known) -> tuple:
    """(family or None, the names here in the order of `names`): whichever family leads to the most known names.

    A prefix that a wrapper put before every name is left out. None is the family that the layers are named after.

    Args:
        is_known: `is_known(name here)`, without its place among parts.
    """
    prefixes, families = _prefixes(names), [None, *list(families_of(model).values())[1:]]
    best = None
    for family, length in itertools.product(families, map(len, prefixes)):
        bare = [name[length:] for name in names]
        renamed = bare if family is None else [family.here(name) for name in bare]
        known = sum(is_known(whole_of(name)) for name in renamed)
        if best is None or known > best[0]:
            best = known, family, renamed
        if known == len(names):
            break
    return best[1], best[2]


def _prefixes(names):
    """What wrappers may have put before every name, beginning with nothing."""
    found = [""]
    while names and (more := next((w for w in WRAPPERS if all(n.startswith(found[-1] + w) for n in names)), None)):
        found.append(found[-1] + more)
    return found


def _choose(model, name) -> Family | None:
    """The family named, or that of the weights a model was given; ValueError for one that the model does not have."""
    families = families_of(model)
    if name is not None and name not in families:
        known = did_you_mean("family of names", name, families) if families else "it has one family of names only"
        raise ValueError(f"names={name!r}: {model.name}: {known}")
    return families.get(name or catalog.card_of(model).names)


def written(model, name, tensors) -> dict:
    """Tensors {name here: array} under the names of a family, in its parts.

    The family of the weights that the model was given gives way to the one it starts from where it lacks a tensor of
    the model; a family asked for by name does not, which is a ValueError.
    """
    family = _choose(model, name)
    while family and (lacking := [each for each in tensors if family.lacks(each)]):
        if name is not None:
            others = ", ".join(repr(other) for other in families_of(model) if other != name)
            raise ValueError(
                f"names={name!r} has no {lacking[0]}, which {model.name} has; the other families are {others}"
            )
        family = family.parent
    if family is None:
        return tensors
    found, sides = {}, catalog.literals_of(model).get("CONVOLVED", {}).get(family.name, {})
    for here, array in tensors.items():
        names = family.there(here)
        if here in sides:
            array = array.reshape(len(array), -1, sides[here], sides[here])
        found.update(zip(names, np.split(array, len(names)) if len(names) > 1 else [array], strict=True))
    return found


def _pattern(template):
    """Of a name: `{}` is one part between dots in the middle, and anything at an end."""
    pieces = [re.escape(piece) for piece in template.split("{}")]
    pattern = pieces[0]
    for index, piece in enumerate(pieces[1:], 1):
        is_at_an_end = (index == 1 and not pieces[0]) or (index == len(pieces) - 1 and not piece)
        pattern += (r"(.+)" if is_at_an_end else r"([^.]+)") + piece
    return re.compile(pattern)
