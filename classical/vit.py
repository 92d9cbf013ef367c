r"""Vision transformers whose feed-forwards and attentions are arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn

from classical.cost import NORM_FLOPS, Cost, linear_cost
from classical.vit_blocks import EPS, STD, Attention, Block, FeedForward, PatchEmbedding, costed, restart
from classical.vit_config import ViTConfig

MakeFeedForward = Callable[[ViTConfig], FeedForward]
MakeOperator = Callable[[int, int], nn.Module]


def perceptron(config: ViTConfig) -> FeedForward:
    """The usual feed-forward, with a GELU."""
    maps = nn.Linear(config.width, config.hidden), nn.Linear(config.hidden, config.width)
    return FeedForward(maps[0], "gelu", maps[1], config.hidden, config.dropout)


class ViT(nn.Module):
    r"""A vision transformer, from images `(*batch, channels, size, size)` to logits `(*batch, classes)`.

    Patches are mapped to tokens, a class token is put before them and positions are added. Every block adds two
    branches, `x + attention(norm(x))`, then `x + feed_forward(norm(x))`. The logits are an affine map of the class
    token, normalised. Parameters have the names and shapes that they have in timm, see `warm_start`.

    Args:
        config: The sizes.
        feed_forward: From the sizes to a feed-forward, once for each block.
        operator: From the numbers of tokens and of heads to a module that turns scores of the attention into weights,
            such as `KArAt`; None for the softmax.
        universal: Whether all blocks share one operator.
        device: Of the parameters; "meta" counts without allocating.
        dtype: Of the parameters.

    Raises:
        ValueError: If images do not have the shape above.

    >>> model = ViT(ViTConfig(image_size=32, patch_size=8, width=12, layers=2, classes=5))
    >>> model(torch.zeros(7, 3, 32, 32)).shape
    torch.Size([7, 5])

    Reference:
        A. Dosovitskiy et al., An image is worth 16x16 words, 2020, arXiv:2010.11929; H. Touvron et al., Training
        data-efficient image transformers, 2020, arXiv:2012.12877, for the small sizes.
    """

    def __init__(
        self,
        config: ViTConfig,
        feed_forward: MakeFeedForward = perceptron,
        operator: MakeOperator | None = None,
        universal: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        with torch.device(torch.get_default_device() if device is None else device):
            self._build(config, feed_forward, _shared(operator) if operator is not None and universal else operator)
        self.to(dtype=dtype)
        self.reset_parameters()

    def _build(self, config: ViTConfig, feed_forward: MakeFeedForward, operator: MakeOperator | None) -> None:
        self.patch_embed = PatchEmbedding(config)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.empty(1, config.tokens, config.width))
        self.pos_drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList()
        for number in range(config.layers):
            own = None if operator is None else operator(config.tokens, config.heads)
            drop_path = config.drop_path * number / max(1, config.layers - 1)
            self.blocks.append(Block(config, Attention(config, own), feed_forward(config), drop_path))
        self.norm = nn.LayerNorm(config.width, eps=EPS)
        self.head = nn.Linear(config.width, config.classes)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one.

        Maps, positions and the class token start truncated normal with deviation 0.02, biases at zero; layers and
        operators that have a start of their own keep it.
        """
        for token in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(token, std=STD, generator=generator)
        for module in (self.patch_embed.proj, *self.blocks, self.head):
            restart(module, generator)
        self.norm.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        config = self.config
        if x.ndim < 3 or x.shape[-3:] != (config.channels, config.image_size, config.image_size):
            size = f"{config.channels}, {config.image_size}, {config.image_size}"
            raise ValueError(f"Argument `x` must have shape (*batch, {size}), but has {tuple(x.shape)}.")
        batch = x.shape[:-3]
        x = self.patch_embed(x.reshape(batch.numel(), *x.shape[-3:]))
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        x = self.pos_drop(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, 0])).reshape(*batch, config.classes)

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by formula; those of a softmax are left out."""
        config, tokens = self.config, self.config.tokens
        values = config.channels * config.patch_size**2
        patches = Cost((values + 1) * config.width, 2 * (tokens - 1) * values * config.width)
        positions = Cost((tokens + 1) * config.width, tokens * config.width)
        norm = Cost(2 * config.width, NORM_FLOPS * config.width)
        blocks = [cast(Block, block) for block in self.blocks]
        return sum(
            [
                *(block.cost(tokens) for block in blocks),
                *self._operators(blocks),
                positions,
                norm,
                linear_cost(self.head),
            ],
            start=patches,
        )

    @staticmethod
    def _operators(blocks: list[Block]) -> list[Cost]:
        """Of every block; the parameters of a shared one count once."""
        operators = [block.attn.operator for block in blocks if block.attn.operator is not None]
        costs = [costed(operator) for operator in operators]
        new = [operator not in operators[:place] for place, operator in enumerate(operators)]
        return [Cost(cost.parameters * first, cost.flops) for cost, first in zip(costs, new, strict=True)]


def _shared(make: MakeOperator) -> MakeOperator:
    """Makes one and hands that out every time."""
    return cache(make)
