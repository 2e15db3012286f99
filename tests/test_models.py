"""One row an architecture, every check for every row; a model file without a row fails."""

import ast
import copy
import functools
import json
import pathlib

import keras
import numpy as np
import pytest
import safetensors.numpy
from backends import compiled, outputs_of

import kzoo
from kzoo import catalog, graph, measure, tasks
from kzoo.tasks.feeding.synthetic_batches import synthetic_batch
from kzoo.training import Recipe

GOLDEN = pathlib.Path(__file__).with_name("golden")

DEEPSEA = {
    "filters": (6, 7, 8),
    "kernel_size": 3,
    "pool_size": 2,
    "hidden_dim": 9,
    "sequence_length": 42,
    "num_classes": 5,
}
DANQ = {
    "filters": 6,
    "kernel_size": 5,
    "pool_size": 3,
    "units": 4,
    "hidden_dim": 9,
    "sequence_length": 42,
    "num_classes": 5,
}

# architecture -> parameters of each variant (papers and reference implementations), a small configuration to run, and
# the configurations of its golden files
ROWS = {
    "perceptron": {
        "counts": {"perceptron": 785},
        "small": {"num_features": 9},
        "golden": {"perceptron": {"num_features": 9}},
    },
    "mlp": {
        "counts": {"mlp": 669_706},
        "small": {"hidden_dims": (8, 7), "input_shape": (4, 3, 1), "num_classes": 3},
        "golden": {"mlp": {"hidden_dims": (8, 7), "input_shape": (4, 3, 1), "num_classes": 3}},
    },
    "cnn": {
        "counts": {"cnn": 315_722},
        "small": {"input_shape": (12, 8, 3), "filters": (4, 5), "hidden_dim": 7},
        "golden": {"cnn": {"input_shape": (14, 9, 3), "filters": (4, 5), "hidden_dim": 7, "num_classes": 6}},
    },
    "mnist_cnn": {
        "counts": {"mnist_cnn": 93_322},
        "small": {"input_shape": (18, 20, 1), "filters": (4, 5, 5), "hidden_dim": 6},
        "golden": {"mnist_cnn": {"input_shape": (19, 23, 1), "filters": (4, 5, 5), "hidden_dim": 6, "num_classes": 7}},
    },
    "rnn": {
        # torch counts 1,234 for the LSTM, because it keeps two biases a layer
        "counts": {"rnn_lstm": 1_170, "rnn_gru": 930, "rnn_simple": 306},
        "small": {"units": 5, "num_features": 3},
        "golden": {"rnn_lstm": {}, "rnn_gru": {}, "rnn_simple": {}},
    },
    "transformer": {
        "counts": {
            "transformer_base": 63_082_496,
            "transformer_big": 214_245_376,
            "transformer_tiny": 991_232,
            "marian": 77_419_008,
        },
        "small": {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "vocabulary_size": 31},
        "golden": {},  # its inputs are a dict: see test_transformer.py
    },
    "bert": {
        "counts": {
            "bert_base": 109_482_240,
            "bert_tiny": 4_385_920,
            "bert_mini": 11_170_560,
            "bert_small": 28_763_648,
            "bert_medium": 41_373_184,
            "bert_large": 335_141_888,
            "dnabert_6": 89_190_912,
        },
        "small": {
            "num_layers": 1,
            "hidden_dim": 16,
            "num_heads": 2,
            "intermediate_dim": 24,
            "vocabulary_size": 31,
            "head": "classification",
        },
        "golden": {},  # of this and the next two from transformers: see test_text_models.py
    },
    "gpt": {
        "counts": {
            "gpt2": 124_439_808,
            "gpt2_medium": 354_823_168,
            "gpt2_large": 774_030_080,
            "gpt2_xl": 1_557_611_200,
            "gpt1": 116_534_784,
            "gpt3_small": 125_226_240,
            "gpt3_medium": 355_871_744,
            "gpt3_large": 760_300_032,
            "gpt3_xl": 1_315_723_264,
            "gpt3_2_7b": 2_651_553_280,
            "gpt3_6_7b": 6_658_404_352,
            "gpt3_13b": 12_952_938_780,
            "gpt3_175b": 174_604_259_328,
        },
        "small": {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "vocabulary_size": 31, "max_length": 40},
        "golden": {},
    },
    "seq2seq": {
        "counts": {"seq2seq_small": 8_253_248, "seq2seq_attention": 8_449_856, "seq2seq_sutskever": 384_112_000},
        "small": {
            "num_layers": 1,
            "hidden_dim": 48,
            "dropout": 0.1,
            "vocabulary_size": 11,
            "source_vocabulary_size": 31,
            "attention": True,
        },
        "golden": {},  # see test_translation_models.py
    },
    "resnet": {
        "counts": {
            "resnet50": 25_557_032,
            "resnet18": 11_689_512,
            "resnet34": 21_797_672,
            "resnet101": 44_549_160,
            "resnet152": 60_192_808,
            "resnet20": 269_722,
            "resnet32": 464_154,
            "resnet56": 853_018,
        },
        "small": {"depths": (1, 1), "filters": 4, "input_shape": (21, 19, 3), "num_classes": 4},
        "golden": {},  # of all four from torchvision: see test_vision_models.py
    },
    "vgg": {
        "counts": {
            "vgg16": 138_357_544,
            "vgg11": 132_863_336,
            "vgg13": 133_047_848,
            "vgg19": 143_667_240,
            "vgg11_bn": 132_868_840,
            "vgg13_bn": 133_053_736,
            "vgg16_bn": 138_365_992,
            "vgg19_bn": 143_678_248,
        },
        "small": {
            "depths": (1, 2),
            "filters": (4, 6),
            "hidden_dim": 16,
            "with_batch_norm": True,
            "dropout": 0.1,
            "input_shape": (17, 19, 3),
            "num_classes": 4,
        },
        "golden": {},
    },
    "alexnet": {
        "counts": {"alexnet": 61_100_840, "alexnet_2012": 60_965_224},
        "small": {
            "filters": (8, 8, 8, 8, 8),
            "two_groups": True,
            "hidden_dim": 24,
            "dropout": 0.1,
            "input_shape": (63, 71, 3),
            "num_classes": 4,
        },
        "golden": {},
    },
    "densenet": {
        "counts": {
            "densenet121": 7_978_856,
            "densenet161": 28_681_000,
            "densenet169": 14_149_480,
            "densenet201": 20_013_928,
        },
        "small": {"depths": (2, 1), "growth_rate": 3, "filters": 6, "input_shape": (21, 19, 3), "num_classes": 4},
        "golden": {},
    },
    "googlenet": {
        "counts": {"googlenet": 6_624_904, "googlenet_2014": 6_998_552},
        "small": {"width_multiplier": 0.07, "input_shape": (33, 41, 3), "num_classes": 4},
        "golden": {},  # of the following from torchvision: see test_inception_vit_recurrent_cnn.py
    },
    "inception_v3": {
        "counts": {"inception_v3": 23_834_568},
        "small": {"width_multiplier": 0.04, "dropout": 0.1, "input_shape": (75, 83, 3), "num_classes": 4},
        "golden": {},
    },
    "vit": {
        "counts": {
            "vit_b_16": 86_567_656,
            "vit_b_32": 88_224_232,
            "vit_l_16": 304_326_632,
            "vit_l_32": 306_535_400,
            "vit_ti_16": 5_717_416,
            "vit_s_16": 22_050_664,
        },
        "small": {
            "patch_size": 4,
            "num_layers": 2,
            "hidden_dim": 16,
            "num_heads": 2,
            "intermediate_dim": 24,
            "dropout": 0.1,
            "input_shape": (12, 8, 3),
            "num_classes": 4,
        },
        "golden": {},
    },
    "clip": {
        "counts": {
            "clip_b_32": 151_277_313,
            "clip_b_16": 149_620_737,
            "clip_l_14": 427_616_513,
            "clip_l_14_336": 427_944_193,
            "clip_laion_b_32": 151_277_313,
            "clip_laion_l_14": 427_616_513,
            "clip_laion_h_14": 986_109_441,
            "clip_small": 1_260_161,
        },
        "small": {
            "patch_size": 4,
            "num_layers": (1, 1),
            "hidden_dim": (16, 12),
            "num_heads": (2, 2),
            "intermediate_dim": (24, 20),
            "embedding_dim": 8,
            "vocabulary_size": 31,
            "max_length": 40,
            "end_id": None,
            "dropout": 0.1,
            "input_shape": (12, 8, 3),
        },
        "golden": {},  # see test_clip.py
    },
    "retinanet": {
        # torchvision says 34,014,999, because the batch norm it freezes has no parameters: 53,120 scales and offsets
        "counts": {"retinanet_resnet50_fpn": 34_014_999 + 53_120},
        "small": {
            "backbone": "resnet18",
            "taps": ("layer1", "layer2"),
            "backbone_options": {"depths": [1, 1], "filters": 2},
            "filters": 4,
            "head_depth": 1,
            "anchor_sizes": (8, 16, 32),
            "input_shape": (21, 19, 3),
            "num_classes": 3,
        },
        "golden": {},  # see test_detection.py
    },
    "video_resnet": {
        "counts": {
            "r3d_18": 33_371_472,
            "mc3_18": 11_695_440,
            "r2plus1d_18": 31_505_325,
            "r3d_small": 58_712,
        },
        "small": {"block": "2plus1d", "depths": (1, 1), "filters": 4, "input_shape": (4, 11, 9, 3), "num_classes": 4},
        "golden": {},  # see test_videos.py
    },
    "wavenet": {
        # r9y9's without weight norm, whose lengths are weights more; ibab's with its biases
        "counts": {
            "wavenet_mulaw": 4_676_388,
            "wavenet_logistics": 3_702_210,
            "wavenet_gaussian": 3_698_598,
            "wavenet_ibab": 1_515_968,
            "wavenet_small": 162_816,
        },
        "small": {
            "distribution": "gaussian",  # random samples teach the others little
            "num_layers": 4,
            "num_stacks": 2,
            "filters": 8,
            "gate_filters": 12,
            "skip_filters": 10,
            "upsample_scales": (3, 4),
            "num_mels": 5,
            "context_frames": 1,
            "num_speakers": 3,
            "speaker_dim": 4,
            "dropout": 0.1,
            "sample_rate": 400,
        },
        "golden": {},  # see test_wavenet.py
    },
    "deepspeech": {
        # torch counts 4,096 more, because it keeps two biases a direction
        "counts": {"deepspeech": 29_489_181 - 4_096, "deepspeech_context9": 30_447_645 - 4_096},
        "small": {"sample_rate": 8000, "hidden_dim": 16, "context": 1, "dropout": 0.1, "num_labels": 5},
        "golden": {},  # of this and the next: see test_speech_models.py
    },
    "deepspeech2": {
        "counts": {
            "deepspeech2": 86_618_400 - 40_960,
            "deepspeech2_gru": 65_036_576,
            "deepspeech2_lookahead": 43_475_232 - 20_480,
        },
        "small": {"sample_rate": 2000, "hidden_dim": 8, "num_layers": 2, "dropout": 0.1, "num_labels": 5},
        "golden": {},
    },
    "spliceai": {
        # the authors' files count the statistics of batch norm as well, 64 for each of 32 layers
        "counts": {
            "spliceai_10k": 698_787 - 2_048,
            "spliceai_2k": 360_579 - 1_536,
            "spliceai_400nt": 186_211 - 1_024,
            "spliceai_80nt": 93_763 - 512,
        },
        "small": {"filters": 6, "kernel_sizes": (3, 5), "dilation_rates": (1, 2), "num_units": 1},
        "golden": {},  # see test_genomes.py
    },
    "deepsea": {
        "counts": {"deepsea": 52_843_119, "deepsea_selene": 52_532_319, "deepsea_small": 72_019},
        "small": DEEPSEA,
        "golden": {
            "deepsea": DEEPSEA,
        },
    },
    "danq": {
        # torch counts 2,560 more, because it keeps two biases a direction
        "counts": {"danq": 46_929_039 - 2_560},
        "small": DANQ,
        "golden": {
            "danq": DANQ,
        },
    },
    "recurrent_cnn": {
        # the paper: 1.86, 0.67 and 1.19 million
        "counts": {"recurrent_cnn_160": 1_856_800, "recurrent_cnn_96": 671_712, "recurrent_cnn_128": 1_190_528},
        "small": {"filters": 16, "num_steps": 2, "dropout": 0.1, "input_shape": (13, 11, 3), "num_classes": 4},
        "golden": {},
    },
    "gan_generator": {
        "counts": {"gan_generator": 2_503_984},
        "small": {"latent_dim": 6, "hidden_dims": (9, 8), "image_shape": (4, 3, 1)},
        "golden": {"gan_generator": {"latent_dim": 6, "hidden_dims": (9, 8), "image_shape": (4, 3, 1)}},
    },
    "gan_discriminator": {
        "counts": {"gan_discriminator": 1_231_441},
        "small": {"input_shape": (4, 3, 1), "hidden_dims": (5, 4), "num_pieces": 2},
        "golden": {"gan_discriminator": {"input_shape": (4, 3, 1), "hidden_dims": (5, 4), "num_pieces": 2}},
    },
    "gan": {"counts": {"gan": 2_503_984 + 1_231_441}},
    "dcgan_generator": {
        "counts": {"dcgan_generator": 3_576_704, "dcgan_generator_small": 347_072},
        "small": {"latent_dim": 6, "filters": 3, "image_shape": (20, 28, 2)},
        "golden": {"dcgan_generator": {"latent_dim": 6, "filters": 3, "image_shape": (20, 28, 2)}},
    },
    "dcgan_discriminator": {
        "counts": {"dcgan_discriminator": 2_765_568, "dcgan_discriminator_small": 36_544},
        "small": {"filters": 3, "input_shape": (20, 28, 2)},
        "golden": {"dcgan_discriminator": {"filters": 3, "input_shape": (20, 28, 2)}},
    },
    "dcgan": {"counts": {"dcgan": 3_576_704 + 2_765_568, "dcgan_small": 347_072 + 36_544}},
    "ds_cnn": {
        # MLPerf Tiny's summary says 24,908 for the first, with the statistics of batch norm
        "counts": {"ds_cnn_s": 24_908 - 1_152, "ds_cnn_m": 138_128, "ds_cnn_l": 416_772},
        "small": {"filters": 8, "num_layers": 3, "sample_rate": 4000, "seconds": 0.3, "num_classes": 3},
        "golden": {},  # see test_sound_classification.py
    },
    "unet_2d": {
        "counts": {"unet_2d_celebahq": 274_056_163, "unet_2d_cifar10": 35_746_307, "unet_2d_tiny": 1_002_883},
        "small": {
            "filters": (8,),
            "down_blocks": ("DownBlock2D",),
            "up_blocks": ("UpBlock2D",),
            "num_layers": 1,
            "head_dim": 4,
            "num_groups": 4,
            "dropout": 0.1,
            "input_shape": (6, 10, 3),
        },
        "golden": {},  # of this and the next four: see test_diffusion_models.py
    },
    "unet_condition": {
        "counts": {
            "unet_condition_sd1": 859_520_964,
            "unet_condition_sd2": 865_910_724,
            "unet_condition_tiny": 1_427_012,
        },
        "small": {
            "filters": (8,),
            "down_blocks": ("DownBlock2D",),
            "up_blocks": ("UpBlock2D",),
            "num_layers": 1,
            "num_heads": (2,),
            "context_dim": 6,
            "num_groups": 4,
            "input_shape": (6, 10, 4),
        },
        "golden": {},
    },
    "autoencoder_kl": {
        "counts": {"autoencoder_kl_f8": 83_653_863, "autoencoder_kl_small": 954_567},
        "small": {"filters": (8,), "num_layers": 1, "num_groups": 4, "input_shape": (6, 10, 3)},
        "golden": {},
    },
    "vq_model": {
        "counts": {"vq_f4": 55_322_782, "vq_small": 951_806},
        "small": {
            "filters": (8,),
            "num_layers": 1,
            "num_codes": 9,
            "num_groups": 4,
            "half": "decoder",
            "input_shape": (6, 10, 3),
        },
        "golden": {},
    },
    "alphafold": {
        "counts": {
            **dict.fromkeys(("alphafold_1", "alphafold_2"), 93_229_082),
            **dict.fromkeys(("alphafold_3", "alphafold_4", "alphafold_5"), 92_899_674),
            **dict.fromkeys(("alphafold_1_ptm", "alphafold_2_ptm"), 93_229_082 + 8_256),
            **dict.fromkeys(("alphafold_3_ptm", "alphafold_4_ptm", "alphafold_5_ptm"), 92_899_674 + 8_256),
            "alphafold_small": 1_296_074,
        },
        "small": {
            "num_blocks": 1,
            "num_extra_blocks": 1,
            "num_template_blocks": 1,
            "num_layers": 1,
            "msa_dim": 8,
            "extra_dim": 8,
            "pair_dim": 8,
            "template_dim": 4,
            "single_dim": 8,
            "num_heads": (2, 2, 2),
            "outer_dim": 2,
            "hidden_dim": 8,
            "dropout": 0.0,
            "templates": False,
        },
        "golden": {},  # see test_alphafold.py
    },
    "clip_text": {
        "counts": {"clip_text_l_14": 123_060_480, "clip_text_h_14": 340_387_840, "clip_text_small": 165_632},
        "small": {"num_layers": 2, "hidden_dim": 16, "num_heads": 4, "intermediate_dim": 24, "vocabulary_size": 31},
        "golden": {},
    },
    "stable_diffusion": {
        "counts": {
            "stable_diffusion_1_5": 123_060_480 + 859_520_964 + 83_653_863,
            "stable_diffusion_2_1": 340_387_840 + 865_910_724 + 83_653_863,
            "latent_diffusion_small": 165_632 + 4_192_900 + 954_567,
        },
    },
    "latent_diffusion": {"counts": {"ldm_celebahq": 274_056_163 + 55_322_782}},
    "ddpm": {"counts": {"ddpm_cifar10": 35_746_307}},
}
NETWORKS = [name for name in ROWS if not catalog.literals(name).get("PARTS")]  # the others are made of these
cached_info = functools.cache(kzoo.info)
VARIANTS = [(name, entry.architecture) for name, entry in catalog.entries().items() if entry.name == name]
GOLDENS = [(name, overrides) for row in ROWS.values() for name, overrides in row.get("golden", {}).items()]


