"""Multiply-accumulates of torchvision's and timm's networks by three other counters: tests/golden/macs.json.

For every network: what fvcore counts (by operator), what torch's own FlopCounterMode counts (floating-point operations,
two a multiply-accumulate), both for one image, and the figure that torchvision publishes with its weights, in units of
1e9 rounded to three digits. In an environment of its own:

    pip install torch==2.14.1 fvcore && pip install --no-deps torchvision timm pillow
    python scripts/golden/macs.py [NAME ...]
"""

import json
import logging
import sys

from torchvision_networks import import_torchvision, small_resnet
from writing import GOLDEN

PATH = GOLDEN / "macs.json"
TORCHVISION = (
    "alexnet",
    "googlenet",
    "inception_v3",
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"vgg{depth}{norm}" for norm in ("", "_bn") for depth in (11, 13, 16, 19)),
    *(f"vit_{size}_{patch}" for size in "bl" for patch in (16, 32)),
)
SMALL_RESNETS = {"resnet20": 3, "resnet32": 5, "resnet56": 9}
TIMM = {"vit_ti_16": "vit_tiny_patch16_224", "vit_s_16": "vit_small_patch16_224"}
# retinanet is counted without the steps after its heads, which fvcore cannot trace
NAMES = (*TORCHVISION, *SMALL_RESNETS, *TIMM, "retinanet_resnet50_fpn")


def make(name):
    """The network, the sides of its image, and what torchvision publishes of it."""
    models = import_torchvision()
    import torch

    if name == "retinanet_resnet50_fpn":
        from torchvision.models import detection

        whole = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None)

        class Heads(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.backbone, self.head = whole.backbone, whole.head

            def forward(self, x):
                return list(self.head(list(self.backbone(x).values())).values())

        return Heads(), 800, detection.RetinaNet_ResNet50_FPN_Weights.DEFAULT.meta["_ops"]
    if name in SMALL_RESNETS:
        return small_resnet(SMALL_RESNETS[name]), 32, None
    if name in TIMM:
        import timm

        timm.layers.set_fused_attn(False)
        return timm.create_model(TIMM[name]), 224, None
    options = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    published = models.get_model_weights(name).IMAGENET1K_V1.meta["_ops"]
    return getattr(models, name)(weights=None, **options), 299 if name == "inception_v3" else 224, published


def count(name):
    """One entry of the file."""
    import torch
    from fvcore.nn import FlopCountAnalysis
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    torch.backends.mha.set_fastpath_enabled(False)  # its one fused operator is unknown to both counters
    network, side, published = make(name)
    network, image = network.eval(), torch.zeros(1, 3, side, side)
    with torch.no_grad():
        analysis = FlopCountAnalysis(network, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        fvcore = {operator: int(macs) for operator, macs in sorted(analysis.by_operator().items()) if macs}
        # The fused attention of CPUs is unknown to torch's counter; as two products it is not.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network(image)
    operators = {str(operator): flops for operator, flops in counter.get_flop_counts()["Global"].items()}
    return {
        "image_size": side,
        "fvcore": fvcore,
        "fvcore_left_out": sorted(k for k in analysis.unsupported_ops() if "attention" in k),
        "torch_flops": operators,
        "published_gmacs": published,
    }


def main():
    entries = json.loads(PATH.read_text()) if PATH.exists() and sys.argv[1:] else {}
    for name in sys.argv[1:] or NAMES:
        entries[name] = count(name)
        print(name, entries[name], flush=True)
    PATH.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
