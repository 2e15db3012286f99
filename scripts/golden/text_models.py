"""Makes tests/golden/{bert,gpt2,gpt1,marian}.safetensors: small random models of transformers, inputs and outputs.

In an environment of its own:

    pip install torch==2.13.0 transformers safetensors numpy
    python scripts/golden/text_models.py

It also writes text_shapes.json: parameters, and a digest of the names and shapes of all tensors, at full size.

The other way, a file that `kzoo.save_weights` wrote for one of CLASSES below goes back into it:

    python scripts/golden/text_models.py --check-back bert_classification weights.safetensors
"""

import json
import shutil
import tempfile

import numpy as np
import safetensors.numpy
import torch
import transformers as hf
import writing
from writing import GOLDEN

BERT = hf.BertConfig(
    vocab_size=37,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=21,
    num_labels=5,
    pad_token_id=0,
)
GPT2 = hf.GPT2Config(vocab_size=37, n_embd=16, n_layer=2, n_head=4, n_positions=21, bos_token_id=1, eos_token_id=1)
GPT1 = hf.OpenAIGPTConfig(vocab_size=37, n_embd=16, n_layer=2, n_head=4, n_positions=21)
# as Helsinki-NLP's opus-mt models are configured, but for the sizes
MARIAN = hf.MarianConfig(
    vocab_size=37,
    d_model=16,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=24,
    decoder_ffn_dim=24,
    max_position_embeddings=32,
    activation_function="swish",
    scale_embedding=True,
    static_position_embeddings=True,
    share_encoder_decoder_embeddings=True,
    pad_token_id=36,
    decoder_start_token_id=36,
    eos_token_id=0,
    forced_eos_token_id=0,
)
MARIAN_APART = hf.MarianConfig(
    **{
        **MARIAN.to_diff_dict(),
        "vocab_size": 31,
        "decoder_vocab_size": 37,
        "share_encoder_decoder_embeddings": False,
        "pad_token_id": 30,
        "decoder_start_token_id": 30,
    }
)
MARIAN_UNEVEN = hf.MarianConfig(
    **{
        **MARIAN.to_diff_dict(),
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 12,
    }
)
CLASSES = {
    "bert_pretraining": (hf.BertForPreTraining, BERT),  # first, since it has all that is tied
    "bert_none": (hf.BertModel, BERT),
    "bert_masked_words": (hf.BertForMaskedLM, BERT),
    "bert_classification": (hf.BertForSequenceClassification, BERT),
    "bert_token_classification": (hf.BertForTokenClassification, BERT),
    "gpt2": (hf.GPT2LMHeadModel, GPT2),
    "gpt1": (hf.OpenAIGPTLMHeadModel, GPT1),
    "marian": (hf.MarianMTModel, MARIAN),
    "marian_apart": (hf.MarianMTModel, MARIAN_APART),
    "marian_uneven": (hf.MarianMTModel, MARIAN_UNEVEN),
}


def bert_config(num_layers, hidden_dim):
    """Heads of 64 features and a feed-forward network four times as wide, as at every published size."""
    return hf.BertConfig(
        num_hidden_layers=num_layers,
        hidden_size=hidden_dim,
        num_attention_heads=hidden_dim // 64,
        intermediate_size=4 * hidden_dim,
    )


# variant of the catalogue -> the reference at full size
FULL_SIZE = {
    "bert_base": (hf.BertModel, hf.BertConfig()),
    "bert_tiny": (hf.BertModel, bert_config(2, 128)),
    "bert_mini": (hf.BertModel, bert_config(4, 256)),
    "bert_small": (hf.BertModel, bert_config(4, 512)),
    "bert_medium": (hf.BertModel, bert_config(8, 512)),
    "bert_large": (hf.BertModel, bert_config(24, 1024)),
    "gpt2": (hf.GPT2LMHeadModel, hf.GPT2Config()),
    "gpt2_medium": (hf.GPT2LMHeadModel, hf.GPT2Config(n_embd=1024, n_layer=24, n_head=16)),
    "gpt2_large": (hf.GPT2LMHeadModel, hf.GPT2Config(n_embd=1280, n_layer=36, n_head=20)),
    "gpt2_xl": (hf.GPT2LMHeadModel, hf.GPT2Config(n_embd=1600, n_layer=48, n_head=25)),
    "gpt1": (hf.OpenAIGPTLMHeadModel, hf.OpenAIGPTConfig()),
    "marian": (hf.MarianMTModel, hf.MarianConfig(
        vocab_size=65001, d_model=512, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8,
        decoder_attention_heads=8, encoder_ffn_dim=2048, decoder_ffn_dim=2048, max_position_embeddings=512,
        activation_function="swish", scale_embedding=True, pad_token_id=65000, decoder_start_token_id=65000,
    )),
}  # fmt: skip


def build(name):
    """The reference with every parameter drawn, biases and norms too: zeros and ones would hide a swap."""
    kind, config = CLASSES[name]
    torch.manual_seed(0)
    model = kind(config).eval()
    for key, parameter in sorted(model.named_parameters()):
        if "embed_positions" not in key:
            is_norm = key.endswith("weight") and ("norm" in key.lower() or "ln_" in key)
            torch.nn.init.normal_(parameter, mean=1.0 if is_norm else 0.0, std=0.3)
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.normal_()
    return model