def info(name):
    """`kzoo.info`, once for all variants of an architecture that are built alike."""
    entries = catalog.entries()
    alike = [
        each for each in entries.values()
        if (each.architecture, each.arguments) == (entries[name].architecture, entries[name].arguments)
    ]  # fmt: skip
    return cached_info(alike[0].name)


def small(architecture, **more):
    return kzoo.build(architecture, **ROWS[architecture]["small"], **more)


def outputs(model, x):
    return joined(outputs_of(model, x))


def joined(outputs):
    """A model's outputs as one array; several are put side by side, flat where their sizes differ."""
    arrays = [keras.ops.convert_to_numpy(output).astype("float32") for output in keras.tree.flatten(outputs)]
    if len({array.shape[:-1] for array in arrays}) > 1:
        arrays = [array.reshape(len(array), -1) for array in arrays]
    return np.concatenate(arrays, axis=-1)


def test_every_architecture_has_a_row():
    assert set(ROWS) == {path.stem for path in catalog.MODELS.glob("*.py")} - {"__init__"}
    assert {name for row in ROWS.values() for name in row["counts"]} == {name for name, _ in VARIANTS}


@pytest.mark.parametrize("architecture", NETWORKS)
def test_layers_are_called_the_same_whatever_was_built_before(architecture):
    def names(variant):
        return [each.name for each in kzoo.build(variant, **ROWS[architecture]["small"]).operations]

    variants = [*ROWS[architecture]["counts"]]
    for variant in {variants[0], variants[-1]}:
        first, second = measure.without_weights(lambda variant=variant: (names(variant), names(variant)))
        assert first == second


