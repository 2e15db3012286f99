"""Libraries kept from saying more than they should: to standard error, and through the root logger."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silent_stderr() -> Iterator:
    """A context in which nothing that this process writes to standard error is seen."""
    sys.stderr.flush()
    saved, silent = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(silent)


@contextlib.contextmanager
def same_root_logger() -> Iterator:
    """A context after which the root logger has the handlers and the level that it had before.

    `logging.warning` and absl give a root logger without handlers one that stays: kzoo's own warnings, and those of the
    user's program, would be written by it from then on.
    """
    handlers, level = [*logging.root.handlers], logging.root.level
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
