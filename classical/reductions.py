r"""How the functions of each input become one number for each input: `(*batch, in, size) -> (*batch, in)`.

Below $F_{im}$ is function m of input i, and T the larger of 1 and a trained temperature that starts at
$\sqrt{\mathrm{in}}$.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from classical.cost import Cost

SOFTMAX_FLOPS = 3
"""Operations of a softmax per number: an exponential, a sum and a division."""


class Reduction(nn.Module, ABC):
    """`(*batch, in, size) -> (*batch, in)`."""

    def __init__(self, in_features: int, size: int) -> None:
        super().__init__()
        self.in_features, self.size = in_features, size

    @abstractmethod
    def forward(self, functions: Tensor) -> Tensor: ...

    @abstractmethod
    def cost(self) -> Cost:
        """Parameters and operations for one sample, by formula."""

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew, with a variance of 1 over the number of functions; biases are 0."""
        for parameter in self.parameters():
            match parameter.ndim:
                case 0:  # a temperature
                    parameter.fill_(math.sqrt(self.in_features))
                case 1:  # biases
                    parameter.zero_()
                case _:
                    parameter.normal_(0, 1 / math.sqrt(self.size), generator=generator)


class WeightedSum(Reduction):
    r"""$z_i = \sum_m w_m F_{im} + b$."""

    def __init__(
        self, in_features: int, size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(in_features, size)
        self.weight = nn.Parameter(torch.empty(1, size, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(1, device=device, dtype=dtype))

    def forward(self, functions: Tensor) -> Tensor:
        return functional.linear(functions, self.weight, self.bias).squeeze(-1)

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by formula."""
        return Cost(self.size + 1, 2 * self.in_features * self.size)


class GlobalAttention(Reduction):
    r"""$z_i = \mathrm{in}\, \alpha_i \sum_m F_{im}$ with $\alpha_i = \mathrm{softmax}_i(s_i / T)$ over the inputs and
    $s_i = \sum_m w_m F_{im} + b$.

    The factor `in` makes even attention a factor of 1; what is published has none, which a normalisation behind it
    would undo up to its epsilon. The bias moves all scores alike, so it has no effect and no gradient; it is there
    because published counts of parameters include it.
    """

    def __init__(
        self, in_features: int, size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(in_features, size)
        self.weight = nn.Parameter(torch.empty(1, size, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(1, device=device, dtype=dtype))
        self.temperature = nn.Parameter(torch.empty((), device=device, dtype=dtype))

    def forward(self, functions: Tensor) -> Tensor:
        scores = functional.linear(functions, self.weight, self.bias).squeeze(-1)
        attention = (scores / self.temperature.clamp(min=1)).softmax(-1)
        return self.in_features * attention * functions.sum(-1)

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by formula."""
        return Cost(self.size + 2, self.in_features * (2 * self.size + 1 + SOFTMAX_FLOPS + self.size + 2))


class SpatialAttention(Reduction):
    r"""$z_i = \sum_m \alpha_{im} F_{im}$ with $\alpha_{im} = \mathrm{softmax}_m(s_{im} / T)$ over the functions and
    $s_{im} = \sum_{k=-1}^1 w_{km} F_{i+k,m} + b_m$, where inputs beyond the ends count as zeros.

    Neighbours are inputs that follow each other, as pixels of a row do.
    """

    def __init__(
        self, in_features: int, size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(in_features, size)
        self.weight = nn.Parameter(torch.empty(3, size, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(size, device=device, dtype=dtype))
        self.temperature = nn.Parameter(torch.empty((), device=device, dtype=dtype))

    def forward(self, functions: Tensor) -> Tensor:
        padded = functional.pad(functions, (0, 0, 1, 1))
        scores = self.bias
        for k in range(3):
            scores = scores + self.weight[k] * padded[..., k : k + self.in_features, :]
        attention = (scores / self.temperature.clamp(min=1)).softmax(-1)
        return (attention * functions).sum(-1)

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by formula."""
        return Cost(4 * self.size + 1, self.in_features * self.size * (6 + 1 + SOFTMAX_FLOPS + 2))


class InputAttention(Reduction):
    r"""$z_i = \sum_m w_m (F_i + \sum_j \alpha_{ij} V F_j)_m + b$ with $\alpha_{ij} = \mathrm{softmax}_j(Q F_i \cdot
    K F_j / \sqrt{d})$ over the inputs of a window, in each of `heads` groups of $d$ entries of $QF$, $KF$ and $VF$.

    The first $F_i$ keeps inputs apart, which attention alone would replace by nearly the same average for all of them.
    Q, K and V are square matrices without biases, one after the other in `projection` of shape `(3 size, size)`.
    Windows follow each other without overlap; the last one is shorter where they do not divide the inputs.

    Args:
        in_features: Number of inputs.
        size: Number of functions.
        heads: A divisor of `size`; None for as many heads as functions.
        window: Inputs that attend to each other; None for all.
    """

    def __init__(
        self,
        in_features: int,
        size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        heads: int | None = 1,
        window: int | None = None,
    ) -> None:
        super().__init__(in_features, size)
        self.heads, self.window = heads or size, window or in_features
        self.projection = nn.Parameter(torch.empty(3 * size, size, device=device, dtype=dtype))
        self.weight = nn.Parameter(torch.empty(1, size, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(1, device=device, dtype=dtype))

    def forward(self, functions: Tensor) -> Tensor:
        projected = functional.linear(functions, self.projection).unflatten(-1, (3, self.heads, -1))
        windows = projected.split(self._widths(), dim=-4)
        attended = torch.cat([_attended(part, self.window) for part in windows], -2)
        return functional.linear(functions + attended, self.weight, self.bias).squeeze(-1)

    def _widths(self) -> list[int]:
        """Of the inputs in whole windows, and of those in the shorter one, if there are any."""
        rest = self.in_features % self.window
        return [width for width in (self.in_features - rest, rest) if width]

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by formula."""
        whole, rest = divmod(self.in_features, self.window)
        pairs = whole * self.window**2 + rest**2
        flops = self.in_features * (6 * self.size**2 + 3 * self.size)
        flops += pairs * (4 * self.size + self.heads * (1 + SOFTMAX_FLOPS))
        return Cost(3 * self.size**2 + self.size + 1, flops)


def _attended(projected: Tensor, window: int) -> Tensor:
    """Queries, keys and values `(*batch, n, 3, heads, d)` to what each head attends to, `(*batch, n, heads * d)`."""
    *batch, count, _, heads, depth = projected.shape
    window = min(window, count)
    queries, keys, values = projected.reshape(-1, window, 3, heads, depth).permute(2, 0, 3, 1, 4).unbind()
    attended = functional.scaled_dot_product_attention(queries, keys, values)
    return attended.transpose(-2, -3).reshape(*batch, count, heads * depth)


REDUCTIONS = {
    "global_attn": GlobalAttention,
    "spatial_attn": SpatialAttention,
    "multistep": WeightedSum,
    "local_attn": partial(InputAttention, window=2),
    "self_attn": InputAttention,
    "multihead_attn": partial(InputAttention, heads=None),
}
"""Reductions by their names in arXiv:2503.06112, made from numbers of inputs and functions, a device and a dtype. Those
of the last three are our definitions: what is published of them does not say enough to be run."""