@pytest.mark.parametrize("architecture", NETWORKS)
def test_no_model_file_imports_another(architecture):
    tree = ast.parse((catalog.MODELS / f"{architecture}.py").read_text(encoding="utf-8"))
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [name for name in imported if name.startswith("kzoo.models")]


@pytest.mark.parametrize(("name", "architecture"), VARIANTS)
def test_counts(name, architecture):
    facts = info(name)
    assert facts["parameters"] == ROWS[architecture]["counts"][name]
    assert not any(row["uncounted"] for row in facts.get("parts", {"": facts}).values())
    assert facts["summary"] and facts["paper"].startswith("http")


def test_figures_file_is_up_to_date():
    for name, figures in catalog.figures().items():
        facts = info(name)
        assert figures == {key: facts[key] for key in figures}, f"{name}: run scripts/make_figures.py"
    assert list(catalog.figures()) == kzoo.list_models()
    known = {name: Recipe(**recipe) for name, recipe in catalog.recipes().items()}
    recipes = {task.name: Recipe(**task.recipe) for task in tasks.every() if not task.gives_features}
    assert known == recipes, "run scripts/make_figures.py"


def compare(folder, name, overrides):
    """(ours, the reference's) of the golden file."""
    tensors = safetensors.numpy.load_file(GOLDEN / f"{name}.safetensors")
    x, wanted = tensors.pop("input"), tensors.pop("output")
    safetensors.numpy.save_file(tensors, folder / "reference.safetensors")
    yield outputs(kzoo.build(name, folder / "reference.safetensors", **overrides), x), wanted


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_both_directions_of_a_recurrent_network(cell, tmp_path):
    reference = safetensors.numpy.load_file(GOLDEN / f"rnn_{cell}_bidirectional.safetensors")
    x, wanted = reference.pop("input"), reference.pop("output")
    safetensors.numpy.save_file(reference, tmp_path / "reference.safetensors")
    model = kzoo.build(f"rnn_{cell}", tmp_path / "reference.safetensors", bidirectional=True)
    np.testing.assert_allclose(outputs(model, x), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    kzoo.save_weights(model, tmp_path / "ours.safetensors")
    shapes = {key: value.shape for key, value in safetensors.numpy.load_file(tmp_path / "ours.safetensors").items()}
    assert shapes == {key: value.shape for key, value in reference.items()}


@pytest.mark.parametrize(
    "name", ["rnn_lstm", "rnn_gru", "rnn_simple", "rnn_lstm_bidirectional", "rnn_gru_bidirectional"]
)
def test_padded_sequences_are_packed_ones(name, tmp_path):
    packed = safetensors.numpy.load_file(GOLDEN / "rnn_packed.safetensors")
    wanted = {key.removeprefix(f"{name}."): value for key, value in packed.items() if key.startswith(f"{name}.")}
    reference = safetensors.numpy.load_file(GOLDEN / f"{name}.safetensors")
    x, mask = reference.pop("input"), (np.arange(11) < packed["lengths"][:, None]).astype("int32")
    reference.pop("output")
    safetensors.numpy.save_file(reference, tmp_path / "reference.safetensors")
    x = {"features": np.where(mask[..., None], x, np.float32(9)), "padding_mask": mask}
    how = {"bidirectional": name.endswith("bidirectional"), "masked": True}
    model = kzoo.build(name.removesuffix("_bidirectional"), tmp_path / "reference.safetensors", **how)
    np.testing.assert_allclose(outputs(model, x), wanted.pop("logits"), rtol=0, atol=2e-5)
    how["head"] = "states"
    found = kzoo.predict(kzoo.build(model.name, tmp_path / "reference.safetensors", **how), x)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "overrides"), GOLDENS)
