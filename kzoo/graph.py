"""Walking flat functional graphs."""

import dataclasses

import keras


@dataclasses.dataclass(frozen=True)
class Call:
    """One node of the graph: a layer or operation, the tensors that entered it and those that left it."""

    operation: object
    inputs: tuple
    outputs: tuple


def calls(model, length=None):
    """Every call of the graph in order, as `Call` rows with symbolic tensors.

    Args:
        length: what an unknown dimension other than the batch becomes, so that shapes are concrete.
    """
    rows = []

    def record(operation, *args, **kwargs):
        outputs = operation(*args, **kwargs)
        tensors = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        rows.append(Call(operation, tuple(tensors), tuple(keras.tree.flatten(outputs))))
        return outputs

    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=(None, *(length if size is None else size for size in tensor.shape[1:])),
            dtype=tensor.dtype,
            name=tensor.name,
        ),
        model.input,
    )
    keras.models.clone_model(model, input_tensors=inputs, clone_function=lambda layer: layer, call_function=record)
    return rows
