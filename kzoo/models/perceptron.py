"""Perceptron: one linear unit on a vector, the first generation of neural networks.

Rosenblatt 1958, https://doi.org/10.1037/h0042519. Rosenblatt's unit fires when its weighted sum passes a threshold and
learns by adding or subtracting the inputs it got wrong. This is the sigmoid form, trained by gradient descent on the
logistic loss like every other model here: the same function class and the same decision (logit > 0), with n + 1
parameters for n inputs. Layer names follow a torch module that holds one `torch.nn.Linear` called `linear`.
"""

import keras
from keras import layers

TASK = "binary_classification"
INPUTS = {"features": "numbers"}
AGREES_WITH = "`torch.nn.Linear`"
VARIANTS = {"perceptron": {}}


def build(num_features=784, name="perceptron") -> keras.Model:
    """Vectors (batch, num_features) to one logit (batch, 1)."""
    features = keras.Input((num_features,), name="features")
    logits = layers.Dense(1, dtype="float32", name="linear")(features)
    return keras.Model(features, logits, name=name)
