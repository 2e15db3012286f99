"""Batch norm and Adam in one TensorFlow operation each, where Keras composes them of many.

Every term of the composed form is a pass through memory, and so is its gradient. The numbers are the same except for
the order of sums.
"""

import contextlib
from collections.abc import Iterator

import keras
from keras import layers, ops


@contextlib.contextmanager
def fused_steps(model, optimizer) -> Iterator[None]:
    """While entered, training steps of a Keras model on TensorFlow fuse its batch norms and its Adam.

    Gradients must be dense, as within `gradients.summed`.
    A step that was traced inside stays fused. Layers, optimizer, variables and saved models are as before.
    """
    with contextlib.ExitStack() as stack:
        for layer in fusible_norms(model):
            layer.call = _fused_call(layer)
            stack.callback(delattr, layer, "call")  # uncovers the method of the class
        if is_fusible(optimizer):
            optimizer = inner(optimizer)
            optimizer.update_step = _fused_update(optimizer)
            stack.callback(delattr, optimizer, "update_step")
        yield


def fusible_norms(model) -> list:
    """The batch norms of a model that one operation can train: over the last axis of images, in float32 inside."""
    return [
        layer
        for layer in model.layers
        if type(layer) is layers.BatchNormalization
        and layer.built
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
        and layer.variable_dtype == "float32"
        and layer.compute_dtype in ("float32", "bfloat16", "float16")
        and not (layer.renorm or layer.synchronized)
    ]


def is_fusible(optimizer) -> bool:
    """Whether TensorFlow has the update of an optimizer as one operation."""
    optimizer = inner(optimizer)
    return type(optimizer) in (keras.optimizers.Adam, keras.optimizers.AdamW) and not optimizer.amsgrad


def inner(optimizer) -> keras.Optimizer:
    """The optimizer itself, which float16 wraps in one that scales the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _fused_call(layer):
    """What `layer.call` does, with one operation in a training step and composed everywhere else."""
    composed = layer.call

    def call(inputs, training=None, mask=None):
        if not training or not layer.trainable or mask is not None:
            return composed(inputs, training=training, mask=mask)
        return _normalize(layer, inputs)

    return call


def _normalize(layer, inputs):
    """Normalizes a batch (batch, height, width, channels) by its own statistics and moves the layer's towards them.

    Ioffe, Szegedy 2015, https://arxiv.org/abs/1502.03167, algorithm 1.
    """
    import tensorflow as tf

    x = ops.cast(inputs, "float32")  # as Keras does, since half precision overflows
    num_channels = layer.moving_mean.shape[0]
    scale = ops.convert_to_tensor(layer.gamma) if layer.scale else tf.ones(num_channels)
    offset = ops.convert_to_tensor(layer.beta) if layer.center else tf.zeros(num_channels)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=offset, mean=[], variance=[], epsilon=layer.epsilon, is_training=True
    )
    # The operation gives the unbiased variance, divided by n - 1; Keras keeps the one divided by n.
    num_values = tf.size(x, out_type=tf.int64) // num_channels
    variance *= tf.cast(num_values - 1, "float32") / tf.cast(num_values, "float32")
    for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + now * (1.0 - layer.momentum))
    return ops.cast(outputs, layer.compute_dtype)


def _fused_update(optimizer):
    """What `optimizer.update_step` does: Kingma, Ba 2015, https://arxiv.org/abs/1412.6980, end of section 2."""
    import tensorflow as tf

    composed = optimizer.update_step

    def update_step(gradient, variable, learning_rate):
        if tf.distribute.has_strategy():  # which holds several copies of a variable
            composed(gradient, variable, learning_rate)
            return
        index, dtype = optimizer._get_variable_index(variable), variable.dtype
        step = tf.cast(optimizer.iterations + 1, dtype)
        beta_1, beta_2 = (tf.cast(beta, dtype) for beta in (optimizer.beta_1, optimizer.beta_2))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=optimizer._momentums[index].value.handle,
            v=optimizer._velocities[index].value.handle,
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(optimizer.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )

    return update_step
