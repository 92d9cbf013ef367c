r"""Another basis for a layer, its function kept."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from classical.basis import Basis
from classical.checks import check_features, checked_number
from classical.edge import EdgeLayer

Module = TypeVar("Module", bound=nn.Module)

RIDGE = 1e-14
"""Of least squares, relative to mean squares of the functions: far above the rounding of float64, far below data."""


@torch.no_grad()
def refit(layer: EdgeLayer, basis: Basis, x: Tensor, ridge: float = RIDGE) -> float:
    r"""Give a layer another basis, with coefficients that keep the sum of functions of every edge on samples.

    The functions $g$ of the new basis approach each old one,
    $\min_T \frac1n \sum_x |f_m(x) - \sum_{m'} T_{mm'} g_{m'}(x)|^2 + \rho \sum_{m'} T_{mm'}^2$ for every input, and
    coefficients are multiplied by $T$: the solution of the least squares of every edge, at the price of a few for every
    input. It is computed in float64 from a QR decomposition, which neither squares the condition number nor needs full
    rank. If the old functions are sums of new ones, and samples as many as new functions, then nothing changes: so the
    degree of Fourier and Chebyshev layers is raised exactly.

    Base, scalers, normalisation and bias stay as they are. Where the number of functions changes, coefficients are a
    new parameter: make a new optimiser afterwards, for an old one would go on with a tensor that is in no model.

    Args:
        layer: Of any basis; changed in place.
        basis: The new one, moved to the device and dtype of the layer.
        x: Inputs of the layer, `(*batch, in)`; a few times as many as the new basis has functions.
        ridge: The $\rho$ above, positive. The larger, the smaller the coefficients where samples do not decide.

    Returns:
        The largest change of an output on the samples, computed in float64 from the coefficients as they are stored.

    Raises:
        TypeError: If the ridge is not a number.
        ValueError: If the ridge is not positive and finite, or the samples are none or not finite.

    >>> from classical import FourierKANLayer
    >>> from classical.fourier import Fourier
    >>> layer, x = FourierKANLayer(2, 3, degree=3), torch.randn(100, 2)
    >>> refit(layer, Fourier(degree=5), x) < 1e-5
    True
    >>> layer.coefficients.shape
    torch.Size([3, 2, 10])
    """
    checked_number("ridge", ridge, above=0.0)
    x, before = samples(layer, x), double(layer)
    basis = basis.to(layer.coefficients.device, layer.coefficients.dtype).train(layer.training)
    replace_basis(layer, basis, transfer(before.basis, double(basis), before.normalised(x), ridge=ridge))
    return change(before, layer, x)


def transfer(old: Basis, new: Basis, x: Tensor, weights: Tensor | None = None, ridge: float = RIDGE) -> Tensor:
    """The old functions of each input as sums of new ones, `(in, old size, new size)`, by least squares.

    Args:
        old: The functions to approach.
        new: Those that are summed.
        x: `(n, in)`, float64.
        weights: Of the samples, `(n,)`; equal ones by default. They sum to 1.
        ridge: See `refit`.
    """
    roots = x.new_full((len(x),), 1 / len(x)).sqrt() if weights is None else weights.sqrt()
    design, target = (roots[:, None] * basis(x).movedim(-2, 0) for basis in (new, old))
    # The triangle of both together holds that of the new functions, and what the old ones are in its terms.
    penalty = ridge**0.5 * torch.eye(new.size, new.size + old.size, dtype=x.dtype, device=x.device)
    rows = torch.cat([torch.cat([design, target], -1), penalty.expand(len(design), -1, -1)], -2)
    triangle = torch.linalg.qr(rows, mode="r").R[:, : new.size]
    solution = torch.linalg.solve_triangular(triangle[..., : new.size], triangle[..., new.size :], upper=True)
    return solution.mT


def replace_basis(layer: EdgeLayer, basis: Basis, matrix: Tensor) -> None:
    """Let a layer have another basis, and its coefficients times `matrix`, `(in, old size, new size)`."""
    coefficients = torch.einsum("oim,imn->oin", layer.coefficients.to(matrix.dtype), matrix)
    resize(layer, basis.size)
    layer.coefficients.copy_(coefficients)
    layer.basis = basis


def resize(layer: EdgeLayer, size: int) -> None:
    """Room for `size` coefficients an edge, in a new parameter unless they are as many as before."""
    old = layer.coefficients
    if size != old.shape[-1]:
        # Not other data for the old one: graphs that are still alive would refuse gradients of another shape.
        layer.coefficients = nn.Parameter(old.new_empty(*old.shape[:-1], size), requires_grad=old.requires_grad)


def samples(layer: EdgeLayer, x: Tensor) -> Tensor:
    """Inputs as rows in float64, if there are any and all are finite."""
    check_features(x, layer.in_features)
    rows = x.detach().reshape(-1, layer.in_features).to(layer.coefficients.device, torch.float64)
    if not len(rows) or not rows.isfinite().all():
        raise ValueError(f"Argument `x` must have one sample or more, all finite, but is {tuple(x.shape)}: {x}.")
    return rows


def double(module: Module) -> Module:
    """A copy in float64, whose statistics and parameters are its own."""
    return copy.deepcopy(module).double()


@torch.no_grad()
def outputs(module: nn.Module, x: Tensor) -> Tensor:
    """Of a module in float64, whose statistics do not notice."""
    return double(module)(x.double())


def change(before: nn.Module, after: nn.Module, x: Tensor) -> float:
    """How far the outputs of two modules are apart at most, in float64."""
    return (outputs(after, x) - outputs(before, x)).abs().max().item()
