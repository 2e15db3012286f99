"""Proteins from files to a structure in a file: reading, learning, folding, writing."""

import gemmi
import keras
import numpy as np
import pytest
from golden_files import golden

import kzoo
from kzoo.data.proteins import structure_files, templates
from kzoo.data.proteins.protein_sequences import make
from kzoo.layers.residues import ATOM37
from kzoo.tasks.protein_structure import chains, confidence, folding, learning, memory_needs, requests, similarity

TINY = {
    "num_blocks": 1, "num_extra_blocks": 1, "num_layers": 1, "msa_dim": 8, "extra_dim": 8,
    "pair_dim": 8, "single_dim": 8, "num_heads": (2, 2, 2), "outer_dim": 4, "hidden_dim": 8, "aligned_error": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return kzoo.build("alphafold_small", **TINY)


def two_chains(path, models=1, **changes):
    """A file of two chains with what structures have: selenomethionine, a ligand, alternatives, an insertion code."""
    made = gemmi.Structure()
    for number in range(models):
        model = gemmi.Model(number + 1)
        for name in "AB":
            chain = gemmi.Chain(name)
            for place, (kind, number_of) in enumerate((("ALA", "1"), ("MSE", "2"), ("ARG", "2A"), ("GLY", "5"))):
                residue = gemmi.Residue()
                residue.name, residue.seqid = kind, gemmi.SeqId(number_of)
                for index, atom_name in enumerate(
                    ("N", "CA", "C", "O", *{"MSE": ("SE",), "ARG": ("CD", "NH1", "NH2")}.get(kind, ()))
                ):
                    if (kind, atom_name) == ("ALA", "O"):
                        continue
                    atom = gemmi.Atom()
                    atom.name, atom.element, atom.occ = (
                        atom_name,
                        gemmi.Element(atom_name[:2] if atom_name == "SE" else atom_name[0]),
                        1.0,
                    )
                    atom.pos = gemmi.Position(3.8 * place, index, 10.0 * (name == "B"))
                    if (kind, atom_name) == ("GLY", "CA"):
                        atom.altloc, atom.occ = "A", 0.3
                        other = atom.clone()
                        other.altloc, other.occ, other.pos = "B", 0.7, gemmi.Position(1, 2, 3)
                        residue.add_atom(other)
                    residue.add_atom(atom)
                chain.add_residue(residue)
            model.add_chain(chain)
        made.add_model(model)
    made.setup_entities()
    made.write_pdb(str(path))
    return path


def test_what_structures_have_is_read(tmp_path):
    found = structure_files.read(two_chains(tmp_path / "x.pdb"), chain="A")
    assert found.sequence == "AMRG" and found.name == "x"
    assert found.residue_index.tolist() == [0, 1, 2, 5]  # 2A comes after 2, and 3 and 4 are missing
    place = {name: ATOM37.index(name) for name in ("CA", "O", "SD", "NH1", "NH2")}
    assert found.mask[0, place["O"]] == 0 and not found.positions[0, place["O"]].any()
    assert found.mask[1, place["SD"]] == 1
    np.testing.assert_allclose(found.positions[3, place["CA"]], [1, 2, 3])
    assert found.positions[2, place["NH1"], 1] < found.positions[2, place["NH2"], 1]
    assert [each.name for each in structure_files.every_chain(tmp_path / "x.pdb")] == ["x_A", "x_B"]


def test_what_is_not_clear_is_refused(tmp_path):
    path = two_chains(tmp_path / "x.pdb", models=2)
    cases = {
        "holds 2 models": {}, "holds 2 chains": {"model": 1}, "has no model 3": {"model": 3},
        "unknown chain .C.; wanted A, B": {"model": 1, "chain": "C"},
    }  # fmt: skip
    for wanted, how in cases.items():
        with pytest.raises(ValueError, match=wanted):
            structure_files.read(path, **how)
    (tmp_path / "empty.pdb").write_text("REMARK nothing\n")
    (tmp_path / "bad.cif").write_text("loop_\n_atom_site.id 1\n")
    for name, wanted in (
        ("empty.pdb", "no atoms|no chain"),
        ("bad.cif", "bad.cif"),
        ("none.pdb", "no file"),
        ("x.fa", "read from"),
    ):
        with pytest.raises(ValueError, match=wanted):
            structure_files.read(tmp_path / name)


@pytest.mark.parametrize("suffix", [".cif", ".pdb"])
def test_what_is_written_is_read_again(suffix, tmp_path):
    one = structure_files.read(two_chains(tmp_path / "x.pdb"), chain="B")
    confident = structure_files.Structure(
        **{**vars(one), "confidence": np.array([91, 50, 12.5, 0], "float32"), "residue_index": np.arange(4)}
    )
    structure_files.write(tmp_path / f"y{suffix}", confident)
    again = structure_files.read(tmp_path / f"y{suffix}")
    assert again.sequence == one.sequence
    np.testing.assert_array_equal(again.mask, one.mask)
    np.testing.assert_allclose(again.positions, one.positions, atol=1e-3)
    factors = [residue[0].b_iso for residue in gemmi.read_structure(str(tmp_path / f"y{suffix}"))[0][0]]
    assert factors == [91, 50, 12.5, 0]
    far = structure_files.Structure(**{**vars(one), "positions": one.positions + 2e4})
    with pytest.raises(ValueError, match="write .cif"):
        structure_files.write(tmp_path / "far.pdb", far)


def test_likeness_is_that_of_biotite_and_tm_align():
    tensors, *_ = golden("protein_scores")
    true, predicted, mask = tensors["true"], tensors["predicted"], tensors["mask"]
    known = mask[:, 1] > 0
    residues = np.broadcast_to(np.arange(len(true))[:, None], mask.shape)[mask > 0]
    ca = similarity.lddt(predicted[None, :, 1], true[None, :, 1], mask[None, :, 1])
    every = similarity.lddt(
        predicted[mask > 0][None], true[mask > 0][None], np.ones((1, len(residues)), "float32"), groups=residues[None]
    )
    np.testing.assert_allclose(ca, tensors["lddt_ca"], atol=1e-5)
    np.testing.assert_allclose(every, tensors["lddt_all"], atol=1e-5)
    assert abs(similarity.tm_score(predicted[known, 1], true[known, 1]) - tensors["tm_score"][0]) < 2e-3
    moved = similarity.superposed(predicted[known, 1], true[known, 1])
    np.testing.assert_allclose(np.square(moved - true[known, 1]).sum(-1).mean() ** 0.5, tensors["rmsd"][0], rtol=1e-4)
    turned = true[known, 1] @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]) + 5
    assert similarity.tm_score(turned, true[known, 1]) > 0.999 and similarity.gdt_ts(turned, true[known, 1]) == 1
    assert similarity.tm_score(-true[known, 1], true[known, 1]) < 0.6  # a mirror image is another fold


