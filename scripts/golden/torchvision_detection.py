"""Makes the golden files of retinanet and of the mathematics of detection from torchvision, and checks the way back.

Weights and images are drawn by tests/seeded_weights.py. torchvision's compiled operators do not fit torch's CPU builds;
of them only non-maximum suppression is needed, which `suppress` below does as torchvision documents it. In an
environment of its own:

    pip install torch==2.13.0 safetensors numpy && pip install --no-deps torchvision pillow
    python scripts/golden/torchvision_detection.py

The way back, at full size: kzoo writes a checkpoint and its outputs, where kzoo is installed; torch loads the
checkpoint strictly and must give the same.

    PYTHONPATH=. python scripts/golden/torchvision_detection.py --write FOLDER
    python scripts/golden/torchvision_detection.py --check-back FOLDER
"""

import json
import pathlib

import numpy as np
import writing
from seeded_weights import digest, draw_detector_outputs, draw_images
from torchvision_networks import import_torchvision

SIZES = ((45, 61), (64, 32))
FULL_SIZE = (203, 165)
NUM_CLASSES = 3
KINDS = ("class_logits", "box_regression")
THEIRS = {"class_logits": "cls_logits", "box_regression": "bbox_regression"}


def suppress(boxes, scores, threshold):
    """Indices of the boxes that stay: from the best on, each drops those that overlap it by more than the threshold."""
    import torch
    from torchvision.ops import box_iou

    order, keep = scores.argsort(descending=True, stable=True), []
    while len(order):
        best, order = order[0], order[1:]
        keep.append(best)
        # Boxes without area overlap by 0 / 0, which is not above the threshold.
        order = order[~(box_iou(boxes[best][None], boxes[order])[0] > threshold)]
    return torch.stack(keep) if keep else torch.zeros(0, dtype=torch.int64)


def narrow_detector(kind):
    """torchvision's RetinaNet over a short ResNet-50 or a small DenseNet, 16 channels wide."""
    models = import_torchvision()
    from torchvision.models.detection import backbone_utils, retinanet
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    if kind == "resnet":
        body = models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1])
        taps, channels = {"layer2": "0", "layer3": "1", "layer4": "2"}, [512, 1024, 2048]
    else:
        body = models.DenseNet(8, (2, 2, 2, 2), 8, drop_rate=0).features
        taps, channels = {"denseblock2": "0", "denseblock3": "1", "denseblock4": "2"}, [28, 30, 31]
    backbone = backbone_utils.BackboneWithFPN(body, taps, channels, 16, extra_blocks=LastLevelP6P7(16, 16))
    detector = retinanet.RetinaNet(
        backbone,
        NUM_CLASSES,
        anchor_generator=retinanet._default_anchorgen(),
        head=retinanet.RetinaNetHead(16, 9, NUM_CLASSES),
    )
    return detector.eval()


def full_detector():
    import_torchvision()
    from torchvision.models.detection import retinanet_resnet50_fpn

    return retinanet_resnet50_fpn(weights=None, weights_backbone=None).eval()


def raw(module, x):
    """Head outputs, and the anchors of one image, without torchvision's resizing."""
    import torch
    from torchvision.models.detection.image_list import ImageList

    with torch.no_grad():
        x = torch.from_numpy(x).permute(0, 3, 1, 2)
        features = list(module.backbone(x).values())
        outputs = module.head(features)
        anchors = module.anchor_generator(ImageList(x, [tuple(x.shape[2:])] * len(x)), features)
    return outputs, anchors, [f.shape[2] * f.shape[3] * 9 for f in features]


def detections(module, outputs, anchors, per_level, size):
    """What torchvision reports for each image, by its default thresholds."""
    from torchvision.ops import boxes

    boxes.nms = suppress
    split = {key: list(value.split(per_level, dim=1)) for key, value in outputs.items()}
    found = module.postprocess_detections(split, [list(a.split(per_level)) for a in anchors], [size] * len(anchors))
    return {
        f"{index}.{key}": value.numpy().astype("int32" if key == "labels" else "float32")
        for index, image in enumerate(found)
        for key, value in image.items()
    }


