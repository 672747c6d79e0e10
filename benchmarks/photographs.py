"""A convolutional autoencoder with a map of latents, trained on photographs that scikit-learn ships."""

from __future__ import annotations

import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from curvae import Autoencoder, curvature, objectives

SIDE = 64


def crops(count: int, generator: torch.Generator) -> Tensor:
    """Random 64 × 64 windows of two photographs, ``[count, 3, 64, 64]`` in 0 … 1."""
    images = [torch.tensor(image).permute(2, 0, 1) / 255 for image in load_sample_images().images]

    def one() -> Tensor:
        image = images[_draw(len(images), generator)]
        top, left = (_draw(size - SIDE + 1, generator) for size in image.shape[1:])
        return image[:, top : top + SIDE, left : left + SIDE]

    return torch.stack([one() for _ in range(count)])


def autoencoder(channels: int, side: int, seed: int) -> Autoencoder:
    """``channels`` × ``side`` × ``side`` latents; strided and transposed convolutions with ELU, 32 channels wide."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = [nn.Unflatten(1, (channels, side, side))]
        size, seen, made = side, 3, channels
        while size < SIDE:
            encoder += [nn.Conv2d(seen, 32, 4, 2, 1), nn.ELU()]
            decoder += [nn.ConvTranspose2d(made, 32, 4, 2, 1), nn.ELU()]
            size, seen, made = 2 * size, 32, 32
        encoder += [nn.Conv2d(32, channels, 3, padding=1), nn.Flatten()]
        decoder += [nn.Conv2d(32, 3, 3, padding=1)]
        latents = channels * side * side
        return Autoencoder(nn.Sequential(*encoder), nn.Sequential(*decoder), latents, features=latents)


def trained(channels: int, side: int, steps: int, seed: int = 0) -> tuple[Autoencoder, float]:
    """Trained with its first-order penalty by Hutchinson's estimate; also its last training nll."""
    generator = torch.Generator().manual_seed(seed)
    model, data = autoencoder(channels, side, seed), crops(256, generator)
    objective = objectives.RAE(encoder_weight=0.05, decoder_weight=1.0, trace=curvature.Trace(curvature.Signs(1)))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    nll = torch.tensor(0.0)
    for _ in range(steps):
        terms = objective(model, data[torch.randint(len(data), (4,), generator=generator)], generator)
        optimiser.zero_grad()
        terms.mean().backward()
        optimiser.step()
        nll = terms["nll"].mean()
    return model.eval(), float(nll.detach())


def _draw(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (1,), generator=generator))
