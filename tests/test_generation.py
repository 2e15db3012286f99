"""Generation: equal to recomputing everything, to transformers, and for every way of padding and compiling."""

import json
import pathlib

import keras
import numpy as np
import pytest
import safetensors.numpy
from backends import outputs_of

import kzoo
from kzoo.generation import loop, programs, sampling

GOLDEN = pathlib.Path(__file__).with_name("golden")
REFERENCE = json.loads((GOLDEN / "generation.json").read_text())
SIZES = {"num_layers": 2, "hidden_dim": 16, "num_heads": 4, "vocabulary_size": 37}
CONFIGURATIONS = {
    "gpt2": {**SIZES, "max_length": 21},
    "marian": {**SIZES, "intermediate_dim": 24},
}
ON_JAX = keras.backend.backend() == "jax"
# Every case of the golden file, compiled by XLA on JAX; TensorFlow's own operations compile faster, so there XLA has
# the first, which is greedy, and one with beams
CASES = [(row, ON_JAX or row == 0) for row in range(len(REFERENCE["gpt2"]["rows"]))] + ([] if ON_JAX else [(4, True)])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The models of the golden file, each built when first asked for."""
    built, folder = {}, tmp_path_factory.mktemp("weights")

    def build(name):
        if name not in built:
            tensors = safetensors.numpy.load_file(GOLDEN / f"{name}.safetensors")
            kept = {key: value for key, value in tensors.items() if not key.startswith(("input", "output"))}
            safetensors.numpy.save_file(kept, folder / f"{name}.safetensors")
            built[name] = kzoo.build(name, folder / f"{name}.safetensors", **CONFIGURATIONS[name])
        return built[name]

    return build


def greedy_by_recomputing(model, prompt, count):
    """The likeliest tokens, the whole sequence run again for each, without any cache or padding."""
    ids = list(prompt)
    for _ in range(count):
        x = {"token_ids": np.array([ids], "int32"), "padding_mask": np.ones((1, len(ids)), "int32")}
        ids.append(int(outputs_of(model, x)[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize(("row", "xla"), CASES)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_writes_what_transformers_writes(models, name, row, xla):
    golden = REFERENCE[name]
    case = golden["rows"][row]["case"]
    options = {} if golden["start"] is None else {"start": golden["start"]}
    found = kzoo.generate(
        models(name), golden["prompts"], max_new_tokens=REFERENCE["max_new_tokens"], xla=xla, **options, **case
    )
    for written, wanted in zip(found, golden["rows"][row]["tokens"], strict=True):
        ends = [index for index, token in enumerate(wanted) if token in case["stop"]]
        assert written.ids == wanted[: ends[0] if ends else None]
        assert written.stopped == bool(ends)


def test_equals_recomputing_token_for_token(models):
    model = models("gpt2")
    prompts = [[5], [7, 8, 9, 10, 11], [30, 2]]
    together = [written.ids for written in kzoo.generate(model, prompts, max_new_tokens=9)]
    assert together == [greedy_by_recomputing(model, prompt, 9) for prompt in prompts]
    assert [kzoo.generate(model, [prompt], max_new_tokens=9)[0].ids for prompt in prompts] == together


def test_a_second_call_of_the_same_bucket_compiles_nothing(models):
    model = kzoo.build("gpt2", **{**CONFIGURATIONS["gpt2"], "max_length": 99})
    kzoo.generate(model, [[3, 4]], max_new_tokens=5, temperature=0.5, top_p=0.9)
    mine = programs.programs_of(model)
    assert mine.num_compiled == 1
    kzoo.generate(model, [[9] * 31], max_new_tokens=30, temperature=2.0, top_p=0.2, seed=7)
    assert mine.num_compiled == 1, "another prompt, length, temperature, top_p and seed"
    kzoo.generate(model, [[9] * 33], max_new_tokens=5, temperature=0.5, top_p=0.9)
    assert mine.num_compiled == 2, "a longer prompt"


def test_seeds_and_streams(models):
    model = models("gpt2")
    options = {"max_new_tokens": 10, "temperature": 1.5, "top_k": 20}
    first = kzoo.generate(model, [[4, 5]], seed=3, **options)[0].ids
    assert kzoo.generate(model, [[4, 5]], seed=3, **options)[0].ids == first
    assert any(kzoo.generate(model, [[4, 5]], seed=seed, **options)[0].ids != first for seed in range(4, 7))
    pieces = []
    streamed = kzoo.generate(model, [[4, 5]], seed=3, stream=pieces.append, **options)[0].ids
    assert streamed == first == [token for piece in pieces for token in piece] and len(pieces) > 1


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_best_beams_and_their_scores_are_those_of_transformers(models, name):
    golden, several = REFERENCE[name], REFERENCE[name]["several"]
    options = {} if golden["start"] is None else {"start": golden["start"]}
    found = kzoo.generate(
        models(name), golden["prompts"], max_new_tokens=REFERENCE["max_new_tokens"], **options, **several["case"]
    )
    assert [len(each) for each in found] == [several["case"]["num_return_sequences"]] * len(golden["prompts"])
    flat = [one for each in found for one in each]
    np.testing.assert_allclose([one.score for one in flat], several["scores"], rtol=1e-4)
    for one, wanted in zip(flat, several["tokens"], strict=True):
        ends = [index for index, token in enumerate(wanted) if token in several["case"]["stop"]]
        assert (one.ids, one.stopped) == (wanted[: ends[0]] if ends else wanted, bool(ends))


def test_several_sequences_are_drawn_apart(models):
    model = models("gpt2")
    draw = {"max_new_tokens": 8, "temperature": 1.0, "seed": 1}
    several = kzoo.generate(model, [[4, 5, 6], [7]], num_return_sequences=3, **draw)
    assert [len(each) for each in several] == [3, 3]
    assert len({tuple(one.ids) for one in several[0]}) == 3
    repeated = kzoo.generate(model, [[4, 5, 6]] * 3 + [[7]] * 3, **draw)
    assert [one.ids for each in several for one in each] == [one.ids for one in repeated]
    one = kzoo.generate(model, [[4, 5, 6]], num_return_sequences=1, max_new_tokens=4)
    assert one[0][0].ids == kzoo.generate(model, [[4, 5, 6]], max_new_tokens=4)[0].ids


class Letters:
    """Reads every letter as a token, as a tokenizer does."""

    vocabulary_size, end_id, start_id = 37, None, None
    is_token = [True] * 37

    def encode(self, texts):
        return [[ord(letter) - 60 for letter in text] for text in texts]

    def decode(self, rows):
        return ["".join(chr(60 + token) for token in row) for row in rows]


def test_texts_of_several_tokens_end_a_sequence(models, monkeypatch):
    monkeypatch.setattr("kzoo.generation.writing.Tokenizer", Letters)
    model, letters = models("gpt2"), Letters()
    prompts = ["FGH", "I"]
    whole = kzoo.generate(model, prompts, letters, max_new_tokens=12, stop=[])
    phrase = whole[0].text[4:7]
    place = whole[0].text.find(phrase)
    cut = kzoo.generate(model, prompts, letters, max_new_tokens=12, stop=[phrase, "@@@@"])
    assert (cut[0].text, cut[0].ids, cut[0].stopped) == (whole[0].text[:place], whole[0].ids[:place], True)
    assert phrase not in whole[1].text and (cut[1].text, cut[1].stopped) == (whole[1].text, False)
    pieces = []
    shown = kzoo.generate(model, prompts[:1], letters, max_new_tokens=12, stop=phrase, stream=pieces.append)[0]
    assert "".join(pieces) == shown.text == cut[0].text
    unmet = whole[0].text[-2:] + "@"  # what is held back is shown at the end
    pieces = []
    kzoo.generate(model, prompts[:1], letters, max_new_tokens=12, stop=unmet, stream=pieces.append)
    assert "".join(pieces) == whole[0].text
    with pytest.raises(ValueError, match=r"is several tokens, which beam search does not take"):
        kzoo.generate(model, prompts, letters, max_new_tokens=2, stop="ab", num_beams=2)
    with pytest.raises(ValueError, match="stop '' is an empty text"):
        kzoo.generate(model, prompts, letters, max_new_tokens=2, stop="")


def test_stop_tokens_end_a_sequence_and_are_left_out(models):
    model = models("gpt2")
    whole = kzoo.generate(model, [[4, 5, 6]], max_new_tokens=8)[0]
    assert not whole.stopped and len(whole.ids) == 8
    place = whole.ids.index(whole.ids[3])
    cut = kzoo.generate(model, [[4, 5, 6]], max_new_tokens=8, stop=[36, whole.ids[3]])[0]
    assert cut.stopped and cut.ids == whole.ids[:place]


LOGITS = np.log(np.array([[0.1, 0.4, 0.3, 0.2]], "float32"))


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [0.1, 0.4, 0.3, 0.2]),
        ({"top_k": 2}, [0, 4 / 7, 3 / 7, 0]),
        ({"top_p": 0.65}, [0, 4 / 7, 3 / 7, 0]),
        ({"top_p": 0.39}, [0, 1, 0, 0]),
        ({"top_k": 3, "top_p": 0.8}, [0, 4 / 9, 3 / 9, 2 / 9]),
        ({"temperature": 0.5}, np.array([1, 16, 9, 4]) / 30),
    ],
)
def test_samples_have_the_right_shares(options, wanted):
    count = 2000
    uniform = (np.arange(count, dtype="float32") + 0.5) / count
    options = {"temperature": 1.0, **options}
    drawn = keras.ops.convert_to_numpy(sampling.sample(np.repeat(LOGITS, count, 0), uniform, **options))
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / count, wanted, atol=1 / count)


def test_what_exactly_reaches_the_probability_is_enough():
    uniform = np.arange(8, dtype="float32") / 8
    drawn = keras.ops.convert_to_numpy(sampling.sample(np.zeros((8, 4), "float32"), uniform, 1.0, top_p=0.5))
    assert drawn.tolist() == [0] * 4 + [1] * 4


def test_a_number_next_to_one_draws_a_token_that_has_a_probability():
    drawn = sampling.sample(LOGITS, np.array([np.nextafter(np.float32(1), np.float32(0))]), 1.0, top_p=0.5)
    assert int(drawn[0]) in (1, 2)


def test_a_penalty_lowers_every_logit_of_a_token_seen():
    logits, seen = np.array([[2.0, -2.0, 2.0, -2.0]]), np.array([[True, True, False, False]])
    np.testing.assert_array_equal(sampling.penalise(logits, seen, 4.0), [[0.5, -8.0, 2.0, -2.0]])


class Flat:
    """A decoder to which token 0, with which prompts are padded, is always a little likelier than the others."""

    vocabulary_size = 5

    def read(self, sources):
        return sources

    def empty_caches(self, batch_size, length, context):
        return ()

    def step(self, tokens, place, num_pads, context, caches):
        return np.tile(np.array([1.1, 1.0, 0.9, 0.8, 0.7], "float32"), (len(tokens), 1)), caches


def test_padding_is_not_seen():
    request = {"prompt": np.array([[0, 0, 3], [0, 4, 3]], "int32"), "num_pads": np.array([2, 0]), "sources": {}}
    request |= {"penalty": 2.0, "stops": np.array([-1]), "fill": np.int32(0)}
    state = loop.prefill(Flat(), loop.Plan(2, with_penalty=True), request)
    assert np.asarray(state["last"]).tolist() == [0, 1]
    seen = [[True, False, False, True, False], [True, True, False, True, True]]  # the new token too
    np.testing.assert_array_equal(state["seen"], seen)


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ([[4] * 20], {"max_new_tokens": 2}, "20 tokens and max_new_tokens=2 together exceed the context of 21.*=1"),
        ([[4] * 22], {}, "shorten the prompt"),
        ([[]], {}, "prompt 0 is empty"),
        ([], {}, "empty list"),
        ([[37]], {}, "token id 37 .* outside the vocabulary 0..36"),
        ("text", {}, "no tokenizer"),
        ([[1], "text"], {}, "mixes"),
        ([1, 2], {}, r"pass \[ids\]"),
        ([[1]], {"temperature": -1}, "temperature must be at least 0"),
        ([[1]], {"temperature": float("nan")}, "temperature must be a number"),
        ([[1]], {"temperature": 1.0, "top_p": 0}, "top_p must be above 0 and at most 1, got 0"),
        ([[1]], {"temperature": 1.0, "top_p": 1.1}, "top_p must be above 0"),
        ([[1]], {"temperature": 1.0, "top_k": 38}, "top_k is 38, but there are 37 tokens"),
        ([[1]], {"top_k": 3}, "top_k chooses .* temperature=0"),
        ([[1]], {"num_beams": 0}, "num_beams must be at least 1"),
        ([[1]], {"num_beams": 2, "temperature": 1.0}, "beam search .* takes neither"),
        ([[1]], {"num_beams": 2, "stream": print}, "stream with num_beams=1"),
        ([[1]], {"num_beams": 2, "num_return_sequences": 3}, "num_beams=2 finds no more than 2"),
        ([[1]], {"num_return_sequences": 2}, "pass num_beams or a temperature above 0"),
        ([[1], [2]], {"stream": print}, "one prompt at a time, got 2"),
        ([[1]], {"max_new_tokens": 0}, "max_new_tokens must be at least 1"),
        ([[1]], {"stop": [99]}, "stop: token id 99"),
        ([[1]], {"stop": "end"}, "no tokenizer"),
        ([[1]], {"repetition_penalty": 0}, "repetition_penalty must be above 0"),
    ],
)
def test_bad_input(models, prompt, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        kzoo.generate(models("gpt2"), prompt, **{"max_new_tokens": 4, **options})


@pytest.mark.parametrize("name", ["seq2seq_small", "seq2seq_attention"])
def test_recurrent_translators_go_on_from_their_states(name):
    sizes = {"num_layers": 2, "hidden_dim": 8, "source_vocabulary_size": 25, "vocabulary_size": 21}
    model = kzoo.build(name, **sizes)
    sources, draw = [[4, 24, 6, 2], [7, 2]], np.random.default_rng(0)
    model.set_weights([value + draw.normal(0, 0.5, value.shape) for value in model.get_weights()])
    found = [written.ids for written in kzoo.generate(model, sources, start=1, max_new_tokens=6)]
    for source, ids in zip(sources, found, strict=True):
        wanted = [1]
        for _ in range(6):
            x = {
                "encoder_token_ids": np.array([source], "int32"),
                "encoder_padding_mask": np.ones((1, len(source)), "int32"),
                "decoder_token_ids": np.array([wanted], "int32"),
            }
            wanted.append(int(outputs_of(model, x)[0, -1].argmax()))
        assert ids == wanted[1:]


def test_models_that_write_nothing():
    with pytest.raises(ValueError, match="mlp is for image_classification and writes no tokens"):
        kzoo.generate(kzoo.build("mlp"), [[1]])
