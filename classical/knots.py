r"""B-splines on knots of their own for every input."""

from __future__ import annotations

import torch
from torch import Tensor

from classical.bspline import along_tangents, on_one_cell, placed


def bspline_basis_on(x: Tensor, knots: Tensor, degree: int = 3, outside: str = "fade") -> Tensor:
    r"""The values at `x` of the B-splines of each input, `(*batch, in) -> (*batch, in, knots - degree - 1)`.

    As `bspline_basis`, on any knots: the domain reaches from $t_k$ to the last knot but $k$. The cell of each entry is
    found by bisection, then only the `degree + 1` functions that live on it are computed. Half precision is computed
    in float32 and rounded once.

    Args:
        x: `(*batch, in)`.
        knots: `(in, cells + 2 degree + 1)`, increasing, with `degree` knots beyond each end of the domain.
        degree: Degree of the splines.
        outside: "fade", "clamp" or "linear", as for `bspline_basis`.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    knots = knots.to(wide.dtype)
    ends = knots if outside == "fade" else knots[:, degree : knots.shape[-1] - degree]
    position = wide.clamp(ends[:, 0], ends[:, -1])
    cell = _fading_cells(wide, knots) if outside == "fade" else _cells(wide, ends[:, 1:-1]) + degree
    below, above = _near(knots, cell, degree)
    past = [position - knot for knot in below]

    def shares(p: int) -> list[Tensor]:
        pieces = zip(past[degree - p :], below[degree - p :], above, strict=False)
        return [way / (stop - start) for way, start, stop in pieces]

    values = on_one_cell(shares, degree, like=wide)
    if outside == "linear" and degree > 0:
        inner = on_one_cell(lambda p: [share.detach() for share in shares(p)], degree - 1, like=wide)
        rates = [value * (degree / (stop - start)) for value, start, stop in zip(inner, below, above, strict=True)]
        values = along_tangents(values, rates, wide - position)
    return placed(values, cell - degree, knots.shape[-1] - degree - 1).to(x.dtype)


def _fading_cells(x: Tensor, knots: Tensor) -> Tensor:
    """-1 below all knots, and the number of the last one above."""
    return _cells(x, knots) - 1


def _cells(x: Tensor, knots: Tensor) -> Tensor:
    """How many knots of its input are not above an entry, `(*batch, in) -> (*batch, in)`."""
    columns = x.detach().movedim(-1, 0)
    found = torch.searchsorted(knots.contiguous(), columns.reshape(len(knots), -1).contiguous(), right=True)
    return found.reshape(columns.shape).movedim(0, -1).contiguous()


def _near(knots: Tensor, cell: Tensor, degree: int) -> tuple[list[Tensor], list[Tensor]]:
    """The `degree` knots up to where each cell starts, and as many from where it stops, each `(*batch, in)`."""
    # Cells without functions have neighbours without knots: any increasing numbers do.
    step = (knots[:, -1:] - knots[:, :1]) / knots.shape[-1]
    beyond = step * torch.arange(1, degree + 1, device=knots.device)
    padded = torch.cat([knots[:, :1] - beyond.flip(-1), knots, knots[:, -1:] + beyond], -1)
    place = cell + torch.arange(len(knots), device=knots.device) * padded.shape[-1] + 1
    near = [padded.flatten()[r:].take(place) for r in range(2 * degree)]
    return near[:degree], near[degree:]
