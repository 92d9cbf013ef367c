r"""Functions of one number, of which the edges of a Kolmogorov-Arnold network are sums."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

Quadrature = tuple[Tensor, Tensor]
"""Nodes and weights, both `(n,)` in float64: expectations of functions of a number are weighted sums over the nodes."""


class Basis(nn.Module, ABC):
    r"""$f_1 \dots f_M$, functions of one number that are the same for all outputs of a layer.

    A subclass says how many functions there are, what one evaluation of all of them costs, computes them, and tells for
    which inputs they are made. Functions of their own for every input are those of a module with parameters or buffers
    whose first axis is `in_features`. Everything else of a layer, its products, its initialisation, its refits and its
    costs, is in `EdgeLayer`, once for all bases.
    """

    size: int
    """The number $M$ of functions."""

    flops: int
    """Operations for all of them at one number: a sum, product, comparison, exponential or cosine is one."""

    centred: bool = False
    """Whether edges start with mean zero over inputs for which the basis is made, as they can if it spans constants."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """`(*batch, in) -> (*batch, in, size)`, in the dtype of `x`."""

    @abstractmethod
    def inputs(self) -> Quadrature:
        """The distribution of inputs for which outputs have the variance of the inputs at the start."""

    def decay(self) -> Tensor | None:
        """How large the coefficients of the functions start relative to each other, `(size,)`; None for equal ones."""
        return None

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Put what is trained or fitted back to its start."""


def rounded_once(basis: Basis, x: Tensor) -> Tensor:
    """The functions in the dtype of `x`; those of half precision are computed in float32, and rounded once."""
    # Angles, places in a grid and squares would be rounded, or overflow, long before the functions do.
    return basis(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)


def uniform(a: float, b: float, count: int = 500) -> Quadrature:
    """Inputs that are uniform on an interval, by the midpoint rule."""
    nodes = a + (torch.arange(count, dtype=torch.float64) + 0.5) * ((b - a) / count)
    return nodes, torch.full((count,), 1 / count, dtype=torch.float64)


def standard_normal(count: int = 401) -> Quadrature:
    """Inputs that are standard normal, by the trapezoidal rule from -8 to 8."""
    nodes = torch.linspace(-8, 8, count, dtype=torch.float64)
    weights = torch.exp(-nodes.square() / 2)
    return nodes, weights / weights.sum()


def mean_square(values: Tensor, weights: Tensor) -> Tensor:
    """The expectation of squares, `(n, *shape) -> (*shape)`, in float32 at least."""
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    return torch.tensordot(weights.to(values), values.square(), dims=1)


def decreasing(size: int, smoothness: float) -> Tensor:
    r"""$k^{-\mathrm{smoothness}}$ for k from 1 to `size`."""
    return torch.arange(1, size + 1, dtype=torch.float64).pow(-smoothness)


def hold(module: nn.Module, name: str, tensor: Tensor, trainable: bool) -> None:
    """Give a module a tensor, as a parameter if it is trained, and as a buffer, which no one counts, if it is not."""
    if trainable:
        module.register_parameter(name, nn.Parameter(tensor))
    else:
        module.register_buffer(name, tensor)
