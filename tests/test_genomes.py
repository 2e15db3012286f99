"""DNA: letters, SpliceAI beside its authors' graph, sequences as data, genomes, regions and variants."""

import importlib.util
import json
import sys

import numpy as np
import pytest
import safetensors.numpy
from backends import compiled, outputs_of
from golden_files import assert_close, golden, run, write
from seeded_weights import load_drawn_weights

import kzoo
from kzoo.data.genomes import alphabet, genome_files, variant_files
from kzoo.measure import measure
from kzoo.tasks.genome_reading.regions import predict_regions
from kzoo.tasks.genome_reading.variants import predict_variants
from kzoo.tasks.genome_reading.windows import reader_of

SITES = {"filters": 4, "kernel_sizes": (3,), "dilation_rates": (2,), "num_units": 1}  # reaches 4 letters
SHORT = {
    "filters": (6, 8), "kernel_size": 3, "pool_size": 2, "hidden_dim": 8, "sequence_length": 16, "head": "classes",
    "num_classes": 2,
}  # fmt: skip
# chr1 has 40 letters, the second contig 12
GENOME = ">chr1 the first\nACGTACGTAGGTAAGTACGT\nttttttttttcagGTACNAA\n>2\nACGTACGTACGT\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    (folder / "genome.fa").write_text(GENOME)
    return folder


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    return load_drawn_weights(kzoo.build("spliceai", **SITES), tmp_path_factory.mktemp("drawn"))


def vcf(folder, *rows, header="##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"):
    path = folder / "calls.vcf"
    path.write_text(header + "".join("\t".join([*map(str, row), ".", ".", "AC=1"]) + "\n" for row in rows))
    return path


# Networks beside their references


def compare(folder, case="spliceai"):
    """(ours, the reference's): the authors' whole graph, with weights drawn by the names of its layers."""
    if case == "spliceai":
        found = safetensors.numpy.load_file(golden_path("spliceai"))
        model = load_drawn_weights(kzoo.build("spliceai"), folder)
        yield np.asarray(outputs_of(model, found["input"])), found["output"]
        return
    tensors, inputs, wanted = golden("dnabert")
    small = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "max_length": 24}
    model = kzoo.build("dnabert_6", write(tensors, folder), vocabulary_size=21, **small)
    found = run(model, inputs)
    mask = inputs["padding_mask"] > 0
    yield found["tokens"][mask], wanted["tokens"][mask]
    yield found["pooled"], wanted["pooled"]


def golden_path(name):
    from golden_files import GOLDEN

    return GOLDEN / f"{name}.safetensors"


@pytest.mark.parametrize("case", ["spliceai", "dnabert"])
def test_agrees_with_the_reference(case, tmp_path):
    for got, wanted in compare(tmp_path, case):
        assert_close(got, wanted)


def test_published_files_mark_a_known_site(tmp_path):
    """Where the authors' package is installed: kzoo ships none of its weights."""
    sys.path.insert(0, str(golden_path("").parents[2] / "scripts" / "golden"))
    files = importlib.util.find_spec("spliceai_files")
    import spliceai_files

    if not spliceai_files.installed():
        pytest.skip("the package spliceai, which has the authors' weights, is not installed")
    assert files
    path = write(spliceai_files.tensors(spliceai_files.installed()[0]), tmp_path)
    model = kzoo.build("spliceai", path)
    junction = "TTCTCTCCCTTCTCCCTTTCTTTTTTGCAGGTTTGGAGAACCTTCCGATGTGTGTGCTCC"
    found = kzoo.predict(model, [junction])[0]
    assert found[:, 1].argmax() == 30 and found[30, 1] > 0.1


def test_a_file_of_words_of_dna_is_read_letter_by_letter(tmp_path):
    kept = kzoo.data.Tokenizer.of_kmers(3)
    kept.save(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(kept.tokens(range(69))) + "\n")
    for name in ("tokenizer.json", "vocab.txt"):
        tokenizer = kzoo.data.Tokenizer.load(tmp_path / name)
        ids = tokenizer.encode(["acgUNACGT", "ACG CGT"])
        assert tokenizer.tokens(ids[0]) == ["ACG", "CGT", "[UNK]", "[UNK]", "[UNK]", "ACG", "CGT"]
        assert tokenizer.tokens(ids[1]) == ["ACG", "CGT"]
    with pytest.raises(ValueError, match=r"texts\[0\] holds '!' at letter 4"):
        tokenizer.encode(["ACG!"])
    with pytest.raises(ValueError, match="k must be an int from 1 to 8, got 9"):
        kzoo.data.Tokenizer.of_kmers(9)
    assert kzoo.data.Tokenizer.train("words", ["AAA CCC"], 9).word_length == 0


