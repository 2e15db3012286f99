"""Makes the golden files of googlenet, inception_v3, vit and recurrent_cnn, and checks the way back.

The references are torchvision's and timm's networks; for the paper's GoogLeNet and the recurrent CNN, which neither
has, the torch modules below. Weights and images are drawn by tests/seeded_weights.py, so the files hold outputs only.
In an environment of its own:

    pip install torch==2.13.0 safetensors numpy && pip install --no-deps torchvision timm pillow
    python scripts/golden/torchvision_inception_vit.py

The way back, at full size: kzoo writes a checkpoint and its output, where kzoo is installed; torch loads the checkpoint
strictly and must give the same output. Without names, all variants and both networks with their auxiliary heads.

    PYTHONPATH=. python scripts/golden/torchvision_inception_vit.py --write FOLDER [NAME ...]
    python scripts/golden/torchvision_inception_vit.py --check-back FOLDER
"""

import json
import pathlib

import numpy as np
import writing
from seeded_weights import digest, draw_images
from torchvision_networks import import_torchvision
from writing import GOLDEN, shapes_of

ARCHITECTURES = ("googlenet", "inception_v3", "vit", "recurrent_cnn")
WITH_AUXILIARY = ("googlenet", "googlenet_2014", "inception_v3")
# Local response normalisation hardly shows with small values.
IMAGE_SCALES = {"googlenet_2014": 30, "recurrent_cnn": 30}
DEIT = {"vit_ti_16": "vit_tiny_patch16_224", "vit_s_16": "vit_small_patch16_224"}


def googlenet_2014(num_classes=1000, auxiliary=False):
    """Table 1 and section 5 of the paper; `nn.LocalResponseNorm` divides alpha by the size as Caffe does."""
    import torch
    from torch import nn

    class Conv(nn.Module):
        def __init__(self, inputs, outputs, size, stride=1):
            super().__init__()
            self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2)

        def forward(self, x):
            return torch.relu(self.conv(x))

    class Module(nn.Module):
        def __init__(self, inputs, one, three_reduce, three, five_reduce, five, projection):
            super().__init__()
            self.branch1 = Conv(inputs, one, 1)
            self.branch2 = nn.Sequential(Conv(inputs, three_reduce, 1), Conv(three_reduce, three, 3))
            self.branch3 = nn.Sequential(Conv(inputs, five_reduce, 1), Conv(five_reduce, five, 5))
            self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), Conv(inputs, projection, 1))

        def forward(self, x):
            return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)

    class Auxiliary(nn.Module):
        def __init__(self, inputs):
            super().__init__()
            self.conv = Conv(inputs, 128, 1)
            self.fc1 = nn.Linear(2048, 1024)
            self.fc2 = nn.Linear(1024, num_classes)

        def forward(self, x):
            x = torch.flatten(self.conv(nn.functional.avg_pool2d(x, 5, 3)), 1)
            return self.fc2(torch.relu(self.fc1(x)))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
            self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
            self.conv1, self.conv2, self.conv3 = Conv(3, 64, 7, 2), Conv(64, 64, 1), Conv(64, 192, 3)
            self.inception3a = Module(192, 64, 96, 128, 16, 32, 32)
            self.inception3b = Module(256, 128, 128, 192, 32, 96, 64)
            self.inception4a = Module(480, 192, 96, 208, 16, 48, 64)
            self.inception4b = Module(512, 160, 112, 224, 24, 64, 64)
            self.inception4c = Module(512, 128, 128, 256, 24, 64, 64)
            self.inception4d = Module(512, 112, 144, 288, 32, 64, 64)
            self.inception4e = Module(528, 256, 160, 320, 32, 128, 128)
            self.inception5a = Module(832, 256, 160, 320, 32, 128, 128)
            self.inception5b = Module(832, 384, 192, 384, 48, 128, 128)
            self.fc = nn.Linear(1024, num_classes)
            if auxiliary:
                self.aux1, self.aux2 = Auxiliary(512), Auxiliary(528)

        def forward(self, x):
            x = self.norm(self.pool(self.conv1(x)))
            x = self.pool(self.norm(self.conv3(self.conv2(x))))
            x = self.pool(self.inception3b(self.inception3a(x)))
            four_a = self.inception4a(x)
            four_d = self.inception4d(self.inception4c(self.inception4b(four_a)))
            x = self.pool(self.inception4e(four_d))
            x = self.fc(self.inception5b(self.inception5a(x)).mean((2, 3)))
            return [x, self.aux1(four_a), self.aux2(four_d)] if auxiliary else x

    return Network()


