"""Alignments from files and the features that networks read of them, beside DeepMind's."""

import numpy as np
import pytest
import safetensors
from golden_files import GOLDEN

from kzoo.data.proteins import alignments, msa_features, protein_sequences
from kzoo.layers import residues

QUERY = "MKVLAXUWYH"


@pytest.fixture(scope="module")
def reference():
    with safetensors.safe_open(GOLDEN / "protein_features.safetensors", "np") as file:
        return {**{name: file.get_tensor(name) for name in file.keys()}, **file.metadata()}  # noqa: SIM118


def write(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


@pytest.fixture(scope="module")
def alignment(reference, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alignments")
    files = [write(folder, "one.a3m", reference["a3m"]), write(folder, "two.sto", reference["stockholm"])]
    return alignments.read(files, protein_sequences.make("query", QUERY))


def test_letters_have_the_references_numbers(reference):
    assert reference["letters"] == residues.LETTERS


def test_rows_and_deletions_are_the_references(reference, alignment):
    np.testing.assert_array_equal(alignment.rows, reference["rows"])
    np.testing.assert_array_equal(alignment.deletions, reference["deletions"])
    np.testing.assert_array_equal(protein_sequences.make("query", QUERY).ids, reference["aatype"])
    assert "1 more are equal" in alignment.notes[0]


def test_clusters_and_features_are_the_references(reference, alignment):
    np.testing.assert_allclose(msa_features.profile(alignment.rows), reference["profile"], rtol=1e-6)
    centres, extra = reference["centres"], alignment.rows[2:]
    assigned = msa_features.nearest(centres, extra)
    np.testing.assert_array_equal(assigned, reference["extra_cluster_assignment"])
    found = msa_features.summarize(centres, alignment.deletions[:2], extra, alignment.deletions[2:], assigned)
    for name, values in zip(("cluster_profile", "cluster_deletion_mean"), found, strict=True):
        np.testing.assert_allclose(values, reference[name], rtol=1e-6, err_msg=name)


def test_all_features_of_what_is_not_changed(reference, alignment, monkeypatch):
    monkeypatch.setattr(msa_features, "mask", lambda rows, *_: (reference["centres"], rows == 0))

    class InOrder:
        def permutation(self, count):
            return np.arange(count)

    aatype = reference["aatype"]
    found = msa_features.of_alignment(aatype, alignment, InOrder(), 2, 100)
    for name in ("msa_feat", "target_feat", "extra_has_deletion", "extra_deletion_value"):
        np.testing.assert_allclose(found[name], reference[name], rtol=1e-6, atol=1e-7, err_msg=name)
        assert found[name].dtype == np.float32


def test_draws_depend_on_seed_epoch_and_example_alone(alignment):
    aatype = protein_sequences.make("query", QUERY).ids
    first, again, other = (
        msa_features.of_alignment(aatype, alignment, msa_features.generator(0, 3, key), 3, 2) for key in (5, 5, 6)
    )
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["msa_feat"], other["msa_feat"])
    assert first["extra_msa"].shape == (2, 10) and first["msa_feat"].shape == (3, 10, 49)
    np.testing.assert_array_equal(first["true_msa"][0], alignment.rows[0])


def test_letters_are_hidden_in_berts_proportions():
    rows = np.zeros((400, 500), np.int32)
    rows[:, 1] = 21
    columns = msa_features.profile(rows)
    columns[:, 3] = columns[:, 0] = 0.5
    changed, chosen = msa_features.mask(rows, columns, msa_features.generator(0), 0.15)
    assert abs(chosen.mean() - 0.15) < 0.003
    assert (changed[~chosen] == rows[~chosen]).all()
    letters = np.bincount(changed[chosen], minlength=23) / chosen.sum()
    assert abs(letters[22] - 0.7) < 0.01  # MASKED
    assert abs(letters[0] - (0.1 + 0.05 + 0.005)) < 0.01 and abs(letters[3] - 0.055) < 0.005
    assert abs(letters[10] - 0.005) < 0.002 and letters[20] == 0


def test_cropping_and_padding_keep_the_axes_of_residues(alignment):
    features = msa_features.of_alignment(np.zeros(10, np.int32), alignment, msa_features.generator(1), 3, 2)
    part = msa_features.padded(msa_features.cut(features, 4, 3), 5, {"msa": 8, "bert": 8, "true": 8, "extra": 4})
    assert part["msa_feat"].shape == (8, 5, 49) and part["target_feat"].shape == (5, 22)
    assert part["extra_msa"].shape == (4, 5) and part["bert_mask"].shape == (8, 5)
    np.testing.assert_array_equal(part["msa_feat"][:3, :3], features["msa_feat"][:, 4:7])
    np.testing.assert_array_equal(part["extra_msa"][:2, :3], features["extra_msa"][:, 4:7])
    assert part["msa_mask"].sum() == 9 and not part["target_feat"][3:].any()


FASTA = {
    "no name": ("MKV\n", "no name: a FASTA file has a line '>name'"),
    "empty name": (">\nMKV\n", "sequence 1 has no name"),
    "equal names": (">a x\nMK\n>a y\nMV\n", "2 sequences called 'a'"),
    "nothing": ("\n", "is empty"),
    "no letters": (">a\n>b\nMK\n", "a: the sequence is empty"),
    "an alignment": (">a\nMK-V\n", "residue 3 is '-'; pass an alignment as msa"),
    "digits": (">a\nMK1V\n", "residue 3 is '1'; wanted letters"),
}


@pytest.mark.parametrize("case", FASTA)
def test_bad_fasta_is_refused_by_name(case, tmp_path):
    text, wanted = FASTA[case]
    with pytest.raises(ValueError, match=wanted):
        protein_sequences.read(write(tmp_path, "p.fasta", text))


def test_fasta_is_read(tmp_path):
    path = write(tmp_path, "p.fasta", ">one first\nmk v\nBZ\n\n>two\nAAU*\n")
    one, two = protein_sequences.read(path)
    assert (one.name, one.sequence, two.sequence) == ("one", "MKVBZ", "AAU")
    assert one.ids.tolist()[3:] == [20, 20]
    assert one.notes == ["one: 2 of 5 residues are read as X, unknown (1 B, 1 Z)"]
    assert protein_sequences.read_one(path, "two") == two
    for name, wanted in ((None, r"2 sequences \(one, two\)"), ("tow", "did you mean two")):
        with pytest.raises(ValueError, match=wanted):
            protein_sequences.read_one(path, name)
    with pytest.raises(ValueError, match="no file at"):
        protein_sequences.read(tmp_path / "none.fasta")


ROWS = {
    "short": ("x.a3m", ">q\nMKV\n>r\nMKaaa\n", "row 2, 'r', has 2 aligned letters and the query 3"),
    "other": ("x.a3m", ">q\nMAV\n", "residue 2 is A there and K in query"),
    "longer": ("x.a3m", ">q\nMKVV\n", "it has 4 residues and query 3"),
    "sign": ("x.a3m", ">q\nMKV\n>r\nM*V\n", r"row 2, 'r', has '\*'"),
    "columns": ("x.sto", "q MK-V\nr MKV\n", "row 2, 'r', has 3 columns and the first row 4"),
    "words": ("x.sto", "q MK V\n", "line 1 has 3 words"),
    "suffix": ("x.clustal", "q MKV\n", "an alignment is read from .a3m"),
}


@pytest.mark.parametrize("case", ROWS)
def test_bad_alignments_are_refused_by_row(case, tmp_path):
    name, text, wanted = ROWS[case]
    with pytest.raises(ValueError, match=wanted):
        alignments.read(write(tmp_path, name, text), protein_sequences.make("query", "MKV"))
