"""Is what BERT learns from masked words of Shakespeare of use for film reviews? Pre-training beside none.

    TFDS_DATA_DIR=FOLDER python benchmarks/sentiment.py    # needs prepared shakespeare and movie_sentiment

A small BERT learns masked whole words of the plays and is saved. Then movie_sentiment is learned from random weights
and from the saved ones, each at the learning rate whose validation accuracy was best at seed 0. The yardstick is a
logistic regression on TF-IDF of words and pairs (scikit-learn where installed). The last line of standard output is one
JSON document, which --output also adds to. Exit status 1 if pre-training does not beat none.
"""

import json
import pathlib
import statistics
import sys
import tempfile
import time

import harness
from recipes import store

SIZES = {"num_layers": 2, "hidden_dim": 128, "num_heads": 2, "intermediate_dim": 512, "vocabulary_size": 4000}
MAX_LENGTH = 64
PRETRAIN = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-3}
TUNE = {"epochs": 3, "batch_size": 32, "warmup_steps": 100}
RATES = (3e-4, 1e-3)
TFIDF = 0.827  # as measured beforehand


def build(**choices):
    import keras

    import kzoo

    keras.utils.set_random_seed(choices.pop("seed", 0))
    return kzoo.build("bert_tiny", max_length=MAX_LENGTH, **SIZES, **choices)


def make_tokenizer():
    """Word pieces of the training texts of both data sets."""
    from kzoo.data import Tokenizer
    from kzoo.data.sources import corpora, prepared

    plays = corpora.read_texts(prepared.find("shakespeare"), ["train"])["train"]
    (reviews,) = corpora.read_labelled(prepared.find("movie_sentiment"), ["train"])[0]["train"][0]
    return Tokenizer.train("wordpieces", [*plays, *reviews], SIZES["vocabulary_size"])


def pretrain(folder, tokenizer, epochs):
    """Learns masked words of the plays and saves the model; its numbers on their test texts."""
    import kzoo

    model, begin = build(head="masked_words"), time.perf_counter()
    data = kzoo.data.load(
        "shakespeare", model, batch_size=PRETRAIN["batch_size"], tokenizer=tokenizer, whole_words=True
    )
    run = kzoo.fit(model, data, progress=False, **{**PRETRAIN, **({"epochs": epochs} if epochs else {})})
    kzoo.save(model, folder)
    numbers = kzoo.evaluate(model, data)
    return {
        **{f"test_{key}": numbers[key] for key in ("cross_entropy", "perplexity", "accuracy")},
        "validation_cross_entropy": [row["val_cross_entropy"] for row in run.history],
        "minutes": round((time.perf_counter() - begin) / 60, 2),
    }


def tune(weights, tokenizer, rate, seed, epochs):
    """Fine-tunes from these weights, or from none; accuracies in percent."""
    import kzoo

    start = {"weights": weights, "load_head": False} if weights else {}
    model, begin = build(head="classification", seed=seed, **start), time.perf_counter()
    data = kzoo.data.load("movie_sentiment", model, batch_size=TUNE["batch_size"], seed=seed, tokenizer=tokenizer)
    choices = {**TUNE, **({"epochs": epochs} if epochs else {})}
    kzoo.fit(model, data, seed=seed, learning_rate=rate, progress=False, **choices)
    row = {
        f"{split}_accuracy_percent": 100 * kzoo.evaluate(model, data, split)["accuracy"]
        for split in ("validation", "test")
    }
    return {"rate": rate, "seed": seed, **row, "minutes": round((time.perf_counter() - begin) / 60, 2)}


def tfidf():
    """Test accuracy in percent of logistic regression on TF-IDF of words and pairs; None without scikit-learn."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        return None
    from kzoo.data.sources import corpora, prepared

    parts, _ = corpora.read_labelled(prepared.find("movie_sentiment"), ["train", "test"])
    vectorizer = TfidfVectorizer(ngram_range=(1, 2))
    regression = LogisticRegression(C=10, max_iter=1000)
    regression.fit(vectorizer.fit_transform(parts["train"][0][0]), parts["train"][1])
    return 100 * regression.score(vectorizer.transform(parts["test"][0][0]), parts["test"][1])


def main():
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--seeds", type=harness.positive(int), default=3, help="how many seeds")
    parser.add_argument("--epochs", type=harness.positive(int), help="of every training, instead of the usual ones")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file of results by recipe to add to")
    arguments = parser.parse(None)
    tokenizer, rows = make_tokenizer(), {}
    with tempfile.TemporaryDirectory() as folder:
        before = pretrain(f"{folder}/bert", tokenizer, arguments.epochs)
        print(f"masked words: {before}", flush=True)
        for way, weights in (("scratch", None), ("pretrained", f"{folder}/bert")):
            tried = [tune(weights, tokenizer, rate, 0, arguments.epochs) for rate in RATES]
            best = max(tried, key=lambda row: row["validation_accuracy_percent"])
            others = range(1, arguments.seeds)
            more = [tune(weights, tokenizer, best["rate"], seed, arguments.epochs) for seed in others]
            rows[way] = {"searched": [row for row in tried if row is not best], "seeds": [best, *more]}
            print(f"{way}: {rows[way]}", flush=True)
    mean = {
        f"{way}_{key}": statistics.mean(row[key] for row in rows[way]["seeds"])
        for way in rows
        for key in ("validation_accuracy_percent", "test_accuracy_percent")
    }
    result = {
        "recipe": "sentiment",
        "model": "bert_tiny",
        "data": "shakespeare, then movie_sentiment",
        "overrides": SIZES,
        "fit": {"pretraining": PRETRAIN, "fine-tuning": TUNE},
        "load": {"max_length": MAX_LENGTH, "whole_words": True},
        "pretraining": before,
        "mean": {**mean, "tfidf_test_accuracy_percent": tfidf() or 100 * TFIDF},
        **rows,
        "minutes": [before["minutes"], *(row["minutes"] for way in rows.values() for row in way["seeds"])],
        "reached": mean["pretrained_test_accuracy_percent"] > mean["scratch_test_accuracy_percent"],
    }
    if arguments.output:
        store(arguments.output, [result])
    print(json.dumps({"command": " ".join(sys.argv), "results": [result]}))
    return 0 if result["reached"] else 1


if __name__ == "__main__":
    sys.exit(main())