def recurrent_cnn(filters, num_steps=3, use_bias=False, num_classes=10):
    """Figure 2 and equations 1 to 4 of Liang and Hu as a loop; torch divides alpha by the size as they do."""
    import torch
    from torch import nn

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.feedforward = nn.Conv2d(filters, filters, 3, padding=1, bias=use_bias)
            self.recurrent = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
            self.norm = nn.LocalResponseNorm(filters // 8 + 1, alpha=1e-3, beta=0.75, k=1.0)

        def forward(self, u):
            x = torch.zeros_like(u)
            for _ in range(num_steps + 1):
                x = self.norm(torch.relu(self.feedforward(u) + self.recurrent(x)))
            return x

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer1 = nn.Sequential()
            self.layer1.conv = nn.Conv2d(3, filters, 5, padding=2, bias=use_bias)
            self.layer2, self.layer3, self.layer4, self.layer5 = (Recurrent() for _ in range(4))
            self.fc = nn.Linear(filters, num_classes, bias=use_bias)
            self.pool = nn.MaxPool2d(3, 2, 1)

        def forward(self, x):
            x = self.pool(torch.relu(self.layer1.conv(x)))
            x = self.layer5(self.layer4(self.pool(self.layer3(self.layer2(x)))))
            return self.fc(x.amax((2, 3)))

    return Network()


def golden_cases():
    """What the golden files hold: {name: (module, image sizes: the default, smaller, odd and not square)}."""
    models = import_torchvision()
    import timm  # after torchvision, which it imports

    options = {"num_classes": 11, "init_weights": False}
    narrow_vit = models.VisionTransformer(48, 16, 2, 3, 24, 40, num_classes=11)
    timm_vit = timm.models.VisionTransformer(
        (32, 80), 16, embed_dim=24, depth=2, num_heads=3, mlp_ratio=5 / 3, num_classes=11
    )
    plain = [(224, 224), (64, 48), (61, 75)]
    return {
        "googlenet": (models.googlenet(aux_logits=False, **options), plain),
        "googlenet_auxiliary": (models.googlenet(aux_logits=True, **options), plain),
        "googlenet_2014": (googlenet_2014(11), plain),
        "googlenet_2014_auxiliary": (googlenet_2014(11, auxiliary=True), [(224, 224)]),
        "inception_v3": (models.inception_v3(aux_logits=False, **options), [(75, 75), (107, 138)]),
        "inception_v3_auxiliary": (models.inception_v3(aux_logits=True, **options), [(299, 299)]),
        "vit": (narrow_vit, [(48, 48)]),
        "vit_timm": (timm_vit, [(32, 80)]),
        "recurrent_cnn": (recurrent_cnn(32), [(32, 32), (28, 28), (29, 23)]),
        "recurrent_cnn_bias": (recurrent_cnn(24, 2, use_bias=True), [(32, 32)]),
    }


def full_reference(name):
    """The published network of a kzoo variant; `name` may end in `_auxiliary`."""
    name, auxiliary = name.removesuffix("_auxiliary"), name.endswith("_auxiliary")
    if name.startswith("recurrent_cnn"):
        return recurrent_cnn(int(name.rpartition("_")[2]))
    if name == "googlenet_2014":
        return googlenet_2014(auxiliary=auxiliary)
    models = import_torchvision()
    if name in DEIT:  # torchvision has none: its class at the widths that timm gives the name
        import timm

        vit = timm.create_model(DEIT[name])
        heads, hidden_dim = vit.blocks[0].attn.num_heads, vit.embed_dim
        return models.VisionTransformer(224, 16, len(vit.blocks), heads, hidden_dim, vit.blocks[0].mlp.fc1.out_features)
    options = {} if name.startswith("vit") else {"aux_logits": auxiliary, "init_weights": False}
    return getattr(models, name)(**options)


def images(name, height, width):
    scale = next((scale for start, scale in IMAGE_SCALES.items() if name.startswith(start)), 1)
    return draw_images(height, width) * np.float32(scale)


def run(module, x):
    """Logits; with auxiliary heads (1 + number of heads, batch, classes), the classifier's first."""
    import torch

    module.eval()
    # torchvision shows the auxiliary logits in training only; the layers below stay as in evaluation.
    module.training = getattr(module, "aux_logits", False)
    with torch.no_grad():
        outputs = module(torch.from_numpy(x).permute(0, 3, 1, 2))
    if isinstance(outputs, tuple):  # torchvision's named tuple counts from the end
        outputs = [outputs[0], *reversed(outputs[1:])]
    return np.stack([output.numpy() for output in outputs]) if isinstance(outputs, list) else outputs.numpy()


def make_networks():
    import torch

    for name, (module, sizes) in golden_cases().items():
        shapes = writing.load_drawn(module)
        outputs = {f"{height}x{width}": run(module, images(name, height, width)) for height, width in sizes}
        more = {"shapes": json.dumps(shapes)} if name == "vit_timm" else {}  # its names are not kzoo's
        writing.write(f"torchvision_{name}", outputs, torch=torch.__version__, **more)
        for size, output in outputs.items():  # outputs that hardly depend on the image would prove little
            between = np.abs(output[..., 0, :] - output[..., 1, :]).max(-1)
            print(f"  {size}: scale {np.abs(output).max((-1, -2))}, between images {between}")


def all_names():
    import kzoo

    variants = [name for architecture in ARCHITECTURES for name in kzoo.list_models(f"{architecture}*")]
    return variants + [f"{name}_auxiliary" for name in WITH_AUXILIARY]


def make_shapes(names):
    """A digest of all names and shapes of every variant's checkpoint at full size."""
    import torch

    found = {}
    for name in names:
        with torch.device("meta"):
            found[name] = digest(shapes_of(full_reference(name)))
    path = GOLDEN / "torchvision_inception_vit_shapes.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{path}: {len(found)} networks")


