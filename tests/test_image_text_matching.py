"""Pairs of pictures and texts: what they are learned by, how they are found again, and the command line for both."""

import json

import keras
import numpy as np
import pytest
from PIL import Image
from prepared_data import needs
from test_cli import run_here  # noqa: F401
from test_clip import SMALL

import kzoo
from kzoo import tasks
from kzoo.tasks.image_text_matching import contrast, picture_index, towers

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "grey": (120, 120, 120)}
TINY = {**SMALL, "vocabulary_size": 40, "end_id": 2, "num_layers": (1, 1)}


def cross_entropies(logits):
    """What CLIP's own code takes of logits whose right answers stand on the diagonal: a value for each row."""
    return np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)


def test_the_loss_is_the_papers_and_tells_no_caption_from_itself():
    pairs = np.random.default_rng(0).standard_normal((5, 2, 8)).astype("float32")
    logits = pairs[:, 0] @ pairs[:, 1].T
    loss = contrast.ContrastiveLoss(reduction=None)
    wanted = (cross_entropies(logits) + cross_entropies(logits.T)) / 2
    np.testing.assert_allclose(loss(np.arange(5), pairs), wanted, rtol=1e-5)
    # Of two equal pairs each may be taken for the other: half of what is not told apart costs nothing more.
    twice = np.concatenate([pairs[:1], pairs[:1]])
    np.testing.assert_allclose(loss(np.array([7, 7]), twice), np.log([2, 2]), rtol=1e-5)
    far = np.stack([np.eye(4), 90 * np.eye(4)], axis=1).astype("float32")
    assert float(np.max(loss(np.arange(4), far))) < 1e-6


def test_recalls_count_ranks_by_hand_and_ties_against_the_model():
    random = np.random.default_rng(1)
    pairs, ids = random.standard_normal((40, 2, 3)).astype("float32"), random.integers(0, 30, 40)
    for one in np.unique(ids):
        pairs[ids == one, 1] = pairs[ids == one, 1][0]
    found = contrast.recalls(pairs, ids)
    texts = {one: pairs[ids == one, 1][0] for one in ids}
    for rank in (1, 5, 10):
        right = [
            sum(image @ text >= image @ texts[own] for text in texts.values()) <= rank
            for image, own in zip(pairs[:, 0], ids, strict=True)
        ]
        assert found[f"text_recall_at_{rank}"] == pytest.approx(np.mean(right))
        right = [own in ids[np.argsort(-pairs[:, 0] @ text)[:rank]] for own, text in texts.items()]
        assert found[f"image_recall_at_{rank}"] == pytest.approx(np.mean(right))
    assert found["chance_text_recall_at_5"] == round(5 / len(texts), 4)
    drawn = [np.mean([own in random.permutation(ids)[:5] for _ in range(300)]) for own in texts]
    assert found["chance_image_recall_at_5"] == pytest.approx(np.mean(drawn), abs=0.02)
    same = contrast.recalls(np.ones((40, 2, 3), "float32"), np.arange(40))
    assert same["text_recall_at_10"] == same["image_recall_at_10"] == 0


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of paths and captions beside its pictures, twelve of each colour."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    (folder / "all").mkdir()
    lines = ["path,caption"]
    for place in range(48):
        name = [*COLOURS][place % 4]
        pixels = np.clip(np.array(COLOURS[name]) + random.integers(-25, 25, (12, 16, 3)), 0, 255)
        Image.fromarray(pixels.astype("uint8")).save(folder / "all" / f"{place}.png")
        lines.append(f"all/{place}.png,a {name} {'square' if place % 8 < 4 else 'picture'}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder / "table.csv"


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    """A run on that table."""
    folder = tmp_path_factory.mktemp("runs") / "clip"
    model = kzoo.build("clip", **TINY)
    data = kzoo.data.load(str(table), model, batch_size=6, tokenizer="words")
    done = kzoo.fit(model, data, folder, epochs=10, learning_rate=1e-2, warmup_steps=5, progress=False)
    assert done.history[-1]["loss"] < 0.75 * done.history[0]["loss"], done.history
    return folder


def test_it_learns_colours_and_names_them(run, table):
    model = kzoo.load(run)
    images = np.stack([np.full((12, 12, 3), colour, "uint8") for colour in COLOURS.values()])
    found = kzoo.predict(model, images, labels=list(COLOURS), templates=["a {} square", "a {} picture"])
    assert found.shape == (4, 4)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert (found.argmax(axis=1) == np.arange(4)).mean() >= 0.75, found
    vectors, words = kzoo.embed(model, images), kzoo.embed(model, ["a red square", "a blue picture"])
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([vectors, words]), axis=-1), 1, rtol=1e-5)
    scale = float(np.exp(model.get_layer("logit_scale").scale))
    pair = kzoo.predict(model, images[:2], labels=["a red square", "a blue picture"])
    logits = scale * vectors[:2] @ words.T
    np.testing.assert_allclose(pair, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), rtol=1e-4)
    both = kzoo.embed(model, [f"a {name} {kind}" for name in COLOURS for kind in ("square", "picture")])
    mean = both.reshape(4, 2, -1).mean(axis=1)
    logits = scale * vectors @ (mean / np.linalg.norm(mean, axis=-1, keepdims=True)).T
    np.testing.assert_allclose(found, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), rtol=1e-3)
    numbers = kzoo.evaluate(model, str(table))
    assert numbers["text_recall_at_1"] > numbers["chance_text_recall_at_1"]
    (row,) = tasks.of(model).rows_of_data(model, kzoo.data.load(str(table), model, batch_size=1), limit=1)
    assert row["label"] == row["classes"][0]["class"]


