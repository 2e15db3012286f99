"""Published folders: config.json of transformers and timm, modules.json of sentence-transformers."""

import json
import logging
import shutil

import keras
import numpy as np
import pytest
import safetensors.numpy
from golden_files import GOLDEN

import kzoo
from kzoo import catalog
from kzoo.building import published
from kzoo.catalog import configurations

FOLDERS = GOLDEN / "configs"
BERT = {  # bert-base-uncased
    "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": False,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02,
    "intermediate_size": 3072, "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert",
    "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 0, "position_embedding_type": "absolute",
    "transformers_version": "4.6.0.dev0", "type_vocab_size": 2, "use_cache": True, "vocab_size": 30522,
}  # fmt: skip
MULTILINGUAL = BERT | {  # bert-base-multilingual-cased
    "directionality": "bidi", "pooler_fc_size": 768, "pooler_num_attention_heads": 12, "pooler_num_fc_layers": 3,
    "pooler_size_per_head": 128, "pooler_type": "first_token_transform", "vocab_size": 119547,
}  # fmt: skip
GPT2 = {  # gpt2
    "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256,
    "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
    "resid_pdrop": 0.1, "summary_activation": None, "summary_first_dropout": 0.1, "summary_proj_to_labels": True,
    "summary_type": "cls_index", "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}, "vocab_size": 50257,
}  # fmt: skip
GPT1 = {  # openai-gpt
    "afn": "gelu", "architectures": ["OpenAIGPTLMHeadModel"], "attn_pdrop": 0.1, "embd_pdrop": 0.1,
    "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "openai-gpt", "n_ctx": 512, "n_embd": 768,
    "n_head": 12, "n_layer": 12, "n_positions": 512, "n_special": 0, "predict_special_tokens": True, "resid_pdrop": 0.1,
    "summary_activation": None, "summary_first_dropout": 0.1, "summary_proj_to_labels": True,
    "summary_type": "cls_index", "summary_use_proj": True, "vocab_size": 40478,
}  # fmt: skip
MARIAN = {  # Helsinki-NLP/opus-mt-en-de
    "_num_labels": 3, "activation_dropout": 0.0, "activation_function": "swish", "add_bias_logits": False,
    "add_final_layer_norm": False, "architectures": ["MarianMTModel"], "attention_dropout": 0.0,
    "bad_words_ids": [[58100]], "bos_token_id": 0, "classif_dropout": 0.0, "classifier_dropout": 0.0, "d_model": 512,
    "decoder_attention_heads": 8, "decoder_ffn_dim": 2048, "decoder_layerdrop": 0.0, "decoder_layers": 6,
    "decoder_start_token_id": 58100, "decoder_vocab_size": 58101, "dropout": 0.1, "encoder_attention_heads": 8,
    "encoder_ffn_dim": 2048, "encoder_layerdrop": 0.0, "encoder_layers": 6, "eos_token_id": 0,
    "forced_eos_token_id": 0, "id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, "init_std": 0.02,
    "is_encoder_decoder": True, "max_length": 512, "max_position_embeddings": 512, "model_type": "marian",
    "normalize_before": False, "normalize_embedding": False, "num_beams": 6, "num_hidden_layers": 6,
    "pad_token_id": 58100, "scale_embedding": True, "share_encoder_decoder_embeddings": True,
    "static_position_embeddings": True, "transformers_version": "4.22.0.dev0", "use_cache": True, "vocab_size": 58101,
}  # fmt: skip
VIT = {  # google/vit-base-patch16-224
    "architectures": ["ViTForImageClassification"], "attention_probs_dropout_prob": 0.0, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0, "hidden_size": 768, "id2label": {str(i): f"animal {i}" for i in range(1000)},
    "image_size": 224, "initializer_range": 0.02, "intermediate_size": 3072, "label2id": {}, "layer_norm_eps": 1e-12,
    "model_type": "vit", "num_attention_heads": 12, "num_channels": 3, "num_hidden_layers": 12, "patch_size": 16,
    "qkv_bias": True, "transformers_version": "4.13.0.dev0",
}  # fmt: skip
RESIDUAL = {  # microsoft/resnet-50
    "architectures": ["ResNetForImageClassification"], "depths": [3, 4, 6, 3], "downsample_in_first_stage": False,
    "embedding_size": 64, "hidden_act": "relu", "hidden_sizes": [256, 512, 1024, 2048], "layer_type": "bottleneck",
    "id2label": {str(i): f"animal {i}" for i in range(1000)}, "label2id": {}, "model_type": "resnet", "num_channels": 3,
    "torch_dtype": "float32", "transformers_version": "4.18.0.dev0",
}  # fmt: skip
RESNET = {  # timm/resnet50.a1_in1k
    "architecture": "resnet50", "num_classes": 1000, "num_features": 2048, "pretrained_cfg": {
        "tag": "a1_in1k", "custom_load": False, "input_size": [3, 224, 224], "test_input_size": [3, 288, 288],
        "fixed_input_size": False, "interpolation": "bicubic", "crop_pct": 0.95, "test_crop_pct": 1.0,
        "crop_mode": "center", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "num_classes": 1000,
        "pool_size": [7, 7], "first_conv": "conv1", "classifier": "fc",
        "origin_url": "https://github.com/huggingface/pytorch-image-models", "paper_ids": "arXiv:2110.00476",
    },
}  # fmt: skip
MINILM = BERT | {  # sentence-transformers/all-MiniLM-L6-v2
    "_name_or_path": "nreimers/MiniLM-L6-H384-uncased", "architectures": ["BertModel"], "hidden_size": 384,
    "intermediate_size": 1536, "num_hidden_layers": 6,
}  # fmt: skip
MINILM_FILES = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "1_Pooling/config.json": {
        "word_embedding_dimension": 384, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False,
    },
    "sentence_bert_config.json": {"max_seq_length": 256, "do_lower_case": False},
}  # fmt: skip


