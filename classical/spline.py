r"""Kolmogorov-Arnold networks of B-splines."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from classical.basis import Basis, Quadrature, uniform
from classical.checks import Base, checked_domain, checked_size
from classical.cost import Cost, activation_flops
from classical.edge import EdgeLayer
from classical.stack import Stack


class BSpline(Basis):
    r"""The `grid_size + degree` B-splines of a uniform grid: `bspline_basis` as a module.

    Args:
        grid_size: Number of cells of the domain.
        degree: Degree of the splines, 3 for cubic ones. With degree 0 they are steps, without a gradient in `x`.
        domain: The ends `(a, b)` of the interval that the cells divide.

    Raises:
        TypeError: If a size is not an integer or the domain not a pair of numbers.
        ValueError: If a size is too small, or the domain empty or not finite.
    """

    def __init__(self, grid_size: int = 5, degree: int = 3, domain: tuple[float, float] = (-1.0, 1.0)) -> None:
        super().__init__()
        _check_grid(grid_size, degree, domain)
        self.grid_size, self.degree, self.domain = grid_size, degree, domain
        self.size = grid_size + degree
        # The place in the grid, the recursion on one cell, and what puts its functions into their places.
        self.flops = 6 + sum(4 * p for p in range(2, degree + 1)) + degree + 1

    def forward(self, x: Tensor) -> Tensor:
        return bspline_basis(x, self.grid_size, self.degree, self.domain)

    def inputs(self) -> Quadrature:
        """Uniform ones on the domain."""
        return uniform(*self.domain, count=100 * self.grid_size)

    def extra_repr(self) -> str:
        return f"grid_size={self.grid_size}, degree={self.degree}, domain={self.domain}"


class BSplineKANLayer(EdgeLayer):
    r"""$y_o = \sum_i [w_{oi} \mathrm{base}(x_i) + s_{oi} \sum_j c_{oij} B_j(x_i)]$, from `(*batch, in)` to
    `(*batch, out)`.

    The $B_j$ are the `grid_size + degree` B-splines of `bspline_basis`, the same for all inputs and outputs. They are
    evaluated once per input, then one matrix product sums over `i` and `j`; nothing of shape `(batch, out, in)` exists.

    Parameters are `base_weight` of shape `(out, in)` for the $w$, `coefficients` of shape
    `(out, in, grid_size + degree)` for the $c$, `scaler` of shape `(out, in)` for the $s$, and `bias` of shape `(out,)`
    if asked for: with a base and a scaler `in * out * (grid_size + degree + 2)` numbers.

    **Outside the domain** the splines fade out: they reach zero `degree` cells beyond each end and stay there. Only the
    base branch goes on, so without one the layer is constant far away and has no gradient there.

    **At the start** inputs that are uniform on the domain give outputs of mean 0 and mean square $(b - a)^2 / 12$, the
    variance of such inputs, half of it from each branch: all weights are normal with the variance that this needs,
    scalers 1 and the bias 0. So the scale of a signal survives many layers if the domain is symmetric about zero.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        grid_size: Number of cells of the domain.
        degree: Degree of the splines, 3 for cubic ones. With degree 0 they are steps, without a gradient in `x`.
        domain: The ends `(a, b)` of the interval that the cells divide.
        base: Function of the base branch, or None; see `EdgeLayer`.
        bias: Whether to add a bias to each output.
        scaler: Whether each edge has a factor in front of its spline; see `EdgeLayer`.
        norm: "layer" or "batch" for a normalisation of what the splines see, or None; see `EdgeLayer`.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If a size is not an integer, the domain not a pair of numbers, or the base not callable.
        ValueError: If a size is too small, the domain empty or not finite, or the name of the base unknown, or if the
            last axis of an input does not have `in_features` entries.

    Reference:
        Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, arXiv:2404.19756.
    """

    basis: BSpline

    def __init__(
        self,
        in_features: int,
        out_features: int,
        grid_size: int = 5,
        degree: int = 3,
        domain: tuple[float, float] = (-1.0, 1.0),
        base: Base = "silu",
        bias: bool = False,
        scaler: bool = True,
        norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        basis = BSpline(grid_size, degree, domain)
        super().__init__(
            in_features,
            out_features,
            basis,
            base=base,
            bias=bias,
            scaler=scaler,
            norm=norm,
            device=device,
            dtype=dtype,
        )

    def cost(self) -> Cost:
        """As `EdgeLayer.cost`, with the published operations, $9 k (G + 1.5 k) + 2 G - 2.5 k + 1$ for every edge.

        Reference:
            R. Yu, W. Yu and X. Wang, KAN or MLP: A Fairer Comparison, 2024, arXiv:2407.16674.
        """
        ours = super().cost()
        k, cells, edges = self.basis.degree, self.basis.grid_size, self.in_features * self.out_features
        published = edges * (9 * k * (cells + 1.5 * k) + 2 * cells - 2.5 * k + 1)
        if self.base is not None:
            published += self.in_features * activation_flops(self.base) + 2 * edges
        return Cost(ours.parameters, ours.flops, round(published))


class BSplineKAN(Stack):
    """Layers of B-splines one after the other, each a `BSplineKANLayer`.

    `BSplineKAN([2, 5, 1])` has 2 inputs, 5 hidden units and 1 output, so (2 * 5 + 5 * 1) * (5 + 3 + 2) = 150
    parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        grid_size: Number of cells of the domain.
        degree: Degree of the splines.
        domain: The interval that the cells divide, in all layers.
        base: Function of the base branch, one for all layers, or None; see `BSplineKANLayer`.
        bias: Whether the layers add biases.
        scaler: Whether the edges have factors; see `BSplineKANLayer`.
        norm: Of what the splines of each layer see, "layer", "batch" or None.

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers, and as `BSplineKANLayer`.
        ValueError: If there are too few widths or one is not positive, and as `BSplineKANLayer`.

    Reference:
        Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, arXiv:2404.19756.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        grid_size: int = 5,
        degree: int = 3,
        domain: tuple[float, float] = (-1.0, 1.0),
        base: Base = "silu",
        bias: bool = False,
        scaler: bool = True,
        norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            widths,
            lambda inputs, outputs: BSplineKANLayer(
                inputs, outputs, grid_size, degree, domain, base, bias, scaler, norm, device, dtype
            ),
        )


