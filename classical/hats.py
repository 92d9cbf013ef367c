r"""Piecewise linear functions: hats between knots that every input has of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from classical.basis import Basis, Quadrature, standard_normal
from classical.checks import checked_domain, checked_size


class Hats(Basis):
    r"""$f_k$, the piecewise linear function of $s x$ that is 1 at knot $t_k$ and 0 at the others; they sum to 1.

    With ramps $r_k = \mathrm{clamp}((s x - t_k) / (t_{k+1} - t_k), 0, 1)$ between neighbouring knots the functions are
    $1 - r_1,\ r_1 - r_2,\ \dots,\ r_{K-1}$. So what is between two knots is interpolated, and what is beyond the first
    or the last one has the value there, and no slope in `x`: nothing grows, and nothing falls silent.

    Parameters are `scale` of shape `(in,)`, the $s$, which starts at 1; `first` of shape `(in, 1)` and `gaps` of shape
    `(in, size - 1)`, from which the knots are $t_1 = \mathrm{first}$ and $t_{k+1} = t_k + \mathrm{softplus}(
    \mathrm{gap}_k)$, with a millionth of the distance at the start at least: they keep their order and slopes stay
    finite whatever is trained, and they start evenly spaced on the domain. Beside them the scale is redundant; it is
    one more parameter of the published form, and counted.

    Args:
        in_features: Number of inputs.
        size: Number of knots, and of functions.
        domain: Where the first and the last knot start.

    Raises:
        TypeError: If a size is not an integer, or the domain not a pair of numbers.
        ValueError: If a size is too small, or the domain empty or not finite.

    >>> Hats(1, size=3, domain=(-1.0, 1.0))(torch.tensor([[-0.25], [7.0]])).detach()
    tensor([[[0.2500, 0.7500, 0.0000]],
    <BLANKLINE>
            [[0.0000, 0.0000, 1.0000]]])
    """

    def __init__(
        self,
        in_features: int,
        size: int = 8,
        domain: tuple[float, float] = (-3.0, 3.0),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        inputs = checked_size("in_features", in_features, at_least=1)
        self.size = checked_size("size", size, at_least=2)
        self.domain = checked_domain(domain)
        # The scale, four operations a ramp, and a difference a function.
        self.flops = 1 + 4 * (size - 1) + size
        self.scale = nn.Parameter(torch.empty(inputs, device=device, dtype=dtype))
        self.first = nn.Parameter(torch.empty(inputs, 1, device=device, dtype=dtype))
        self.gaps = nn.Parameter(torch.empty(inputs, size - 1, device=device, dtype=dtype))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Scales of 1 and evenly spaced knots; nothing is drawn."""
        step = self._step
        self.scale.fill_(1)
        self.first.fill_(self.domain[0])
        self.gaps.fill_(step + math.log(-math.expm1(-step)))  # of the softplus the inverse, for large steps too

    def knots(self) -> Tensor:
        """In their order, `(in, size)`."""
        return torch.cat([self.first, self.first + self._steps().cumsum(-1)], -1)

    def forward(self, x: Tensor) -> Tensor:
        ramps = (((self.scale * x)[..., None] - self.knots()[:, :-1]) / self._steps()).clamp(0, 1)
        levels = torch.cat([torch.ones_like(ramps[..., :1]), ramps, torch.zeros_like(ramps[..., :1])], -1)
        return levels[..., :-1] - levels[..., 1:]

    @property
    def _step(self) -> float:
        """From knot to knot at the start."""
        return (self.domain[1] - self.domain[0]) / (self.size - 1)

    def _steps(self) -> Tensor:
        return functional.softplus(self.gaps).clamp(min=1e-6 * self._step)

    def inputs(self) -> Quadrature:
        """Standard normal ones."""
        return standard_normal()

    def extra_repr(self) -> str:
        return f"{len(self.scale)}, size={self.size}, domain={self.domain}"
