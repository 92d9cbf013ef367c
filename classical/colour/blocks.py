r"""Parts of the generator: wavelets, feed-forwards and attention between channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS = 3


def haar(x: Tensor) -> Tensor:
    """The Haar wavelets of 2 by 2 pixels, `(n, channels, 2 H, 2 W) -> (n, 4 channels, H, W)`.

    Of every channel twice the mean, then differences of rows, of columns, and of both; lengths and angles are kept.
    """
    a, b, c, d = (x[..., row::2, column::2] for row in range(2) for column in range(2))
    return torch.stack([a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d], 2).flatten(1, 2) / 2


class ChannelNorm(nn.LayerNorm):
    """A layer normalisation over the channels of each pixel, `(n, channels, H, W)` to the same."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


def feed_forward(channels: int, outputs: int) -> nn.Sequential:
    """Channels mixed, neighbours mixed by 3 by 3 filters for each channel, a ReLU, and channels mixed again."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 1),
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
        nn.ReLU(),
        nn.Conv2d(channels, outputs, 1),
    )


class AnchoredAttention(nn.Module):
    r"""Attention of channels to channels by way of anchors, half as many:
    $\mathrm{softmax}(t_a\, q a^\top)\, \mathrm{softmax}(t_v\, a k^\top)\, v$.

    Queries $q$, keys $k$ and anchors $a$ are channels of images of half the height and width, of length 1 over all of
    their pixels, so that attention does not depend on the size of the image; values $v$ are channels of the image,
    multiplied by `light`. Channels are divided among heads, each with temperatures $t_a$ and $t_v$ of its own.

    Args:
        channels: Of the image; a multiple of twice the number of heads.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()

        def halved(groups: int) -> nn.Conv2d:
            # The border is repeated, not mirrored: that works for images of one pixel as well.
            return nn.Conv2d(channels, channels, 3, stride=2, padding=1, padding_mode="replicate", groups=groups)

        self.temperature_anchors = nn.Parameter(torch.ones(HEADS, 1, 1))
        self.temperature_values = nn.Parameter(torch.ones(HEADS, 1, 1))
        self.query, self.key = halved(channels), halved(1)
        self.anchor = nn.Sequential(halved(channels), nn.Conv2d(channels, channels // 2, 1))
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, light: Tensor) -> Tensor:
        """Two images `(n, channels, H, W)` to one."""
        q, k, a = (functional.normalize(_heads(part(x)), dim=-1) for part in (self.query, self.key, self.anchor))
        to_anchors = (self.temperature_anchors * (q @ a.mT)).softmax(-1)
        to_values = (self.temperature_values * (a @ k.mT)).softmax(-1)
        mixed = to_anchors @ (to_values @ _heads(self.value(x) * light))
        return self.out(mixed.flatten(1, 2).unflatten(-1, x.shape[-2:]))


class TransformerBlock(nn.Module):
    """`x + attention(norm(x))`, then `x + feed_forward(norm(x))`, of images `(n, channels, H, W)`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_attention, self.attention = ChannelNorm(channels), AnchoredAttention(channels)
        self.norm_feed, self.feed = ChannelNorm(channels), feed_forward(channels, channels)

    def forward(self, x: Tensor, light: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x), light)
        return x + self.feed(self.norm_feed(x))


def _heads(x: Tensor) -> Tensor:
    """`(n, channels, H, W) -> (n, heads, channels / heads, H W)`."""
    return x.flatten(2).unflatten(1, (HEADS, -1))
