"""Whether this process is a copy, made by `fork`, of one in which a numerical library had started its threads.

A copy has none of those threads, and would wait for them for ever.
"""

import os
import sys

LIBRARIES = ("tensorflow", "jax")
_started = []  # libraries that were there when this process was copied


def _remember():
    _started[:] = [name for name in LIBRARIES if name in sys.modules]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember)


def check(what) -> None:
    """RuntimeError if this process is such a copy, in which `what` would hang."""
    if _started:
        raise RuntimeError(
            f"{what} would wait for ever: this process was copied (fork) after {_started[0]} had started, whose "
            "threads did not come along; start it with multiprocessing.get_context('spawn')"
        )
