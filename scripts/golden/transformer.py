"""Makes tests/golden/transformer.safetensors: a small random MarianMTModel, its inputs and its logits.

In an environment of its own:

    pip install torch==2.13.0 transformers safetensors numpy
    python scripts/golden/transformer.py

The other way, a file that `kzoo.save_weights` wrote for the same configuration goes back into MarianMTModel:

    python scripts/golden/transformer.py --check-back weights.safetensors
"""

import argparse
import pathlib
import shutil
import tempfile

import numpy as np
import safetensors.numpy
import torch
import transformers

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "transformer.safetensors"
CONFIG = transformers.MarianConfig(
    vocab_size=37,
    d_model=16,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=24,
    decoder_ffn_dim=24,
    max_position_embeddings=32,
    activation_function="relu",
    scale_embedding=True,
    share_encoder_decoder_embeddings=True,
    pad_token_id=0,
    decoder_start_token_id=0,
    eos_token_id=1,
    forced_eos_token_id=1,
)


def random_model():
    """Every parameter is drawn, biases and norms too: zeros and ones would hide a swap."""
    torch.manual_seed(0)
    model = transformers.MarianMTModel(CONFIG).eval()
    for name, parameter in model.named_parameters():
        if "embed_positions" not in name:
            torch.nn.init.normal_(parameter, mean=1.0 if "layer_norm.weight" in name else 0.0, std=0.3)
    return model


def random_inputs():
    """A batch of three: no padding, some, and all but one token; long enough for every position to differ."""
    random = np.random.default_rng(0)
    mask = (np.arange(19) < np.array([19, 12, 1])[:, None]).astype("int32")
    return {
        "encoder_token_ids": np.where(mask, random.integers(2, 37, mask.shape), 0).astype("int32"),
        "encoder_padding_mask": mask,
        "decoder_token_ids": random.integers(2, 37, (3, 23)).astype("int32"),
    }


def logits(model, inputs):
    ids, mask, target = (torch.from_numpy(inputs[name]).long() for name in inputs)
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask, decoder_input_ids=target).logits.numpy()


def make():
    model, inputs = random_model(), random_inputs()
    tensors = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    tensors.update({f"input.{name}": value for name, value in inputs.items()})
    tensors["output"] = logits(model, inputs)
    safetensors.numpy.save_file(tensors, GOLDEN, {"torch": torch.__version__, "transformers": transformers.__version__})
    print(f"{GOLDEN}: {GOLDEN.stat().st_size:,} bytes")


def check_back(path):
    """Loads the file through `from_pretrained`; SystemExit unless it fits without rest and gives the golden logits."""
    with tempfile.TemporaryDirectory() as folder:
        CONFIG.save_pretrained(folder)
        shutil.copy(path, f"{folder}/model.safetensors")
        model, report = transformers.MarianMTModel.from_pretrained(folder, output_loading_info=True)
    golden = safetensors.numpy.load_file(GOLDEN)
    difference = np.abs(logits(model.eval(), random_inputs()) - golden["output"]).max()
    found = {kind: sorted(names) for kind, names in report.items() if names}
    print(f"not fitting: {found or 'none'}; greatest difference from the golden logits: {difference:.1e}")
    if found or difference > 1e-5:
        raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check-back", metavar="FILE")
    arguments = parser.parse_args()
    if arguments.check_back:
        check_back(arguments.check_back)
    else:
        make()
