"""Where a training step's time goes: kzoo's operations beside torch's, for one work of peers.py.

    python benchmarks/step_profile.py                       # resnet50 with a batch of 8; torch where it is installed
    python benchmarks/step_profile.py --work lstm --batch-size 32 --output runs/lstm.json

Every side runs in a process of its own: some steps by the clock, then the same number under the profiler of its
library. Operations are put in groups. A time is from an operation's begin to its end, however many threads it has;
operations that run side by side, as TensorFlow's may, add up to more than the clock. Progress goes to stderr; the last
line on stdout is one JSON document, also written to --output. Exit status: 0, 1 if a side failed, 2 for bad arguments.
"""

import pathlib
import sys
import tempfile
import time

import harness
import peer_models

SIDES = ("kzoo", "torch", "torch_channels_last")
TIMEOUT = 1200.0
# The first group one of whose words is in a name takes it, scopes and all; what no group takes is "other".
GROUPS = {
    "kzoo": {
        "optimiser": ("adam/", "ApplyAdam"),
        "convolution, kernel gradients": ("BackpropFilter",),
        "convolution, input gradients": ("BackpropInput",),
        "batch norm": ("batchnorm", "BatchNorm", "moments", "bn", "downsample.1", ".norm", "AddN"),
        "convolution": ("Conv2D",),
        "matrix products": ("MatMul",),
        "ReLU, pooling, padding, additions": ("Relu", "Pool", "Pad", "Slice", "Add"),
    },
    "torch": {
        "optimiser": ("_foreach", "_fused_adam", "addcdiv", "lerp", "aten::sqrt", "addcmul"),
        "convolution, all gradients": ("convolution_backward", "convolution_overrideable_backward"),
        "batch norm": ("batch_norm",),
        "convolution": ("conv",),
        "matrix products": ("mm", "matmul", "linear"),
        "ReLU, pooling, padding, additions": ("relu", "clamp", "threshold", "pool", "aten::add"),
    },
}


def parse(arguments):
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--work", choices=peer_models.WORKS, default="resnet50", help="default resnet50")
    parser.add_argument("--batch-size", type=harness.positive(int), help="default that of the work's training step")
    parser.add_argument("--steps", type=harness.positive(int), default=5, help="profiled; default 5")
    parser.add_argument("--output", default=str(harness.ROOT / "benchmarks" / "results" / "step_profile.json"))
    return parser.parse(arguments)


def tensorflow_operations(step, num_steps):
    """`{scope/name:operation: milliseconds a step}` of a TensorFlow step."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(num_steps):
                step()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    found = {}
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name = plane.event_metadata[event.metadata_id].name
            operation = name.rpartition(":")[2]
            if operation != name and "::" not in name and operation.isidentifier():  # what runs them has other names
                found[name] = found.get(name, 0.0) + event.duration_ps / 1e9 / num_steps
    return found


def torch_operations(step, num_steps):
    """`{operation: milliseconds a step}` of a torch step, without what other operations inside of it took."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(num_steps):
            step()
    rows = profiler.key_averages()
    return {row.key: row.self_cpu_time_total / 1e3 / num_steps for row in rows if "::" in row.key}


def grouped(operations, groups):
    """Milliseconds of each group, the largest first, and the ten largest operations that no group took."""
    sums, other = {}, {}
    for name, milliseconds in operations.items():
        found = next((group for group, words in groups.items() if any(word in name for word in words)), "other")
        sums[found] = sums.get(found, 0.0) + milliseconds
        if found == "other":
            kind = name.rpartition(":")[2]
            other[kind] = other.get(kind, 0.0) + milliseconds

    def largest(values, count=None):
        order = sorted(values, key=values.get, reverse=True)[:count]
        return {name: round(values[name], 2) for name in order}

    return {"groups_ms": largest(sums), "other_ms": largest(other, 10)}


def measure(job):
    """One side in this process."""
    library = job["side"].partition("_")[0]
    peer = peer_models.SIDES[job["side"]][0](job["work"], job["folder"])
    inputs = peer_models.make_inputs(job["work"], job["batch_size"])

    def step():
        return peer.train(inputs)

    seconds = []
    for number in range(2 + job["steps"]):
        begin = time.perf_counter()
        step()
        if number >= 2:  # the first ones compile
            seconds.append(time.perf_counter() - begin)
    operations = (torch_operations if library == "torch" else tensorflow_operations)(step, job["steps"])
    return {"step_ms": round(1000 * min(seconds), 2), **grouped(operations, GROUPS[library])}


def main(arguments=None):
    options = parse(arguments)
    batch_size = options.batch_size or peer_models.WORKS[options.work]["train_batch"]
    document = harness.begin("step_profile", work=options.work, batch_size=batch_size, rows=[])
    with tempfile.TemporaryDirectory() as folder:
        measure_sides(document, folder, options.steps)
    return harness.publish(document, pathlib.Path(options.output))


def measure_sides(document, folder, num_steps):
    """Appends a row for every side that can do the work; weights are made in a process without torch."""
    job = {"work": document["work"], "batch_size": document["batch_size"], "folder": folder, "steps": num_steps}
    where = ("tensorflow", "cpu", TIMEOUT)
    prepared = harness.run_child(pathlib.Path(__file__).with_name("peer_side.py"), {**job, "side": "prepare"}, *where)
    if "error" in prepared:
        document["rows"].append({"side": "kzoo", **prepared})
        return
    for side in SIDES:
        _, needs, works = peer_models.SIDES[side]
        if document["work"] not in works or not all(harness.installed(package) for package in needs):
            print(f"{side} is absent: not installed, or not set up for {document['work']}", file=sys.stderr)
            continue
        row = {"side": side, **harness.run_child(__file__, {**job, "side": side}, *where)}
        document["rows"].append(row)
        print(f"{side}: {row.get('error') or row['step_ms']}", file=sys.stderr)
        for name, milliseconds in row.get("groups_ms", {}).items():
            print(f"  {milliseconds:9.1f} ms  {name}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    harness.main_or_job(main, measure)
