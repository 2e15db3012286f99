"""Tables and text files as data: what is read, which columns are meant, and which row is wrong."""

import json
import logging

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import kzoo
from kzoo import tasks
from kzoo.cli.commands import cli
from kzoo.data import load
from kzoo.data.sources import chosen_columns, table_files
from kzoo.tasks.feeding.loading import width_of
from kzoo.training.recipe import Recipe, TransformerSchedule, with_short_warmup

WORDS = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 8, "vocabulary_size": 150}
TEXTS = [f"a {'fine' if place % 2 else 'dull'} film, number {place}" for place in range(30)]
QUICK = ["--epochs", "1", "--quiet", "--no-tensorboard", "--no-deterministic"]


def read(tmp_path, name, contents, **how):
    path = tmp_path / name
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    return table_files.read(path, **how)


def run(*arguments):
    return CliRunner().invoke(cli, [str(one) for one in arguments], standalone_mode=False, catch_exceptions=False)


def reader(**more):
    return kzoo.build("bert", head="classification", **{"num_classes": 2, **WORDS, **more})


def numbers(num_inputs=2, **more):
    return kzoo.build("mlp", input_shape=(num_inputs,), hidden_dims=(4,), **more)


def labels_of(split):
    return [int(np.ravel(y)[0]) for _, y in split.as_it_is().dataset.unbatch().as_numpy_iterator()]


@pytest.fixture
def photos(tmp_path):
    """Twelve images in a folder of their own, by the table that stands beside it."""
    (tmp_path / "images").mkdir()
    for place in range(12):
        pixels = np.full((8, 8, 3), 20 * place, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{place}.png")
    return tmp_path


@pytest.mark.parametrize(("name", "contents", "columns"), [
    ("a.csv", "text,label\na,1\nb,2\n", {"text": ["a", "b"], "label": ["1", "2"]}),
    ("bom.csv", b"\xef\xbb\xbftext,label\r\na,1\r\n\r\nb,2\r\n", {"text": ["a", "b"], "label": ["1", "2"]}),
    ("quotes.csv", 'text,label\n"a ""b"", c\nd",1\n', {"text": ['a "b", c\nd'], "label": ["1"]}),
    ("semicolons.csv", "width;price\n1;2\n", {"width": ["1"], "price": ["2"]}),
    ("none.csv", "a film,1\nb,0\n", {"0": ["a film", "b"], "1": ["1", "0"]}),
    ("own.csv", "comment,kind\na,b\n", {"0": ["comment", "a"], "1": ["kind", "b"]}),
    ("quotes.tsv", 'text\tlabel\n"a," he said\t1\n"b\t0\n', {"text": ['"a," he said', '"b'], "label": ["1", "0"]}),
    ("quoted.tsv", 'text\tlabel\n"a\tb"\t1\n', {"text": ["a\tb"], "label": ["1"]}),
    ("a.jsonl", '{"text": "a\\u2028b", "label": 1}\n\n{"text": "c"}\n',
     {"text": ["a\u2028b", "c"], "label": [1, None]}),
    ("a.conll", "-DOCSTART- O\n\nEU B-ORG\nrejects O\n\nPeter B-PER\n",
     {"0": [["EU", "rejects"], ["Peter"]], "1": [["B-ORG", "O"], ["B-PER"]]}),
])  # fmt: skip
def test_what_is_read(tmp_path, name, contents, columns):
    table = read(tmp_path, name, contents)
    assert table.columns == columns and not table.bad


def test_a_header_that_is_asked_for_is_one(tmp_path):
    assert read(tmp_path, "own.csv", "comment,kind\na,b\n", columns=["kind"]).columns == {
        "comment": ["a"],
        "kind": ["b"],
    }
    table = read(tmp_path, "own.csv", "comment,kind\na,b\n")
    assert "the first row is no header" in table.notes[0]


def test_parquet(tmp_path):
    from pyarrow import parquet, table

    parquet.write_table(table({"text": ["a", None], "label": [1, 0]}), tmp_path / "a.parquet")
    found = table_files.read(tmp_path / "a.parquet")
    assert found.columns == {"text": ["a", None], "label": [1, 0]} and found.places == ["row 1", "row 2"]
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="b.parquet is damaged or no Parquet file"):
        table_files.read(tmp_path / "b.parquet")