# Letters


def test_letters_in_either_case_and_u_for_t():
    ids, vague = alphabet.encode("x", "acgu\nTRNN-", "ACGT")
    assert ids.tolist() == [1, 2, 3, 4, 4, 0, 0, 0, 0] and vague == {"R": 1, "N": 2, "-": 1}
    assert alphabet.encode("x", "UT", "ACGU")[0].tolist() == [4, 4]
    ids, vague = alphabet.encode("x", "arnX", "ARNDC")
    assert ids.tolist() == [1, 2, 3, 0] and vague == {"X": 1}
    with pytest.raises(ValueError, match=r"x holds '1' at letter 3; wanted A, C, G, T"):
        alphabet.encode("x", "AC1", "ACGT")
    with pytest.raises(ValueError, match="x is empty"):
        alphabet.encode("x", " \n", "ACGT")
    assert alphabet.encode("x", "U", "ACDEFGHIKLMNPQRSTVWY")[1] == {"U": 1}  # selenocysteine, no T


def test_the_other_strand():
    ids = np.array([[1, 2, 3, 4, 0, 1]])
    assert alphabet.reverse_complement(ids, "ACGT").tolist() == [[4, 0, 1, 2, 3, 4]]
    assert alphabet.reverse_complement(np.array([1, 2, 3, 4]), "AGCT").tolist() == [1, 2, 3, 4]
    assert genome_files.other_strand("ACGnT") == "ANCGT"
    with pytest.raises(ValueError, match="no nucleotides"):
        alphabet.complements("ACDEF")


