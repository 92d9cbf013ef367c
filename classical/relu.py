r"""Kolmogorov-Arnold networks of squared products of two ReLU (ReLU-KAN)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from classical.basis import Basis, Quadrature, hold, uniform
from classical.checks import Base, checked_domain, checked_size
from classical.edge import EdgeLayer
from classical.stack import Stack


class ReLUBump(Basis):
    r"""$[\frac{4}{w^2} \mathrm{ReLU}(x_i - s_{im}) \mathrm{ReLU}(e_{im} - x_i)]^2$, a bump between the phases $s_{im}$
    and $e_{im}$ of input i, for the $g + k$ numbers m from -k to g - 1.

    For $g$ = `grid_size`, $k$ = `order` and `domain` $(a, b)$ with cells of $h = (b - a) / g$ the phases start at
    $s_{im} = a + m h$ and $e_{im} = s_{im} + w$ with $w = (k + 1) h$, so that the bump is 1 at its midpoint.

    Args:
        in_features: Number of inputs.
        grid_size: Number of cells of the domain.
        order: A bump lives on `order + 1` cells.
        domain: The ends `(a, b)` of the interval that the cells divide.
        trainable: Whether the phases `low` and `high`, of shape `(in, grid_size + order)`, are trained.

    Raises:
        TypeError: If a size is not an integer or the domain not a pair of numbers.
        ValueError: If a size is too small, or the domain empty or not finite.
    """

    centred = True
    low: Tensor
    high: Tensor

    def __init__(
        self,
        in_features: int,
        grid_size: int = 3,
        order: int = 3,
        domain: tuple[float, float] = (-1.0, 1.0),
        trainable: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        inputs = checked_size("in_features", in_features, at_least=1)
        self.grid_size = checked_size("grid_size", grid_size, at_least=1)
        self.order = checked_size("order", order, at_least=0)
        self.domain = checked_domain(domain)
        self.trainable = trainable
        self.size = grid_size + order
        # Two differences and comparisons, a product, the factor and a square.
        self.flops = 7 * self.size
        for name in ("low", "high"):
            hold(self, name, torch.empty(inputs, self.size, device=device, dtype=dtype), trainable)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Put the phases back to where they start."""
        steps = torch.arange(-self.order, self.grid_size, device=self.low.device, dtype=torch.float64)
        low = self.domain[0] + steps * (self.domain[1] - self.domain[0]) / self.grid_size
        self.low.copy_(low)
        self.high.copy_(low + self.width)

    @property
    def width(self) -> float:
        """Of a bump at the start."""
        return (self.order + 1) * (self.domain[1] - self.domain[0]) / self.grid_size

    def forward(self, x: Tensor) -> Tensor:
        x = x[..., None]
        return ((4 / self.width**2) * (x - self.low).relu() * (self.high - x).relu()).square()

    def inputs(self) -> Quadrature:
        """Uniform ones on the domain."""
        return uniform(*self.domain)

    def extra_repr(self) -> str:
        return f"grid_size={self.grid_size}, order={self.order}, domain={self.domain}, trainable={self.trainable}"


class ReLUKANLayer(EdgeLayer):
    r"""$y_o = \sum_i \sum_m c_{oim} [\frac{4}{w^2} \mathrm{ReLU}(x_i - s_{im}) \mathrm{ReLU}(e_{im} - x_i)]^2
    + \mathrm{bias}_o$, from `(*batch, in)` to `(*batch, out)`: see `ReLUBump`.

    Parameters are `coefficients` of shape `(out, in, grid_size + order)`, `bias` of shape `(out,)`, and the phases
    `basis.low` and `basis.high` of shape `(in, grid_size + order)`, which all outputs share: by default
    `in * out * (grid_size + order) + out + 2 * in * (grid_size + order)` numbers.

    The published domain is (0, 1). Here it is (-1, 1) by default: outputs are centred, so a next layer that expects
    positive numbers would see half of them on its edge.

    **Outside the domain** the bumps fade out within `order` cells; beyond, the layer is constant without a base.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        grid_size: Number of cells of the domain.
        order: A bump lives on `order + 1` cells.
        domain: The ends `(a, b)` of the interval that the cells divide.
        trainable: Whether the phases are trained.
        base: Function of a base branch, or None; see `EdgeLayer`.
        bias: Whether to add a bias to each output.
        norm: "layer" or "batch" for a normalisation of what the bumps see, or None; see `EdgeLayer`.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: As `ReLUBump` and `EdgeLayer`.
        ValueError: As `ReLUBump` and `EdgeLayer`.

    Reference:
        Q. Qiu et al., ReLU-KAN: New Kolmogorov-Arnold Networks that Only Need Matrix Addition, Dot Multiplication, and
        ReLU, 2024, arXiv:2406.02075.
    """

    basis: ReLUBump

    def __init__(
        self,
        in_features: int,
        out_features: int,
        grid_size: int = 3,
        order: int = 3,
        domain: tuple[float, float] = (-1.0, 1.0),
        trainable: bool = True,
        base: Base = None,
        bias: bool = True,
        norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        basis = ReLUBump(in_features, grid_size, order, domain, trainable, device, dtype)
        super().__init__(in_features, out_features, basis, base=base, bias=bias, norm=norm, device=device, dtype=dtype)


class ReLUKAN(Stack):
    """Layers of bumps one after the other, each a `ReLUKANLayer`.

    `ReLUKAN([2, 5, 1])` has 2 inputs, 5 hidden units and 1 output, so (2 * 5 + 5 * 1) * 6 + 5 + 1 + 2 * (2 + 5) * 6
    = 180 parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        grid_size: Number of cells of the domain.
        order: A bump lives on `order + 1` cells.
        domain: The interval that the cells divide, in all layers.
        trainable: Whether the phases are trained.
        base: Function of a base branch, one for all layers, or None.
        bias: Whether the layers add biases.
        norm: Of what the bumps of each layer see, "layer", "batch" or None.

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers, and as `ReLUKANLayer`.
        ValueError: If there are too few widths or one is not positive, and as `ReLUKANLayer`.

    Reference:
        Q. Qiu et al., ReLU-KAN, 2024, arXiv:2406.02075.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        grid_size: int = 3,
        order: int = 3,
        domain: tuple[float, float] = (-1.0, 1.0),
        trainable: bool = True,
        base: Base = None,
        bias: bool = True,
        norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            widths,
            lambda inputs, outputs: ReLUKANLayer(
                inputs, outputs, grid_size, order, domain, trainable, base, bias, norm, device, dtype
            ),
        )
