"""New layers like given ones: how a rewrite changes a layer without touching the model that it comes from."""

import keras


def like(layer, /, activation=None, **changes) -> keras.Layer:
    """A layer with the config of another but for some changes, not built yet.

    Args:
        activation: its activation function, if it is another; it need not be one that Keras knows by name.
    """
    config = layer.get_config()
    # Its weights will be set, and random numbers would be drawn for nothing.
    config |= {key: "zeros" for key in config if key.endswith("_initializer")} | changes
    if "dtype" in changes and "cell" in config:
        config["cell"]["config"]["dtype"] = changes["dtype"]
    has_activation = "activation" in vars(layer)  # a recurrent layer only shows its cell's
    if has_activation:
        config["activation"] = "linear"
    made = type(layer).from_config(config)
    if has_activation:
        made.activation = activation or layer.activation
    return made


def built_like(layer, input_shape, /, activation=None, weights=None, **changes) -> keras.Layer:
    """`like`, built and with the other's weights, or with these arrays."""
    made = like(layer, activation, **changes)
    made.build(input_shape)
    made.set_weights(layer.get_weights() if weights is None else weights)
    return made
