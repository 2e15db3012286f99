"""Makes tests/golden/torchvision_videos.safetensors: what torchvision's video networks answer.

Weights and clips are drawn by tests/seeded_weights.py, so the file holds outputs only. In an environment of its own:

    pip install torch==2.13.0 safetensors numpy && pip install --no-deps torchvision pillow
    python scripts/golden/torchvision_videos.py

The way back: torchvision loads a checkpoint that kzoo wrote, strictly.

    python scripts/golden/torchvision_videos.py --check-back r3d_18 weights.safetensors
"""

import numpy as np
import torch
import writing
from seeded_weights import digest, draw_video
from torchvision_networks import import_torchvision

NAMES = ("r3d_18", "mc3_18", "r2plus1d_18")
SHAPES = ((5, 20, 23), (8, 32, 32))  # frames, height, width
FILTERS = 8  # in place of 64


def network(name, num_classes=11):
    """torchvision's network, an eighth as wide."""
    from torch import nn
    from torchvision.models.video import resnet as source

    class Narrow(source.VideoResNet):
        def _make_layer(self, block, conv_builder, planes, *arguments, **options):
            self.inplanes = FILTERS if planes == 64 else self.inplanes
            return super()._make_layer(block, conv_builder, planes * FILTERS // 64, *arguments, **options)

    def narrow_stem():
        wide = source.R2Plus1dStem() if name == "r2plus1d_18" else source.BasicStem()
        width, layers = 3, []
        for layer in wide:
            if isinstance(layer, nn.Conv3d):
                how = {"stride": layer.stride, "padding": layer.padding, "bias": False}
                layer = nn.Conv3d(width, layer.out_channels * FILTERS // 64, layer.kernel_size, **how)
                width = layer.out_channels
            layers.append(nn.BatchNorm3d(width) if isinstance(layer, nn.BatchNorm3d) else layer)
        return nn.Sequential(*layers)

    plain, flat, factored = source.Conv3DSimple, source.Conv3DNoTemporal, source.Conv2Plus1D
    makers = {"r3d_18": [plain] * 4, "mc3_18": [plain] + [flat] * 3, "r2plus1d_18": [factored] * 4}[name]
    model = Narrow(source.BasicBlock, makers, [2, 2, 2, 2], narrow_stem, num_classes)
    model.fc = nn.Linear(FILTERS * 8, num_classes)
    return model


def answers(model, shape):
    """Logits of clips in torch's order of axes."""
    with torch.no_grad():
        return model.eval()(torch.from_numpy(draw_video(*shape).transpose(0, 4, 1, 2, 3).copy())).numpy()


def make():
    networks, tensors, digests = import_torchvision().video, {}, {}
    for name in NAMES:
        digests[name] = digest(writing.shapes_of(getattr(networks, name)()))
        model = network(name)
        writing.load_drawn(model)
        for shape in SHAPES:
            tensors[f"{name}.{'x'.join(map(str, shape))}"] = answers(model, shape)
    writing.write("torchvision_videos", tensors, torch=torch.__version__)
    print(digests)


def check_back(name, path):
    """SystemExit unless torchvision loads the file at full size and answers as with the weights drawn for it."""
    networks = import_torchvision().video
    ours, theirs = writing.load_strictly(getattr(networks, name)(), path), getattr(networks, name)()
    writing.load_drawn(theirs)
    writing.must_agree(name, answers(ours, SHAPES[0]), np.asarray(answers(theirs, SHAPES[0])))


if __name__ == "__main__":
    writing.main(__doc__, make, check_back=(check_back, ("NAME", "FILE")))
