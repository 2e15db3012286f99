"""The commands for text: what they print for people and programs, and one line for bad input."""

import json

import click
import keras
import numpy as np
import pytest
from click.testing import CliRunner

import kzoo
from kzoo.catalog import update_card
from kzoo.cli import text_commands
from kzoo.cli.commands import cli
from kzoo.data import Tokenizer
from kzoo.runtimes import choices


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved language model of letters that writes the alphabet on."""
    folder = tmp_path_factory.mktemp("letters")
    keras.utils.set_random_seed(0)
    tokenizer = Tokenizer.train("characters", ["abcdef"], 20)
    model = kzoo.build(
        "gpt2",
        num_layers=1,
        hidden_dim=16,
        num_heads=2,
        vocabulary_size=tokenizer.vocabulary_size,
        max_length=40,
        dropout=0.0,
    )
    ids = np.array(tokenizer.encode(["abcdef" * 4]), "int32")
    x = {"token_ids": ids[:, :-1], "padding_mask": np.ones_like(ids[:, :-1])}
    model.compile(keras.optimizers.Adam(0.03), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for _ in range(60):
        model.train_on_batch(x, ids[:, 1:])
    update_card(model, tokenizer=tokenizer)
    kzoo.save(model, folder)
    return str(folder)


def run(*arguments, text=None):
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False, input=text, catch_exceptions=False)


def test_generate_for_people_and_for_programs(folder):
    options = ["--max-new-tokens", "8"]
    assert run("generate", folder, "--prompt", "abc", *options).output == "abcdefabcde\n"
    found = json.loads(run("generate", folder, "--file", "-", "--json", *options, text="abc\nabcde\n").output)
    assert [(row["prompt"], row["text"], row["stopped"]) for row in found] == [
        ("abc", "defabcde", False),
        ("abcde", "fabcdefa", False),
    ]
    assert run("generate", folder, "--prompt", "abc", "--stream", *options).output == "abcdefabcde\n"
    assert run("generate", folder, "--prompt", "abc", "--stop", "f", *options).output == "abcde\n"
    assert run("generate", folder, "--prompt", "abc", "--stop", "efa", *options).output == "abcd\n"
    beams = ["--beams", "3", "--num-return-sequences", "2", "--json", *options]
    found = json.loads(run("generate", folder, "--prompt", "abc", *beams).output)
    assert [row["prompt"] for row in found] == ["abc", "abc"] and found[0]["score"] > found[1]["score"]


def test_show_attention(folder, tmp_path):
    found = run("show-attention", folder, str(tmp_path / "map.png"), "abc")
    assert found.output == f"wrote {tmp_path / 'map.png'} (transformer.h.0.attn)\n"
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --prompt"),
        (["--prompt", "a", "--file", "b"], "either --prompt"),
        (["--file", "nowhere.txt"], "no file at nowhere.txt"),
        (["--prompt", "a", "--prompt", "b", "--stream"], "takes one prompt"),
        (["--prompt", "a", "--top-p", "0"], "top_p must be above 0"),
        (["--prompt", "a", "--temperature", "-1"], "temperature must be at least 0"),
        (["--prompt", "a", "--beams", "0"], "num_beams must be at least 1"),
        (["--prompt", "a" * 50], "exceed the context of 40 tokens; shorten the prompt"),
        (["--prompt", "a", "--stop", "abc", "--beams", "2", "--max-new-tokens", "4"], "'abc' is several tokens"),
        (["--prompt", "a", "--num-return-sequences", "2"], "pass num_beams or a temperature above 0"),
    ],
)
def test_bad_input(folder, arguments, message):
    with pytest.raises((click.UsageError, ValueError), match=message):
        run("generate", folder, *arguments)


def test_a_byte_order_mark_is_no_part_of_the_first_prompt(tmp_path):
    (tmp_path / "prompts").write_bytes("\ufeffab\u2028c\nd".encode())
    assert text_commands._read_prompts((), str(tmp_path / "prompts")) == ["ab\u2028c", "d"]


def test_a_file_that_is_no_text(folder, tmp_path):
    (tmp_path / "prompts").write_bytes(b"ab\xff")
    with pytest.raises(click.UsageError, match=r"prompts is not UTF-8 text \(byte 2\)"):
        run("generate", folder, "--file", str(tmp_path / "prompts"))
    with pytest.raises(click.UsageError, match="has no tokenizer"):
        run("generate", "gpt2", "--set", "num_layers=1", "--set", "vocabulary_size=9", "--prompt", "a")


def test_a_tokenizer_travels_with_its_model(folder, tmp_path):
    model = kzoo.load(folder)
    kzoo.save(model, tmp_path / "again")
    assert kzoo.generate(kzoo.load(tmp_path / "again"), "abc", max_new_tokens=4).text == "defa"


@pytest.mark.skipif(
    not choices.is_installed("openvino"), reason="openvino is not installed (pip install kzoo[openvino])"
)
def test_generate_in_another_runtime(folder):
    options = ["--prompt", "abc", "--max-new-tokens", "8", "--runtime", "openvino"]
    assert run("generate", folder, *options, "--precision", "int8_weights").output == "abcdefabcde\n"
    with pytest.raises(ValueError, match="did you mean int8_weights"):
        run("generate", folder, *options, "--precision", "int8_weight")