def write(folder, config, files=()):
    """A folder with a configuration and other JSON files."""
    for name, content in {"config.json": config, **dict(files)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture
def changed(tmp_path):
    """A function that copies a golden folder with other values in one of its files; None takes a key away."""

    def change(name, file="config.json", **values):
        folder = tmp_path / name
        shutil.copytree(FOLDERS / name, folder)
        content = json.loads((folder / file).read_text()) | values
        content = {key: value for key, value in content.items() if value is not None}
        (folder / file).write_text(json.dumps(content))
        return folder

    return change


@pytest.mark.parametrize(
    ("name", "variant", "overrides"),
    [
        ("bert", "bert_mini", {"head": "classification", "num_classes": 3}),
        ("gpt2", "gpt2", {"intermediate_dim": 20}),
        ("gpt1", "gpt1", {}),
        ("marian", "marian", {"activation": "swish"}),
        ("vit", "vit_b_16", {"num_classes": 3, "epsilon": 0.01, "patch_size": 8, "input_shape": (16, 16, 3)}),
        ("resnet", "resnet50", {"num_classes": 3, "filters": 4, "depths": (2, 1)}),
        ("timm", "vit_ti_16", {"num_classes": 3, "hidden_dim": 8, "input_shape": (16, 16, 3)}),
        ("sentence", "bert_mini", {"head": "embedding", "pooling": "first_token", "normalize": True}),
    ],
)
def test_a_folder_is_enough(name, variant, overrides, caplog, tmp_path):
    """The network, its keywords and its outputs are those of the library that wrote the folder; so they stay."""
    answers = safetensors.numpy.load_file(FOLDERS / "answers.safetensors")
    given = {"token_ids": answers["input.token_ids"], "padding_mask": answers["input.padding_mask"]}
    given |= {f"encoder_{key}": value for key, value in given.items()} | {"image": answers["input.image"]}
    given |= {"decoder_token_ids": given["token_ids"], "segment_ids": 0 * given["token_ids"]}
    if name.startswith("gpt"):
        given["padding_mask"] = np.ones_like(given["padding_mask"])
    with caplog.at_level(logging.WARNING, "kzoo"):
        # whose configuration says nothing of the images' size
        model = kzoo.build(str(FOLDERS / name), **({"input_shape": (16, 16, 3)} if name == "resnet" else {}))
    assert model.kzoo.name == variant and overrides.items() <= model.kzoo.overrides.items()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"{FOLDERS / name}: ") and str(model.kzoo) in said
    kzoo.save(model, tmp_path / "saved")
    for each in (model, kzoo.load(tmp_path / "saved")):
        inputs = {tensor.name: given[tensor.name] for tensor in each.inputs}
        found = keras.ops.convert_to_numpy(each(inputs if len(inputs) > 1 else given["image"], training=False))
        np.testing.assert_allclose(found, answers[name], atol=1e-5 * np.abs(answers[name]).max())


