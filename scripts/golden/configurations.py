"""Makes tests/golden/configs: small folders as other libraries write them, and what their networks answer.

In an environment of its own:

    pip install torch==2.13.0 transformers timm sentence-transformers safetensors numpy
    python scripts/golden/configurations.py
"""

import pathlib
import shutil
import tempfile

import numpy as np
import safetensors.torch
import sentence_transformers
import timm
import torch
import transformers as hf
from sentence_transformers import models as modules
from writing import GOLDEN

FOLDER = GOLDEN / "configs"
SIZES = {"vocab_size": 25, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 12}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", *(f"##{letter}" for letter in "abcdefghij")]
MARIAN_SIZES = {
    f"{side}_{what}": size
    for side in ("encoder", "decoder")
    for what, size in {"layers": 1, "attention_heads": 4, "ffn_dim": 12}.items()
}
RANDOM = np.random.default_rng(0)
IDS = torch.tensor(RANDOM.integers(5, 25, (2, 6)))
MASK = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
TEXT = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": 0 * IDS}
IMAGES = torch.tensor(RANDOM.random((2, 3, 16, 16), "float32"))


def randomised(model):
    """A network whose parameters are all far from those it started with, so that each one counts."""
    for parameter in filter(lambda each: each.requires_grad, model.parameters()):  # sinusoids do not
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def saved(name, network):
    """Saves a network of transformers as it does itself."""
    randomised(network).save_pretrained(FOLDER / name)
    (FOLDER / name / "generation_config.json").unlink(missing_ok=True)
    return network


def transformers_outputs():
    """The networks of transformers."""
    labels = {"id2label": dict(enumerate(("bad", "fair", "good"))), "label2id": {"bad": 0, "fair": 1, "good": 2}}
    network = saved(
        "bert", hf.BertForSequenceClassification(hf.BertConfig(**SIZES, max_position_embeddings=16, **labels))
    )
    yield "bert", network(**TEXT).logits
    sizes = {"vocab_size": 25, "n_embd": 8, "n_layer": 1, "n_head": 4, "n_positions": 16}
    yield "gpt2", saved("gpt2", hf.GPT2LMHeadModel(hf.GPT2Config(**sizes, n_inner=20)))(input_ids=IDS).logits
    yield "gpt1", saved("gpt1", hf.OpenAIGPTLMHeadModel(hf.OpenAIGPTConfig(**sizes)))(input_ids=IDS).logits
    special = {"pad_token_id": 24, "decoder_start_token_id": 24, "eos_token_id": 0, "forced_eos_token_id": 0}
    config = hf.MarianConfig(
        vocab_size=25, d_model=8, max_position_embeddings=16, activation_function="swish", scale_embedding=True,
        **MARIAN_SIZES, **special,
    )  # fmt: skip
    network = saved("marian", hf.MarianMTModel(config))
    yield "marian", network(input_ids=IDS, attention_mask=MASK, decoder_input_ids=IDS).logits
    sizes = {key: size for key, size in SIZES.items() if key != "vocab_size"}
    # an epsilon far from timm's, so that it is seen to be read
    config = hf.ViTConfig(**sizes, image_size=16, patch_size=8, num_labels=3, layer_norm_eps=0.01)
    yield "vit", saved("vit", hf.ViTForImageClassification(config))(pixel_values=IMAGES).logits


def resnet_outputs():
    """A residual network of transformers, whose moving averages are no zeros and ones."""
    config = hf.ResNetConfig(embedding_size=4, hidden_sizes=[16, 32], depths=[2, 1], num_labels=3)
    network = hf.ResNetForImageClassification(config)
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    yield "resnet", saved("resnet", network)(pixel_values=IMAGES).logits


def timm_outputs():
    """A network of timm, in the form in which timm publishes its own."""
    sizes = {"depth": 1, "embed_dim": 8, "mlp_ratio": 96, "num_heads": 4, "img_size": 16, "num_classes": 3}
    network = randomised(timm.create_model("vit_tiny_patch16_224", **sizes))
    timm.models.save_for_hf(network, FOLDER / "timm", safe_serialization="both")
    (FOLDER / "timm" / "pytorch_model.bin").unlink()
    yield "timm", network(IMAGES)


def sentence_outputs():
    """A network of sentence-transformers, with the first token's vector at length 1, and its tokenizer."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
        hf.BertTokenizerFast(f"{folder}/vocab.txt").save_pretrained(folder)
        randomised(hf.BertModel(hf.BertConfig(**SIZES, max_position_embeddings=16))).save_pretrained(folder)
        body = modules.Transformer(folder, max_seq_length=16)
    parts = [body, modules.Pooling(SIZES["hidden_size"], pooling_mode="cls"), modules.Normalize()]
    network = sentence_transformers.SentenceTransformer(modules=parts, device="cpu").eval()
    network.save(str(FOLDER / "sentence"))
    (FOLDER / "sentence" / "README.md").unlink()
    yield "sentence", network(dict(TEXT))["sentence_embedding"]


def main():
    """Writes everything anew."""
    torch.manual_seed(0)
    shutil.rmtree(FOLDER, ignore_errors=True)
    with torch.no_grad():
        parts = transformers_outputs(), resnet_outputs(), timm_outputs(), sentence_outputs()
        answers = {name: answer for part in parts for name, answer in part}
    given = {"input.token_ids": IDS, "input.padding_mask": MASK, "input.image": IMAGES.permute(0, 2, 3, 1)}
    tensors = {name: tensor.contiguous() for name, tensor in {**answers, **given}.items()}
    safetensors.torch.save_file(tensors, FOLDER / "answers.safetensors")


if __name__ == "__main__":
    main()