def test_unknown_letters_are_nothing_or_all_alike():
    from kzoo.layers.one_hot_letters import LetterOneHot

    ids = np.array([[0, 2, 4]], "int32")
    assert np.asarray(LetterOneHot(4)(ids)).tolist() == [[[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]]
    assert np.asarray(LetterOneHot(4, 0.25)(ids))[0, 0].tolist() == [0.25] * 4
    model = kzoo.build("deepsea", **SHORT)
    with pytest.raises(ValueError, match=r"values from 1 to 5; wanted ints of 0 to 4"):
        kzoo.predict(model, np.array([[1, 5] * 8]))


def test_what_lies_outside_of_a_sequence_is_unknown(sites):
    ids = np.array([[2, 3, 1, 4, 4, 1]], "int32")
    around = np.pad(ids, ((0, 0), (9, 9)))
    assert_close(outputs_of(sites, around)[:, 9:-9], outputs_of(sites, ids))
    together = kzoo.predict(sites, ["CGATTA", "ACGTTGCAACGT"])
    assert [len(one) for one in together] == [6, 12]
    assert_close(together[0], kzoo.predict(sites, ids)[0])
    assert_close(compiled(sites)(ids), outputs_of(sites, ids))


@pytest.mark.parametrize("kernel_sizes", [(3,), (3, 5)])
def test_nothing_is_computed_that_is_cut_off(kernel_sizes, tmp_path):
    from kzoo.rewrites.trimming import trim_flanks

    how = {**SITES, "kernel_sizes": kernel_sizes, "dilation_rates": (1, 3)[: len(kernel_sizes)], "num_units": 2}
    model = load_drawn_weights(kzoo.build("spliceai", **how), tmp_path)
    trimmed = trim_flanks(model)
    for ids in (np.array([[1]], "int32"), np.array([[2, 3, 1, 4, 4, 1, 0], [1, 1, 2, 3, 4, 4, 4]], "int32")):
        assert_close(outputs_of(trimmed, ids), outputs_of(model, ids), 1e-6)
    assert measure(trimmed, 10)["macs"] < 0.9 * measure(model, 10)["macs"]
    other = kzoo.build("deepsea", **SHORT)
    assert trim_flanks(other) is other


@pytest.mark.parametrize(("head", "kind"), [("classes", "softmax"), ("labels", "sigmoid")])
def test_both_strands_are_read_as_one(head, kind, tmp_path):
    model = load_drawn_weights(kzoo.build("deepsea", **{**SHORT, "head": head}), tmp_path)
    both = kzoo.both_strands(model)
    texts = ["ACGTTGCAACGGTTAN", "CCCCCCCCCCCCCCCC"]
    other = [genome_files.other_strand(text) for text in texts]
    wanted = (kzoo.predict(model, texts) + kzoo.predict(model, other)) / 2
    assert_close(kzoo.predict(both, texts), wanted)
    assert_close(kzoo.predict(both, other), wanted)
    assert both.kzoo.rewrites[0]["kind"] == kind and kzoo.info(both)["uncounted"] == []
    if head == "classes":
        kzoo.save(both, tmp_path / "both")
        assert_close(kzoo.predict(kzoo.load(tmp_path / "both"), texts), wanted)
        with pytest.raises(ValueError, match="reads both strands already"):
            kzoo.both_strands(both)


def test_sites_are_of_one_strand(sites):
    with pytest.raises(ValueError, match="what single letters are, which differs between strands"):
        kzoo.both_strands(sites)


def test_every_replacement_of_a_letter(sites, tmp_path):
    model = load_drawn_weights(kzoo.build("deepsea", **SHORT), tmp_path)
    text = "ACGTTGCAACGGTTAN"
    found = kzoo.mutagenesis(model, text, "1", begin=3, end=16)

    def log_odds(one):
        chance = kzoo.predict(model, [one]).astype("float64")[0, 1]
        return np.log(chance / (1 - chance))

    changed = log_odds("ACGTTCCAACGGTTAN") - log_odds(text)
    assert found.shape == (13, 4) and found[2, 1] == pytest.approx(changed, rel=1e-3)
    assert [row[index] for row, index in zip(found, [3, 3, 2, 1, 0], strict=False)] == [0] * 5
    assert (found[12] != 0).all(), "an unknown letter becomes all four"
    at = kzoo.mutagenesis(sites, text, "donor", place=5)
    assert at.shape == (16, 4) and (at[:9] != 0).any() and not at[9:].any(), "sites see 4 letters on either side"
    for wrong, told in (
        ({"target": "x"}, "unknown target 'x'; wanted 0, 1"),
        ({"place": 3}, "place=3: wanted None"),
        ({"begin": 5, "end": 5}, "begin=5 and end=5 are no part of 16 letters"),
    ):
        with pytest.raises(ValueError, match=told):
            kzoo.mutagenesis(model, text, **wrong)


# Data


def test_a_table_of_sequences_and_classes_is_learned(tmp_path):
    random = np.random.default_rng(0)
    rows = ["".join(random.choice([*"ACGT"], 16)) for _ in range(60)]
    labels = ["up" if row[7] in "AC" else "down" for row in rows]
    lines = "".join(f"{row},{label}\n" for row, label in zip(rows, labels, strict=True))
    (tmp_path / "rows.csv").write_text("sequence,label\n" + lines)
    model = kzoo.build("deepsea", **SHORT)
    data = kzoo.data.load(str(tmp_path / "rows.csv"), model, batch_size=16)
    assert data.class_names == ["down", "up"] and data.test.num_examples == 6
    kzoo.fit(model, data, epochs=2, progress=False)
    assert kzoo.predict(model, rows[:3]).shape == (3, 2)
    assert kzoo.evaluate(model, rows, labels)["num_examples"] == 60
    with pytest.raises(ValueError, match=r"sequence 1 has 4 letters and deepsea takes 16.*sequence_length=4"):
        kzoo.predict(model, ["ACGT"])
    (tmp_path / "bad.csv").write_text("sequence,label\nAC*T!,up\n")
    with pytest.raises(ValueError, match=r"holds '\*' at letter 3|holds '!' at letter 5"):
        kzoo.data.load(str(tmp_path / "bad.csv"), model)


def test_places_of_sites_in_a_table(tmp_path, sites):
    (tmp_path / "sites.csv").write_text("sequence,acceptor,donor\nACGTACGT,3,5 8\nACGTA,,\nACG,1,2\n")
    data = kzoo.data.load(str(tmp_path / "sites.csv"), sites, batch_size=2, validation_fraction=0)
    x, y, weight = data.train.as_it_is().examples([0, 1])
    assert y.numpy().tolist() == [[0, 0, 1, 0, 2, 0, 0, 2], [0] * 8]
    assert weight.numpy().tolist() == [[1] * 8, [1] * 5 + [0] * 3] and x.shape == (2, 8)
    found = kzoo.evaluate(sites, str(tmp_path / "sites.csv"), split="all")
    assert {"acceptor_average_precision", "donor_top_k_accuracy"} <= found.keys()
    row = kzoo.data.load(str(tmp_path / "sites.csv"), sites)
    assert row.class_names == ["none", "acceptor", "donor"]
    rows = "".join(f"ACGTA{one},1,2\n" for one in "ACGT" * 5)
    (tmp_path / "equal.csv").write_text("sequence,acceptor,donor\n" + rows)
    assert kzoo.data.load(str(tmp_path / "equal.csv"), sites).train.num_examples == 20
    (tmp_path / "bad.csv").write_text("sequence,acceptor,donor\nACGT,5,\n")
    with pytest.raises(ValueError, match="acceptor lists '5', wanted places from 1 to 4"):
        kzoo.data.load(str(tmp_path / "bad.csv"), sites)
    with pytest.raises(ValueError, match="holds for one strand"):
        kzoo.data.load(str(tmp_path / "sites.csv"), sites, augment="strands")


def test_scores_of_sites():
    from kzoo.tasks.nucleotide_classification import TASK

    class Split:
        dataset = ((np.zeros((1, 4)), np.array([[1, 0, 1, 0]]), np.array([[1, 1, 1, 0]])),)

        def as_it_is(self):
            return self

    class Model:
        layers = [None]
        predict_on_batch = staticmethod(lambda x: np.log([[[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.01, 0.99]]]))

    class Data:
        train, validation, test, class_names = None, None, Split(), ["none", "site"]

    found = TASK.score(Model(), Data(), "test", {})
    assert found["site_top_k_accuracy"] == 0.5  # the second likeliest is none, and the last letter does not count
    assert found["site_average_precision"] == pytest.approx((1 + 2 / 3) / 2)


def test_fasta_with_labels_in_a_table_or_in_regions(folder, tmp_path):
    model = kzoo.build("deepsea", **{**SHORT, "sequence_length": 12})
    (tmp_path / "labels.tsv").write_text("id\tlabel\n2\tyes\n")
    (tmp_path / "regions.bed").write_text("chr1\t0\t12\tno\t0\t+\nchr1\t1\t13\tyes\t0\t-\n# end\n")
    how = {"validation_fraction": 0, "batch_size": 2}
    genome = folder / "genome.fa"
    data = kzoo.data.load(f"{genome},{tmp_path / 'regions.bed'}", model, **how)
    x, y = data.train.as_it_is().examples([0, 1])
    assert x.numpy().tolist() == [[1, 2, 3, 4] * 2 + [1, 3, 3, 4], [4, 1, 2, 2, 4, 1, 2, 3, 4, 1, 2, 3]]
    assert y.numpy().tolist() == [0, 1] and data.class_names == ["no", "yes"]
    several = kzoo.build("deepsea", **{**SHORT, "sequence_length": 12, "head": "labels"})
    (tmp_path / "several.bed").write_text("2\t0\t12\tctcf|open\nchr1\t0\t12\tctcf\n")
    data = kzoo.data.load(f"{genome},{tmp_path / 'several.bed'}", several, **how)
    assert data.train.as_it_is().examples([0, 1])[1].numpy().tolist() == [[1, 1], [1, 0]]
    (tmp_path / "labels.tsv").write_text("id\tlabel\n3\tyes\n")
    with pytest.raises(ValueError, match="'3' is no record of"):
        kzoo.data.load(f"{genome},{tmp_path / 'labels.tsv'}", model, **how)


def test_random_changes_are_a_function_of_seed_epoch_and_example():
    x = [[1, 2, 3, 4] * 4] * 8
    model = kzoo.build("deepsea", **SHORT)
    how = {"batch_size": 8, "validation_fraction": 0, "class_names": ["N", "yes"]}
    rows = [np.array(row) for row in x]
    data = kzoo.data.from_arrays(rows, [1] * 8, model, augment="junctions", **how)
    ids, labels = data.train.examples(range(8), epoch=3)
    again, _ = data.train.examples(range(8)[::-1], epoch=3)
    np.testing.assert_array_equal(ids, again[::-1])
    turned = (ids.numpy() == alphabet.reverse_complement(np.array(x), "ACGT")).all(-1)
    palindromes = np.array_equal(alphabet.reverse_complement(rows[0], "ACGT"), rows[0])
    assert palindromes and turned.all() and 0 < (labels.numpy() == 0).sum() < 8
    many = kzoo.data.from_arrays(rows, [1] * 8, model, augment="mutations", **how)
    changed = (many.train.examples(range(8), epoch=1)[0].numpy() != x).mean()
    assert 0.01 < changed < 0.2
    how["class_names"] = ["no", "yes"]
    with pytest.raises(ValueError, match=r"augment='junctions' makes 'N' of sequences.*no, yes"):
        kzoo.data.from_arrays(rows, [1] * 8, model, augment="junctions", **how)
    with pytest.raises(ValueError, match="wanted one of strands, junctions, mutations"):
        kzoo.data.from_arrays(rows, [1] * 8, model, augment="digits", **how)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no record"),
        ("ACGT\n", "letters before the first name"),
        (">a\nAC\n>a\nGT\n", "two records are called 'a'"),
        (">\nAC\n", "a record has no name"),
    ],
)
def test_fasta_that_cannot_be_meant(text, told, tmp_path):
    (tmp_path / "x.fa").write_text(text)
    with pytest.raises(ValueError, match=told):
        genome_files.read_fasta(tmp_path / "x.fa")