def test_agrees_with_the_reference(name, overrides, tmp_path):
    for got, wanted in compare(tmp_path, name, overrides):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(("name", "overrides"), GOLDENS)
def test_writes_what_the_reference_loads(name, overrides, tmp_path):
    """Names, shapes and values; scripts/golden/*.py --check-back does the same with torch itself."""
    reference = safetensors.numpy.load_file(GOLDEN / f"{name}.safetensors")
    reference.pop("input"), reference.pop("output")
    safetensors.numpy.save_file(reference, tmp_path / "reference.safetensors")
    kzoo.save_weights(kzoo.build(name, tmp_path / "reference.safetensors", **overrides), tmp_path / "ours.safetensors")
    ours = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in reference.items()}
    for key, value in ours.items():
        if "bias_ih" in key and name != "rnn_gru":  # torch's two biases come back as their sum and zeros
            partner = key.replace("bias_ih", "bias_hh")
            np.testing.assert_allclose(value + ours[partner], reference[key] + reference[partner], rtol=1e-6)
        elif "bias_hh" not in key or name == "rnn_gru":
            np.testing.assert_array_equal(value, reference[key])


@pytest.mark.parametrize("architecture", NETWORKS)
def test_is_a_flat_graph_of_known_layers(architecture):
    model = small(architecture)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    text = json.dumps(model.get_config())
    assert not any(word in text for word in ("Lambda", "__lambda__", "TFSMLayer"))
    assert all(isinstance(call.operation, keras.layers.Layer) for call in graph.calls(model, 8)), "one layer, one node"


