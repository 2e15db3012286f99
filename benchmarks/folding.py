"""What small networks of proteins learn on a CPU: one chain by heart, and backbones of 94 chains beside a baseline.

    python benchmarks/folding.py one_chain runs/one_chain     # 1,500 steps on the 51 residues of 1LCD
    python benchmarks/folding.py backbone runs/backbone       # short, on protein_backbone from single sequences
    python benchmarks/folding.py result                       # benchmarks/results/folding.json of both

One chain shows that the loss, the frames and the loop of recycling learn: nothing of it says what proteins do. It is
folded in float32 and with mixed bfloat16. The baseline of the others knows only how far apart two residues are in the
sequence: its distogram is how often each distance occurs at that separation in the training chains, and its structure
an ideal alpha helix. The last line on stdout is one JSON document.
"""

import argparse
import json
import pathlib
import sys

import harness

RESULTS = pathlib.Path(__file__).parent / "results"
SIZES = {
    "num_blocks": 2, "num_layers": 4, "msa_dim": 32, "extra_dim": 16, "pair_dim": 32, "single_dim": 64,
    "hidden_dim": 32, "outer_dim": 8, "num_heads": (4, 4, 4),
}  # fmt: skip
CHAIN, DATA = "1LCD_C", "protein_backbone"
STEPS, BACKBONE_STEPS, PER_EPOCH = 1500, 400, 50
BINS, FARTHEST = 64, 32  # separations beyond it are counted together
HOW = {
    "learning_rate": 2e-3, "warmup_steps": 50, "schedule": "cosine", "ema": None, "tensorboard": False,
    "progress": False, "resume": True, "steps_per_execution": 5,
}  # fmt: skip


def network(**more):
    """A network without dropout, since it is to learn by heart."""
    import keras

    import kzoo

    keras.utils.set_random_seed(0)
    model = kzoo.build("alphafold_small", **SIZES, **more)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    return model


def chains_of(split):
    from kzoo.data.sources import prepared
    from kzoo.tasks.protein_structure import chains

    return chains.from_tfds(prepared.find(DATA), split)


def data_of(model, structures, batch_size, crop):
    """The `Data` of some chains to train on, all of them."""
    from kzoo.data import dataset, token_rows
    from kzoo.tasks.protein_structure import chains

    options = dataset.Options(batch_size=batch_size, validation_fraction=0)
    how = dataset.How(options, token_rows.TextOptions(max_length=crop))
    return chains.of_parts("chains", {"train": (structures, None)}, model, how)


def one_chain(folder):
    """Trains on one chain alone, and says how near it comes."""
    import kzoo

    model = network()
    chain = next(each for each in chains_of("train") if each.name == CHAIN)
    data = data_of(model, [chain] * PER_EPOCH, 1, len(chain.sequence))
    kzoo.fit(model, data, folder, epochs=STEPS // PER_EPOCH, batch_size=1, **HOW)
    found = {"chain": CHAIN, "residues": len(chain.sequence), "parameters": model.count_params(), "steps": STEPS}
    for dtype in ("float32", "mixed_bfloat16"):
        again = network(dtype=dtype)
        again.set_weights(model.get_weights())
        found[dtype] = measured(again, [chain])
    return found


def measured(model, structures):
    from kzoo.tasks.protein_structure import known_chains

    data = data_of(model, structures, 1, len(structures[0].sequence))
    return known_chains.measured(model, data.train)


def backbone(folder):
    """Trains on crops of all chains, beside what separation alone tells."""
    import kzoo

    model = network()
    train, test = chains_of("train"), [each for each in chains_of("test") if len(each.sequence) <= 256]
    data = data_of(model, train, 4, 48)
    epochs = BACKBONE_STEPS // data.train.num_batches
    kzoo.fit(model, data, folder, epochs=epochs, batch_size=4, **HOW)
    found = {"train_chains": len(train), "test_chains": len(test), "steps": epochs * data.train.num_batches}
    return {**found, "network": measured(model, test), "baseline": baseline(train, test)}


def baseline(train, test):
    """The distogram of each separation, and the likeness of an ideal helix."""
    import numpy as np

    from kzoo.tasks.protein_structure import chains, head_losses, similarity

    counts, breaks = np.ones((FARTHEST + 1, BINS)), head_losses.distance_breaks(BINS)
    for chain in train:
        bins, apart, _ = pairs(chain, breaks, chains)
        np.add.at(counts, (apart, bins), 1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    losses, lddts, scores = [], [], []
    for chain in test:
        bins, apart, weight = pairs(chain, breaks, chains)
        losses.append(float((-np.log(shares[apart, bins]) * weight).sum() / weight.sum()))
        helix = chains.helix(len(chain.sequence)).positions[:, 1]
        known = chain.mask[:, 1] > 0
        near = similarity.lddt(helix[None], chain.positions[None, :, 1], chain.mask[None, :, 1])
        lddts.append(float(near[0]))
        scores.append(similarity.tm_score(helix[known], chain.positions[known, 1]))
    names = ("distogram_loss", "lddt", "tm_score")
    return {name: float(np.mean(values)) for name, values in zip(names, (losses, lddts, scores), strict=True)}


def pairs(chain, breaks, chains):
    """The bin of the distance of every pair of residues, how far apart they are in the sequence, and weights."""
    import numpy as np

    points, known = chains.pseudo_beta(chain)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    apart = np.minimum(np.abs(chain.residue_index[:, None] - chain.residue_index[None]), FARTHEST)
    kept = (known[:, None] * known[None]) > 0
    return np.searchsorted(breaks, distance[kept]), apart[kept], np.ones(kept.sum())


def main(arguments=None):
    parser = harness.OneLineParser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("work", choices=("one_chain", "backbone", "result"))
    parser.add_argument("folder", nargs="?", default=None)
    options = parser.parse_args(arguments)
    path = RESULTS / "folding.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    if options.work != "result":
        if options.folder is None:
            parser.error(f"{options.work} needs the folder of its run")
        known[options.work] = {"one_chain": one_chain, "backbone": backbone}[options.work](options.folder)
        path.write_text(json.dumps(known, indent=1) + "\n")
    print(json.dumps(known))


if __name__ == "__main__":
    sys.exit(main())
