"""A model of one's own as one of kzoo's: it gets the card that all verbs read."""

import keras

from kzoo import graph
from kzoo.catalog import Card, Preprocessing, card_of
from kzoo.data import Tokenizer, columns

SCALING = ("Rescaling", "Normalization")


def adopt(model, task, preprocessing=None, tokenizer=None, class_names=None) -> keras.Model:
    """Gives a functional Keras model of one's own a card, so that every verb of kzoo takes it.

    Such a model is saved as a `.keras` file with its card inside, in a folder or on its own, and `kzoo.load` reads it
    back wherever the layers are Keras's or registered.

    Args:
        model: a flat functional model or a Sequential one that is built; inputs are read as kzoo.data.columns says,
            by their documented names (`image`, `token_ids`, `padding_mask`, `segment_ids`), dtypes and ranks.
        task: a name of `kzoo.tasks.names()`, such as "image_classification"; outputs are logits, or end in softmax or
            sigmoid.
        preprocessing: how images become its input, by default scaled to [0, 1]. A model that rescales its input itself
            needs one: `kzoo.Preprocessing(std=1 / 255)` for pixels in 0..255.
        tokenizer: the `kzoo.data.Tokenizer` of its texts, or its path.
        class_names: names of the classes that its outputs stand for.

    Returns the model, a Sequential one as the functional model of the same layers. Raises ValueError or TypeError for a
    model that is no flat graph or was built by kzoo, an unknown task, and outputs that the task cannot learn from.
    """
    from kzoo.tasks import find

    if not isinstance(model, keras.Model):
        raise TypeError(f"adopt takes a keras.Model, got {type(model).__name__}")
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    graph.require_flat(model, "adopt")
    if card_of(model).architecture is not None:
        raise ValueError(f"{model.name} was built by kzoo.build for {card_of(model).task}; pass task= there")
    found = find(task, model.name)
    found.check_suits(model)
    own = [layer.name for layer in model.layers if type(layer).__name__ in SCALING]
    is_image = any(column.kind == "image" for column in columns.inputs_of(model).values())
    if own and is_image and preprocessing is None:
        raise ValueError(
            f"{model.name} scales its input itself ({', '.join(own)}): say what it takes, "
            "preprocessing=kzoo.Preprocessing(std=1 / 255) for 0..255 or kzoo.Preprocessing() for [0, 1]"
        )
    if class_names is not None and len(class_names) != found.num_results(model):
        raise ValueError(f"class_names has {len(class_names)} names; {model.name} gives {found.num_results(model)}")
    if tokenizer is not None and not isinstance(tokenizer, Tokenizer):
        tokenizer = Tokenizer.load(tokenizer)
    names = None if class_names is None else [str(name) for name in class_names]
    model.kzoo = Card(
        model.name, task=task, preprocessing=preprocessing or Preprocessing(), tokenizer=tokenizer, class_names=names
    )
    return model