# Genomes


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("chr3\t0\t4", "unknown contig 'chr3'"),
        ("chr1\t0\t41", "chr1 ends at 40, before 41"),
        ("chr1\t4\t4", "no letter between"),
        ("chr1\tx\t4", "wanted contig, begin"),
        ("chr1\t0\t4\tn\t0\t/", "a strand that is no"),
        ("# none", "holds no region"),
    ],
)
def test_regions_that_a_genome_lacks(row, told, folder, tmp_path):
    (tmp_path / "x.bed").write_text(row + "\n")
    with pytest.raises(ValueError, match=told):
        genome_files.read_bed(tmp_path / "x.bed", genome_files.Genome(folder / "genome.fa"))


def test_regions_have_the_genome_around_them(folder, sites, tmp_path):
    (tmp_path / "x.bed").write_text("1\t10\t20\tone\t0\t+\nchr2\t0\t6\ttwo\t0\t-\n")
    rows = predict_regions(sites, folder / "genome.fa", tmp_path / "x.bed", top=12)
    letters = GENOME.split("\n")[1] + GENOME.split("\n")[2]
    wanted = kzoo.predict(sites, [letters])[0][10:20]
    place = wanted[:, 1].argmax()
    assert (rows[0]["contig"], rows[1]["contig"]) == ("chr1", "2")
    assert rows[0]["sites"][0]["place"] == place + 1
    assert rows[0]["sites"][0]["probability"] == pytest.approx(wanted[place, 1], rel=1e-4)
    back = kzoo.predict(sites, [genome_files.other_strand("ACGTACGTACGT")])[0][6:]
    assert {one["place"]: one["probability"] for one in rows[1]["sites"] if one["class"] == "donor"} == pytest.approx(
        {place + 1: row[2] for place, row in enumerate(back) if row[2] >= 0.1}, rel=1e-4
    )


