"""What the benchmarks share: arguments refused in one line, fresh processes, a description of the machine.

Imports neither Keras nor a backend, and lets a checkout run that is not installed.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import queue
import signal
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
CHOSEN_ONEDNN = os.environ.get(ONEDNN)  # before kzoo, imported below, turns it on for this process and its children

BACKENDS = ("tensorflow", "jax", "torch")
DEVICES = ("cpu", "gpu")
VECTOR_SETS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "sve")
PACKAGES = ("kzoo", "keras", "keras-hub", *BACKENDS, "numpy")


class OneLineParser(argparse.ArgumentParser):
    """A benchmark's arguments, by its docstring; refuses bad ones in one line on stderr, exit status 2."""

    def __init__(self, description):
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.writes_folder = False

    def add_output_folder(self, default):
        self.writes_folder = True
        self.add_argument("--output", default=default, metavar="FOLDER", help=f"default: {default}")

    def parse(self, arguments, check=lambda options: None):
        """The arguments as a namespace, after `check`, which raises ValueError, and a look at where results go."""
        from kzoo.support import atomic

        options = self.parse_args(arguments)
        try:
            check(options)
            if options.output:
                output = pathlib.Path(options.output)
                atomic.require_writable(output if self.writes_folder else output.parent)
        except ValueError as error:
            self.error(error)
        return options

    def error(self, message):
        self.exit(2, f"{self.prog}: {' '.join(str(message).split())}\n")


def positive(kind):
    """An argparse type: a number of `kind` above zero."""

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be a positive {kind.__name__}, got {text!r}")
        return value

    return convert


def check_choices(kind, given, choices):
    """ValueError that names the nearest one for a value that is none of the choices."""
    from kzoo.support.suggest import did_you_mean

    for value in given:
        if value not in choices:
            raise ValueError(f"{did_you_mean(kind, value, choices)} (all: {', '.join(choices)})")


def child_environment(backend, device, is_rival=False):
    """The environment of a process that computes with `backend` on `device` and is quiet about it.

    A rival gets oneDNN as TensorFlow chooses or the caller asked; kzoo's own sides as kzoo turns it on.
    """
    environment = dict(os.environ, KERAS_BACKEND=backend, TF_CPP_MIN_LOG_LEVEL="3", PYTHONWARNINGS="ignore")
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    if is_rival and CHOSEN_ONEDNN is None:
        environment.pop(ONEDNN, None)
    if device == "cpu":
        environment.update(CUDA_VISIBLE_DEVICES="-1", JAX_PLATFORMS="cpu")
    else:
        environment.pop("JAX_PLATFORMS", None)
    return environment


def run_child(script, job, backend, device, timeout, is_rival=False):
    """Runs `script` in a fresh process with `job` as JSON argument; returns the JSON object on its last line.

    What goes wrong comes back as `{"error": one line}`: an exception there, a crash, more than `timeout` seconds.
    """
    command = [sys.executable, str(script), json.dumps(job)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=child_environment(backend, device, is_rival), **pipes) as child:
        try:
            output, noise = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            return {"error": _too_long(timeout)}
        finally:
            child.kill()
    lines = output.strip().splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        return {"error": _ending(child.returncode, noise)}


