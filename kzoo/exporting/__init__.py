"""Leaving Keras: models as SavedModel, LiteRT, ONNX and OpenVINO, each proved equal to the model."""

from kzoo.exporting.exports import export

__all__ = ["export"]
