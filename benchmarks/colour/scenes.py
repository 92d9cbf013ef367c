"""Scenes and cameras, both made of random numbers: pairs of pictures of one scene, pixel by pixel."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

SHAPES = 14
"""Ellipses of a scene."""

LOCAL = 9
"""Pixels of the window in which a camera looks how bright it is around."""


@dataclass(frozen=True)
class Camera:
    """What turns light into a picture.

    Args:
        matrix: of the sensor's colours, `(3, 3)`; rows sum to 1.
        gamma: of each channel, `(3,)`.
        contrast: of an S-shaped tone curve; 0 for none.
        vignette: the part of the light that is lost in the corners.
        exposure: 1 if every place is made equally bright, 0 if none is changed.
        noise: standard deviation.
    """

    matrix: Tensor
    gamma: Tensor
    contrast: float
    vignette: float
    exposure: float
    noise: float = 0.005

    def __call__(self, light: Tensor, random: torch.Generator) -> Tensor:
        """Pictures of light, both `(n, 3, H, W)` in [0, 1]."""
        rows, columns = (torch.linspace(-1, 1, side) for side in light.shape[-2:])
        seen = light * (1 - self.vignette * (rows[:, None] ** 2 + columns**2) / 2)
        colours = torch.einsum("oi,nihw->nohw", self.matrix, seen).clamp(0.001, 1)
        around = nn.functional.avg_pool2d(colours.mean(1, keepdim=True), LOCAL, 1, LOCAL // 2, count_include_pad=False)
        colours = (colours * (0.4 / around) ** self.exposure).clamp(0.001, 1)
        tones = colours ** (1 / self.gamma[:, None, None])
        tones = tones + self.contrast * tones * (1 - tones) * (2 * tones - 1)
        return (tones + self.noise * torch.randn(tones.shape, generator=random)).clamp(0, 1)


def cameras(random: torch.Generator) -> tuple[Camera, Camera]:
    """One whose corners are dark, and one that evens out how bright places are: no matter of single pixels."""

    def drawn(contrast: float, vignette: float, exposure: float) -> Camera:
        matrix = torch.eye(3) + 0.12 * torch.randn(3, 3, generator=random)
        matrix = matrix / matrix.sum(1, keepdim=True)
        return Camera(matrix, 1.8 + 0.6 * torch.rand(3, generator=random), contrast, vignette, exposure)

    return drawn(0.0, 0.5, 0.0), drawn(0.6, 0.0, 0.4)


def scenes(count: int, size: int, random: torch.Generator) -> Tensor:
    """Light of gradients behind soft ellipses, `(count, 3, size, size)` in [0, 1]."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, 1, 1, generator=random)

    place = torch.linspace(-1, 1, size)
    rows, columns = place[:, None].expand(size, size), place.expand(size, size)
    light = uniform(3) * (0.5 + 0.25 * (uniform(1) * 2 - 1) * rows + 0.25 * (uniform(1) * 2 - 1) * columns)
    for _ in range(SHAPES):
        down, right = rows - (2.4 * uniform(1) - 1.2), columns - (2.4 * uniform(1) - 1.2)
        angle = 3.1416 * uniform(1)
        along = (down * angle.cos() + right * angle.sin()) / (0.15 + 0.6 * uniform(1))
        across = (right * angle.cos() - down * angle.sin()) / (0.15 + 0.6 * uniform(1))
        inside = torch.sigmoid((1 - along**2 - across**2) * (2 + 20 * uniform(1)))
        light = light + inside * (uniform(3) ** 1.5 - light)
    texture = nn.functional.interpolate(torch.randn(count, 1, size // 2, size // 2, generator=random), (size, size))
    return (light * (1 + 0.05 * texture)).clamp(0, 1)
