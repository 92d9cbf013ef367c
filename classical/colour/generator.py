r"""The network that looks at an image and writes coefficients for every pixel."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from classical.colour.blocks import AnchoredAttention, ChannelNorm, TransformerBlock, feed_forward, haar
from classical.colour.pixel import COLOURS

LIGHT = 12
"""Channels that tell about the illumination."""


class IlluminationEstimator(nn.Module):
    """What the light is like around each pixel, `(n, 3, H, W)` to `(n, 12, H, W)` features and the image relit by them.

    The image and its mean colour are mixed, then neighbours by 5 by 5 filters in four groups; a map that is made of the
    result says by how much each colour is amplified.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(COLOURS + 1, LIGHT, 1)
        self.neighbours = nn.Conv2d(LIGHT, LIGHT, 5, padding=2, groups=COLOURS + 1)
        self.map = nn.Conv2d(LIGHT, COLOURS, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        light = self.neighbours(self.mix(torch.cat([x, x.mean(1, keepdim=True)], 1)))
        return light, x + x * self.map(light)


class Level(nn.Module):
    """Half the height and width, four times the channels: wavelets, then a transformer block.

    Args:
        light: Channels about the illumination that come in; as many as those of the image go out.
        channels: Of the image that goes out.
    """

    def __init__(self, light: int, channels: int) -> None:
        super().__init__()
        self.light = nn.Conv2d(light, channels, 1)
        self.block = TransformerBlock(channels)

    def forward(self, x: Tensor, light: Tensor) -> tuple[Tensor, Tensor]:
        light = self.light(functional.avg_pool2d(light, 2))
        return self.block(haar(x), light), light


class Modulator(nn.Module):
    r"""Each pixel as a sum over a bank of colour features, $y = \sum_n \mathrm{ReLU}(\cos(q, k_n))\, v_n$.

    The query $q$ is made of the pixel's channels, key $k_n$ and value $v_n$ of the n-th column of the trained `bank` of
    shape `(channels, entries)`. Cosines are those of channels, so that a pixel is treated alike in images of all sizes.

    Args:
        channels: Of the image.
        entries: Of the bank.
    """

    def __init__(self, channels: int, entries: int) -> None:
        super().__init__()
        self.bank = nn.Parameter(torch.empty(channels, entries))
        self.query = nn.Conv2d(channels, channels, 1)
        self.key, self.value = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        columns = self.bank.mT
        keys, values = functional.normalize(self.key(columns), dim=-1), self.value(columns)
        queries = functional.normalize(self.query(x), dim=1).movedim(1, -1)
        return (torch.relu(queries @ keys.mT) @ values).movedim(-1, 1)


class Generator(nn.Module):
    r"""Coefficients of every pixel from the whole image, `(n, 3, H, W) -> (n, outputs, H, W)`.

    An illumination estimator relights the image; on each level wavelets and a transformer block see half the height and
    width; the relit image and all levels, brought back to its size, are concatenated, go through a feed-forward, a
    modulator and a last feed-forward. An image whose sides do not divide by $2^\mathrm{levels}$ is continued by its
    last row and column meanwhile.

    Args:
        outputs: Coefficients of a pixel.
        levels: How often height and width are halved.
        entries: Of the modulator's bank.
    """

    def __init__(self, outputs: int, levels: int, entries: int) -> None:
        super().__init__()
        sizes = [COLOURS * 4**level for level in range(levels + 1)]
        channels = sum(sizes)
        self.estimator = IlluminationEstimator()
        self.levels = nn.ModuleList(Level(*pair) for pair in pairwise([LIGHT, *sizes[1:]]))
        self.fuse = nn.Sequential(ChannelNorm(channels), feed_forward(channels, channels), ChannelNorm(channels))
        self.modulator = Modulator(channels, entries)
        self.write = nn.Sequential(ChannelNorm(channels), feed_forward(channels, outputs))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        multiple = 2 ** len(self.levels)
        x = functional.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        light, x = self.estimator(x)
        images = [x]
        for level in self.levels:
            x, light = level(x, light)
            images.append(x)
        size = images[0].shape[-2:]
        same = [functional.interpolate(image, size, mode="bilinear") for image in images[1:]]
        fused = self.fuse(torch.cat([images[0], *same], 1))
        return self.write(self.modulator(fused))[..., :height, :width]

    @torch.no_grad()
    def start(self, outputs: Tensor, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, but for the last map, which writes `outputs` wherever it is."""
        for module in self.modules():
            match module:
                case nn.Conv2d() | nn.Linear():
                    module.weight.normal_(0, module.weight[0].numel() ** -0.5, generator=generator)
                    if module.bias is not None:
                        module.bias.zero_()
                case nn.LayerNorm():
                    module.reset_parameters()
                case AnchoredAttention():
                    module.temperature_anchors.fill_(1)
                    module.temperature_values.fill_(1)
                case Modulator():
                    module.bank.normal_(generator=generator)
        *_, last = self.write.modules()
        last.get_parameter("weight").zero_()
        last.get_parameter("bias").copy_(outputs)
