"""Three translators side by side on English to Spanish: recurrent, recurrent with attention, Transformer.

    TFDS_DATA_DIR=FOLDER python benchmarks/translation.py    # needs prepared bible_en_es, and the extra `translation`

All have the same vocabulary, about the same number of parameters, the same schedule and the same processor minutes of
training, whatever number of epochs that makes. Then each translates the test split, greedily and by beam search, and
sacrebleu scores the texts (BLEU and chrF). A word-by-word dictionary reaches BLEU 11.6 on this split. The last line of
standard output is one JSON document, which --output also adds to.
"""

import json
import os
import pathlib
import sys
import tempfile
import time

import harness
from recipes import store

DATA = "bible_en_es"
VOCABULARY_SIZE = 2000
MAX_LENGTH = 64
MODELS = {
    "seq2seq": ("seq2seq_small", {"hidden_dim": 112}),
    "attention": ("seq2seq_attention", {"hidden_dim": 109}),
    "transformer": ("transformer_tiny", {"hidden_dim": 120, "num_heads": 4, "intermediate_dim": 480}),
}
# The rate rises for 400 steps and falls with the root of the step: a schedule that needs no end.
FIT = {
    "batch_size": 64,
    "schedule": "transformer",
    "warmup_steps": 400,
    "learning_rate": 0.5,
    "label_smoothing": 0.1,
    "clip_norm": 1.0,
    "optimizer": "adam",
}
BATCH_SIZE = 32
NUM_BEAMS = 4


def budget(minutes):
    """A callback that ends training after so many minutes of this process's processor time."""
    import keras

    class Budget(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.begin = time.process_time()

        def on_train_batch_end(self, batch, logs=None):
            self.used = (time.process_time() - self.begin) / 60
            if self.used >= minutes:
                self.model.stop_training = True

    return Budget()


def train(name, minutes, tokenizer=None, num_examples=None):
    """The trained model of one row, its data, and what training cost."""
    import keras

    import kzoo

    variant, sizes = MODELS[name]
    keras.utils.set_random_seed(0)
    model = kzoo.build(variant, vocabulary_size=VOCABULARY_SIZE, **sizes)
    data = kzoo.data.load(
        DATA, model, batch_size=FIT["batch_size"], tokenizer=tokenizer, max_length=MAX_LENGTH, num_examples=num_examples
    )
    limit, begin = budget(minutes), time.perf_counter()
    run = kzoo.fit(model, data, epochs=1000, callbacks=[limit], **FIT)
    steps = int(model.optimizer.iterations.numpy())
    row = {
        "model": variant,
        "overrides": sizes,
        "parameters": model.count_params(),
        "steps": steps,
        "epochs": round(steps / data.train.num_batches, 2),
        "processor_minutes": round(limit.used, 2),
        "minutes": round((time.perf_counter() - begin) / 60, 2),
        "validation_cross_entropy": [round(epoch["val_cross_entropy"], 4) for epoch in run.history],
        "test_cross_entropy": kzoo.evaluate(model, data)["cross_entropy"],
    }
    return model, data, row


def test_pairs(limit):
    """English and Spanish texts of the test split."""
    from kzoo.data.sources import prepared

    builder = prepared.find(DATA)
    english, spanish = prepared.read_columns(builder, "test", prepared.pair(builder))
    return list(english)[:limit], list(spanish)[:limit]


def translate(model, tokenizer, texts, num_beams):
    """Translations in the order of the texts, and the seconds they took.

    Texts of like length go together, so that few programs are compiled and little padding is read.
    """
    import kzoo

    lengths = [len(ids) for ids in tokenizer.encode(texts)]
    order = sorted(range(len(texts)), key=lengths.__getitem__)
    order += order[-1:] * (-len(order) % BATCH_SIZE)  # one number of prompts is one program
    found, begin = [None] * len(texts), time.perf_counter()
    for start in range(0, len(order), BATCH_SIZE):
        places = order[start : start + BATCH_SIZE]
        written = kzoo.generate(
            model, [texts[place] for place in places], tokenizer, max_new_tokens=MAX_LENGTH, num_beams=num_beams
        )
        for place, one in zip(places, written, strict=True):
            found[place] = one.text
    return found, round(time.perf_counter() - begin, 1)


def score(hypotheses, references):
    """BLEU and chrF of whole texts, by sacrebleu with its default settings."""
    import sacrebleu

    return {
        "bleu": sacrebleu.corpus_bleu(hypotheses, [references]).score,
        "chrf": sacrebleu.corpus_chrf(hypotheses, [references]).score,
    }


def main():
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), help="which translators")
    parser.add_argument(
        "--minutes", type=harness.positive(float), default=15, help="processor minutes of training for each (15)"
    )
    parser.add_argument("--num-examples", type=harness.positive(int), help="train on so many pairs only")
    parser.add_argument("--num-test", type=harness.positive(int), help="translate so many test pairs only")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file to add the results to")
    arguments = parser.parse(None)
    english, spanish = test_pairs(arguments.num_test)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = None
        for name in arguments.models:
            model, data, row = train(name, arguments.minutes, tokenizer, arguments.num_examples)
            tokenizer = pathlib.Path(folder) / "tokenizer.json"
            data.tokenizer.save(tokenizer)
            for how, num_beams in (("greedy", 1), (f"beams_{NUM_BEAMS}", NUM_BEAMS)):
                texts, seconds = translate(model, data.tokenizer, english, num_beams)
                row[how] = {**score(texts, spanish), "seconds": seconds}
                print(f"{name}, {how}: {row[how]}", flush=True)
            row["samples"] = [
                dict(zip(("en", "es", "written"), three, strict=True))
                for three in list(zip(english, spanish, texts, strict=True))[:5]
            ]
            rows[name] = row
            print(f"{name}: {row}", flush=True)
    result = {
        "recipe": "translation",
        "data": DATA,
        "vocabulary_size": VOCABULARY_SIZE,
        "max_length": MAX_LENGTH,
        "fit": FIT,
        "budget_processor_minutes": arguments.minutes,
        "num_test": len(english),
        "load_average": os.getloadavg()[0],
        "models": rows,
    }
    if arguments.output:
        store(arguments.output, [result])
    print(json.dumps({"command": " ".join(sys.argv), "results": [result]}))


if __name__ == "__main__":
    main()