def test_the_card_has_the_names_of_the_classes_and_the_tokenizer():
    assert kzoo.build(FOLDERS / "bert").kzoo.class_names == ["bad", "fair", "good"]
    assert kzoo.build(FOLDERS / "bert", head="none").kzoo.class_names is None
    assert kzoo.build(FOLDERS / "vit").kzoo.class_names is None, "LABEL_0 is no name"
    assert kzoo.build(FOLDERS / "sentence").kzoo.tokenizer.encode(["abc"]) == [[5, 16, 17]]
    sizes = {"num_layers": 1, "hidden_dim": 8, "num_heads": 4, "intermediate_dim": 12, "max_length": 16}
    model = kzoo.build("bert", FOLDERS / "sentence", vocabulary_size=25, **sizes)
    assert model.kzoo.tokenizer.vocabulary_size == 25


@pytest.mark.parametrize("key", ["max_seq_length", "model_max_length"])
def test_texts_are_as_long_as_sentence_transformers_lets_them(key, changed, tmp_path, caplog):
    file = {"max_seq_length": "sentence_bert_config.json", "model_max_length": "tokenizer_config.json"}[key]
    model = kzoo.build(changed("sentence", file, **{key: 6}))
    kzoo.save(model, tmp_path / "saved")
    for each in (model, kzoo.load(tmp_path / "saved")):
        long, short, shorter = kzoo.embed(each, ["a b c d e f", "a b c d", "a b c"])
        np.testing.assert_array_equal(long, short)  # two of the six are special tokens
        assert np.abs(short - shorter).max() > 1e-3
    assert "1 of 3 texts are longer than max_length=6 tokens" in caplog.text


@pytest.mark.parametrize(
    ("config", "files", "variant", "overrides"),
    [
        (BERT, {}, "bert_base", {"head": "masked_words"}),
        (MULTILINGUAL, {}, "bert_base", {"head": "masked_words", "vocabulary_size": 119547}),
        (GPT2, {}, "gpt2", {}),
        (GPT1, {}, "gpt1", {}),
        (MARIAN, {}, "marian", {"vocabulary_size": 58101, "activation": "swish"}),
        (MARIAN | {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 9}, {}, "marian",
         {"source_vocabulary_size": 58101, "vocabulary_size": 9, "activation": "swish"}),
        (MARIAN | {"decoder_layers": 3, "decoder_attention_heads": 4}, {}, "marian",
         {"vocabulary_size": 58101, "activation": "swish", "num_decoder_layers": 3, "num_decoder_heads": 4}),
        (VIT, {}, "vit_b_16", {"epsilon": 1e-12}),
        (VIT | {"image_size": [384, 256]}, {}, "vit_b_16", {"epsilon": 1e-12, "input_shape": (384, 256, 3)}),
        (VIT | {"architectures": ["ViTModel"]}, {}, "vit_b_16", {"epsilon": 1e-12, "num_classes": 0}),
        (RESIDUAL, {}, "resnet50", {}),
        (RESIDUAL | {"layer_type": "basic", "depths": [2, 2, 2, 2]}, {}, "resnet18", {}),
        (RESNET, {}, "resnet50", {}),
        (RESNET | {"architecture": "vgg16"}, {}, "vgg16", {}),
        (RESNET | {"architecture": "vit_small_patch32_224", "global_pool": None}, {}, "vit_s_16", {"patch_size": 32}),
        (MINILM, MINILM_FILES, "bert_base",
         {"head": "embedding", "normalize": True, "num_layers": 6, "hidden_dim": 384, "intermediate_dim": 1536}),
    ],
)  # fmt: skip
def test_published_configurations(config, files, variant, overrides, tmp_path):
    name, chosen = published.find(write(tmp_path, config, files)).choose({})
    assert (name, {key: chosen[key] for key in overrides}) == (variant, overrides)
    built = catalog.arguments_of(catalog.find(name), chosen)
    if "n_embd" in config:
        assert (built["hidden_dim"], built["num_layers"], built["max_length"]) == (768, 12, config["n_positions"])
    assert chosen == overrides


