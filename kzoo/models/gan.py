"""GAN: a generator of pictures and a discriminator that learn against each other.

Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, section 5: fully connected, for pictures of digits.
"""

TASK = "adversarial_generation"
AGREES_WITH = "the paper's form in torch"
PARTS = {"generator": {"model": "gan_generator"}, "discriminator": {"model": "gan_discriminator"}}
VARIANTS = {"gan": {}}
