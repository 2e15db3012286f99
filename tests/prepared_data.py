"""Tests that need a data set which somebody has prepared."""

import os
import pathlib

import pytest

PREPARED = pathlib.Path(os.environ["TFDS_DATA_DIR"])  # as conftest.py sets it


def is_prepared(name):
    return any(PREPARED.glob(f"{name}/*/dataset_info.json"))


def needs(name):
    """Skips a test where the data set is not at hand."""
    return pytest.mark.skipif(not is_prepared(name), reason=f"TFDS_DATA_DIR holds no prepared {name}")
