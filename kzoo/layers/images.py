"""What image classifiers share: the checked input, convolution and batch norm as torch computes them, the head."""

import keras
from keras import layers


def image_input(input_shape, minimum, model) -> keras.KerasTensor:
    """The input `image` (batch, height, width, channels), checked.

    Args:
        input_shape: (height, width, channels); height and width may be None, for images of any size at run time.
        minimum: the smallest height and width that leave every layer something to compute.
        model: name of the model, for the error.

    Raises ValueError for another number of dimensions, unknown channels or an image below the minimum.
    """
    if len(input_shape) != 3 or input_shape[2] is None:
        raise ValueError(f"{model}: input_shape must be (height, width, channels), channels known, got {input_shape}")
    if any(size is not None and size < minimum for size in input_shape[:2]):
        wanted = f"images of at least {minimum} x {minimum} pixels are needed"
        raise ValueError(f"{model}: input_shape {input_shape} is too small: {wanted}")
    return keras.Input(input_shape, name="image")


def padded_conv(x, filters, kernel_size, name, strides=1, padding=None, **kwargs) -> keras.KerasTensor:
    """Conv2D with torch's symmetric zero padding, by default `kernel_size // 2`."""
    padding = kernel_size // 2 if padding is None else padding
    # Keras's "same" is this padding only for stride 1: for larger strides it pads less, and more at the end.
    same = strides == 1 and 2 * padding + 1 == kernel_size
    if padding and not same:
        x = layers.ZeroPadding2D(padding, name=f"{name}.pad")(x)
    kwargs = {"kernel_initializer": "he_normal", **kwargs}
    return layers.Conv2D(filters, kernel_size, strides, "same" if same else "valid", name=name, **kwargs)(x)


def batch_norm(x, name, **kwargs) -> keras.KerasTensor:
    """Batch normalisation with torch's constants; its momentum of 0.1 is 0.9 in Keras's terms."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name, **kwargs)(x)


def padded_max_pool(x, name) -> keras.KerasTensor:
    """3x3 maximum with stride 2 and padding 1, of values that are not negative."""
    # torch pads with minus infinity. Every window holds a value of x, which is at least 0: zeros give the same maximum.
    x = layers.ZeroPadding2D(1, name=f"{name}.pad")(x)
    return layers.MaxPooling2D(3, 2, name=name)(x)


def flatten_channels_first(x) -> keras.KerasTensor:
    """(batch, height, width, channels) to (batch, channels * height * width), the order of torch's weights."""
    return layers.Flatten(name="flatten")(layers.Permute((3, 1, 2), name="channels_first")(x))


def logits_or_features(x, num_classes, name) -> keras.KerasTensor:
    """Logits (batch, num_classes), or for `num_classes=0` the features that the last layer would see; float32."""
    if num_classes == 0:
        return layers.Activation("linear", dtype="float32", name="features")(x)
    return layers.Dense(num_classes, dtype="float32", name=name)(x)
