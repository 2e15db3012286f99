"""Makes tests/golden/NAME.safetensors for the two networks of a GAN and of a DCGAN, and gan_steps for their training.

In an environment of its own:

    pip install torch==2.13.0 safetensors numpy
    python scripts/golden/adversarial.py

The DCGAN is that of `pytorch/examples` at other sizes: a picture of 20x28 with two channels, whose first layer makes
5x7. `gan_steps` are two steps of that repository's loop with Adam. The other way, files NAME.safetensors that
`kzoo.save_weights` wrote for the same configurations go back into torch:

    python scripts/golden/adversarial.py --check-back FOLDER
"""

import copy
import pathlib

import numpy as np
import writing

LATENT_DIM, FILTERS, SIDES, CHANNELS = 6, 3, (5, 7), 2


def references():
    """{name: (module, input)} at small sizes."""
    import torch
    from torch import nn

    class Main(nn.Module):
        def __init__(self, *layers):
            super().__init__()
            self.main = nn.Sequential(*layers)

        def forward(self, x):
            return self.main(x)

    class Generator(Main):
        def __init__(self):
            f = FILTERS
            super().__init__(
                nn.ConvTranspose2d(LATENT_DIM, f * 2, SIDES, 1, 0, bias=False), nn.BatchNorm2d(f * 2), nn.ReLU(True),
                nn.ConvTranspose2d(f * 2, f, 4, 2, 1, bias=False), nn.BatchNorm2d(f), nn.ReLU(True),
                nn.ConvTranspose2d(f, CHANNELS, 4, 2, 1, bias=False), nn.Tanh(),
            )  # fmt: skip

        def forward(self, noise):
            return super().forward(noise[:, :, None, None]).permute(0, 2, 3, 1)

    class Discriminator(Main):
        def __init__(self):
            f = FILTERS
            super().__init__(
                nn.Conv2d(CHANNELS, f, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
                nn.Conv2d(f, f * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(f * 2), nn.LeakyReLU(0.2, inplace=True),
                nn.Conv2d(f * 2, 1, SIDES, 1, 0, bias=False),
            )  # fmt: skip

        def forward(self, images):
            return super().forward(images.permute(0, 3, 1, 2)).flatten(1)

    class GanGenerator(nn.Module):
        def __init__(self):
            super().__init__()
            self.h0, self.h1, self.y = nn.Linear(LATENT_DIM, 9), nn.Linear(9, 8), nn.Linear(8, 4 * 3)

        def forward(self, noise):
            x = torch.relu(self.h1(torch.relu(self.h0(noise))))
            return torch.sigmoid(self.y(x)).reshape(-1, 4, 3, 1)

    class GanDiscriminator(nn.Module):
        def __init__(self):
            super().__init__()
            self.h0, self.h1, self.y = nn.Linear(4 * 3, 5 * 2), nn.Linear(5, 4 * 2), nn.Linear(4, 1)

        def forward(self, images):
            x = self.h0(images.flatten(1)).unflatten(1, (5, 2)).max(2).values
            return self.y(self.h1(x).unflatten(1, (4, 2)).max(2).values)

    random = np.random.default_rng(0)
    noise = random.standard_normal((3, LATENT_DIM), "float32")
    return {
        "gan_generator": (GanGenerator(), noise),
        "gan_discriminator": (GanDiscriminator(), random.random((3, 4, 3, 1), "float32")),
        "dcgan_generator": (Generator(), noise),
        "dcgan_discriminator": (Discriminator(), random.uniform(-1, 1, (3, 20, 28, CHANNELS)).astype("float32")),
    }


def run(module, x):
    import torch

    with torch.no_grad():
        return module.eval()(torch.from_numpy(x)).numpy()


def draw(module, seed):
    """Random weights, the statistics of batch norm among them."""
    import torch

    torch.manual_seed(seed)
    for name, value in module.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.dtype == torch.float32:
            value.normal_(1.0 if ".1.weight" in name or ".4.weight" in name and value.ndim == 1 else 0.0, 0.3)


def make_steps():
    """The loop of pytorch/examples, two steps: `before.` and `after.` with the names of both networks."""
    import torch

    made = references()
    generator, discriminator = made["dcgan_generator"][0].train(), made["dcgan_discriminator"][0].train()
    tensors = {}
    for seed, (part, module) in enumerate({"generator": generator, "discriminator": discriminator}.items()):
        draw(module, 7 + seed)
        tensors |= {f"before.{part}.{key}": value for key, value in copy.deepcopy(writing.arrays_of(module)).items()}
    random = np.random.default_rng(5)
    real = random.uniform(-1, 1, (2, 4, 20, 28, CHANNELS)).astype("float32")
    noise = random.standard_normal((2, 4, LATENT_DIM), "float32")
    criterion = torch.nn.BCEWithLogitsLoss()
    adam = {"lr": 2e-3, "betas": (0.5, 0.999)}
    of_discriminator = torch.optim.Adam(discriminator.parameters(), **adam)
    of_generator = torch.optim.Adam(generator.parameters(), **adam)
    losses = []
    for images, z in zip(torch.from_numpy(real), torch.from_numpy(noise), strict=True):
        ones, zeros = torch.ones(4, 1), torch.zeros(4, 1)
        discriminator.zero_grad()
        fake = generator(z)
        loss = criterion(discriminator(images), ones) + criterion(discriminator(fake.detach()), zeros)
        loss.backward()
        of_discriminator.step()
        generator.zero_grad()
        against = criterion(discriminator(fake), ones)
        against.backward()
        of_generator.step()
        losses.append([loss.item(), against.item()])
    for part, module in {"generator": generator, "discriminator": discriminator}.items():
        tensors |= {f"after.{part}.{key}": value for key, value in writing.arrays_of(module).items()}
    tensors = {key: value for key, value in tensors.items() if not key.endswith("_tracked")}
    tensors |= {"real": real, "noise": noise, "losses": np.array(losses, "float32")}
    writing.write("gan_steps", tensors, torch=torch.__version__)


def make_all():
    import torch

    for seed, (name, (module, x)) in enumerate(references().items()):
        draw(module, seed)
        tensors = {k: v for k, v in writing.arrays_of(module).items() if not k.endswith("_tracked")}
        writing.write(name, {**tensors, "input": x, "output": run(module, x)}, torch=torch.__version__)
    make_steps()


def check_back(folder):
    """Loads kzoo's files strictly: SystemExit if a tensor is missing or left over, or an output differs."""
    import safetensors.numpy

    for name, (module, x) in references().items():
        writing.load_strictly(module, pathlib.Path(folder) / f"{name}.safetensors")
        wanted = safetensors.numpy.load_file(writing.GOLDEN / f"{name}.safetensors")["output"]
        writing.must_agree(name, run(module, x), wanted)


if __name__ == "__main__":
    writing.main(__doc__, make_all, check_back=(check_back, ("FOLDER",)))
