"""Makes tests/golden/generation.json: what transformers' `generate` writes with the weights of gpt2 and marian.

The weights are those of tests/golden/{gpt2,marian}.safetensors. In an environment of its own:

    pip install torch==2.13.0 transformers safetensors numpy
    python scripts/golden/generation.py
"""

import json

import numpy as np
import torch
from text_models import build
from writing import GOLDEN

LENGTHS = (3, 7, 5, 1)
NEW_TOKENS = 12
# what kzoo.generate is asked for; stop tokens are chosen so that some sequences end early
CASES = (
    {},
    {"stop": 2},
    {"repetition_penalty": 1.3},
    {"num_beams": 2},
    {"num_beams": 3, "stop": 2},
    {"num_beams": 4, "stop": 2, "length_penalty": 0.0},
    {"num_beams": 4, "stop": 3, "length_penalty": 2.0},
)
# beams of each prompt with their scores
SEVERAL = {"num_beams": 4, "num_return_sequences": 3, "stop": 2}


def options(case, stops):
    chosen = {key: value for key, value in case.items() if key != "stop"}
    if "num_beams" in chosen:
        chosen = {"length_penalty": 1.0, "early_stopping": False, **chosen}
    return {**chosen, "eos_token_id": stops[: case.get("stop", 0)] or None}


def write(name, vocabulary, stops):
    model = build(name)
    random = np.random.default_rng(1)
    prompts = [random.integers(2, vocabulary, length).tolist() for length in LENGTHS]
    width, left = max(LENGTHS), name == "gpt2"
    ids, mask = np.zeros((len(prompts), width), "int64"), np.zeros((len(prompts), width), "int64")
    for row, prompt in enumerate(prompts):
        place = slice(width - len(prompt), width) if left else slice(0, len(prompt))
        ids[row, place], mask[row, place] = prompt, 1
    start = {} if left else {"decoder_start_token_id": 1}
    # What a checkpoint's own settings add is not what is compared here.
    model.generation_config.forced_eos_token_id = None
    model.generation_config.bad_words_ids = None
    rows = []
    for case in CASES:
        chosen = options(case, stops)
        found = model.generate(
            torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=0,
            **start,
            **chosen,
        )
        found = found[:, width if left else 1 :].tolist()
        rows.append({"case": {**case, "stop": chosen["eos_token_id"] or []}, "tokens": found})
    chosen = options(SEVERAL, stops)
    beams = model.generate(
        torch.tensor(ids), attention_mask=torch.tensor(mask), max_new_tokens=NEW_TOKENS, do_sample=False,
        pad_token_id=0, return_dict_in_generate=True, output_scores=True, **start, **chosen,
    )  # fmt: skip
    several = {
        "case": {**SEVERAL, "stop": chosen["eos_token_id"]},
        "tokens": beams.sequences[:, width if left else 1 :].tolist(),
        "scores": beams.sequences_scores.tolist(),
    }
    return {
        "prompts": prompts,
        "start": start.get("decoder_start_token_id"),
        "rows": rows,
        "several": several,
    }


def main():
    golden = {"max_new_tokens": NEW_TOKENS}
    for name, stops in (("gpt2", [9, 27, 32]), ("marian", [2, 32, 5])):
        golden[name] = write(name, 36, stops)
        for row in golden[name]["rows"]:
            print(name, row["case"], row["tokens"])
    (GOLDEN / "generation.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
