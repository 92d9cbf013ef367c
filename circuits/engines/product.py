"""The matrix product of a spectral layer, differentiated without keeping its features."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from circuits.bases import Basis, constants
from circuits.checks import batched
from circuits.derivatives import differentiated, onto
from circuits.precision import full_precision
from circuits.scratch import scratch


class Product(torch.autograd.Function):
    """`product` in parts of `rows` samples, whose backward makes the features anew."""

    @staticmethod
    def forward(ctx: Any, basis: Basis, rows: int, v: Tensor, values: Tensor, weight: Tensor) -> Tensor:
        with full_precision(v.device):
            constant, coefficients = coefficients_of(basis, values, weight)
            waves, y = basis.waves(v), v.new_empty(len(v), len(weight))
            for part, features in _parts(basis, rows, waves, v):
                torch.addmm(constant, features.flatten(1), coefficients.T, out=y[part])
        ctx.basis, ctx.rows = basis, rows
        ctx.save_for_backward(v, values, weight, coefficients, *waves)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (grad,) = grads
        v, values, weight, coefficients, *waves = ctx.saved_tensors
        basis, wanted = ctx.basis, ctx.needs_input_grad[2:]
        if torch.is_grad_enabled() or batched(grad):
            with full_precision(v.device):
                twin = partial(product, basis)
                return None, None, *differentiated(twin, (v, values, weight), wanted, grad)
        with full_precision(v.device):
            by_v, pull = _backward(basis, ctx.rows, v, waves, coefficients, grad, wanted)
            if pull is None:
                return None, None, by_v, None, None
            _, analysis, _ = constants(basis, v.dtype, v.device)
            weighted = (analysis.T @ pull.flatten(1)).view(pull.shape)
        by_values = onto(weighted * weight, values.shape) if wanted[1] else None
        return None, None, by_v, by_values, (weighted * values).sum(0) if wanted[2] else None


def _backward(
    basis: Basis,
    rows: int,
    v: Tensor,
    waves: Sequence[Tensor],
    coefficients: Tensor,
    grad: Tensor,
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of v, and of all coefficients `(size, out, in)`."""
    outs, ins, size = grad.shape[1], v.shape[1], basis.size
    *_, derivative = constants(basis, v.dtype, v.device)
    by_v = slopes = room = pull = None
    if wanted[0]:
        # The derivative of an expansion is one, too: sums of the same features with other coefficients.
        constant, *others = torch.matmul(derivative[:, 1:], coefficients.view(outs, size - 1, ins)).unbind(1)
        by_v = grad @ constant if basis.constant_slopes else torch.zeros_like(v)
        slopes = torch.cat([constant[:, :0], *others], 1)
        room = scratch(v, (min(rows, len(v)), (size - 1) * ins), "slopes")
    if wanted[1] or wanted[2]:
        pull = torch.zeros_like(coefficients)
    for part, features in _parts(basis, rows, waves, v):
        if pull is not None:
            pull.addmm_(grad[part].T, features.flatten(1))
        if slopes is not None and by_v is not None and room is not None:
            sloped = torch.mm(grad[part], slopes, out=room[: len(features)])
            by_v[part] += features.mul_(sloped.view_as(features)).sum(1)
    if pull is None:
        return by_v, None
    everything = pull.new_empty(size, outs, ins)
    everything[0] = grad.sum(0)[:, None]
    everything[1:] = pull.view(outs, size - 1, ins).transpose(0, 1)
    return by_v, everything


def product(basis: Basis, v: Tensor, values: Tensor, weight: Tensor) -> Tensor:
    r"""$y_{bo} = \sum_{ki} r_k(v_{bi})\, w_{oi} c_{koi}$: the plain twin.

    Args:
        basis: of the features r.
        v: their argument, `(rows, in)`.
        values: at the nodes, `(size, out or 1, in or 1)`, from which the coefficients c follow.
        weight: `(out, in)`.
    """
    constant, coefficients = coefficients_of(basis, values, weight)
    return constant + basis.features(v).flatten(1) @ coefficients.T


def coefficients_of(basis: Basis, values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The constant of each output, `(out,)`, and the coefficients of features of inputs, `(out, (size - 1) * in)`."""
    _, analysis, _ = constants(basis, weight.dtype, weight.device)
    weighted = values * weight
    coefficients = (analysis @ weighted.flatten(1)).view(weighted.shape)
    return coefficients[0].sum(-1), coefficients[1:].transpose(0, 1).flatten(1)


def _parts(basis: Basis, rows: int, waves: Sequence[Tensor], like: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The features of `rows` samples at a time, in one and the same memory."""
    memory = scratch(like, (min(rows, len(like)), basis.size - 1, like.shape[1]), "features")
    for start in range(0, len(like), rows):
        part = slice(start, start + rows)
        features = memory[: len(like[part])]
        basis.fill(features, [wave[part] for wave in waves])
        yield part, features
