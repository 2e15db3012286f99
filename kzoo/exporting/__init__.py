"""Leaving Keras: exports that are written beside, reloaded, compared with the model, and only then renamed."""

from kzoo.exporting.exports import export

__all__ = ["export"]
