"""Makes tests/golden/names.json: names and shapes of small networks in the families of checkpoints that kzoo writes.

In an environment of its own:

    pip install torch==2.13.0 transformers safetensors numpy && pip install --no-deps timm torchvision pillow
    python scripts/golden/names.py

The way back: kzoo writes a file for each case, where kzoo is installed, and torch loads it strictly.

    PYTHONPATH=. python scripts/golden/names.py --write FOLDER
    python scripts/golden/names.py --check-back FOLDER
"""

import json
import pathlib
import shutil
import sys
import tempfile

from writing import GOLDEN

SIZES = {"num_layers": 2, "hidden_dim": 24, "num_heads": 2, "intermediate_dim": 40}
VIT = {**SIZES, "input_shape": (32, 32, 3), "num_classes": 3}
BERT = {**SIZES, "vocabulary_size": 30, "max_length": 16}
MARIAN = {**SIZES, "vocabulary_size": 30}
# case -> (model, keywords, family)
CASES = {
    "timm.VisionTransformer": ("vit_b_16", VIT, "timm"),
    "transformers.ViTForImageClassification": ("vit_b_16", VIT, "transformers"),
    "transformers.ViTModel": ("vit_b_16", {**VIT, "num_classes": 0}, "base_model"),
    "transformers.BertModel": ("bert_base", BERT, "base_model"),
    "transformers.BertForSequenceClassification": ("bert_base", {**BERT, "head": "classification"}, "transformers"),
    "transformers.GPT2Model": ("gpt2", BERT, "base_model"),
    "transformers.GPT2LMHeadModel": ("gpt2", BERT, "transformers"),
    "transformers.MarianModel": ("marian", {**MARIAN, "logits_bias": False}, "base_model"),
    "transformers.ResNetModel": ("resnet50", {"filters": 2, "depths": (2, 1), "num_classes": 0}, "base_model"),
    "transformers.ResNetForImageClassification": (
        "resnet18",
        {"filters": 2, "depths": (2, 1), "num_classes": 3},
        "transformers",
    ),
    "timm.VGG": ("vgg11_bn", {"depths": (1, 1), "filters": (2, 3), "hidden_dim": 5, "num_classes": 3}, "timm"),
    "torch.nn.LSTM": ("rnn_lstm", {"units": 4}, "lstm"),
}


def resnets(transformers):
    """(case, module) of transformers' ResNet, with either kind of block."""
    for name, kind, widths in (("Model", "bottleneck", (8, 16)), ("ForImageClassification", "basic", (2, 4))):
        sizes = {"embedding_size": 2, "depths": (2, 1), "hidden_sizes": widths, "num_labels": 3}
        config = transformers.ResNetConfig(layer_type=kind, **sizes)
        yield f"transformers.ResNet{name}", getattr(transformers, f"ResNet{name}")(config)


def references():
    """{case: torch module}."""
    import torch
    from torchvision_networks import import_torchvision

    import_torchvision()  # which timm imports too
    import timm
    import transformers

    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
    vit = transformers.ViTConfig(**sizes, image_size=32, patch_size=16, num_labels=3)
    bert = transformers.BertConfig(**sizes, vocab_size=30, max_position_embeddings=16, num_labels=2)
    gpt = transformers.GPT2Config(n_embd=24, n_layer=2, n_head=2, n_inner=40, vocab_size=30, n_positions=16)
    sides = {f"{side}_{key}": size for side in ("encoder", "decoder") for key, size in
             {"layers": 2, "attention_heads": 2, "ffn_dim": 40}.items()}  # fmt: skip
    marian = transformers.MarianConfig(d_model=24, vocab_size=30, pad_token_id=29, **sides)
    vgg = timm.models.VGG([2, "M", 3, "M"], num_classes=3, norm_layer=torch.nn.BatchNorm2d)
    vgg.pre_logits, vgg.head.fc = timm.models.vgg.ConvMlp(3, 5, 7, 1.0), torch.nn.Linear(5, 3)
    lstm = torch.nn.Module()
    lstm.lstm, lstm.fc = torch.nn.LSTM(10, 4, 2, batch_first=True), torch.nn.Linear(4, 2)
    return {
        "timm.VisionTransformer": timm.models.VisionTransformer(
            32, 16, num_classes=3, embed_dim=24, depth=2, num_heads=2, mlp_ratio=40 / 24
        ),
        "transformers.ViTForImageClassification": transformers.ViTForImageClassification(vit),
        "transformers.ViTModel": transformers.ViTModel(vit, add_pooling_layer=False),
        "transformers.BertModel": transformers.BertModel(bert),
        "transformers.BertForSequenceClassification": transformers.BertForSequenceClassification(bert),
        "transformers.GPT2Model": transformers.GPT2Model(gpt),
        "transformers.GPT2LMHeadModel": transformers.GPT2LMHeadModel(gpt),
        "transformers.MarianModel": transformers.MarianModel(marian),
        **dict(resnets(transformers)),
        "timm.VGG": vgg,
        "torch.nn.LSTM": lstm,
    }


def saved_shapes(module):
    """{name: shape} of the file that the reference's own library saves."""
    import safetensors.torch

    with tempfile.TemporaryDirectory() as folder:
        if hasattr(module, "save_pretrained"):
            module.save_pretrained(folder)  # which restores the names of the published files
        else:
            safetensors.torch.save_model(module, f"{folder}/model.safetensors")
        arrays = safetensors.torch.load_file(f"{folder}/model.safetensors")
    return {name: list(value.shape) for name, value in arrays.items() if not is_computed(name)}


def is_computed(name):
    """Whether a tensor is none that kzoo writes: positions, and a counter that torch itself supplies."""
    return "embed_positions" in name or name.endswith("num_batches_tracked")


def check_back(case, module, file):
    """Exits if the file does not load into the reference with nothing missing and nothing left over."""
    import safetensors.torch

    if hasattr(module, "save_pretrained"):
        with tempfile.TemporaryDirectory() as folder:
            module.config.save_pretrained(folder)
            shutil.copy(file, f"{folder}/model.safetensors")
            options = {"add_pooling_layer": False} if case == "transformers.ViTModel" else {}
            _, told = type(module).from_pretrained(folder, output_loading_info=True, **options)
    else:
        told = dict(zip(("missing", "unexpected"), safetensors.torch.load_model(module, file), strict=True))
    told = {kind: [name for name in names if not is_computed(str(name))] for kind, names in told.items()}
    if any(told.values()):
        raise SystemExit(f"{case}: {told}")
    print(f"{case}: nothing missing, nothing left over")


if __name__ == "__main__":
    mode, folder = sys.argv[1] if len(sys.argv) > 1 else "", pathlib.Path(sys.argv[-1])
    if mode == "--write":
        import kzoo

        for case, (model, keywords, family) in CASES.items():
            kzoo.save_weights(kzoo.build(model, **keywords), folder / f"{case}.safetensors", names=family)
    elif mode == "--check-back":
        for case, module in references().items():
            check_back(case, module, folder / f"{case}.safetensors")
    else:
        shapes = {case: saved_shapes(module) for case, module in references().items()}
        (GOLDEN / "names.json").write_text(json.dumps(shapes, sort_keys=True) + "\n", encoding="utf-8")
