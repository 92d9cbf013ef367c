r"""B-splines as a basis of edges: on uniform knots, or on knots of their own for every input."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from classical.basis import Basis, Quadrature, standard_normal, uniform
from classical.bspline import bspline_basis, check_grid
from classical.grids import uniform_knots
from classical.knots import bspline_basis_on


class BSpline(Basis):
    r"""The `grid_size + degree` B-splines of a grid: `bspline_basis` as a module, or `bspline_basis_on` once moved.

    A new one has uniform knots, the same for all inputs, and `knots` is None; those of `moved` are a buffer of shape
    `(in, grid_size + 2 degree + 1)`.

    Args:
        grid_size: Number of cells of the domain.
        degree: Degree of the splines, 3 for cubic ones. With degree 0 they are steps, without a gradient in `x`.
        domain: The ends `(a, b)` of the interval that the cells divide.
        outside: What the splines do beyond it: "fade" to zero within `degree` cells, "clamp" for the values that they
            have at its ends, or "linear" to go on along their tangents.

    Raises:
        TypeError: If a size is not an integer or the domain not a pair of numbers.
        ValueError: If a size is too small, the domain empty or not finite, or `outside` unknown.
    """

    knots: Tensor | None

    centred = True

    def __init__(
        self,
        grid_size: int = 5,
        degree: int = 3,
        domain: tuple[float, float] = (-1.0, 1.0),
        outside: str = "fade",
    ) -> None:
        super().__init__()
        check_grid(grid_size, degree, domain, outside)
        self.grid_size, self.degree, self.domain, self.outside = grid_size, degree, domain, outside
        self.size = grid_size + degree
        self.flops = _flops(degree)
        self.register_buffer("knots", None)

    def moved(self, knots: Tensor) -> BSpline:
        """Splines of the same kind on other knots.

        Args:
            knots: `(in, cells + 2 degree + 1)` with at least one cell, finite and increasing.

        Raises:
            ValueError: If they are not.
        """
        cells = knots.shape[-1] - 2 * self.degree - 1 if knots.ndim == 2 else 0
        if cells < 1 or not (knots.is_meta or ((knots.diff() > 0).all() and knots.isfinite().all())):
            raise ValueError(
                f"Argument `knots` must have shape (in, cells + {2 * self.degree + 1}) and increase from left to right,"
                f" but has shape {tuple(knots.shape)} and is {knots}: take fewer cells if knots coincide in "
                f"{knots.dtype}."
            )
        basis = BSpline(cells, self.degree, self.domain, self.outside)
        basis.knots = knots
        # The place is found by bisection, and widths are not equal.
        basis.flops += math.ceil(math.log2(cells + 1)) + self.degree * (self.degree + 1)
        return basis

    def grid(self, in_features: int) -> Tensor:
        """The knots of every input, `(in_features, grid_size + 2 degree + 1)`, float64."""
        if self.knots is not None:
            return self.knots.double()
        return uniform_knots(self.grid_size, self.degree, self.domain).expand(in_features, -1)

    def forward(self, x: Tensor) -> Tensor:
        if self.knots is None:
            return bspline_basis(x, self.grid_size, self.degree, self.domain, self.outside)
        return bspline_basis_on(x, self.knots, self.degree, self.outside)

    def inputs(self) -> Quadrature:
        """Uniform ones on the domain; normal ones of their mean and variance where splines go on along tangents.

        What goes on grows, so that the few inputs outside, which the sums of a layer before have, count for much.
        """
        a, b = self.domain
        if self.outside != "linear":
            return uniform(a, b, count=100 * self.grid_size)
        nodes, weights = standard_normal()
        return (a + b) / 2 + (b - a) / math.sqrt(12) * nodes, weights

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Back to uniform knots on the domain, as many as there are."""
        self.knots, self.flops = None, _flops(self.degree)

    def extra_repr(self) -> str:
        own = "" if self.knots is None else ", knots of their own for every input"
        return f"grid_size={self.grid_size}, degree={self.degree}, domain={self.domain}, outside={self.outside!r}{own}"


def _flops(degree: int) -> int:
    """The place in the grid, the recursion on one cell, and what puts its functions into their places."""
    return 6 + sum(4 * p for p in range(2, degree + 1)) + degree + 1