@pytest.mark.parametrize(("name", "contents", "message"), [
    ("a.csv", "text,label\na,1\n\n\"b\n\",\nc\nd,1,2\n", r"a.csv: 3 of 4 rows cannot be read \(line 4: label is empty; "
     r"line 6: 1 columns, wanted 2 \(text, label\); line 7: 3 columns, .*--skip-bad"),
    ("a.csv", 'text,label\n"a"b,1\n', "a.csv, line 2: .*a quote in a text is written twice"),
    ("a.csv", "text,label\n", "a.csv holds no rows"),
    ("a.csv", "text,text,label\na,b,1\n", "names a column twice"),
    ("a.csv", "text,label\na,1\n\u00e4,2\n".encode("latin1"), r"a.csv is not UTF-8: byte 0xe4 .*\(line 3\)"),
    ("a.jsonl", '{"text": "a", "label": 0}\n{"text": \n[1]\n', r"line 2: no JSON .*line 3: a list, wanted an object"),
    ("a.jsonl", '{"text": "a", "label": 0}\n{"text": 3, "label": 1}\n', "line 2: text is 3, wanted a text"),
    ("a.csv", "review,answer,question,label\na,b,c,1\n", "has the columns review, .*wanted 1 or 2 .*'text,label'"),
])  # fmt: skip
def test_bad_rows_are_named(tmp_path, name, contents, message):
    path = tmp_path / name
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    with pytest.raises(ValueError, match=message):
        load(str(path), reader())


def test_bad_rows_are_left_out_and_counted(tmp_path):
    lines = [f"{text},{place % 2}" for place, text in enumerate(TEXTS)]
    lines[3] = lines[3].replace(",", ";")
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\n" + "\n".join(lines).replace(", number", " number").replace(",", "\t"))
    data = load(str(path), reader(), skip_bad=True, validation_fraction=0, tokenizer="words")
    assert data.train.num_examples == 29 and data.fingerprint["skip_bad"]  # by which a run reads its data again
    assert data.fingerprint["columns"] == [["text"], ["label"]]
    assert any("1 of 30 rows cannot be read (line 5: 1 columns" in note for note in data.notes)


@pytest.mark.parametrize(("values", "num_classes", "labels", "names"), [
    ("01", 2, [0, 1], None), ("12", 2, [0, 1], ["1", "2"]), ("13", 4, [1, 3], None), ("ba", 2, [1, 0], ["a", "b"]),
])  # fmt: skip
def test_labels_are_numbers_or_names(tmp_path, values, num_classes, labels, names):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"a {place},{values[place % 2]}\n" for place in range(8)))
    data = load(str(path), reader(num_classes=num_classes), validation_fraction=0, tokenizer="words")
    assert labels_of(data.train) == labels * 4 and data.class_names == names


def test_a_models_own_class_names_decide(tmp_path):
    model = reader()
    kzoo.catalog.update_card(model, class_names=["pos", "neg"])
    path = tmp_path / "a.csv"
    path.write_text("text,label\na fine film,pos\na dull film,neg\nanother,neg\n")
    data = load(str(path), model, validation_fraction=0, tokenizer="words")
    assert labels_of(data.train) == [0, 1, 1] and data.class_names == ["pos", "neg"]
    path.write_text("text,label\na,pos\nb,fine\n")
    with pytest.raises(ValueError, match="unknown class 'fine'"):
        load(str(path), model, validation_fraction=0, tokenizer="words")


