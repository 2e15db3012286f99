"""The column of images."""

from kzoo.data import checks
from kzoo.data.columns.numbers import Numbers


class Image(Numbers):
    """Images (height, width, channels) as uint8 or uint16, or as floats in [0, 1]; sizes may be open."""

    kind = "image"

    def _check_values(self, x):
        if len(self.shape) == 3:
            checks.check_scale(self.label, checks.check_finite(self.label, x))
        return super()._check_values(x)
