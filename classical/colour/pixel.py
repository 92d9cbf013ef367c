r"""Functions from colours to colours with coefficients of their own at every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from classical.bspline import on_one_cell, uniform_shares
from classical.checks import checked_size

COLOURS = 3


class PixelFunction(Protocol):
    """From colours and coefficients, both of every pixel, to colours: what the generator of a `CmKAN` writes."""

    @property
    def channels(self) -> int:
        """Coefficients of a pixel."""
        ...

    def start(self) -> Tensor:
        """Coefficients `(channels,)` that leave colours as they are."""
        ...

    def __call__(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """`(*batch, 3, H, W)` and `(*batch, channels, H, W)` to `(*batch, 3, H, W)`."""
        ...


@dataclass(frozen=True)
class PixelSpline:
    r"""$y_o(p) = \sum_i [u_{oi}(p)\, \mathrm{SiLU}(x_i) + v_{oi}(p) \sum_m c_{oim}(p)\, B_m(x_i)]$ at every pixel $p$.

    The $B_m$ are the `grid_size + degree` B-splines on [0, 1]. Coefficients of a pixel are, for every pair of an output
    and an input, first the $c$, then $v$ and $u$: 90 for cubic splines on 5 cells. Only the `degree + 1` splines that
    are not zero at a colour meet their coefficients: nothing is computed for the others.

    **Outside of [0, 1]** splines have the value at the nearer end, and no slope in `x`.

    Args:
        grid_size: Number of cells of [0, 1].
        degree: Degree of the splines.

    Raises:
        TypeError: If a size is not an integer.
        ValueError: If a size is not positive.

    >>> PixelSpline().channels
    90

    Reference:
        cmKAN: color matching by Kolmogorov-Arnold networks, ICCV 2025, arXiv:2503.11781.
    """

    grid_size: int = 5
    degree: int = 3

    def __post_init__(self) -> None:
        checked_size("grid_size", self.grid_size, at_least=1)
        checked_size("degree", self.degree, at_least=1)

    @property
    def size(self) -> int:
        """Number of splines."""
        return self.grid_size + self.degree

    @property
    def channels(self) -> int:
        return COLOURS**2 * (self.size + 2)

    def start(self) -> Tensor:
        """Splines whose coefficients are the means of their inner knots, so that they are the identity on [0, 1]."""
        knots = (torch.arange(self.size) - (self.degree - 1) / 2) / self.grid_size
        start = torch.zeros(COLOURS, COLOURS, self.size + 2)
        start[..., : self.size] = torch.eye(COLOURS)[..., None] * knots
        start[..., self.size] = 1
        return start.flatten()

    def __call__(self, x: Tensor, coefficients: Tensor) -> Tensor:
        edges = coefficients.unflatten(-3, (COLOURS, COLOURS, self.size + 2))
        c, v, u = edges.split([self.size, 1, 1], dim=-3)
        position = (x * self.grid_size).clamp(0, self.grid_size)
        # NaN has no cell; it stays in the fraction of whichever it is given.
        cell = position.detach().long().clamp(0, self.grid_size - 1)
        fraction = position - cell
        values = torch.stack(on_one_cell(lambda p: uniform_shares(fraction, p), self.degree, like=fraction), -3)
        places = torch.stack([cell + r for r in range(self.degree + 1)], -3)[..., None, :, :, :, :]
        near = c.gather(-3, places.expand(*c.shape[:-3], -1, -1, -1))
        splines = (near * values[..., None, :, :, :, :]).sum(-3)
        base = functional.silu(x)[..., None, :, :, :]
        return torch.addcmul(v.squeeze(-3) * splines, u.squeeze(-3), base).sum(-3)