def test_variants_are_scored_as_in_spliceais_package(folder, sites, tmp_path):
    """By hand: both alleles whole, a deletion as letters of nothing, an insertion as its largest."""
    genome, distance = "N" * 60 + (GENOME.split("\n")[1] + GENOME.split("\n")[2]).upper() + "N" * 60, 3
    path = vcf(tmp_path, ("chr1", 11, "a", "G", "T"), ("1", 10, "b", "GGT", "G"), ("1", 12, "c", "T", "TAC,<DEL>"))
    rows = predict_variants(sites, folder / "genome.fa", path, distance, "both")
    assert [(row["name"], row["strand"]) for row in rows] == [(name, side) for name in "abc" for side in "+-"]
    for row in rows:
        at, reference, new = row["position"] - 1, row["reference"], row["alternate"]
        changed = genome[: 60 + at] + new + genome[60 + at + len(reference) :]

        def probabilities(text, row=row):
            back = row["strand"] == "-"
            found = kzoo.predict(sites, [genome_files.other_strand(text) if back else text])[0]
            return found[::-1] if back else found

        before, after = probabilities(genome), probabilities(changed)
        begin = 60 + at
        before, after = before[begin - 3 : begin + 4], after[begin - 3 :]
        if len(reference) > 1:
            after = np.concatenate([after[:4], np.zeros((2, 3)), after[4:]])
        elif len(new) > 1:
            after = np.concatenate([after[:3], after[3:6].max(0, keepdims=True), after[6:]])
        change = after[:7, 1] - before[:, 1]
        assert row["acceptor_gain"] == pytest.approx(change.max(), abs=1e-5)
        assert row["acceptor_gain_position"] == change.argmax() - 3
        assert row["acceptor_loss"] == pytest.approx(-change.min(), abs=1e-5)