def write_from_kzoo(folder, *names):
    """For every variant the checkpoint kzoo writes at full size, and its output for the default image size."""
    import kzoo

    for name in names or all_names():
        variant, auxiliary = name.removesuffix("_auxiliary"), name.endswith("_auxiliary")
        model = kzoo.build(variant, **({"auxiliary": True} if auxiliary else {}))
        path = pathlib.Path(folder) / f"{name}.safetensors"
        writing.save_drawn_model(model, path)
        outputs = model(images(name, *model.input.shape[1:3]))
        np.save(path.with_suffix(".npy"), np.stack(outputs) if auxiliary else np.asarray(outputs))


def check_back(folder):
    """Loads kzoo's files strictly: SystemExit if a tensor is missing, left over or mis-shaped, or outputs differ."""
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        name = path.stem
        module = writing.load_strictly(full_reference(name), path)
        size = 32 if name.startswith("recurrent_cnn") else 299 if name.startswith("inception_v3") else 224
        writing.must_agree(name, np.load(path.with_suffix(".npy")), run(module, images(name, size, size)))


def make_all():
    make_networks()
    vits = ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", *DEIT)
    recurrent = [f"recurrent_cnn_{filters}" for filters in (160, 96, 128)]
    make_shapes([*WITH_AUXILIARY, *(f"{name}_auxiliary" for name in WITH_AUXILIARY), *vits, *recurrent])


if __name__ == "__main__":
    ways = {"write": (write_from_kzoo, ("FOLDER", "[NAME]")), "check_back": (check_back, ("FOLDER",))}
    writing.main(__doc__, make_all, **ways)