def test_confidence_is_the_references():
    tensors, *_ = golden("protein_scores")
    np.testing.assert_allclose(confidence.plddt(tensors["plddt_logits"]), tensors["plddt"], rtol=1e-5)
    np.testing.assert_allclose(confidence.aligned_errors(tensors["pae_logits"]), tensors["pae"], rtol=1e-5)
    assert abs(confidence.predicted_tm(tensors["pae_logits"]) - tensors["ptm"][0]) < 1e-5


def test_relatives_stand_for_residues_of_the_chain():
    protein = make("query", "MKWVTFISLLGG")
    whole = chains.helix(15, "relative", "AAMKWVTFISLLGGW"[:15])
    places = templates.aligned(protein, whole)
    assert places.tolist() == list(range(2, 14))
    found = templates.features(protein, [(whole, places)])
    np.testing.assert_array_equal(found["template_all_atom_positions"][0], whole.positions[2:14])
    assert found["template_aatype"][0].tolist() == protein.ids.tolist()
    np.testing.assert_array_equal(found["template_pseudo_beta"][0, -1], whole.positions[13, 1])  # glycine


def test_backbones_have_an_ideal_beta_carbon():
    points, known = chains.pseudo_beta(chains.helix(5, sequence="AAGAX"))
    structure = chains.helix(5)
    assert known.all()
    bond = np.linalg.norm(points - structure.positions[:, 1], axis=-1)
    assert np.abs(bond[[0, 1, 3, 4]] - 1.53).max() < 0.1 and bond[2] == 0


