"""Makes the golden files of alexnet, vgg, resnet and densenet from torchvision's networks, and checks the way back.

Weights and images are drawn by tests/seeded_weights.py, so the files hold outputs only. In an environment of its own:

    pip install torch==2.13.0 safetensors numpy && pip install --no-deps torchvision pillow
    python scripts/golden/torchvision_networks.py

The way back, at full size: kzoo writes a checkpoint and its output, where kzoo is installed; torch loads the checkpoint
strictly and must give the same output. Without names, all variants.

    PYTHONPATH=. python scripts/golden/torchvision_networks.py --write FOLDER [NAME ...]
    python scripts/golden/torchvision_networks.py --check-back FOLDER
"""

import json
import pathlib
import sys
import types

import numpy as np
import writing
from seeded_weights import digest, draw_images
from writing import GOLDEN, shapes_of

ARCHITECTURES = ("alexnet", "vgg", "resnet", "densenet")
SMALL_RESNETS = {"resnet20": 3, "resnet32": 5, "resnet56": 9}


def import_torchvision():
    """torchvision's Python models; its compiled operators do not fit torch's CPU builds and are not needed."""
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
    import torchvision

    return torchvision.models


def small_resnet(depth, num_classes=10):
    """Section 4.2 of the residual network paper with shortcuts without parameters; torchvision has none."""
    import torch
    from torch import nn

    def conv(inputs, outputs, stride):
        return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1, self.bn1 = conv(inputs, outputs, stride), nn.BatchNorm2d(outputs)
            self.conv2, self.bn2 = conv(outputs, outputs, 1), nn.BatchNorm2d(outputs)
            self.stride, self.missing = stride, outputs - inputs

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            zeros = (0, 0, 0, 0, self.missing // 2, self.missing // 2)
            return torch.relu(y + nn.functional.pad(x[:, :, :: self.stride, :: self.stride], zeros))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = conv(3, 16, 1), nn.BatchNorm2d(16)
            self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(depth)))
            self.layer2 = nn.Sequential(Block(16, 32, 2), *(Block(32, 32, 1) for _ in range(depth - 1)))
            self.layer3 = nn.Sequential(Block(32, 64, 2), *(Block(64, 64, 1) for _ in range(depth - 1)))
            self.linear = nn.Linear(64, num_classes)

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))

    return Network()


def alexnet_2012(filters=(96, 256, 384, 384, 256), hidden_dim=4096, num_classes=1000):
    """Figure 2 of the paper; torch's alpha is the paper's times the number of channels it sums over."""
    import torch
    from torch import nn

    one, two, three, four, five = filters

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, one, 11, 4, 2)
            self.conv2 = nn.Conv2d(one, two, 5, padding=2, groups=2)
            self.conv3 = nn.Conv2d(two, three, 3, padding=1)
            self.conv4 = nn.Conv2d(three, four, 3, padding=1, groups=2)
            self.conv5 = nn.Conv2d(four, five, 3, padding=1, groups=2)
            self.fc6 = nn.Linear(five * 36, hidden_dim)
            self.fc7 = nn.Linear(hidden_dim, hidden_dim)
            self.fc8 = nn.Linear(hidden_dim, num_classes)
            self.norm = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
            self.pool = nn.MaxPool2d(3, 2)
            self.cells = nn.AdaptiveAvgPool2d(6)

        def forward(self, x):
            x = self.pool(self.norm(torch.relu(self.conv1(x))))
            x = self.pool(self.norm(torch.relu(self.conv2(x))))
            x = torch.relu(self.conv4(torch.relu(self.conv3(x))))
            x = self.cells(self.pool(torch.relu(self.conv5(x))))
            return self.fc8(torch.relu(self.fc7(torch.relu(self.fc6(torch.flatten(x, 1))))))

    return Network()


def narrow_vgg(with_batch_norm):
    """torchvision's VGG of columns A (plain) and D (batch norm) with few channels and a small classifier."""
    from torch import nn

    models = import_torchvision()
    depths = (2, 2, 3, 3, 3) if with_batch_norm else (1, 1, 2, 2, 2)
    plan = [item for depth, width in zip(depths, (4, 6, 8, 8, 10), strict=True) for item in [width] * depth + ["M"]]
    module = models.vgg.VGG(models.vgg.make_layers(plan, with_batch_norm), num_classes=11, init_weights=False)
    module.classifier[0] = nn.Linear(10 * 49, 16)
    module.classifier[3] = nn.Linear(16, 16)
    module.classifier[6] = nn.Linear(16, 11)
    return module


def narrow_alexnet():
    """torchvision's AlexNet with its own convolutions and a small classifier."""
    from torch import nn

    module = import_torchvision().alexnet(num_classes=11)
    module.classifier[1] = nn.Linear(256 * 36, 16)
    module.classifier[4] = nn.Linear(16, 16)
    module.classifier[6] = nn.Linear(16, 11)
    return module


