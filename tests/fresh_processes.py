"""Processes of their own for tests, without the five seconds in which each would import TensorFlow and Keras.

They are forked from a process that has imported both, as `kzoo` imports them, and has done nothing else. What a test
says about imports, about another backend or about a server without kzoo needs a process that Python starts.
"""

import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from unittest import mock

from kzoo.support import forks

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["kzoo", "tensorflow", "keras"])


def run(*arguments, code=None, module=None, cwd=None, timeout=300, **environment) -> subprocess.CompletedProcess:
    """What `python -c code arguments`, or `python -m module arguments`, printed and returned.

    Args:
        environment: variables beside those of this process; none that matters before TensorFlow is imported.

    Raises `subprocess.TimeoutExpired` after `timeout` seconds.
    """
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        raise ValueError("processes are forked from one that has imported TensorFlow")
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder, name) for name in ("out", "err")]
        program = (code, module, [str(argument) for argument in arguments])
        surroundings = (str(cwd or pathlib.Path.cwd()), {**os.environ, **environment})
        process = CONTEXT.Process(target=_run, args=(*program, *surroundings, *map(str, paths)))
        with mock.patch.dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"):  # as the command line has it
            forkserver.ensure_running()
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout)
        texts = [path.read_text(encoding="utf-8") if path.exists() else "" for path in paths]
    return subprocess.CompletedProcess(arguments, process.exitcode, *texts)


def _run(code, module, arguments, cwd, environment, out, err):
    """What happens in the new process, whose streams are files from here on."""
    for path, stream in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, stream)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    forks._started.clear()  # TensorFlow was imported and not started, so that no thread is missing here
    sys.argv = ["-c" if module is None else module, *arguments]
    if module:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
