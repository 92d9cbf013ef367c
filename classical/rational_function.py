r"""Rational functions whose denominators cannot vanish, differentiated by hand so that only the input is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

FORMS = ("A", "B")
"""Of the denominator: in A each term is positive, in B their sum is made so."""

CHUNK = 2**16
"""Numbers for each thread that are worked on at a time on a CPU: what is made of them stays in its cache."""


def rational(x: Tensor, numerator: Tensor, denominator: Tensor, form: str = "A") -> Tensor:
    r"""$F_c(x) = \sum_{i=0}^m a_{ci} x^i / Q_c(x)$ for the group c of each channel, from `(*batch, d)` to itself.

    $$Q^A = 1 + \sum_{j=1}^n |b_j| |x|^j, \qquad Q^B = 1 + \Big|\sum_{j=1}^n b_j x^j\Big|.$$

    The gradients are $\partial F / \partial a_i = x^i / Q$, $\partial F / \partial x = P' / Q - P Q' / Q^2$ and, in
    form A, $\partial F / \partial b_j = -\mathrm{sgn}(b_j) |x|^j P / Q^2$ with $\mathrm{sgn}(0) = 1$, so that what
    starts at zero learns; in form B the sign is that of the sum, 1 for zero as well. At x = 0 the derivative of $|x|$
    is taken as 0.

    For the backward `x` alone is kept, beside the coefficients; the rest is computed anew, on a CPU in float64, so that
    all gradients are rounded once. `torch.compile` makes one loop of the forward and few of the backward, which compute
    in float32, as GPUs do, and add up samples in float64. Sums are always in the same order, so that the result is the
    same in every run. Half precision is computed in float32 and rounded once. Gradients can be differentiated again,
    and mapped over by `torch.vmap`.

    Powers of x are computed as they are: in float32 results are infinite or NaN from |x| of some 1e7 on.

    Args:
        x: Of shape `(*batch, d)`, of floating-point numbers.
        numerator: The $a$, `(groups, m + 1)`, for as many groups of neighbouring channels; `groups` divides d.
        denominator: The $b$, `(groups, n)`, for groups of its own number.
        form: "A" or "B".

    Raises:
        TypeError: If x is not of floating-point numbers.

    Reference:
        X. Yang and X. Wang, Kolmogorov-Arnold Transformer, 2024, arXiv:2409.10594; A. Molina, P. Schramowski and
        K. Kersting, Padé Activation Units, 2019, arXiv:1907.06732, for form B.
    """
    return _Rational.apply(x, *_exact(x, numerator, denominator, form), form)


def plain_rational(x: Tensor, numerator: Tensor, denominator: Tensor, form: str = "A") -> Tensor:
    """The plain twin of `rational`, for torch to differentiate."""
    return _grouped(x, *_exact(x, numerator, denominator, form), form)


def modulus(x: Tensor) -> Tensor:
    """The modulus, with slope 1 at zero."""
    return torch.where(x < 0, -x, x)


def _exact(x: Tensor, numerator: Tensor, denominator: Tensor, form: str) -> tuple[Tensor, Tensor]:
    """The coefficients in float32 at least; in form A positive ones."""
    if not x.is_floating_point():
        raise TypeError(f"Argument `x` must be of floating-point numbers, but is of {x.dtype}: call `x.float()`.")
    dtype = torch.promote_types(x.dtype, torch.float32)
    return numerator.to(dtype), modulus(denominator.to(dtype)) if form == "A" else denominator.to(dtype)


def _by_channel(x: Tensor, coefficients: Tensor) -> Tensor:
    """`(groups, k) -> (k, d)` for x of shape `(*batch, d)`."""
    each = x.shape[-1] // coefficients.shape[0]
    return coefficients.T[..., None].expand(-1, -1, each).flatten(1)


def _by_group(sums: Tensor, coefficients: Tensor) -> Tensor:
    """`(k, d) -> (groups, k)`, added up."""
    return sums.reshape(len(sums), coefficients.shape[0], -1).sum(-1).T.to(coefficients.dtype)


class _Rational(torch.autograd.Function):
    """`_grouped`, chunk by chunk where that is faster."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, a: Tensor, b: Tensor, form: str) -> Tensor:
        a, b, (parts,) = _by_channel(x, a), _by_channel(x, b), _chunks(x)
        return torch.cat([_value(part, a, b, form) for part in parts]).view(x.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.form = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (x, a, b), compiling = grads, ctx.saved_tensors, torch.compiler.is_compiling()
        if torch.is_grad_enabled() and not compiling:  # these gradients are to be differentiated themselves
            pull = torch.func.vjp(partial(_grouped, form=ctx.form), x, a, b)[1]
            return *pull(grad), None
        by_x, sums = [], torch.zeros((), dtype=torch.float64, device=x.device)
        # What a compiler keeps between its loops would be twice as large in float64.
        dtype = a.dtype if compiling or x.device.type != "cpu" else torch.float64
        a_c, b_c = _by_channel(x, a).to(dtype), _by_channel(x, b).to(dtype)
        for part, pulled in zip(*_chunks(x, grad), strict=True):
            slope, terms = _pull(pulled.to(dtype), part.to(dtype), a_c, b_c, ctx.form)
            by_x.append(slope.to(x.dtype))
            sums = sums + terms
        by_a, by_b = sums.split([len(a_c), len(b_c)])
        return torch.cat(by_x).view(x.shape), _by_group(by_a, a), _by_group(by_b, b), None


def _chunks(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Their rows, `(*batch, d) -> (rows, d)`, in parts that fit into a cache; compilers and GPUs want all at once."""
    width, rows = tensors[0].shape[-1], [tensor.reshape(-1, tensor.shape[-1]) for tensor in tensors]
    if torch.compiler.is_compiling() or tensors[0].device.type != "cpu":
        return [(each,) for each in rows]
    return [each.split(max(1, CHUNK * torch.get_num_threads() // width)) for each in rows]


def _grouped(x: Tensor, a: Tensor, b: Tensor, form: str) -> Tensor:
    return _value(x, _by_channel(x, a), _by_channel(x, b), form)


def _value(x: Tensor, a: Tensor, b: Tensor, form: str) -> Tensor:
    wide = x.to(a.dtype)
    z = wide.abs() if form == "A" else wide
    h = z * _polynomial(b.unbind(0), z)
    return (_polynomial(a.unbind(0), wide) / (1 + (h if form == "A" else modulus(h)))).to(x.dtype)


def _pull(grad: Tensor, x: Tensor, a: Tensor, b: Tensor, form: str) -> tuple[Tensor, Tensor]:
    """The gradient of x, and those of the coefficients, summed over rows: `(m + 1 + n, d)` in float64."""
    a_k, b_k = a.unbind(0), b.unbind(0)
    z = x.abs() if form == "A" else x
    h = z * _polynomial(b_k, z)
    turn = x.sign() if form == "A" else torch.where(h < 0, -1.0, 1.0).to(h.dtype)
    q = 1 + (h if form == "A" else h * turn)
    by_p = grad / q
    # P / q, which the forward has as well, a compiler would keep from there rather than compute anew.
    by_q = by_p.neg() * _polynomial(a_k, x) / q
    if form == "B":
        by_q, turn = by_q * turn, 1
    inner = _polynomial([(k + 1) * value for k, value in enumerate(b_k)], z) * turn
    slope = by_p * _polynomial([k * value for k, value in enumerate(a_k) if k], x) + by_q * inner
    return slope, torch.stack([*_moments(by_p, x, len(a_k)), *_moments(by_q * z, z, len(b_k))])


def _polynomial(coefficients: Sequence[Tensor], x: Tensor) -> Tensor:
    """By the rule of Horner, the constant first."""
    value = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = torch.addcmul(coefficient, value, x)
    return value


def _moments(values: Tensor, x: Tensor, count: int) -> Iterator[Tensor]:
    """The sums over rows of `values` times the powers of x from 0, in float64; `values` is used up."""
    for power in range(count):
        # In place, which is allowed because gradients may be mapped over while x is not, but never the reverse.
        values = values.mul_(x) if power else values
        yield values.sum(0, dtype=torch.float64)
