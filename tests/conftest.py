"""What holds for every test: the data sets it sees, where it may write, and what it may not leave behind."""

import logging
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

import fresh_processes
import pytest

import kzoo  # noqa: F401 before Keras, so that the tests run with the kernels that users have

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run the tests that take more than half a minute")


def pytest_configure(config):
    """Lets the tests see the prepared data sets through links in a folder of their own, where they may prepare more.

    In the folder itself `digits` would be prepared by the first test that asks for it, and found there by the rest.
    """
    given = os.environ.get("TFDS_DATA_DIR")
    config.tfds_given = pathlib.Path(given).resolve() if given else None
    config.tfds_links = pathlib.Path(tempfile.mkdtemp(prefix="kzoo-tests-"))
    os.environ["TFDS_DATA_DIR"] = str(config.tfds_links)
    for folder in config.tfds_given.iterdir() if given and config.tfds_given.is_dir() else ():
        if folder.is_dir() and folder.name != "digits":
            (config.tfds_links / folder.name).symlink_to(folder.resolve(), target_is_directory=True)


def pytest_unconfigure(config):
    os.environ.pop("TFDS_DATA_DIR")
    if config.tfds_given:
        os.environ["TFDS_DATA_DIR"] = str(config.tfds_given)  # processes that pytest-xdist starts inherit it
    shutil.rmtree(config.tfds_links)


@pytest.fixture(autouse=True)
def kzoos_warnings_are_heard(caplog):
    """Whatever a library that an earlier test used has done to logging, pytest's own handlers included."""
    logging.disable(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    logger = logging.getLogger("kzoo")
    logger.disabled, logger.propagate = False, True
    logger.setLevel(logging.NOTSET)
    for one in (logger, logging.root, caplog.handler):
        one.filters.clear()
    caplog.handler.setLevel(logging.NOTSET)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Says beside a failure how logging stood, since a library that changes it fails tests elsewhere."""
    report = yield
    if report.failed and "caplog" in getattr(item, "fixturenames", ()):
        logger, root = logging.getLogger("kzoo"), logging.root
        facts = {
            "enabled": logger.isEnabledFor(logging.WARNING), "disabled": logger.disabled, "level": logger.level,
            "filters": logger.filters, "handlers": logger.handlers, "propagates": logger.propagate,
            "root level": root.level, "root filters": root.filters,
            "root handlers": [(type(one).__name__, one.level, one.filters) for one in root.handlers],
        }  # fmt: skip
        report.sections.append(("state of logging", "\n".join(f"{key}: {value}" for key, value in facts.items())))
    return report


@pytest.fixture(scope="session", autouse=True)
def prepared_data_stays_as_it_is(pytestconfig):
    """The suite writes nothing into the folder that TFDS_DATA_DIR names."""

    def listed():
        return {path: path.lstat().st_mtime_ns for path in (pytestconfig.tfds_given or nowhere).rglob("*")}

    nowhere = pytestconfig.tfds_links / "nowhere"
    before = listed()
    yield
    assert listed() == before, "a test wrote into TFDS_DATA_DIR"


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))


@pytest.fixture(autouse=True)
def same_threads():
    """No test leaves behind a thread of kzoo's, a changed dtype policy, variables that Keras would allocate later, or
    the determinism that runs turn on, under which TensorFlow compiles nothing.
    """
    import keras
    from keras.src.backend.common import global_state

    end_determinism()  # which a fixture of the module may have turned on
    policy = keras.config.dtype_policy().name
    before = {thread for thread in threading.enumerate() if not thread.daemon}
    yield
    assert keras.config.dtype_policy().name == policy
    global_state.set_global_attribute("uninitialized_variables", [])
    end_determinism()
    assert {thread for thread in threading.enumerate() if not thread.daemon} <= before


def end_determinism():
    """Lets TensorFlow use every operation and XLA again."""
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework import config

        config.disable_op_determinism()


@pytest.fixture
def run_kzoo():
    """Runs the command line in a process: `run_kzoo("list", "--json")` gives the completed one.

    It is a fork of one that has imported TensorFlow; with `alone`, Python starts it as for a user.
    """

    def run(*arguments, timeout=120, alone=False, **environment):
        if not alone:
            return fresh_processes.run(*arguments, module="kzoo", timeout=timeout, **environment)
        command, environment = [sys.executable, "-m", "kzoo", *map(str, arguments)], {**os.environ, **environment}
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=environment)

    return run