class Child:
    """A fresh process that runs `script` with `job` as JSON argument and answers in JSON lines, on its CPU.

    Used in a `with` statement, at the end of which the process is stopped.
    """

    def __init__(self, script, job, timeout, is_rival=False, python=sys.executable):
        self.timeout, self.lines = timeout, queue.Queue()
        self.noise = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process; a pipe could fill up
        self.process = subprocess.Popen(
            [str(python), str(script), json.dumps(job)],
            env=child_environment("tensorflow", "cpu", is_rival),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.noise,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def answer(self):
        """The next answer; a crash or more than `timeout` seconds of silence come as `{"error": one line}`."""
        try:
            line = self.lines.get(timeout=self.timeout)
        except queue.Empty:
            return {"error": _too_long(self.timeout)}
        if line:
            return json.loads(line)
        self.lines.put("")  # the end stays the end
        status = self.process.wait()
        self.noise.seek(0)
        return {"error": _ending(status, self.noise.read())}

    def ask(self, question):
        """Sends one JSON line; its answer."""
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, and its answer says how
        return self.answer()

    def close(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.noise):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _too_long(timeout):
    return f"took more than {timeout:g} s and was stopped (--timeout)"


def _ending(status, noise):
    if status < 0:
        return f"killed by {signal.Signals(-status).name}, perhaps for lack of memory"
    last = noise.strip().splitlines()[-1:] or ["no output"]
    return f"exit status {status}: {last[0]}"


def cpu_model():
    """The processor's name."""
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def vector_sets():
    """The processor's instructions that decide the speed of matrix products, where the system names them."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
    return [name for name in VECTOR_SETS if name in flags]


def machine():
    """Processor, cores this process may use, memory, system and how busy it is (load over one minute), for the JSON."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu_model": cpu_model(),
        "vector_sets": vector_sets(),
        "num_cpu_cores": cores,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": load_average(),
    }


def load_average():
    """How many processes wanted a core, averaged over the last minute."""
    return round(os.getloadavg()[0], 2)


def say(text):
    """One line for the person who waits, on standard error."""
    print(text, file=sys.stderr, flush=True)


def begin(benchmark, packages=(), **facts):
    """A benchmark's document before anything is measured: command, machine, versions, `facts`."""
    document = {
        "benchmark": benchmark,
        "command": ["python", *sys.argv],
        "machine": machine(),
        "versions": versions(packages),
        **facts,
        "interrupted": False,
    }
    warn_if_busy(document["machine"])
    return document


@contextlib.contextmanager
def interruptible(document):
    """Ctrl-C ends what runs inside; the document says so, and what was finished is kept."""
    try:
        yield
    except KeyboardInterrupt:
        document["interrupted"] = True
        say("interrupted; writing what was finished")


def main_or_job(main, work):
    """Ends the process with `main()`; or, where a script started itself by `run_child`, with `work` of that job."""
    if len(sys.argv) != 2 or not sys.argv[1].startswith("{"):
        sys.exit(main())
    with contextlib.redirect_stdout(sys.stderr):  # converters print
        found = work(json.loads(sys.argv[1]))
    print(json.dumps(found))


def warn_if_busy(description):
    """Says it when other programs take more than half of the cores of the machine that is about to be measured."""
    load, cores = description["load_average"], description["num_cpu_cores"]
    if load > cores / 2:
        say(f"this machine is busy (load {load:g} on {cores} cores): expect noise, and trust the minimum most")


def installed(package):
    """The version of an installed package, None if it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(more=()):
    """Version of every package that takes part, and of `more`; None where one is not installed."""
    from kzoo import __version__

    return {package: installed(package) for package in (*PACKAGES, *more)} | {"kzoo": __version__}


def store(document, path):
    """Writes a benchmark's JSON document."""
    from kzoo.support import atomic

    with atomic.file(path) as temporary:
        temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")


def store_and_tell(document, path, rows):
    """Writes a benchmark's JSON document, says where in a last line of JSON, and counts the rows that failed."""
    store(document, path)
    failed, stopped = sum("error" in row for row in rows), document.get("interrupted", False)
    facts = {"benchmark": document["benchmark"], "result": str(path), "rows": len(rows), "failed": failed}
    print(json.dumps({**facts, "interrupted": stopped}))
    return failed


def publish(document, path):
    """Writes a benchmark's JSON document, says where in a last line of JSON, and gives the exit status.

    That is 0, 1 if a row failed or nothing was measured, 130 after Ctrl-C.
    """
    failed = store_and_tell(document, path, document["rows"])
    if document["interrupted"]:
        return 130
    return int(not document["rows"] or failed > 0)
