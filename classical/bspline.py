r"""B-splines on uniform knots, and what all B-splines share: the recursion on one cell and the places of its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from classical.checks import checked_choice, checked_domain, checked_size

OUTSIDE = ("fade", "clamp", "linear")
"""What splines do outside the domain."""

Shares = Callable[[int], Sequence[Tensor]]
"""From p to the shares of the p functions of degree p - 1 on a cell that their right neighbours of degree p get."""


def bspline_basis(
    x: Tensor,
    grid_size: int = 5,
    degree: int = 3,
    domain: tuple[float, float] = (-1.0, 1.0),
    outside: str = "fade",
) -> Tensor:
    r"""The values at `x` of all B-splines on uniform knots, `(*shape) -> (*shape, grid_size + degree)`.

    The knots are $t_j = a + (j - k) h$ with $h = (b - a) / G$ for `grid_size` $G$, `degree` $k$ and `domain`
    $(a, b)$, and $B_j$ lives between $t_j$ and $t_{j+k+1}$, by the recursion of Cox and de Boor:

    $$B_{j,0}(x) = [t_j \le x < t_{j+1}], \qquad
    B_{j,p}(x) = \frac{x - t_j}{p h} B_{j,p-1}(x) + \frac{t_{j+p+1} - x}{p h} B_{j+1,p-1}(x).$$

    On the domain the functions sum to 1. Outside they fade out, and beyond $a - k h$ and $b + k h$ all are zero; or
    they keep the values that they have at the next end of the domain; or they go on along their tangents there. For
    degree 0 the value at `b` is zero already if they fade. Derivatives at a knot are those from the right.

    Only the `degree + 1` functions that live on the cell of an entry are computed, so that the cost of the recursion
    does not grow with `grid_size`.

    Args:
        x: Of any shape.
        grid_size: Number of cells of the domain.
        degree: Degree of the splines.
        domain: The ends `(a, b)` of the interval that the cells divide.
        outside: "fade", "clamp" for the values at the ends, or "linear" for the tangents.

    Raises:
        TypeError: If a size is not an integer or the domain not a pair of numbers.
        ValueError: If a size is too small, the domain empty or not finite, or `outside` unknown.

    Reference:
        C. de Boor, A Practical Guide to Splines, revised edition, Springer, 2001, chapters IX and X.
    """
    check_grid(grid_size, degree, domain, outside)
    a, b = domain
    count = grid_size + degree
    # In cells from `a`; what is far outside goes to the first cell without functions, so that infinity stays harmless.
    unbounded = (x - a) * (grid_size / (b - a))
    position = unbounded.clamp(-degree - 1, count) if outside == "fade" else unbounded.clamp(0, grid_size)
    cell = position.detach().floor()
    if outside != "fade":
        cell = cell.clamp(max=grid_size - 1)
    fraction = position - cell
    values = on_one_cell(lambda p: uniform_shares(fraction, p), degree, like=x)
    if outside == "linear" and degree > 0:
        at_end = fraction.detach()
        rates = on_one_cell(lambda p: uniform_shares(at_end, p), degree - 1, like=x)
        values = along_tangents(values, rates, unbounded - position)
    return placed(values, cell.long(), count)


def on_one_cell(shares: Shares, degree: int, like: Tensor) -> list[Tensor]:
    r"""The B-splines that are not zero on a cell, from left to right.

    The two factors that a function meets in the recursion sum to 1: of $B_{j,p-1}$ the share
    $(x - t_j) / (t_{j+p} - t_j)$ goes to $B_{j,p}$, the rest to $B_{j-1,p}$.
    """
    if degree == 0:
        return [torch.ones_like(like)]
    (first,) = shares(1)
    values = [1 - first, first]
    for p in range(2, degree + 1):
        right = [value * share for value, share in zip(values, shares(p), strict=True)]
        left = [value - moved for value, moved in zip(values, right, strict=True)]
        values = [left[0], *map(torch.add, left[1:], right), right[-1]]
    return values


def along_tangents(values: Sequence[Tensor], rates: Sequence[Tensor], excess: Tensor) -> list[Tensor]:
    r"""Values plus slopes times `excess`, how far an entry is outside.

    The slope is a flow from function to function: $B_{j,k-1}$, times its rate $k / (t_{j+k} - t_j)$, is what $B_{j,k}$
    wins and $B_{j-1,k}$ loses.
    """
    flows = [rate * excess for rate in rates]
    lost = [value - flow for value, flow in zip(values, flows, strict=False)]
    return [lost[0], *map(torch.add, lost[1:], flows), values[-1] + flows[-1]]


def placed(values: Sequence[Tensor], first: Tensor, count: int) -> Tensor:
    """Values of neighbouring functions, of which the leftmost is number `first`, among zeros: `(*shape, count)`."""
    # The short axis comes first until the end: strides of `degree + 1` would make each pass several times slower.
    stacked = torch.stack(list(values))
    index = first + torch.arange(len(stacked), device=first.device).view(-1, *[1] * first.ndim)
    slot = index.clamp(0, count - 1)
    # Cells outside the domain have functions that do not exist. A product, so that NaN stays NaN.
    stacked = stacked * (slot == index).to(stacked.dtype)
    return stacked.new_zeros(*first.shape, count).scatter_add_(-1, slot.movedim(0, -1), stacked.movedim(0, -1))


def check_grid(grid_size: int, degree: int, domain: tuple[float, float], outside: str) -> None:
    """Raise unless such splines exist."""
    checked_size("grid_size", grid_size, at_least=1)
    checked_size("degree", degree, at_least=0)
    checked_domain(domain)
    checked_choice("outside", outside, OUTSIDE)


def uniform_shares(fraction: Tensor, p: int) -> list[Tensor]:
    """The shares of `on_one_cell` on uniform knots, from how far along its cell an entry is, 0 to 1."""
    if p == 1:
        return [fraction]
    part = fraction / p
    return [part + (p - 1 - r) / p for r in range(p)]