def test_pairs_of_texts_and_names_of_columns(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"id": place, "premise": text, "hypothesis": "a", "label": place % 2} for place, text in enumerate(TEXTS)]
    path.write_text("\n".join(map(json.dumps, rows)))
    data = load(str(path), reader(), tokenizer="words", batch_size=4)
    assert data.notes[0] == "columns: premise, hypothesis -> label" and data.test.num_examples == 3
    x, _ = next(iter(data.train.epoch(0)))
    assert x["segment_ids"].numpy().max() == 1
    data = load(str(path), reader(), tokenizer="words", columns="hypothesis,label")
    assert data.notes[0] == "columns: hypothesis -> label"
    with pytest.raises(ValueError, match="no column 'labels'; it has id, premise, hypothesis, label"):
        load(str(path), reader(), columns="premise,labels")
    with pytest.raises(ValueError, match="is for tables, and 'digits' is none"):
        load("digits", kzoo.build("mnist_cnn"), columns="text,label")


def test_splits_of_a_folder(tmp_path):
    for name, count in (("train", 20), ("dev", 4), ("test", 6)):
        lines = [f"{place},{2 * place},{'ab'[place % 2]}" for place in range(count)]
        (tmp_path / f"{name}.csv").write_text("width,height,kind\n" + "\n".join(lines))
    data = load(tmp_path, numbers(num_classes=2))
    assert [part.num_examples for part in (data.train, data.validation, data.test)] == [20, 4, 6]
    assert labels_of(data.test) == [0, 1] * 3
    (tmp_path / "val.csv").write_text("width,height,kind\n1,2,a\n")
    with pytest.raises(ValueError, match="dev.csv and val.csv, both for validation"):
        load(tmp_path, numbers(num_classes=2))
    (tmp_path / "val.csv").unlink()
    (tmp_path / "dev.csv").write_text("width,high,kind\n1,2,a\n")
    with pytest.raises(ValueError, match="dev.csv has no column 'height'"):
        load(tmp_path, numbers(num_classes=2))


def test_numbers_to_numbers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,width,height,price\n" + "".join(f"{n},{n},{-n},{n / 2}\n" for n in range(10)))
    model = numbers(num_classes=1, task="regression")
    data = load(str(path), model, validation_fraction=0)
    assert data.notes[0] == "columns: width, height -> price"
    x, y = next(iter(data.train.as_it_is().dataset))
    np.testing.assert_array_equal(x.numpy()[:3], [[0, 0], [1, -1], [2, -2]])
    np.testing.assert_array_equal(y.numpy()[:3], [[0], [0.5], [1]])
    data = load(str(path), numbers(1, num_classes=2, task="regression"), columns="width:height,price")
    assert data.class_names == ["height", "price"]
    path.write_text("width,height,price\n1,2,3\n1,high,3\n1,,nan\n")
    with pytest.raises(ValueError, match="line 3: height is 'high', no number; line 4: height is empty"):
        load(str(path), model)


def test_images_by_a_table(photos):
    model = kzoo.build("cnn", input_shape=(8, 8, 3), filters=(2,), num_classes=2)
    (photos / "a.csv").write_text("label,file\n" + "".join(f"{'ba'[n % 2]},images/{n}.png\n" for n in range(12)))
    data = load(photos / "a.csv", model, validation_fraction=0)
    x, y = next(iter(data.train.as_it_is().dataset))
    assert data.class_names == ["a", "b"]
    np.testing.assert_array_equal(y, [1, 0] * 6)
    np.testing.assert_allclose(x.numpy()[:, 0, 0, 0], np.arange(12) * 20 / 255, rtol=1e-6)
    (photos / "a.csv").write_text("file,label\nimages/1.png,a\nimages/99.png,b\nimages/2.png,b\n")
    with pytest.raises(ValueError, match="line 3: file names images/99.png, and no file is there"):
        load(photos / "a.csv", model)
    assert load(photos / "a.csv", model, validation_fraction=0, skip_bad=True).train.num_examples == 2


