"""Makes tests/golden/transformer.safetensors: a small random MarianMTModel, its inputs and its logits.

In an environment of its own:

    pip install torch==2.13.0 transformers safetensors numpy
    python scripts/golden/transformer.py

The other way, a file that `kzoo.save_weights` wrote for the same configuration goes back into MarianMTModel:

    python scripts/golden/transformer.py --check-back weights.safetensors
"""

import numpy as np
import safetensors.numpy
import torch
import transformers
import writing
from text_models import MARIAN, load_whole, run_marian

CONFIG = transformers.MarianConfig(
    **{
        **MARIAN.to_diff_dict(),
        "activation_function": "relu",
        "pad_token_id": 0,
        "decoder_start_token_id": 0,
        "eos_token_id": 1,
        "forced_eos_token_id": 1,
    }
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


def make():
    model, inputs = random_model(), random_inputs()
    tensors = {**writing.arrays_of(model), **{f"input.{name}": value for name, value in inputs.items()}}
    tensors["output"] = run_marian("transformer", model, inputs)[""]
    writing.write("transformer", tensors, torch=torch.__version__, transformers=transformers.__version__)


def check_back(path):
    """Loads the file through `from_pretrained`; SystemExit unless it fits without rest and gives the golden logits."""
    model = load_whole(transformers.MarianMTModel, CONFIG, path)
    golden = safetensors.numpy.load_file(writing.GOLDEN / "transformer.safetensors")
    writing.must_agree("transformer", run_marian("transformer", model, random_inputs())[""], golden["output"])


if __name__ == "__main__":
    writing.main(__doc__, make, check_back=(check_back, ("FILE",)))
