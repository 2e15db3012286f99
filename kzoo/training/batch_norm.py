"""Batch norm of training steps in one operation of TensorFlow, where Keras composes it of moments and scaling.

Ioffe, Szegedy 2015, https://arxiv.org/abs/1502.03167, algorithm 1. The operation reads a layer's input once for mean
and variance and once to normalise it, and its gradient is another one; of the composed form every term and its
gradient is a pass through memory. The numbers are the same but for the order of sums.
"""

import contextlib

from keras import layers, ops


def fusible(model):
    """The batch norms of a model that can train in one operation: over the last axis of images, in float32 inside."""
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


@contextlib.contextmanager
def fused(model):
    """While entered, training steps of a Keras model on TensorFlow fuse its batch norms.

    A step that was traced inside stays fused. Layers, variables and what a saved model holds are as before.
    """
    fusing = fusible(model)
    for layer in fusing:
        layer.call = _fused_call(layer)
    try:
        yield
    finally:
        for layer in fusing:
            del layer.call  # the class's own shows again


def _fused_call(layer):
    """What `layer.call` does, with one operation for a training step and by itself for everything else."""
    composed = layer.call

    def call(inputs, training=None, mask=None):
        if not training or not layer.trainable or mask is not None:
            return composed(inputs, training=training, mask=mask)
        return _normalize(layer, inputs)

    return call


def _normalize(layer, inputs):
    """Normalises a batch (batch, height, width, channels) by its own statistics and moves the layer's towards them."""
    import tensorflow as tf

    x = ops.cast(inputs, "float32")  # as Keras does, since half precision overflows
    num_channels = layer.moving_mean.shape[0]
    scale = ops.convert_to_tensor(layer.gamma) if layer.scale else tf.ones(num_channels)
    offset = ops.convert_to_tensor(layer.beta) if layer.center else tf.zeros(num_channels)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=offset, mean=[], variance=[], epsilon=layer.epsilon, is_training=True
    )
    # The operation gives the variance of a sample, with n - 1; Keras keeps that of the batch.
    num_values = tf.size(x, out_type=tf.int64) // num_channels
    variance *= tf.cast(num_values - 1, "float32") / tf.cast(num_values, "float32")
    for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + now * (1.0 - layer.momentum))
    return ops.cast(outputs, layer.compute_dtype)