def test_several_inputs_are_columns_of_their_names(photos):
    photo, age = keras.Input((8, 8, 3), name="photo"), keras.Input((1,), name="age")
    x = keras.layers.Concatenate()([keras.layers.Flatten()(photo), age])
    how = kzoo.Preprocessing(mean=(0.5,), std=(0.25,))
    model = kzoo.adopt(keras.Model([photo, age], keras.layers.Dense(1)(x)), "regression", preprocessing=how)
    lines = "".join(f"{n},images/{n}.png,{2 * n}\n" for n in range(12))
    (photos / "a.csv").write_text("age,photo,price\n" + lines)
    data = load(photos / "a.csv", model, validation_fraction=0)
    x, y = next(iter(data.train.as_it_is().dataset))
    np.testing.assert_array_equal(x["age"], np.arange(12)[:, None])
    np.testing.assert_allclose(x["photo"].numpy()[:, 0, 0, 0], (np.arange(12) * 20 / 255 - 0.5) / 0.25, rtol=1e-5)
    row = tasks.of(model).rows_of_table(model, photos / "a.csv", None, None)[7]
    assert row["values"]["0"] == pytest.approx(float(model(x)[7, 0]), rel=1e-4)
    (photos / "a.csv").write_text("years,photo,price\n" + lines)
    with pytest.raises(ValueError, match="wanted 2 columns of inputs called photo, age, and one to learn"):
        load(photos / "a.csv", model)
    assert load(photos / "a.csv", model, columns="photo,years:price").notes[0] == "columns: photo, years -> price"
    (photos / "a.jsonl").write_text('{"age": [1], "photo": "images/1.png", "price": 1}\n{"age": [1, 2]}')
    with pytest.raises(ValueError, match=r"line 2: photo is empty; line 2: age is \[1, 2\], wanted a list of 1|line 2"):
        load(photos / "a.jsonl", model)


@pytest.mark.parametrize(("columns", "cells"), [
    ("path,labels", ["sun|sea", "", "sky"]), ("path,sea,sky,sun", ["1,0,1", "0,0,0", "0,1,0"]),
])  # fmt: skip
def test_several_labels(photos, columns, cells):
    model = kzoo.build("cnn", input_shape=(8, 8, 3), filters=(2,), num_classes=3, task="multilabel_classification")
    lines = [f"images/{n}.png,{cells[n % 3]}" for n in range(12)]
    (photos / "a.csv").write_text("\n".join([columns, *lines]))
    data = load(photos / "a.csv", model, validation_fraction=0)
    _, y = next(iter(data.train.as_it_is().dataset))
    assert data.class_names == ["sea", "sky", "sun"]
    np.testing.assert_array_equal(y, [[1, 0, 1], [0, 0, 0], [0, 1, 0]] * 4)


def test_parallel_texts(tmp_path):
    sizes = {**WORDS, "num_layers": 1}
    model = kzoo.build("transformer_tiny", **sizes)
    for split, count in (("train", 30), ("valid", 3)):
        (tmp_path / f"{split}.en").write_text("\n".join(TEXTS[:count]))
        (tmp_path / f"{split}.de").write_text("\n".join(text[::-1] for text in TEXTS[:count]) + "\n")
    name = f"{tmp_path}/train.en,{tmp_path}/train.de"
    data = load(name, model, tokenizer="characters")
    assert data.notes[0] == "columns: en -> de" and data.train.num_examples == 30 and data.validation.num_examples == 3
    x, y, _ = next(iter(data.validation.dataset))
    assert data.tokenizer.decode(x["encoder_token_ids"].numpy())[0] == TEXTS[0]
    assert data.tokenizer.decode(y.numpy())[0] == TEXTS[0][::-1]
    with open(tmp_path / "train.de", "a") as file:
        file.write("more\n")
    with pytest.raises(ValueError, match="train.en has 30 and .*train.de has 31"):
        load(name, model)
    with pytest.raises(ValueError, match="no file at .*train.fr"):
        load(f"{tmp_path}/train.en,{tmp_path}/train.fr", model)
    with pytest.raises(ValueError, match="no file at absent.csv"):
        load("absent.csv", model)


def test_a_language_model_reads_one_column(tmp_path):
    (tmp_path / "a.csv").write_text("id,review,label\n" + "".join(f"{n},film {n},1\n" for n in range(40)))
    model = kzoo.build("gpt2", num_layers=1, hidden_dim=8, num_heads=2, vocabulary_size=260)
    data = load(tmp_path / "a.csv", model, max_length=8, batch_size=2)
    assert data.notes[0] == "columns: review"
    assert "train: 36 texts" in " ".join(data.notes)