def golden_cases():
    """What the golden files hold: {name: (module, image sizes: the default, smaller, odd and not square)}."""
    models = import_torchvision()
    plain = [(224, 224), (64, 48), (61, 75)]
    return {
        "resnet18": (models.resnet18(num_classes=11), plain),
        "resnet50": (models.resnet50(num_classes=11), plain),
        "resnet20": (small_resnet(3), [(32, 32), (28, 28), (29, 23)]),
        "vgg11": (narrow_vgg(False), [*plain, (257, 290)]),
        "vgg16_bn": (narrow_vgg(True), [*plain, (257, 290)]),
        "alexnet": (narrow_alexnet(), [(224, 224), (227, 227), (131, 97)]),
        "alexnet_2012": (alexnet_2012((8, 12, 16, 16, 12), 16, 11), [(224, 224), (227, 227), (131, 97)]),
        "densenet121": (models.DenseNet(8, (2, 3, 2, 2), 16, num_classes=11), plain),
    }


def full_reference(name):
    """The published network of a kzoo variant."""
    if name in SMALL_RESNETS:
        return small_resnet(SMALL_RESNETS[name])
    return alexnet_2012() if name == "alexnet_2012" else getattr(import_torchvision(), name)()


def run(module, x):
    import torch

    with torch.no_grad():
        return module.eval()(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()


def make_networks():
    import torch

    for name, (module, sizes) in golden_cases().items():
        writing.load_drawn(module)
        outputs = {f"{height}x{width}": run(module, draw_images(height, width)) for height, width in sizes}
        writing.write(f"torchvision_{name}", outputs, torch=torch.__version__)
        for size, output in outputs.items():  # outputs that hardly depend on the image would prove little
            scale, difference = np.abs(output).max(), np.abs(output[0] - output[1]).max()
            print(f"  {size}: scale {scale:.2g}, between images {difference:.2g}")


def make_layers():
    """torch's local response normalisation (sizes; alpha as torch takes it) and adaptive average pooling."""
    import torch
    from torch import nn

    tensors = {}
    x = torch.from_numpy(draw_images(3, 2, channels=7) * 30)
    for size, alpha, beta, k in ((5, 5e-4, 0.75, 2.0), (4, 1e-2, 0.5, 1.0), (9, 1e-3, 0.75, 1.0), (1, 1e-2, 1.0, 0.5)):
        y = nn.LocalResponseNorm(size, alpha, beta, k)(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        tensors[f"norm {size} {alpha} {beta} {k}"] = y.numpy()
    for height, width in ((1, 1), (2, 3), (6, 7), (7, 7), (9, 8), (13, 21), (14, 10)):
        for cells in (6, 7):
            pooled = nn.AdaptiveAvgPool2d(cells)(torch.from_numpy(draw_images(height, width)).permute(0, 3, 1, 2))
            tensors[f"pool {cells} {height} {width}"] = pooled.permute(0, 2, 3, 1).numpy()
    writing.write("torch_image_layers", tensors, torch=torch.__version__)


def make_shapes():
    """A digest of all names and shapes of every variant's checkpoint at full size."""
    import torch

    models, found = import_torchvision(), {}
    names = [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
    names += [f"densenet{depth}" for depth in (121, 161, 169, 201)]
    names += [f"vgg{depth}{end}" for end in ("", "_bn") for depth in (11, 13, 16, 19)] + ["alexnet", "alexnet_2012"]
    with torch.device("meta"):
        for name in [*names, *SMALL_RESNETS]:
            # without the initialisation, which a network on torch's meta device does not need
            network = getattr(models, name)(init_weights=False) if name.startswith("vgg") else full_reference(name)
            found[name] = digest(shapes_of(network))
    path = GOLDEN / "torchvision_shapes.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{path}: {len(found)} variants")


def write_from_kzoo(folder, *names):
    """For every variant the checkpoint kzoo writes at full size, and its output for the default image size."""
    import kzoo

    for name in names or [name for architecture in ARCHITECTURES for name in kzoo.list_models(architecture + "*")]:
        model, path = kzoo.build(name), pathlib.Path(folder) / f"{name}.safetensors"
        writing.save_drawn_model(model, path)
        np.save(path.with_suffix(".npy"), np.asarray(model(draw_images(*model.input.shape[1:3]))))


def check_back(folder):
    """Loads kzoo's files strictly; SystemExit if a tensor is missing, left over or mis-shaped, or an output differs."""
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        module = writing.load_strictly(full_reference(path.stem), path)
        size = 32 if path.stem in SMALL_RESNETS else 224
        writing.must_agree(path.stem, np.load(path.with_suffix(".npy")), run(module, draw_images(size, size)))


def make_all():
    make_networks()
    make_layers()
    make_shapes()


if __name__ == "__main__":
    ways = {"write": (write_from_kzoo, ("FOLDER", "[NAME]")), "check_back": (check_back, ("FOLDER",))}
    writing.main(__doc__, make_all, **ways)
