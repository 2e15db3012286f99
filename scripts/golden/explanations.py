"""Makes the golden file of explanations from captum, on torchvision's ResNet-18 with the weights that both sides draw.

pip install torch==2.13.0 captum==0.9.0 safetensors numpy && pip install --no-deps torchvision pillow
python scripts/golden/explanations.py
"""

import captum
import numpy as np
import torch
import torchvision_networks
import writing
from captum.attr import InputXGradient, IntegratedGradients, LayerGradCam, Occlusion, Saliency
from seeded_weights import draw_images
from torch import nn

HEIGHT, WIDTH, CLASSES = 32, 48, (3, 7)


def main():
    module = torchvision_networks.import_torchvision().resnet18(num_classes=11)
    writing.load_drawn(module)
    module.eval()
    for layer in module.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # what captum's hooks see must stay as it is
    x = torch.from_numpy(draw_images(HEIGHT, WIDTH)).permute(0, 3, 1, 2)
    target = torch.tensor(CLASSES)
    found = {
        "saliency": Saliency(module).attribute(x.clone(), target),
        "gradient_x_input": InputXGradient(module).attribute(x.clone(), target),
        "integrated_gradients": IntegratedGradients(module).attribute(x.clone(), 0.25, target, n_steps=8),
        "occlusion": Occlusion(module).attribute(
            x, (3, 7, 10), (3, 5, 10), baselines=0.25, target=target, perturbations_per_eval=4
        ),
        "grad_cam": LayerGradCam(module, module.layer3).attribute(x.clone(), target, relu_attributions=True),
    }
    arrays = {name: tensor.detach().permute(0, 2, 3, 1).numpy() for name, tensor in found.items()}
    arrays["occlusion"] = arrays["occlusion"][..., :1]  # that of every channel is the same
    assert all(np.abs(array).max() > 1e-3 for array in arrays.values())
    writing.write("captum", arrays, torch=torch.__version__, captum=captum.__version__)


if __name__ == "__main__":
    main()
