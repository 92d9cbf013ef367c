r"""What vision transformers are made of. Parameters have the names that they have in timm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from classical.checks import Activation, checked_activation
from classical.cost import NORM_FLOPS, Cost, Costed, activation_flops, linear_cost
from classical.vit_config import ViTConfig

EPS = 1e-6
"""Of the layer normalisations."""

STD = 0.02
"""Deviation of the weights at the start."""


class PatchEmbedding(nn.Module):
    """A token for every patch, `(batch, channels, size, size) -> (batch, patches, width)`."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.channels, config.width, config.patch_size, config.patch_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).mT


class Attention(nn.Module):
    r"""Attention of every token to all, `(*batch, tokens, width)` to itself.

    Args:
        config: The sizes.
        operator: From scores $q k^T / \sqrt{d}$, `(*batch, heads, tokens, tokens)`, to weights; None for the softmax.
    """

    def __init__(self, config: ViTConfig, operator: nn.Module | None) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.operator = operator
        self.proj = nn.Linear(config.width, config.width)
        self.proj_drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        queries, keys, values = (part.transpose(-3, -2) for part in parts)
        if self.operator is None:
            y = functional.scaled_dot_product_attention(queries, keys, values)
        else:
            y = self.operator(queries @ keys.mT * queries.shape[-1] ** -0.5) @ values
        return self.proj_drop(self.proj(y.transpose(-3, -2).flatten(-2)))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew."""
        for module in (self.qkv, self.proj, *([] if self.operator is None else [self.operator])):
            restart(module, generator)

    def cost(self, tokens: int) -> Cost:
        """For one sample of so many tokens, without the operator; a softmax counts as its products only."""
        products = 4 * tokens**2 * self.proj.in_features
        return times(linear_cost(self.qkv) + linear_cost(self.proj), tokens) + Cost(0, products)


class FeedForward(nn.Module):
    """Two maps with an activation between them, `(*batch, width)` to itself.

    Args:
        fc1: To `hidden` units.
        act: Name in `ACTIVATIONS`, or a function of one tensor.
        fc2: Back.
        hidden: Number of units between the maps.
        dropout: Probability, after the activation and at the end.
    """

    def __init__(self, fc1: nn.Module, act: Activation, fc2: nn.Module, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = fc1, checked_activation(act), fc2
        self.hidden = hidden
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew."""
        for module in (self.fc1, self.fc2):
            restart(module, generator)

    def cost(self) -> Cost:
        """For one token."""
        maps = (self.fc1, self.fc2)
        first, second = (linear_cost(each) if isinstance(each, nn.Linear) else costed(each) for each in maps)
        return first + second + Cost(0, self.hidden * activation_flops(self.act))


class Block(nn.Module):
    """An attention and a feed-forward, each added to what it reads through a normalisation."""

    def __init__(self, config: ViTConfig, attention: Attention, feed_forward: FeedForward, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=EPS)
        self.attn = attention
        self.norm2 = nn.LayerNorm(config.width, eps=EPS)
        self.mlp = feed_forward
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropped(self.attn(self.norm1(x)))
        return x + self.dropped(self.mlp(self.norm2(x)))

    def dropped(self, branch: Tensor) -> Tensor:
        """The branch, but in training zero for some samples and larger for the others, so that the mean stays.

        Reference: G. Huang et al., Deep networks with stochastic depth, 2016, arXiv:1603.09382.
        """
        if not self.training or self.drop_path == 0:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop_path
        return branch * kept / (1 - self.drop_path)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew."""
        self.attn.reset_parameters(generator)
        self.mlp.reset_parameters(generator)
        self.norm1.reset_parameters()
        self.norm2.reset_parameters()

    def cost(self, tokens: int) -> Cost:
        """For one sample of so many tokens, without the operator of the attention."""
        width = self.norm1.normalized_shape[0]
        norms = Cost(4 * width, 2 * tokens * NORM_FLOPS * width)
        return self.attn.cost(tokens) + times(self.mlp.cost(), tokens) + norms


@torch.no_grad()
def restart(module: nn.Module, generator: torch.Generator | None) -> None:
    """Maps of torch start truncated normal with deviation 0.02 and without biases, others as they want to."""
    if not isinstance(module, nn.Linear | nn.Conv2d):
        module.reset_parameters(generator)  # pyright: ignore[reportCallIssue]
        return
    nn.init.trunc_normal_(module.weight, std=STD, generator=generator)
    if module.bias is not None:
        module.bias.zero_()


def costed(module: nn.Module) -> Cost:
    """The cost that a module knows."""
    assert isinstance(module, Costed), f"{type(module).__name__} does not know its cost"
    return module.cost()


def times(cost: Cost, count: int) -> Cost:
    """Of a layer that acts on so many tokens."""
    return Cost(cost.parameters, count * cost.flops)