@pytest.mark.parametrize("architecture", NETWORKS)
def test_keras_file_round_trip(architecture, tmp_path):
    model = small(architecture)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    x, _, _ = synthetic_batch(model, 2)
    np.testing.assert_array_equal(outputs(again, x), outputs(model, x))


@pytest.mark.parametrize("architecture", NETWORKS)
def test_folder_round_trip(architecture, tmp_path):
    model = small(architecture)
    kzoo.save(model, tmp_path / "saved")
    again = kzoo.load(tmp_path / "saved")
    x, _, _ = synthetic_batch(model, 2)
    np.testing.assert_array_equal(outputs(again, x), outputs(model, x))
    assert again.kzoo == model.kzoo


@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=[pytest.mark.slow] if name == "alphafold" else []) for name in NETWORKS]
)
def test_xla_gives_the_same(architecture):
    model = small(architecture)
    x, _, _ = synthetic_batch(model, 2)
    wanted = outputs(model, x)
    np.testing.assert_allclose(joined(compiled(model)(x)), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("architecture", NETWORKS)
def test_half_precision(architecture, policy):
    full, half = small(architecture), small(architecture, dtype=policy)
    half.set_weights(full.get_weights())
    x, _, _ = synthetic_batch(full, 2)
    wanted, got = outputs(full, x), outputs(half, x)
    assert half.outputs[0].dtype == "float32"
    tolerance = 0.08 if "bfloat16" in policy else 0.02
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("architecture", NETWORKS)
def test_batch_of_four_equals_four_singles(architecture):
    model = small(architecture)
    x, _, _ = synthetic_batch(model, 4)
    singles = [outputs(model, keras.tree.map_structure(lambda a, i=i: a[i : i + 1], x)) for i in range(4)]
    together = outputs(model, x)
    np.testing.assert_allclose(together, np.concatenate(singles), rtol=0, atol=1e-5 * np.abs(together).max())


@functools.cache
def digits():
    from kzoo.data.sources.digits import read_digits

    return read_digits()


def learnable_batch(model):
    """Eight real digits of up to four classes; random numbers for a model that takes no images."""
    if model.inputs[0].name != "image" or model.kzoo.task != "image_classification":
        return synthetic_batch(model, 8)
    images, labels = digits()
    chosen = np.flatnonzero(labels < min(4, model.outputs[0].shape[-1]))[::180][:8]
    data = kzoo.data.from_arrays(images[chosen], labels[chosen], model, batch_size=8, validation_fraction=0)
    return *(np.asarray(part) for part in next(iter(data.train.dataset))), None


# what learns by itself, and not as a part of others or against another network
LEARNERS = [
    name for name in NETWORKS if (task := tasks.find(catalog.find(name).task)).needs_targets and not task.gives_features
]
DEEP = ("googlenet", "inception_v3")  # half a minute each, and resnet, densenet and vgg learn as they do


@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=[pytest.mark.slow] if name in DEEP else []) for name in LEARNERS]
)
def test_training_lowers_the_loss(architecture):
    keras.utils.set_random_seed(0)
    model = small(architecture)
    x, y, weight = learnable_batch(model)
    tasks.compile_model(model, keras.optimizers.Adam(0.01))
    model.optimizer.build(model.trainable_variables)  # else TensorFlow traces the step twice
    losses = [float(model.test_on_batch(x, y, weight, return_dict=True)["loss"])]
    while losses[-1] >= 0.7 * losses[0] and len(losses) < 7:
        for _ in range(20):
            model.train_on_batch(x, y, weight)
        model.reset_metrics()
        losses.append(float(model.test_on_batch(x, y, weight, return_dict=True)["loss"]))
    assert losses[-1] < 0.7 * losses[0], losses