def bspline_basis(x: Tensor, grid_size: int = 5, degree: int = 3, domain: tuple[float, float] = (-1.0, 1.0)) -> Tensor:
    r"""The values at `x` of all B-splines on uniform knots, `(*shape) -> (*shape, grid_size + degree)`.

    The knots are $t_j = a + (j - k) h$ with $h = (b - a) / G$ for `grid_size` $G$, `degree` $k$ and `domain`
    $(a, b)$, and $B_j$ lives between $t_j$ and $t_{j+k+1}$, by the recursion of Cox and de Boor:

    $$B_{j,0}(x) = [t_j \le x < t_{j+1}], \qquad
    B_{j,p}(x) = \frac{x - t_j}{p h} B_{j,p-1}(x) + \frac{t_{j+p+1} - x}{p h} B_{j+1,p-1}(x).$$

    On the domain the functions sum to 1, outside they fade out, and beyond $a - k h$ and $b + k h$ all are zero. For
    degree 0 the value at `b` is zero already. Derivatives at a knot are those from the right.

    Only the `degree + 1` functions that live on the cell of an entry are computed, so that the cost of the recursion
    does not grow with `grid_size`.

    Args:
        x: Of any shape.
        grid_size: Number of cells of the domain.
        degree: Degree of the splines.
        domain: The ends `(a, b)` of the interval that the cells divide.

    Raises:
        TypeError: If a size is not an integer or the domain not a pair of numbers.
        ValueError: If a size is too small, or the domain empty or not finite.

    Reference:
        C. de Boor, A Practical Guide to Splines, revised edition, Springer, 2001, chapters IX and X.
    """
    _check_grid(grid_size, degree, domain)
    a, b = domain
    count = grid_size + degree
    # In cells from `a`; what is far outside goes to the first cell without functions, so that infinity stays harmless.
    position = ((x - a) * (grid_size / (b - a))).clamp(-degree - 1, count)
    cell = position.detach().floor()
    # The short axis comes first until the end: strides of `degree + 1` would make each pass several times slower.
    values = torch.stack(on_one_cell(position - cell, degree))
    index = cell.long() + torch.arange(degree + 1, device=x.device).view(-1, *[1] * x.ndim)
    slot = index.clamp(0, count - 1)
    # Cells outside the domain have functions that do not exist. A product, so that NaN stays NaN.
    values = values * (slot == index).to(values.dtype)
    return values.new_zeros(*x.shape, count).scatter_add_(-1, slot.movedim(0, -1), values.movedim(0, -1))


def on_one_cell(fraction: Tensor, degree: int) -> list[Tensor]:
    r"""The B-splines that are not zero on a cell, at fractions of it in [0, 1), from left to right.

    With uniform knots the two factors that a function meets in the recursion sum to 1: of $B_{j,p-1}$ the share
    $(x - t_j) / (p h)$ goes to $B_{j,p}$, the rest to $B_{j-1,p}$.
    """
    if degree == 0:
        return [torch.ones_like(fraction)]
    values = [1 - fraction, fraction]
    for p in range(2, degree + 1):
        part = fraction / p
        right = [value * (part + (p - 1 - r) / p) for r, value in enumerate(values)]
        left = [value - moved for value, moved in zip(values, right, strict=True)]
        values = [left[0], *map(torch.add, left[1:], right), right[-1]]
    return values


def _check_grid(grid_size: int, degree: int, domain: tuple[float, float]) -> None:
    checked_size("grid_size", grid_size, at_least=1)
    checked_size("degree", degree, at_least=0)
    checked_domain(domain)