def test_info_of_a_folder_needs_no_weights(tmp_path):
    assert kzoo.info(write(tmp_path, GPT2))["parameters"] == 124_439_808


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (GPT2 | {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx: True is not offered"),
        (GPT2 | {"activation_function": "relu"}, "activation_function: 'relu' is not offered; wanted 'gelu_new'"),
        (GPT2 | {"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon: 1e-06 is not offered; wanted 1e-05"),
        (GPT2 | {"tie_word_embeddings": False}, "tie_word_embeddings: False is not offered"),
        (GPT2 | {"num_key_value_heads": 4}, "nothing is known of num_key_value_heads: 4.*'gpt', weights="),
        (GPT2 | {"quantization_config": {"bits": 4}}, "nothing is known of quantization_config"),
        (GPT2 | {"rotary": False}, "nothing is known of rotary: False"),
        ({key: value for key, value in GPT2.items() if key != "n_head"}, "it lacks n_head"),
        (GPT2 | {"architectures": ["GPT2ForSequenceClassification"]}, "architectures: 'GPT2For.* is none of kzoo's"),
        (GPT2 | {"architectures": ["GPT2LMHeadModel", "GPT2Model"]}, "wanted one"),
        (GPT2 | {"model_type": "llama"}, "model_type: 'llama' is none of kzoo's, which are"),
        (GPT2 | {"model_type": None}, "with a model_type or architecture; name the model"),
        (BERT | {"position_embedding_type": "relative_key"}, "position_embedding_type: 'relative_key' is not offered"),
        (BERT | {"hidden_act": "gelu_new"}, "hidden_act: 'gelu_new' is not offered"),
        (BERT | {"is_decoder": True}, "is_decoder: True"),
        (BERT | {"architectures": ["BertForSequenceClassification"], "problem_type": "ranking"}, "'ranking' is not"),
        (BERT | {"architectures": ["BertForSequenceClassification"], "id2label": {"1": "a", "2": "b"}}, "id2label"),
        (MARIAN | {"decoder_vocab_size": 9}, "decoder_vocab_size: 9 beside vocab_size: 58101"),
        ({key: value for key, value in MARIAN.items() if key != "scale_embedding"}, "it lacks scale_embedding"),
        (MARIAN | {"activation_function": "gelu_new"}, "activation must be one of"),
        (VIT | {"qkv_bias": False}, "qkv_bias: False is not offered"),
        (VIT | {"image_size": [224, 224, 224]}, "image_size: .224, 224, 224. is not offered; wanted 2 numbers"),
        (RESIDUAL | {"downsample_in_bottleneck": True}, "downsample_in_bottleneck: True is not offered; wanted False"),
        (RESIDUAL | {"downsample_in_first_stage": True}, "downsample_in_first_stage: True is not offered"),
        (RESNET | {"architecture": "resnetblur50"}, "architecture: 'resnetblur50' is none of kzoo's; near: resnet50"),
        (RESNET | {"architecture": "efficientnet_b0"}, "architecture: 'efficientnet_b0' is none of kzoo's$"),
        (RESNET | {"model_args": {"output_stride": 8}}, "nothing is known of model_args.output_stride: 8"),
        (RESNET | {"global_pool": "max"}, "global_pool: 'max' is not offered; wanted 'avg'"),
        (GPT2 | {"model_type": ["gpt2"]}, "model_type: .'gpt2'.; wanted a string"),
        (GPT2 | {"architectures": [["GPT2LMHeadModel"]]}, "wanted one"),
        ([1], "config.json is damaged: wanted a dict, got list"),
    ],
)  # fmt: skip
def test_what_changes_the_function_is_refused_by_name_and_value(config, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        kzoo.info(write(tmp_path, config))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "Pooling of mode max is not offered; wanted mean or cls"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls.mean is"),
        ("1_Pooling/config.json", {"pooling_mode": "mean", "include_prompt": False}, "without prompts"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case: True is not offered"),
        ("config_sentence_transformers.json", {"default_prompt_name": "query"}, "default_prompt_name: 'query'"),
        ("modules.json", [{"type": "x.Transformer", "path": ""}, {"type": "x.Dense", "path": "d"}], "Dense is not off"),
        ("modules.json", [{"type": "x.Transformer", "path": "../other"}], "which is outside its folder"),
        ("modules.json", [{"kind": "x.Transformer"}], "modules.json is damaged"),
    ],
)  # fmt: skip
def test_modules_that_are_not_offered(file, content, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        kzoo.info(write(tmp_path, MINILM, {**MINILM_FILES, file: content}))


def test_modules_of_another_architecture(tmp_path):
    with pytest.raises(ValueError, match="Pooling is not offered; wanted none"):
        kzoo.info(write(tmp_path, GPT2, MINILM_FILES))


def test_a_network_in_a_part_of_the_folder(tmp_path):
    modules = [{"type": "x.Transformer", "path": "0_Transformer"}, *MINILM_FILES["modules.json"][1:]]
    shutil.copytree(FOLDERS / "sentence", tmp_path / "0_Transformer")
    (tmp_path / "0_Transformer" / "modules.json").unlink()
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    shutil.copytree(FOLDERS / "sentence" / "1_Pooling", tmp_path / "1_Pooling")
    model = kzoo.build(tmp_path)
    assert model.kzoo.overrides["pooling"] == "first_token" and model.kzoo.tokenizer.vocabulary_size == 25


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("bert", {"num_heads": 2}, "num_attention_heads: 4, but num_heads is 2 here"),
        ("bert", {"num_classes": 5}, "id2label: 3 classes, but num_classes is 5 here"),
        ("bert", {"head": "token_classification"}, "architectures: 'BertForSequ.*, but head is 'token_classification'"),
        ("sentence", {"normalize": False}, "modules.json: Normalize, but normalize is False here"),
        ("gpt2", {"post_norm": True}, "architectures: 'GPT2LMHeadModel', but post_norm is True here"),
    ],
)
def test_keywords_that_contradict_the_file(name, overrides, words):
    with pytest.raises(ValueError, match=words):
        kzoo.build(FOLDERS / name, **overrides)