def test_training_is_a_function_of_seed_epoch_and_example(model):
    data = kzoo.data.load("synthetic", model, num_examples=4, batch_size=2, max_length=16)
    first, again, later = (next(iter(data.train.epoch(epoch))) for epoch in (0, 0, 1))
    for name in ("msa_feat", "aatype"):
        np.testing.assert_array_equal(first[0][name], again[0][name])
    assert not np.array_equal(first[0]["msa_feat"], later[0]["msa_feat"])
    assert len({*first[0]["num_recycles"].numpy()}) == 1
    seen = {int(x["num_recycles"][0]) for epoch in range(12) for x, _ in data.train.epoch(epoch)}
    assert seen == {0, 1, 2, 3}
    whole, _ = next(iter(data.validation.dataset if data.validation else data.test.dataset))
    assert whole["num_recycles"].numpy().tolist()[0] == 3 and whole["aatype"].shape[1] > 16


@pytest.mark.slow
def test_training_lowers_the_loss(tmp_path):
    keras.utils.set_random_seed(0)
    model = kzoo.build("alphafold_small", **TINY)
    data = kzoo.data.load("synthetic", model, num_examples=16, batch_size=4, max_length=16)
    before = kzoo.evaluate(model, data)["loss"]
    how = {"epochs": 6, "batch_size": 4, "learning_rate": 5e-3, "ema": None}  # averages of few steps are the beginning
    run = kzoo.fit(model, data, tmp_path / "run", progress=False, tensorboard=False, **how)
    losses = [row["loss"] for row in run.history]
    # 24 steps are few, and the number of recycles is drawn anew for each
    assert np.mean(losses[3:]) < 0.97 * np.mean(losses[:3]), losses
    again = kzoo.load(tmp_path / "run")
    assert kzoo.evaluate(again, data)["loss"] < before


def test_known_chains_are_scored(model):
    data = kzoo.data.load("synthetic", model, num_examples=4, batch_size=2, max_length=16)
    numbers = kzoo.evaluate(model, data)
    assert {"loss", "lddt", "distogram_loss", "tm_score", "gdt_ts", "lddt_all_atoms"} <= {*numbers}
    rows = kzoo.tasks.of(model).rows_of_data(model, data, "test", 2)
    assert [row["name"] for row in rows] == ["test_0", "test_1"] and 0 <= rows[0]["tm_score"] <= 1


def test_a_step_of_the_runner_recycles_without_gradients(model):
    """The loss after a recycle is that of the network fed by hand, and its gradient that of the last iteration."""
    import tensorflow as tf

    runner = learning.Runner(model)
    data = kzoo.data.load("synthetic", model, num_examples=2, batch_size=2, max_length=12)
    x, y = next(iter(data.train.epoch(0)))
    x = {**x, "num_recycles": tf.constant([1, 1])}
    given = {name: value for name, value in x.items() if name != "num_recycles"}
    previous = folding.recycling.first(model, 2, 12)
    previous = folding.recycling.found(model({**given, **previous}, training=False))
    with tf.GradientTape(persistent=True) as tape:
        loss = runner.compute_loss(x, y, runner(x, training=False))
        by_hand = runner.compute_loss(x, y, model({**given, **previous}, training=False))
    np.testing.assert_allclose(loss, by_hand, rtol=1e-5)
    weight = model.get_layer("evoformer.preprocess_1d").kernel.value
    np.testing.assert_allclose(tape.gradient(loss, weight), tape.gradient(by_hand, weight), rtol=1e-4, atol=1e-6)


def test_chains_are_folded_and_written(model, tmp_path):
    (tmp_path / "p.fasta").write_text(">one\nMKVLAXUWYH\n")
    (tmp_path / "p.a3m").write_text(">one\nMKVLAXUWYH\n>two\nMKV--XCWYH\n")
    seen = []
    how = folding.How(msa=[tmp_path / "p.a3m"], recycles=2, seeds=2, output=tmp_path / "out.cif",
                      progress=lambda *told: seen.append(told[:2]))  # fmt: skip
    (row,) = requests.rows_of_files(model, [tmp_path / "p.fasta"], how)
    assert seen == [(1, 3), (2, 3), (3, 3)] * 2 and row["recycles"] == 2
    written = structure_files.read(tmp_path / "out.cif")
    assert written.sequence == "MKVLAXXWYH" and written.mask[0].sum() == 8  # methionine
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"
    page = (tmp_path / "out.html").read_text()
    assert "$3Dmol.createViewer" in page and "pLDDT" in page and 'src="http' not in page
    again = requests.rows_of_files(model, [tmp_path / "p.fasta"], how)[0]
    assert again["plddt"] == row["plddt"] and 0 <= row["predicted_tm"] <= 1
    early = folding.fold(model, make("one", "MKVLAXUWYH"), folding.How(recycles=3, tolerance=1e6))
    assert early.num_recycles == 1
    (single,) = kzoo.predict(model, ["W"])
    assert single.structure.positions.shape == (1, 37, 3)