@pytest.mark.parametrize("suffix", ["conll", "jsonl"])
def test_tags_of_words(tmp_path, suffix):
    path, words, tags = tmp_path / f"a.{suffix}", ["EU", "rejects", "lambs"], ["B-ORG", "O", "O"]
    if suffix == "conll":
        path.write_text("-DOCSTART- -X- O\n\n" + "EU NNP B-ORG\nrejects VBZ O\nlambs NNS O\n\n" * 4)
    else:
        path.write_text((json.dumps({"id": 1, "tokens": words, "ner_tags": tags}) + "\n") * 4)
    keras.utils.set_random_seed(7)
    model = kzoo.build("bert", head="token_classification", **{**WORDS, "num_classes": 2}, max_length=11)
    assert width_of(path, model) == 2
    data = load(path, model, tokenizer="characters", max_length=11, validation_fraction=0)
    x, y, weight = next(iter(data.train.as_it_is().dataset))
    assert data.tokenizer.tokens(x["token_ids"][0])[:11] == ["[START]", *"EUrejects", "[END]"]  # cut
    assert [data.class_names[tag] for tag in y[0].numpy()[weight[0] > 0]] == ["B-ORG", "O"]
    assert np.flatnonzero(weight[0]).tolist() == [1, 3]  # the first letters of two words
    kzoo.catalog.update_card(model, tokenizer=data.tokenizer, class_names=data.class_names)
    task, found = tasks.of(model), kzoo.predict(model, {name: array[:1] for name, array in x.items()})[0].argmax(-1)
    row = task.rows_of_table(model, path, None, data.tokenizer)[0]
    first, second = (data.class_names[found[at]] for at in (1, 3))
    assert task.line(row).endswith(f", line {3 if suffix == 'conll' else 1}: EU/{first} rejects/{second} lambs/-")
    if suffix == "jsonl":
        path.write_text(json.dumps({"tokens": words, "tags": tags[:2]}))
        with pytest.raises(ValueError, match="line 1: 3 words and 2 tags"):
            load(path, model)
    else:
        path.write_text("EU B-ORG\nrejects\n")
        with pytest.raises(ValueError, match="line 1: line 2 has 1 columns, wanted 2"):
            load(path, model)
    with pytest.raises(ValueError, match="is for token classification: name a file of words and tags"):
        load("digits", model)


@pytest.mark.parametrize(("schedule", "num_steps", "choices", "wanted"), [
    ("cosine", 8000, {}, (4000, 1.0)), ("cosine", 7999, {}, (799, 1.0)), ("constant", 5, {}, (0, 1.0)),
    ("transformer", 1000, {}, (100, 1 / 40**0.5)), ("transformer", 5, {}, (1, 1 / 4000**0.5)),
    ("transformer", 1000, {"learning_rate": 1.0}, (100, 1.0)), ("cosine", 10, {"warmup_steps": 4000}, (4000, 1.0)),
])  # fmt: skip
def test_a_short_run_has_a_short_warm_up(schedule, num_steps, choices, wanted, caplog):
    recipe = Recipe(schedule=schedule, warmup_steps=4000, learning_rate=1.0)
    with caplog.at_level(logging.WARNING, "kzoo"):
        found = with_short_warmup(recipe, choices, num_steps)
    assert (found.warmup_steps, found.learning_rate) == (wanted[0], pytest.approx(wanted[1]))
    assert bool(caplog.messages) == (found != recipe)
    if schedule == "transformer" and not choices:  # the highest rate is where the warm-up ends
        long, short = (TransformerSchedule(64, one.warmup_steps, one.learning_rate) for one in (recipe, found))
        assert float(long(3999)) == pytest.approx(float(short(wanted[0] - 1)), rel=1e-5)


