"""Pictures of which nothing is to be learned but what they look like: of TFDS, and of folders without classes."""

from typing import Any

from kzoo.data import pictures
from kzoo.data.sources import folders, table_files


def load(task, name, model, how) -> Any:
    """The `Data` of a name for a model that reads pictures; labels are left out where there are any.

    Raises ValueError for a table, and for a data set without pictures or with several to an example.
    """
    if table_files.find(name) is not None:
        raise ValueError(f"{name} is a table; {model.name} learns from pictures alone: pass the folder that holds them")
    folder = folders.find(name, has_classes=False)
    if folder is not None:
        parts = folders.survey_without_classes(folder)
        return pictures.from_files(name, folder, parts, None, model, task.target(model), how.options, how.skip_bad)
    builder = task.prepared(name, how)
    found = [key for key, feature in builder.info.features.items() if len(feature.shape or ()) == 3]
    if len(found) != 1:
        told = f"{len(found)} pictures to an example ({', '.join(found)})" if found else "no pictures"
        raise ValueError(f"data set {name!r} has {told}; {model.name} learns from one")
    return pictures.from_tfds(name, builder, (found[0], None), model, task.target(model), how.options)