def targets(size):
    """Two images' boxes (left, top, right, bottom) and labels; the second has none."""
    import torch

    height, width = size
    random = np.random.default_rng(5)
    corner = random.random((6, 2)) * (width - 16, height - 16)
    sides = 6 + random.random((6, 2)) * 30
    boxes = np.concatenate([corner, np.minimum(corner + sides, (width, height))], axis=1).astype("float32")
    boxes[5] = boxes[4] + np.float32(0.25)  # two objects that want the same anchors
    labels = np.array([0, 1, 2, 0, 1, 2])
    return [
        {"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(labels)},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]


def losses(module, outputs, anchors, size):
    """Matched targets and both losses for the batch, and torchvision's focal loss of single logits."""
    import torch
    from torchvision.ops import box_iou, sigmoid_focal_loss

    wanted, matched = targets(size), []
    for image, boxes in zip(wanted, anchors, strict=True):
        empty = torch.full((len(boxes),), -1, dtype=torch.int64)
        matched.append(module.proposal_matcher(box_iou(image["boxes"], boxes)) if len(image["boxes"]) else empty)
    with torch.no_grad():
        found = module.head.compute_loss(wanted, outputs, anchors, matched)
    logits = torch.linspace(-8, 8, 33)
    return {
        "target_boxes": wanted[0]["boxes"].numpy(),
        "target_labels": wanted[0]["labels"].numpy().astype("int32"),
        "matched": torch.stack(matched).numpy().astype("int32"),
        "encoded": module.box_coder.encode_single(wanted[0]["boxes"], anchors[0][40:46]).numpy(),
        "class_loss": found["classification"].numpy().reshape(1),
        "box_loss": found["bbox_regression"].numpy().reshape(1),
        "focal_logits": logits.numpy(),
        "focal_of_one": sigmoid_focal_loss(logits, torch.ones_like(logits)).numpy(),
        "focal_of_zero": sigmoid_focal_loss(logits, torch.zeros_like(logits)).numpy(),
    }


def densenet_name(name):
    """kzoo keeps the whole classifier's names, of which torchvision's tapped one has lost the first part."""
    return name.replace("backbone.body.", "backbone.body.features.")


def make_files():
    import torch

    kept = {}
    for kind in ("resnet", "densenet"):
        module = narrow_detector(kind)
        writing.load_drawn(module, densenet_name if kind == "densenet" else str)
        for size in SIZES if kind == "resnet" else SIZES[:1]:
            outputs, anchors, per_level = raw(module, draw_images(*size))
            label = f"{kind}.{size[0]}x{size[1]}"
            kept.update({f"{label}.{ours}": outputs[THEIRS[ours]].numpy() for ours in KINDS})
            print(label, {key: float(value.abs().max()) for key, value in outputs.items()}, per_level)
            if kind == "resnet" and size == SIZES[0]:
                drawn = draw_detector_outputs(sum(per_level), NUM_CLASSES)
                drawn = {THEIRS[ours]: torch.from_numpy(value) for ours, value in drawn.items()}
                kept["anchors"] = anchors[0].numpy()
                kept.update(detections(module, drawn, anchors, per_level, size))
                kept.update(losses(module, drawn, anchors, size))
    with torch.device("meta"):
        shapes = digest(writing.shapes_of(full_detector()))
    writing.write("torchvision_retinanet", kept, torch=torch.__version__, shapes=json.dumps(shapes))
    for key, value in kept.items():
        print(f"  {key} {value.shape} {value.dtype}")


def write_from_kzoo(folder):
    """The checkpoint kzoo writes at full size, and its outputs for an odd image size."""
    import kzoo

    folder = pathlib.Path(folder)
    model = kzoo.build("retinanet_resnet50_fpn", input_shape=(*FULL_SIZE, 3))
    writing.save_drawn_model(model, folder / "retinanet_resnet50_fpn.safetensors")
    outputs = model(draw_images(*FULL_SIZE))
    np.savez(folder / "outputs.npz", **{key: np.asarray(value) for key, value in outputs.items()})


def check_back(folder):
    """Loads kzoo's file strictly: SystemExit if a tensor is missing, left over or mis-shaped, or outputs differ."""
    folder = pathlib.Path(folder)
    module = writing.load_strictly(full_detector(), folder / "retinanet_resnet50_fpn.safetensors")
    reference, _, _ = raw(module, draw_images(*FULL_SIZE))
    ours = np.load(folder / "outputs.npz", allow_pickle=False)
    for key in KINDS:
        writing.must_agree(key, ours[key], reference[THEIRS[key]].numpy())


if __name__ == "__main__":
    ways = {"write": (write_from_kzoo, ("FOLDER",)), "check_back": (check_back, ("FOLDER",))}
    writing.main(__doc__, make_files, **ways)