def test_fit_shortens_the_warm_up_and_goes_on_with_it(tmp_path, monkeypatch, caplog):
    model, x = numbers(num_classes=2), np.zeros((40, 2), "float32")
    recipe = {"warmup_steps": 100, "epochs": 1, "batch_size": 2}
    monkeypatch.setattr(type(tasks.of(model)), "recipe", recipe)
    how = {"validation_data": (x, np.arange(40) % 2), "progress": False, "tensorboard": False}
    with caplog.at_level(logging.WARNING, "kzoo"):
        kzoo.fit(model, *how["validation_data"], tmp_path / "run", **how)
    assert "the run has 20 steps, so the warm-up takes 2 of them and not 100" in caplog.messages[0]
    done = kzoo.fit(model, *how["validation_data"], tmp_path / "run", resume=True, epochs=9, **how)
    assert "trained 9 epochs" in done.message
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["warmup_steps"] == 2


def test_the_command_line_takes_classes_from_the_data(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (photos / "a.csv").write_text("path,label\n" + "".join(f"images/{n}.png,{'abc'[n % 3]}\n" for n in range(12)))
    small = ["--set", "input_shape=(8,8,3)", "--set", "filters=(2,)", *QUICK]
    done = run("train", "cnn", *small, "--data", "a.csv", "--run-folder", "runs/a")
    assert "num_classes=3, as many as the data hold" in done.output
    assert json.loads((tmp_path / "runs/a/run.json").read_text())["model"]["overrides"]["num_classes"] == 3
    found = json.loads(run("predict", "runs/a", "a.csv", "images", "images/1*.png", "--json").output)
    assert len(found) == 12 + 12 + 3 and found[0]["file"].endswith("images/0.png")
    assert found[0]["classes"] == next(row for row in found[12:] if row["file"].endswith("/0.png"))["classes"]
    assert "num_examples 12" in run("evaluate", "runs/a", "--data", "a.csv", "--split", "all").output
    assert "num_classes" not in run("train", "cnn", *small, "--set", "num_classes=3", "--data", "a.csv").output
    (tmp_path / "classes").mkdir()
    for n in range(12):
        folder = tmp_path / "classes" / "wxyz"[n % 4]
        folder.mkdir(exist_ok=True)
        (photos / "images" / f"{n}.png").rename(folder / f"{n}.png")
    begun = run("train", "cnn", *small, "--data", "classes/", "--run-folder", "runs/b", "--weights", "runs/a").output
    assert "num_classes=4" in begun and "the head of runs/a is for other classes and is left out" in begun
    for known in [], ["--set", "num_classes=4"]:
        more = ["--weights", "runs/b", "--run-folder", f"runs/c{len(known)}"]
        begun = run("train", "cnn", *small, *known, "--data", "classes/", *more).output
        assert "test: " in begun and "left out" not in begun


def test_rows_into_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    model = numbers(num_classes=2)
    kzoo.catalog.update_card(model, class_names=["no", "yes"])
    kzoo.save(model, "model")
    (tmp_path / "a.csv").write_text("width,height\n1,2\n3,-4\n")
    rows = json.loads(run("predict", "model", "a.csv", "--json").output)
    assert [row["row"] for row in rows] == ["line 2", "line 3"]
    wanted = kzoo.predict(model, np.array([[1, 2], [3, -4]], "float32"))
    assert rows[1]["classes"][0]["probability"] == pytest.approx(wanted[1].max())
    run("predict", "model", "a.csv", "--output", "rows.jsonl")
    assert [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == rows
    run("predict", "model", "a.csv", "--output", "rows.csv")
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[0] == "file,row,class_1,probability_1,class_2,probability_2"
    assert lines[2].split(",")[:3] == ["a.csv", "line 3", rows[1]["classes"][0]["class"]]
    with pytest.raises(Exception, match=r"rows.txt: wanted a name that ends in .csv or .jsonl"):
        run("predict", "model", "a.csv", "--output", "rows.txt")


def test_what_is_asked_for():
    assert chosen_columns.asked("text, label") == (["text"], ["label"])
    assert chosen_columns.asked("width,height:price,rent") == (["width", "height"], ["price", "rent"])
    assert chosen_columns.asked([["a,b"], ["c"]]) == (["a,b"], ["c"]) == chosen_columns.asked(("a,b", "c"))
    with pytest.raises(ValueError, match="wanted names such as"):
        chosen_columns.asked("text:")