def one_text_inputs(padded_left=False):
    """A batch of four: no padding, some, all but one token, and nothing but padding."""
    random = np.random.default_rng(0)
    mask = (np.arange(19) < np.array([19, 12, 1, 0])[:, None]).astype("int32")
    mask = mask[:, ::-1].copy() if padded_left else mask
    ids = np.where(mask, random.integers(2, 37, mask.shape), 0).astype("int32")
    return {"token_ids": ids, "padding_mask": mask, "segment_ids": random.integers(0, 2, mask.shape).astype("int32")}


def as_torch(inputs):
    return [torch.from_numpy(array).long() for array in inputs.values()]


@torch.no_grad()
def run_bert(name, model, inputs):
    """Outputs by kzoo's names."""
    ids, mask, segments = as_torch(inputs)
    result = model(input_ids=ids, attention_mask=mask, token_type_ids=segments)
    if name == "bert_none":
        return {"tokens": result.last_hidden_state.numpy(), "pooled": result.pooler_output.numpy()}
    if name == "bert_pretraining":
        return {
            "masked_words": result.prediction_logits.numpy(),
            "next_sentence": result.seq_relationship_logits.numpy(),
        }
    return {"": result.logits.numpy()}


@torch.no_grad()
def run_gpt(name, model, inputs):
    ids, mask, _ = as_torch(inputs)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return {"": model(input_ids=ids, attention_mask=mask, position_ids=positions).logits.numpy()}


def translation_inputs(source_vocabulary=37):
    random = np.random.default_rng(0)
    mask = (np.arange(19) < np.array([19, 12, 1])[:, None]).astype("int32")
    return {
        "encoder_token_ids": np.where(mask, random.integers(1, source_vocabulary, mask.shape), 0).astype("int32"),
        "encoder_padding_mask": mask,
        "decoder_token_ids": random.integers(1, 37, (3, 23)).astype("int32"),
    }


@torch.no_grad()
def run_marian(name, model, inputs):
    ids, mask, target = as_torch(inputs)
    return {"": model(input_ids=ids, attention_mask=mask, decoder_input_ids=target).logits.numpy()}


def case(name):
    """(function that runs the reference, inputs) of one of CLASSES."""
    if name.startswith("bert"):
        return run_bert, one_text_inputs()
    if name.startswith("gpt"):
        return run_gpt, one_text_inputs(padded_left=name == "gpt2")
    return run_marian, translation_inputs(31 if name == "marian_apart" else 37)


def make(name, members):
    """One golden file of several classes that share their weights; outputs are called output.<class>.<key>."""
    tensors, outputs = {}, {}
    for member in members:
        model = build(member)
        for key, value in writing.arrays_of(model).items():
            key = key if member != "bert_none" else f"bert.{key}"
            tensors.setdefault(key, value)
        fitted = {
            key.removeprefix("bert.") if member == "bert_none" else key: torch.from_numpy(value)
            for key, value in tensors.items()
        }
        report = model.load_state_dict(fitted, strict=False)
        if report.missing_keys:
            raise SystemExit(f"{member} lacks {report.missing_keys}")
        run, inputs = case(member)
        outputs.update(
            {f"output.{member}.{key}".rstrip("."): value for key, value in run(member, model, inputs).items()}
        )
    tensors.update({f"input.{key}": value for key, value in inputs.items()})
    tensors.update(outputs)
    writing.write(name, tensors, torch=torch.__version__, transformers=hf.__version__)


def facts(kind, config):
    """Parameters and tensors at full size, without allocating them. Tied and computed tensors are left out."""
    from seeded_weights import digest

    with torch.device("meta"):
        model = kind(config)
    fixed = ("embed_positions", "position_ids", "lm_head", "embed_tokens", "cls.predictions.decoder")
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if not any(f in key for f in fixed)}
    if kind is hf.BertModel:
        shapes = {f"bert.{key}": shape for key, shape in shapes.items()}
    parameters = sum(p.numel() for name, p in model.named_parameters() if "embed_positions" not in name)
    return {"parameters": parameters, "digest": digest(shapes)}


def load_whole(kind, config, path):
    """The model that `from_pretrained` makes of the file; SystemExit unless it fits without rest."""
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        shutil.copy(path, f"{folder}/model.safetensors")
        model, report = kind.from_pretrained(folder, output_loading_info=True)
    found = {key: sorted(names) for key, names in report.items() if names}
    if found:
        raise SystemExit(f"{path} does not fit: {found}")
    return model.eval()


def check_back(name, path):
    """Loads the file through `from_pretrained`; SystemExit unless it fits without rest and gives the golden outputs."""
    model = load_whole(*CLASSES[name], path)
    run, inputs = case(name)
    group = "bert" if name.startswith("bert") else name
    golden = safetensors.numpy.load_file(GOLDEN / f"{group}.safetensors")
    for key, value in run(name, model, inputs).items():
        writing.must_agree(f"{name} {key}", value, golden[f"output.{name}.{key}".rstrip(".")])


def make_all():
    make("bert", [name for name in CLASSES if name.startswith("bert")])
    for single in ("gpt2", "gpt1", "marian", "marian_apart", "marian_uneven"):
        make(single, [single])
    listed = {name: facts(*row) for name, row in FULL_SIZE.items()}
    (GOLDEN / "text_shapes.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: row["parameters"] for name, row in listed.items()}))


if __name__ == "__main__":
    writing.main(__doc__, make_all, check_back=(check_back, ("CLASS", "FILE")))
