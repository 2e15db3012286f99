"""What a task asks of the outputs of a model."""


def require_outputs(task, model, rank, least, most=None, hint="") -> None:
    """ValueError unless every output has so many axes, batch included, and so many numbers in the last one."""
    wanted = ", ".join([*("batch", "length")[: rank - 1], str(least) if most == least else f"{least} or more"])
    for output in model.outputs:
        count = output.shape[-1] or 0
        if isinstance(model.output, dict) or len(output.shape) != rank or not least <= count <= (most or count):
            raise ValueError(f"{model.name} gives {_told(model)}; {task.words} needs ({wanted}){hint}")


def require_named_outputs(task, model, *names) -> None:
    """ValueError unless a model gives a dict of these outputs."""
    if not isinstance(model.output, dict) or set(model.output) != {*names}:
        raise ValueError(f"{model.name} gives {_told(model)}; {task.words} needs a dict of {' and '.join(names)}")


def _told(model):
    return ", ".join(f"{name} {tuple(one.shape)}" for name, one in zip(model.output_names, model.outputs, strict=True))