def test_the_body_counts_where_the_model_is_named(changed):
    """Its configuration may be that of a head which kzoo has not, or whose outputs it does not read."""
    sizes = {"num_layers": 1, "hidden_dim": 8, "num_heads": 4, "intermediate_dim": 12, "max_length": 16}
    named = {**sizes, "vocabulary_size": 25, "num_classes": 3, "head": "classification"}
    folder = changed("bert", problem_type="ranking")
    assert kzoo.build("bert", folder, **named).kzoo.class_names == ["bad", "fair", "good"]
    with pytest.raises(ValueError, match="'ranking' is not offered"):
        kzoo.build(folder)
    assert kzoo.build(folder, head="embedding").kzoo.class_names is None
    shutil.rmtree(folder)
    folder = changed("bert", architectures=["BertForMultipleChoice"])
    kzoo.build("bert", folder, **named)
    with pytest.raises(ValueError, match="'BertForMultipleChoice' is none of kzoo's"):
        kzoo.build(folder)


@pytest.mark.parametrize(
    ("problem", "task"),
    [("multi_label_classification", "multilabel_classification"), ("regression", "regression"), (None, None)],
)
def test_what_a_classifier_was_trained_for(problem, task, changed):
    """Sigmoids and numbers are not read as a softmax, whether the folder is built from or gives a model its weights."""
    folder = changed("bert", problem_type=problem)
    model = kzoo.build(folder)
    assert model.kzoo.task == (task or "text_classification") and model.kzoo.overrides.get("task") == task
    named = {key: value for key, value in model.kzoo.overrides.items() if key != "task"}
    if task:
        with pytest.raises(ValueError, match=f"problem_type: '{problem}', but task is 'text_classification' here"):
            kzoo.build(model.kzoo.name, folder, **named)
        kzoo.build(model.kzoo.name, folder, **named, task=task)
        kzoo.build(model.kzoo.name, folder, **named, load_head=False)
        with pytest.raises(ValueError, match=f"problem_type: '{problem}'"):
            kzoo.build(folder, task="regression" if task != "regression" else "multilabel_classification")
    else:
        kzoo.build(model.kzoo.name, folder, **named)


def test_one_label_is_a_number(tmp_path):
    write(tmp_path, BERT | {"architectures": ["BertForSequenceClassification"], "num_labels": 1})
    told = configurations.read(tmp_path)
    assert told.said["task"][0] == "regression" and told.said["num_classes"][0] == 1


