"""Makes tests/golden/lora_{bert,gpt2}/ and lora.safetensors: adapters that peft wrote, and what the models then give.

In an environment of its own:

    pip install torch==2.13.0 transformers==5.23.0 peft==0.21.2 safetensors numpy
    python scripts/golden/lora.py

The models are those of text_models.py with the weights in tests/golden. The other way, a folder that `kzoo.save_lora`
wrote for one of them goes back into peft:

    python scripts/golden/lora.py --check-back bert folder
"""

import shutil

import numpy as np
import peft
import safetensors.numpy
import torch
import writing
from text_models import CLASSES, case
from writing import GOLDEN

CASES = {"bert": "bert_classification", "gpt2": "gpt2"}
CONFIGS = {
    "bert": {
        "r": 3,
        "lora_alpha": 8,
        "target_modules": ["query", "value", "intermediate.dense"],
        "modules_to_save": ["classifier"],
    },
    "gpt2": {"r": 4, "lora_alpha": 6, "lora_dropout": 0.1, "target_modules": ["c_attn"], "fan_in_fan_out": True},
}


def base(name):
    """The model of transformers with the golden file's weights."""
    kind, config = CLASSES[CASES[name]]
    tensors = safetensors.numpy.load_file(GOLDEN / f"{name}.safetensors")
    model = kind(config)
    fitted = {key: torch.from_numpy(tensors[key]) for key in model.state_dict()}
    model.load_state_dict(fitted)
    return model.eval()


def outputs(name, model):
    run, inputs = case(CASES[name])
    return run(CASES[name], model.eval(), inputs)[""]


def make(name):
    """Writes one adapter with every matrix drawn, and returns what the model then gives."""
    torch.manual_seed(1)
    model = peft.get_peft_model(base(name), peft.LoraConfig(**CONFIGS[name]))
    for _, parameter in sorted(model.named_parameters()):
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    folder = GOLDEN / f"lora_{name}"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    return outputs(name, model)


def check_back(name, folder):
    """Loads a folder through `PeftModel.from_pretrained`; SystemExit unless it gives the golden outputs."""
    with np.errstate(all="raise"):
        model = peft.PeftModel.from_pretrained(base(name), folder)
        report = model.load_adapter(folder, "again")
    golden = safetensors.numpy.load_file(GOLDEN / "lora.safetensors")[f"output.{name}"]
    missing = [key for key in report.missing_keys if "lora_" in key or "modules_to_save.again" in key]
    if missing or report.unexpected_keys:
        raise SystemExit(f"{name}: missing {missing}, unexpected {report.unexpected_keys}")
    writing.must_agree(name, outputs(name, model), golden)


def make_all():
    found = {f"output.{name}": make(name) for name in CASES}
    writing.write("lora", found, torch=torch.__version__, peft=peft.__version__)


if __name__ == "__main__":
    writing.main(__doc__, make_all, check_back=(check_back, ("MODEL", "FOLDER")))
