"""Makes tests/golden/clip: a small CLIP as transformers saves it, and what it answers.

In an environment of its own:

    pip install torch==2.13.0 transformers safetensors numpy pillow torchvision
    python scripts/golden/clip.py

The other way, a folder with `config.json` and the weights that `kzoo.save_weights` wrote is loaded by transformers:

    python scripts/golden/clip.py --check-back FOLDER
"""

import pathlib
import sys
import types

import numpy as np
import torch

# torchvision's compiled half has no build for torch's CPU wheels, and is not needed here
sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
import transformers as hf  # noqa: E402
import writing  # noqa: E402
from writing import GOLDEN  # noqa: E402

FOLDER = GOLDEN / "clip"
TOKENIZER = GOLDEN / "tokenizers" / "clip"
LENGTH = 24
SHARED = {"num_hidden_layers": 2, "num_attention_heads": 2, "projection_dim": 8}
TEXT = {**SHARED, "vocab_size": 722, "hidden_size": 12, "intermediate_size": 20, "max_position_embeddings": LENGTH}
VISION = {**SHARED, "hidden_size": 16, "intermediate_size": 24, "patch_size": 4, "image_size": 12}
TEXTS = ["The quick brown fox", "a café in Zürich, 1984", "", "the weather " * 30]
# which GELU, and how a text's end is found: OpenAI's first files say 2 and mean the highest id; 320 is the word "a"
CASES = {"openai": ("quick_gelu", 2), "openai_by_id": ("quick_gelu", 320), "laion": ("gelu", 721)}


def network(activation="quick_gelu", end=2):
    """A network of random weights, equal in every case."""
    torch.manual_seed(0)
    text = {**TEXT, "hidden_act": activation, "eos_token_id": end, "bos_token_id": 720, "pad_token_id": 721}
    vision = {**VISION, "hidden_act": activation}
    config = hf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8, architectures=["CLIPModel"])
    model = hf.CLIPModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.constant_(model.logit_scale, 2.5)
    return model.eval()


def inputs():
    """Pictures as the network takes them, and the ids of TEXTS."""
    images = np.random.default_rng(1).standard_normal((len(TEXTS), 12, 12, 3), "float32")
    tokenizer = hf.CLIPTokenizer.from_pretrained(str(TOKENIZER))
    ids = tokenizer(TEXTS, padding="max_length", max_length=LENGTH, truncation=True).input_ids
    return {"image": images, "token_ids": np.array(ids, "int32")}


def answers(model, given):
    """Vectors of both towers, as projected and of length 1, and the logits."""
    pixels, ids = torch.tensor(given["image"].transpose(0, 3, 1, 2)), torch.tensor(given["token_ids"]).long()
    with torch.no_grad():
        found = model(input_ids=ids, pixel_values=pixels)
        image = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        text = model.text_projection(model.text_model(input_ids=ids).pooler_output)
    known = {"logits": found.logits_per_image, "image": found.image_embeds, "text": found.text_embeds}
    return {key: value.numpy() for key, value in {**known, "image_features": image, "text_features": text}.items()}


def make():
    given = inputs()
    tensors = {f"input.{name}": value for name, value in given.items()}
    for case, how in CASES.items():
        found = answers(network(*how), given)
        tensors |= {f"output.{case}.{name}": value for name, value in found.items()}
    network().save_pretrained(FOLDER)
    (FOLDER / "generation_config.json").unlink(missing_ok=True)
    processor = hf.CLIPImageProcessor(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12})
    processor.save_pretrained(FOLDER)
    picture = (np.add.outer(np.arange(30), np.arange(41))[..., None] * [2, 3, 3] % 256).astype("uint8")
    tensors["input.picture"] = picture
    tensors["output.pixels"] = processor(picture, return_tensors="np").pixel_values[0].transpose(1, 2, 0)
    writing.write("clip_answers", tensors, transformers=hf.__version__)
    for path in FOLDER.iterdir():
        path.chmod(0o644)


def check_back(folder):
    """SystemExit unless transformers loads a folder, with nothing missing or left over, and answers as it did."""
    model, told = hf.CLIPModel.from_pretrained(folder, output_loading_info=True)
    if told["missing_keys"] or told["unexpected_keys"] or told["mismatched_keys"]:
        raise SystemExit(told)
    given = inputs()
    wanted = answers(network(), given)
    for name, value in answers(model.eval(), given).items():
        writing.must_agree(f"{pathlib.Path(folder).name} {name}", value, wanted[name])


if __name__ == "__main__":
    writing.main(__doc__, make, check_back=(check_back, ("FOLDER",)))