def test_keywords_that_may_differ():
    with pytest.raises(ValueError, match="missing"):
        kzoo.build(FOLDERS / "bert", head="masked_words")
    assert kzoo.build(FOLDERS / "bert", dropout=0.0, num_heads=4).kzoo.overrides["dropout"] == 0
    tagger = kzoo.build(FOLDERS / "bert", head="token_classification", num_classes=7, load_head=False)
    assert tagger.output_shape == (None, None, 7) and tagger.kzoo.class_names is None
    plain = kzoo.build(FOLDERS / "sentence", head="none")
    assert plain.output["tokens"].shape[-1] == 8 and not {"pooling", "normalize"} & {*plain.kzoo.overrides}
    with pytest.raises(ValueError, match="pass neither weights nor rewrites"):
        kzoo.build(FOLDERS / "bert", weights=FOLDERS / "bert")


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("gpt2", {"n_head": 2}, "n_head: 2, but num_heads is 4 here"),
        ("gpt2", {"activation_function": "relu"}, "activation_function: 'relu' is not offered"),
        ("gpt2", {"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon: 1e-06"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx: True"),
        ("gpt2", {"tie_word_embeddings": False}, "tie_word_embeddings: False"),
        ("gpt2", {"model_type": "bert"}, "model_type: 'bert' is none of gpt's, which are gpt2, openai-gpt"),
        ("vit", {"layer_norm_eps": 1e-6}, "layer_norm_eps: 1e-06, but epsilon is 0.01 here"),
        ("marian", {"encoder_attention_heads": 2, "decoder_attention_heads": 2}, "but num_heads is 4 here"),
        ("marian", {"decoder_attention_heads": 2}, "decoder_attention_heads: 2, but num_decoder_heads is 4 here"),
        ("bert", {"hidden_act": "relu"}, "hidden_act: 'relu'"),
        ("bert", {"hidden_act": "relu", "model_type": None}, "hidden_act: 'relu'"),  # as Google published it
        ("bert", {"architectures": ["BertForTokenClassification"]}, "but head is 'classification' here"),
    ],
)
def test_weights_beside_a_configuration_of_another_function(name, values, words, changed):
    """Each of these files fits the model by names and shapes."""
    model = kzoo.build(FOLDERS / name)
    before = model.get_weights()
    kzoo.load_weights(model, FOLDERS / name)
    folder = changed(name, **values)
    with pytest.raises(ValueError, match=words):
        kzoo.load_weights(model, folder)
    with pytest.raises(ValueError, match=words):
        kzoo.build(model.kzoo.name, folder, **model.kzoo.overrides)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_a_key_of_which_nothing_is_known_is_said_where_the_model_is_named(changed, caplog):
    model = kzoo.build(FOLDERS / "gpt2")
    with caplog.at_level(logging.WARNING, "kzoo"):
        kzoo.load_weights(model, changed("gpt2", wonder=3, nothing=[]))
    assert "nothing is known of wonder: 3" in caplog.text and "nothing: " not in caplog.text


def test_projections_of_several_shapes_are_not_joined(tmp_path):
    tensors = safetensors.numpy.load_file(FOLDERS / "vit" / "model.safetensors")
    prefix = "vit.encoder.layer.0.attention.attention"
    tensors[f"{prefix}.key.bias"], tensors[f"{prefix}.value.bias"] = np.zeros(4, "f"), np.zeros(12, "f")
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"1 missing: .*self_attention\.in_proj_bias"):
        kzoo.load_weights(kzoo.build(FOLDERS / "vit"), tmp_path)


def test_folders_that_hold_something_else(tmp_path):
    kzoo.save(kzoo.build("perceptron"), tmp_path / "ours")
    with pytest.raises(ValueError, match="use kzoo.load"):
        kzoo.build(tmp_path / "ours")
    with pytest.raises(ValueError, match=r"kzoo\.build\(.*\) reads its config\.json"):
        kzoo.load(str(FOLDERS / "bert"))
    with pytest.raises(ValueError, match="no folder at google/bert; on the hub it would be hf://google/bert"):
        kzoo.build("google/bert")


def test_every_table_is_of_keywords_that_the_architecture_has():
    for architecture in {entry.architecture for entry in catalog.entries().values()}:
        entry = catalog.find(architecture)
        known = catalog.arguments_of(entry, {})
        for table in catalog.literals(architecture).get("CONFIG", {}).values():
            listed = {"models", "keywords", "otherwise", "follows", "problems", "values", "ignored", "modules"}
            listed |= {"defaults", "stands_for"}
            assert {*table} <= listed
            assert {*table.get("follows", {}), *table.get("follows", {}).values()} <= {*known}
            rows = [*configurations.networks(table).values()]
            rows += [row for modes in table.get("modules", {}).values() for row in modes.values()]
            named = {keyword for row in rows for keyword in row if keyword != "model"}
            named |= {each if isinstance(each, str) else each[0] for each in table["keywords"].values()}
            assert named <= {*known}, architecture
            assert {row["model"] for row in rows if "model" in row} <= {*catalog.list_models(architecture)}
