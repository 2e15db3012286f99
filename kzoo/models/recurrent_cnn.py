"""Recurrent CNN: convolutional layers whose output flows back into them, for image classification.

Liang, Hu 2015, https://openaccess.thecvf.com/content_cvpr_2015/html/Liang_Recurrent_Convolutional_Neural_2015_CVPR_paper.html,
figure 2 and section 3. Layer 1 is a plain convolution, layers 2 to 5 are recurrent ones unrolled for `num_steps` steps
over one set of weights. The paper writes a bias into equation 1; the counts in its table of results (0.67, 1.19, 1.86
million) hold with and without, and without is the default here. It does not say how its 3x3 poolings meet the
edge; padding of 1 halves every size. The names of the layers are ours: there are no published checkpoints.
"""

import keras
from keras import layers

from kzoo.layers.images import image_input, logits_or_features, padded_conv, padded_max_pool
from kzoo.layers.normalization import LocalResponseNormalization

TASK = "image_classification"
INPUTS = {"image": "image"}
AGREES_WITH = "a torch loop"
VARIANTS = {
    "recurrent_cnn_160": {"filters": 160},
    "recurrent_cnn_96": {"filters": 96},
    "recurrent_cnn_128": {"filters": 128},
}
HEADLESS = "feature_extraction"
HEAD = ("fc",)


def recurrent_conv(x, filters, num_steps, use_bias, name) -> keras.KerasTensor:
    """x(t) = g(f(feedforward(u) + recurrent(x(t - 1)))) for t = 0 ... num_steps, x(-1) = 0: equations 1 to 4."""
    size = filters // 8 + 1

    def activate(net_input, step):
        y = layers.ReLU(name=f"{name}.relu{step}")(net_input)
        norm_name = name if step == num_steps else f"{name}.norm{step}"
        return LocalResponseNormalization(size, alpha=1e-3 / size, beta=0.75, k=1.0, name=norm_name)(y)

    feedforward = padded_conv(x, filters, 3, f"{name}.feedforward", use_bias=use_bias)
    recurrent = layers.Conv2D(
        filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}.recurrent"
    )
    x = activate(feedforward, 0)
    for step in range(1, num_steps + 1):
        x = activate(layers.Add(name=f"{name}.add{step}")([feedforward, recurrent(x)]), step)
    return x


def build(
    filters=160,
    num_steps=3,
    use_bias=False,
    dropout=0.5,
    input_shape=(32, 32, 3),
    num_classes=10,
    name="recurrent_cnn_160",
) -> keras.Model:
    """Images (batch, height, width, channels) to logits (batch, num_classes) in float32.

    Height and width may be None. Dropout follows layers 2 to 4, after the pooling where there is one. `num_classes=0`
    returns the features of the global maximum.
    """
    image = image_input(input_shape, 1, name)
    x = layers.ReLU(name="layer1")(padded_conv(image, filters, 5, "layer1.conv", use_bias=use_bias))
    x = padded_max_pool(x, "maxpool1")
    for index in (2, 3, 4, 5):
        x = recurrent_conv(x, filters, num_steps, use_bias, f"layer{index}")
        if index == 3:
            x = padded_max_pool(x, "maxpool3")
        if index < 5:
            x = layers.Dropout(dropout, name=f"layer{index}.dropout")(x)
    x = layers.GlobalMaxPooling2D(dtype="float32", name="maxpool5")(x)
    if num_classes == 0:
        return keras.Model(image, logits_or_features(x, 0, "fc"), name=name)
    logits = layers.Dense(num_classes, use_bias=use_bias, dtype="float32", name="fc")(x)
    return keras.Model(image, logits, name=name)
