r"""Grids of B-splines: uniform ones, finer ones that keep every knot, ones that follow samples, and knot insertion."""

from __future__ import annotations

import math

import torch
from torch import Tensor

NARROWEST = 2.0**-9
"""Cells narrower than this share of the mean one are not halved, however many samples they hold."""


def uniform_knots(grid_size: int, degree: int, domain: tuple[float, float]) -> Tensor:
    """Knots of equal distances, `degree` of them beyond each end of the domain: `(grid_size + 2 degree + 1,)`."""
    a, b = domain
    return a + torch.arange(-degree, grid_size + degree + 1, dtype=torch.float64) * ((b - a) / grid_size)


def nested_knots(
    knots: Tensor, degree: int, grid_size: int | None, samples: Tensor | None, grows: bool, dtype: torch.dtype
) -> Tensor:
    """Finer knots, the given ones among them, so that their splines can be every spline of the given ones.

    Each added knot halves a cell: the widest, or the one with most samples.

    Args:
        knots: `(in, cells + 2 degree + 1)`, float64.
        degree: Of the splines.
        grid_size: The new number of cells; None for twice as many, and for more where a growing domain needs them.
        samples: `(n, in)`, or None.
        grows: Whether the domain grows to hold all samples.
        dtype: Of the layer; what is added can be represented in it.

    Raises:
        ValueError: If there are more cells than `grid_size` already.
    """
    low, high = knots[:, degree, None], knots[:, -degree - 1, None]
    if samples is not None and grows:
        low, high = (torch.minimum(low, samples.amin(0)[:, None]), torch.maximum(high, samples.amax(0)[:, None]))
        low, high = _rounded(low, dtype), _rounded(high, dtype)
    inner = torch.cat([low, high, knots.where((knots > low) & (knots < high), math.inf)], -1).sort().values
    needed = int(inner.isfinite().sum(-1).max()) - 1
    cells = max(needed, 2 * (knots.shape[-1] - 2 * degree - 1)) if grid_size is None else grid_size
    if cells < needed:
        raise ValueError(
            f"Argument `grid_size` must be at least {needed}, the cells that there are or that a larger domain needs, "
            f"but is {cells}."
        )
    room = inner.new_full((len(knots), max(0, cells + 1 - inner.shape[-1])), math.inf)
    inner = _halved(torch.cat([inner, room], -1)[:, : cells + 1], samples, dtype)
    step = (high - low) / cells
    before, after = _beyond(knots, low, step, degree), -_beyond(-knots.flip(-1), -high, step, degree).flip(-1)
    return torch.cat([_rounded(before, dtype), inner, _rounded(after, dtype)], -1)


def knots_of_samples(knots: Tensor, degree: int, samples: Tensor, mix: float, dtype: torch.dtype) -> Tensor:
    """As many knots as given, where the samples are: `mix` times uniform ones plus 1 - `mix` times quantiles.

    Cells are at least `mix` times as wide as the mean one. An input whose samples are all equal keeps its knots.

    Reference:
        Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, arXiv:2404.19756.
    """
    cells = knots.shape[-1] - 2 * degree - 1
    levels = torch.linspace(0, 1, cells + 1, dtype=knots.dtype, device=knots.device)
    ordered = samples.sort(0).values.T
    place = levels * (len(samples) - 1)
    before, after = ordered[:, place.floor().long()], ordered[:, place.ceil().long()]
    low, high = ordered[:, :1], ordered[:, -1:]
    inner = torch.lerp(before.lerp(after, place.frac()), low + (high - low) * levels, mix)
    beyond = (high - low) / cells * torch.arange(1, degree + 1, device=knots.device)
    moved = _rounded(torch.cat([low - beyond.flip(-1), inner, high + beyond], -1), dtype)
    narrow = (high - low) * mix / cells <= _least_width(ordered, dtype)
    return knots.where(narrow, moved)


def insertion(old: Tensor, new: Tensor, degree: int) -> Tensor:
    r"""The splines of old knots as sums of those of new ones, which include the old: `(in, functions, new functions)`.

    Their coefficients are discrete splines $\alpha_{j,p}(i)$, with $\alpha_{j,0}(i) = [t_j \le \tau_i < t_{j+1}]$ and
    the recursion of Cox and de Boor, where $\tau_{i+p}$ takes the place of x: numbers in [0, 1] that sum to 1, so that
    nothing is lost to cancellation.

    Reference:
        E. Cohen, T. Lyche and R. Riesenfeld, Discrete B-splines and subdivision techniques, Computer Graphics and Image
        Processing 14, 1980.
    """
    count = new.shape[-1] - degree - 1
    old, start = old[..., None], new[:, None, :count]
    values = ((old[:, :-1] <= start) & (start < old[:, 1:])).to(new.dtype)
    for p in range(1, degree + 1):
        ratio = (new[:, None, p : p + count] - old[:, :-p]) / (old[:, p:] - old[:, :-p])
        values = ratio[:, :-1] * values[:, :-1] + (1 - ratio[:, 1:]) * values[:, 1:]
    return values


def _halved(inner: Tensor, samples: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Cells are halved until every row is full; infinity stands for what is missing."""
    total = inner.where(inner.isfinite(), -math.inf).amax(-1, keepdim=True) - inner[:, :1]
    least = (NARROWEST / inner.shape[-1] * total).maximum(_least_width(inner, dtype))
    ordered = inner.new_zeros(len(inner), 0) if samples is None else samples.T.sort().values.contiguous()
    for _ in range(int(inner.isinf().sum(-1).max())):
        widths = inner.diff()
        counts = torch.searchsorted(ordered, inner.contiguous()).diff()
        # Of equally full cells the widest: its share of the total is less than one sample.
        score = (counts + widths / (2 * total)).where(widths.isfinite() & (widths > 2 * least), -1)
        best = score.argmax(-1, keepdim=True)
        middle = _rounded((inner.gather(-1, best) + inner.gather(-1, best + 1)) / 2, dtype)
        inner = torch.cat([inner[:, :-1], middle.where(inner[:, -1:].isinf(), inner[:, -1:])], -1).sort().values
    return inner


def _beyond(knots: Tensor, end: Tensor, step: Tensor, degree: int) -> Tensor:
    """The `degree` knots next below `end`, continued by steps where there are fewer."""
    more = knots[:, :1].minimum(end) - step * torch.arange(1, degree + 1, device=knots.device)
    candidates = torch.cat([knots.where(knots < end, -math.inf), more], -1)
    return candidates.topk(degree).values.flip(-1)


def _least_width(knots: Tensor, dtype: torch.dtype) -> Tensor:
    """What a dtype can still tell apart, where these numbers are."""
    largest = knots.where(knots.isfinite(), 0).abs().amax(-1, keepdim=True)
    return 4 * torch.finfo(dtype).eps * largest


def _rounded(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    return numbers.to(dtype).to(numbers.dtype)