@pytest.mark.parametrize("architecture", NETWORKS)
def test_two_models_of_one_name_do_not_share(architecture):
    keras.utils.set_random_seed(1)
    first, second = small(architecture), small(architecture)
    before = copy.deepcopy(second.get_weights())
    first.set_weights([value + 1 for value in first.get_weights()])
    for then, now in zip(before, second.get_weights(), strict=True):
        np.testing.assert_array_equal(then, now)


def test_what_was_counted_is_not_allocated_later(monkeypatch):
    kzoo.info("mlp")

    def draw(*arguments, **options):
        raise MemoryError("drawn")

    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", draw)
    with keras.StatelessScope():
        pass


def test_counting_allocates_nothing():
    with keras.StatelessScope(initialize_variables=False):
        model = kzoo.build("transformer_big")
        assert measure.measure(model)["parameters"] == 214_245_376
    assert all(variable._value is None for variable in model.variables)


@pytest.mark.parametrize(
    ("name", "overrides", "macs"),
    [
        ("perceptron", {"num_features": 5}, 5),
        ("mlp", {}, 784 * 512 + 512 * 512 + 512 * 10),
        ("cnn", {}, 24 * 24 * 32 * 27 + 12 * 12 * 64 * 288 + 2304 * 128 + 128 * 10),
        ("mnist_cnn", {}, 26 * 26 * 32 * 9 + 11 * 11 * 64 * 288 + 3 * 3 * 64 * 576 + 576 * 64 + 64 * 10),
        ("rnn_lstm", {}, 7 * (4 * 8 * 18 + 4 * 8 * 16) + 16),
        ("rnn_gru", {}, 7 * (3 * 8 * 18 + 3 * 8 * 16) + 16),
        ("rnn_simple", {}, 7 * (8 * 18 + 8 * 16) + 16),
        # six layers: projections, feed-forward and attention of seven tokens; then the vocabulary
        (
            "transformer_base",
            {},
            6 * (7 * (4 + 8) * 512**2 + 2 * 49 * 512) + 6 * (7 * (8 + 8) * 512**2 + 4 * 49 * 512) + 7 * 512 * 37000,
        ),
    ],
)
def test_multiply_accumulates_by_hand(name, overrides, macs):
    assert kzoo.info(name, length=7, **overrides)["macs"] == macs


def test_activation_bytes_by_hand():
    assert kzoo.info("mlp")["activation_bytes"] == 4 * (784 + 4 * 512 + 10)