def test_variants_in_genes_and_in_vcf_files(folder, sites, tmp_path, caplog):
    (tmp_path / "genes.tsv").write_text(
        "#NAME\tCHROM\tSTRAND\tTX_START\tTX_END\tEXON_START\tEXON_END\nA\tchr1\t-\t8\t20\t8,\t20,\nB\t9\t+\t0\t9\t0,\t9,\n"
    )
    path = vcf(tmp_path, ("1", 11, ".", "G", "T"), ("1", 30, ".", "t", "A"), ("1", 10, ".", "GG", "TC"))
    rows = predict_variants(sites, folder / "genome.fa", path, genes=tmp_path / "genes.tsv")
    assert [(row["gene"], row["strand"]) for row in rows] == [("A", "-")]
    assert "1 variants in no gene left out" in caplog.text and "several in place of several" in caplog.text.replace(
        "letters ", ""
    )
    from kzoo.tasks.genome_reading.annotated import write_vcf

    write_vcf(tmp_path / "out.vcf", path, rows)
    lines = (tmp_path / "out.vcf").read_text().splitlines()
    assert lines[1].startswith('##INFO=<ID=KZOO,Number=.,Type=String,Description="') and "acceptor_gain" in lines[1]
    assert lines[3].split("\t")[7].startswith("AC=1;KZOO=T|A|-|") and lines[4].endswith("AC=1")
    variant_files.read_vcf(tmp_path / "out.vcf")


def test_other_networks_say_how_probabilities_change(folder, tmp_path):
    model = kzoo.build("deepsea", **SHORT)
    path = vcf(tmp_path, ("2", 3, "x", "GTA", "G"))
    (row,) = predict_variants(model, folder / "genome.fa", path, strand="+", top=1)
    letters = "NNNNN" + "ACGTACGTACGT" + "NNNN"
    before, after = letters[:16], (letters[:8] + letters[10:])[:16]
    wanted = np.diff(kzoo.predict(model, [before, after]), axis=0)[0]
    (change,) = row["changes"]
    assert change["difference"] == pytest.approx(wanted[np.abs(wanted).argmax()], rel=1e-3, abs=1e-6)
    assert reader_of(model).reach == 0 and row["strand"] == "+"
    with pytest.raises(ValueError, match="genomes are read by networks of letters of DNA"):
        reader_of(kzoo.build("mlp"))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("1", 11, ".", "A", "T"), "line 3: the reference of 1:11 A>T is A, and .* has G there"),
        (("1", 40, ".", "AAA", "A"), "beyond the end of chr1, 40"),
        (("7", 1, ".", "A", "T"), "line 3: unknown contig '7'"),
        (("1", 11, ".", "G", "R"), "the allele 'R' is not made of"),
        (("1", 0, ".", "G", "A"), "POS counted from 1"),
    ],
)
def test_variants_that_a_genome_lacks(row, told, folder, sites, tmp_path):
    with pytest.raises(ValueError, match=told):
        predict_variants(sites, folder / "genome.fa", vcf(tmp_path, row))


def test_vcf_without_a_header(tmp_path):
    with pytest.raises(ValueError, match="no header of VCF"):
        variant_files.read_vcf(vcf(tmp_path, ("1", 1, ".", "A", "T"), header=""))


def test_the_command_line(folder, tmp_path, capsys, monkeypatch):
    from kzoo.cli import entry

    def kzoo_says(*arguments, status=0):
        monkeypatch.setattr(sys, "argv", ["kzoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            entry.main()
        assert (stopped.value.code or 0) == status
        return capsys.readouterr()

    import kzoo.cli.commands  # noqa: F401

    kzoo.save(kzoo.build("spliceai", **SITES), tmp_path / "sites")
    path = vcf(tmp_path, ("1", 11, ".", "G", "T"))
    genome = folder / "genome.fa"
    (row,) = json.loads(
        kzoo_says("predict", tmp_path / "sites", genome, "--variants", path, "--strand", "+", "--json").out
    )
    assert row["position"] == 11 and "donor_loss" in row
    assert "chr1" in kzoo_says("predict", tmp_path / "sites", genome).out
    assert "acceptor" in kzoo_says("predict", tmp_path / "sites", genome, "--variants", path).out
    kzoo_says("predict", tmp_path / "sites", genome, "--variants", path, "--output", tmp_path / "o.vcf")
    assert "KZOO=" in (tmp_path / "o.vcf").read_text()
    assert "goes with --variants" in kzoo_says("predict", tmp_path / "sites", genome, "--genes", "x", status=2).err
    assert "need one genome" in kzoo_says("predict", tmp_path / "sites", "--variants", path, status=2).err
