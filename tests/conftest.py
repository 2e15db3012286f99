import os
import sys
import threading

import pytest

import kzoo  # noqa: F401 before Keras, so that the tests run with the kernels that users have

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run the tests that take more than half a minute")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))


@pytest.fixture(autouse=True)
def same_threads():
    """No test leaves behind a thread of kzoo's, a changed dtype policy or variables that Keras would allocate later."""
    import keras
    from keras.src.backend.common import global_state

    policy = keras.config.dtype_policy().name
    before = {thread for thread in threading.enumerate() if not thread.daemon}
    yield
    assert keras.config.dtype_policy().name == policy
    global_state.set_global_attribute("uninitialized_variables", [])
    assert {thread for thread in threading.enumerate() if not thread.daemon} <= before


@pytest.fixture
def without_determinism():
    """TensorFlow may use every operation and XLA, before the test and after it, whatever runs turn on."""
    from tensorflow.python.framework import config

    config.disable_op_determinism()
    yield
    config.disable_op_determinism()


@pytest.fixture
def run_kzoo():
    """Runs the command line in a process of its own: `run_kzoo("list", "--json")` gives the completed process."""
    import subprocess

    def run(*arguments, timeout=120, **environment):
        return subprocess.run(
            [sys.executable, "-m", "kzoo", *map(str, arguments)],
            capture_output=True, text=True, timeout=timeout, check=False, env={**os.environ, **environment},
        )  # fmt: skip

    return run