@needs("stamps_captions")
@needs("emoji32")
@pytest.mark.slow
def test_captions_of_pictures_held_out_are_found_more_often_than_by_chance():
    """In a minute; benchmarks/recipes.py trains on."""
    keras.utils.set_random_seed(0)
    model = kzoo.build("clip_small")
    data = kzoo.data.load("emoji32+stamps_captions", model, batch_size=128)
    kzoo.fit(model, data, epochs=8, learning_rate=2e-3, warmup_steps=20, progress=False, batch_size=128)
    found = kzoo.evaluate(model, data)
    assert found["num_examples"] == 330
    for key in ("text_recall_at_5", "text_recall_at_10", "image_recall_at_5", "image_recall_at_10"):
        assert found[key] > 2 * found[f"chance_{key}"], found
    print(found)


def test_search_keeps_an_index_and_refuses_another_models(run, table, tmp_path, monkeypatch):
    model, folder = kzoo.load(run), table.parent / "all"
    files = sorted(map(str, folder.glob("*.png")))
    task = tasks.of(model)
    first = task.search(model, folder, files, ["a red square", "grey"], 4, tmp_path / "index")
    assert [row["text"] for row in first] == ["a red square", "grey"] and len(first[0]["files"]) == 4
    monkeypatch.setattr(picture_index, "_embedded", None)  # read, not computed
    assert task.search(model, folder, files, ["a red square", "grey"], 4, tmp_path / "index") == first
    with pytest.raises(ValueError, match=r"changed since .*index\.json was written: 0\.png; .*--rebuild"):
        picture_index.vectors(model, folder, files[1:], tmp_path / "index")
    layer = model.get_layer("visual_projection")
    layer.kernel.assign(layer.kernel + 1)
    with pytest.raises(ValueError, match="of another model, or of other weights"):
        picture_index.vectors(model, folder, files, tmp_path / "index")
    contents = (tmp_path / "index.npy").read_bytes()
    (tmp_path / "index.npy").write_bytes(contents[:-1] + b"x")
    with pytest.raises(ValueError, match="damaged"):
        picture_index.vectors(model, folder, files, tmp_path / "index")


def test_the_command_line_takes_labels_and_searches(run, table, run_here):  # noqa: F811
    picture = table.parent / "all" / "2.png"
    status, out, err = run_here(
        "predict", run, picture, "--labels", "blue", "red", "grey", "--template", "a {} square", "--json"
    )
    assert status == 0, err
    (row,) = json.loads(out)
    assert {each["class"] for each in row["classes"]} == {"blue", "red", "grey"}
    status, out, _ = run_here("search", run, table.parent / "all", "a blue square", "--top", "2")
    assert status == 0 and out.startswith("a blue square:\n") and out.count(".png") == 2
    for words, arguments in {
        "needs words to tell pictures apart by": [],
        "two or more, each once": ["--labels", "red"],
        "one {} for the label": ["--labels", "red", "blue", "--template", "a square"],
        "name these": ["--template", "a {}"],
    }.items():
        status, _, err = run_here("predict", run, picture, *arguments)
        assert status == 2 and words in err and err.count("\n") == 1


def test_bad_tables_and_batches_are_refused(table, tmp_path):
    model = kzoo.build("clip", **TINY)
    lines = table.read_text().splitlines()
    bad = table.with_name("bad.csv")
    bad.write_text("\n".join([*lines, "all/none.png,a red square"]) + "\n")
    with pytest.raises(ValueError, match=r"bad\.csv.*50.*names all/none\.png, and no file is there"):
        kzoo.data.load(str(bad), model, tokenizer="words")
    data = kzoo.data.load(str(bad), model, tokenizer="words", skip_bad=True, batch_size=8)
    assert data.train.num_examples + data.validation.num_examples + data.test.num_examples == 48
    x, y = next(iter(data.train.dataset))
    assert x["image"].shape == (8, 12, 12, 3) and y.shape == (8,)
    with pytest.raises(ValueError, match="batch_size=1: a pair is learned by contrast"):
        kzoo.fit(model, str(table), batch_size=1, epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"end to be at its highest id, .* build the model with end_id=2"):
        kzoo.data.load(str(table), kzoo.build("clip", **{**TINY, "end_id": None}), tokenizer="words")
    with pytest.raises(ValueError, match="label_smoothing"):
        kzoo.fit(model, data, label_smoothing=0.1, epochs=1, progress=False)
    with pytest.raises(ValueError, match="words to choose among are for image text matching"):
        kzoo.predict(kzoo.build("mnist_cnn"), np.zeros((1, 28, 28, 1), "uint8"), labels=["a", "b"])


def test_a_server_gets_both_towers(run, tmp_path):
    import tensorflow as tf

    model = kzoo.load(run)
    report = kzoo.export(model, tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    assert {"embed_images", "embed_texts"} <= {*report["signatures"]}
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), "uint8")
    got = served.signatures["embed_images"](images=tf.constant(pixels))["embedding"]
    np.testing.assert_allclose(got, towers.of_images(model, pixels), atol=1e-5)
    ids = np.array([[1, 5, 6, 2], [1, 7, 2, 0]], "int32")
    got = served.signatures["embed_texts"](token_ids=tf.constant(ids))["embedding"]
    np.testing.assert_allclose(got, towers.tower(model, "token_ids")(ids), atol=1e-5)
