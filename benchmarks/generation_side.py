"""One writer of `generation.py`, in this process: loads GPT-2, then writes once for every line "go" on standard input.

Answers each line with one JSON line on standard output: seconds and the new token ids. The first answer comes unasked:
seconds until ready, the first (compiling) call included.
"""

import functools
import json
import os
import pathlib
import sys
import time

PROMPT_SEED = 0


def prompt_ids(length, vocabulary_size):
    import numpy as np

    return np.random.default_rng(PROMPT_SEED).integers(0, vocabulary_size, length).tolist()


def write_config(folder, sizes):
    """What the peers read beside the weights, in Hugging Face's form."""
    config = {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": sizes["vocabulary_size"],
        "n_embd": sizes["hidden_dim"], "n_layer": sizes["num_layers"], "n_head": sizes["num_heads"],
        "n_positions": sizes["max_length"], "n_inner": None, "activation_function": "gelu_new",
        "resid_pdrop": 0.1, "attn_pdrop": 0.1, "embd_pdrop": 0.1, "layer_norm_epsilon": 1e-5,
        "bos_token_id": None, "eos_token_id": None, "tie_word_embeddings": True,
    }  # fmt: skip
    (pathlib.Path(folder) / "config.json").write_text(json.dumps(config))


def make_weights(folder, sizes):
    """Random weights of kzoo, written once for all writers."""
    import keras

    import kzoo

    keras.utils.set_random_seed(0)
    kzoo.save_weights(kzoo.build("gpt2", **sizes), pathlib.Path(folder) / "model.safetensors")
    write_config(folder, sizes)


def kzoo_writer(folder, sizes, prompt, new):
    import kzoo

    model = kzoo.build("gpt2", pathlib.Path(folder) / "model.safetensors", **sizes)
    write = functools.partial(kzoo.generate, model, [prompt], max_new_tokens=new)
    write.facts = lambda: kzoo_facts(model, prompt, new)
    return write


def kzoo_fast_writer(folder, sizes, prompt, new, precision="float32", runtime="openvino"):
    import kzoo

    model = kzoo.build("gpt2", pathlib.Path(folder) / "model.safetensors", **sizes)
    writer = kzoo.fast_writer(model, precision, runtime)
    write = functools.partial(kzoo.generate, writer, [prompt], max_new_tokens=new)
    write.facts = lambda: {key: writer.report[key] for key in ("max_difference", "scale", "bytes")}
    return write


def kzoo_facts(model, prompt, new, piece=8):
    """How many programs there are after all calls, and the seconds a token takes from each place of the text on."""
    import numpy as np
    from keras import ops

    from kzoo.generation.loop import Plan
    from kzoo.generation.programs import programs_of
    from kzoo.generation.writing import BUCKET

    programs = programs_of(model)
    num_compiled, room = programs.num_compiled, -(-new // BUCKET) * BUCKET
    request = {
        "prompt": np.array([prompt], "int32"),
        "num_pads": np.zeros(1, "int32"),
        "sources": {},
        "stops": np.full(4, -1, "int32"),
        "fill": np.int32(0),
        "uniform": np.zeros((1, room), "float32"),
        "temperature": np.float32(1),
        "top_p": np.float32(1),
        "penalty": np.float32(1),
    }
    request = {key: value if key == "sources" else ops.convert_to_tensor(value) for key, value in request.items()}

    def limited(count):
        return {**request, "limit": ops.convert_to_tensor(np.int32(count))}

    best = {}
    for _ in range(4):  # the first round compiles
        state = programs.begin(Plan(room), limited(1), True)
        for count in range(1 + piece, new + 1, piece):
            begin = time.perf_counter()
            state = programs.go_on(Plan(room), limited(count), state, True)
            ops.convert_to_numpy(state["last"])
            seconds = (time.perf_counter() - begin) / piece
            best[len(prompt) + count - piece] = min(best.get(len(prompt) + count - piece, seconds), seconds)
    return {"programs_after_all_calls": num_compiled, "seconds_a_token_from_place": best}


def keras_hub_writer(folder, sizes, prompt, new):
    import keras_hub
    import numpy as np

    backbone = keras_hub.models.GPT2Backbone.from_preset(str(folder))
    model = keras_hub.models.GPT2CausalLM(backbone, preprocessor=None)
    model.compile(sampler="greedy")
    length = len(prompt) + new
    ids, mask = np.zeros((1, length), "int32"), np.zeros((1, length), "int32")
    ids[0, : len(prompt)], mask[0, : len(prompt)] = prompt, 1

    def write():
        found = model.generate({"token_ids": ids, "padding_mask": mask}, stop_token_ids=None)
        return np.asarray(found["token_ids"])[0, len(prompt) :].tolist()

    return write


def transformers_writer(folder, sizes, prompt, new, static=False):
    import torch
    import transformers

    model = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    ids = torch.tensor([prompt])
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 0}
    if static:
        options["cache_implementation"] = "static"
        model.forward = torch.compile(model.forward, fullgraph=True)

    def write():
        with torch.inference_mode():
            return model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, len(prompt) :].tolist()

    return write


def transformers_static_writer(*arguments):
    return transformers_writer(*arguments, static=True)


def new_ids(written):
    """The ids that a writer gives, whose own answer may hold more."""
    return written[0].ids if hasattr(written[0], "ids") else written


WRITERS = {
    "kzoo": kzoo_writer,
    "kzoo_openvino": kzoo_fast_writer,
    "kzoo_openvino_int8": functools.partial(kzoo_fast_writer, precision="int8_weights"),
    "kzoo_litert_int8": functools.partial(kzoo_fast_writer, precision="int8_weights", runtime="litert"),
    "keras_hub": keras_hub_writer,
    "transformers": transformers_writer,
    "transformers_static": transformers_static_writer,
}


def main():
    request = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    sizes, begin = request["sizes"], time.perf_counter()
    if request["side"] == "weights":
        make_weights(request["folder"], sizes)
        return print(json.dumps({"seconds": time.perf_counter() - begin}), file=answers, flush=True)
    prompt = prompt_ids(request["prompt_length"], sizes["vocabulary_size"])
    write = WRITERS[request["side"]](request["folder"], sizes, prompt, request["new_tokens"])
    ids = new_ids(write())
    print(json.dumps({"seconds": time.perf_counter() - begin, "ids": ids}), file=answers, flush=True)
    for line in sys.stdin:
        if json.loads(line) == "facts":
            print(json.dumps(getattr(write, "facts", dict)()), file=answers, flush=True)
            continue
        begin = time.perf_counter()
        ids = new_ids(write())
        print(json.dumps({"seconds": time.perf_counter() - begin, "ids": ids}), file=answers, flush=True)
    return None


if __name__ == "__main__":
    main()