def test_bad_requests_are_refused_before_the_work(model, tmp_path, monkeypatch):
    (tmp_path / "two.fasta").write_text(">a\nMKV\n>b\nMK\n")
    (tmp_path / "x.a3m").write_text(">a\nMKV\n")
    cases = {
        "say which is meant": {"output": tmp_path / "o.cif"}, "an alignment is of one": {"msa": [tmp_path / "x.a3m"]},
        "no folder": {"output": tmp_path / "none" / "o.cif", "sequence": "a"},
        "reads no templates": {"template": ["x.cif"], "sequence": "a"}, "unknown sequence .A.": {"sequence": "A"},
    }  # fmt: skip
    for wanted, how in cases.items():
        with pytest.raises(ValueError, match=wanted):
            requests.rows_of_files(model, [tmp_path / "two.fasta"], folding.How(**how))
    for how, wanted in (({"tolerance": -1}, "tolerance"), ({"recycles": -1}, "recycles"), ({"seeds": 0}, "seeds")):
        with pytest.raises(ValueError, match=wanted):
            folding.How(**how)
    monkeypatch.setattr(memory_needs, "free", lambda: 2**28)
    with pytest.raises(ValueError, match=r"2,700 residues and 2 rows need about [\d.]+ GB .* 0.2 GB are free; take"):
        folding.fold(model, make("long", "M" * 2700))
    with pytest.raises(ValueError, match="for models of proteins"):
        kzoo.tasks.of(kzoo.build("perceptron")).folding_by(msa=["x"])


def test_folders_of_structures_are_learned_from(model, tmp_path):
    folder = tmp_path / "known"
    folder.mkdir()
    two_chains(folder / "x.pdb")
    (folder / "x_A.a3m").write_text(">x_A\nAMRG\n>other\nAMKG\n")
    data = kzoo.data.load(folder, model, batch_size=2, validation_fraction=0)
    x, y = next(iter(data.train.as_it_is().dataset))
    assert x["msa_feat"].shape == (2, 2, 4, 49) and x["msa_mask"].numpy().sum(axis=(1, 2)).tolist() == [8, 4]
    assert y["sharp"].numpy().tolist() == [0, 0] and y["mask"].shape == (2, 4, 37)
    assert any("2 have no resolution" in note for note in data.notes)
    with pytest.raises(ValueError, match="has no structure"):
        kzoo.data.load(tmp_path, model)


def test_the_command_line_says_what_is_wrong(model, tmp_path, monkeypatch, capsys, caplog):
    from kzoo.__main__ import main

    monkeypatch.setattr("kzoo.cli.entry.open_model", lambda *how: model)  # whose program is compiled already
    (tmp_path / "p.fasta").write_text(">one\nMKVLAXUWYH\n")
    (tmp_path / "q.a3m").write_text(">one\nMKVLAXUWYW\n")

    def run(*words):
        monkeypatch.setattr("sys.argv", ["kzoo", "predict", "tiny", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr()

    status, said = run(tmp_path / "p.fasta", "--msa", tmp_path / "q.a3m", tmp_path / "out.cif")
    assert status == 2 and "residue 10 is W there and H in one" in said.err and "Traceback" not in said.err
    assert not (tmp_path / "out.cif").exists()
    status, said = run(tmp_path / "p.fasta", "--recycles", 0, tmp_path / "out.pdb")
    assert status == 0 and "mean pLDDT" in said.out and "2 of 10 residues are read as X" in caplog.text
    assert (tmp_path / "out.pdb").exists() and (tmp_path / "out.html").exists()


def test_exports_name_outputs_in_their_order(model):
    words = kzoo.tasks.of(model).output_words(model)
    for name, tensor in zip(words, keras.tree.flatten(model.output), strict=True):
        assert tensor is model.output[name]
