r"""Functions of one variable as sums of features: $f(v) = \sum_k c_k r_k(v)$ from values at a few nodes.

A basis knows its nodes, the matrix from values there to coefficients, the matrix that differentiates coefficients (both
bases are closed under differentiation), and its features. Cosines, sines and Chebyshev polynomials all obey
$T_{k+1} = u T_k - T_{k-1}$; with the signs $\sigma_k = (-1)^{\lfloor k/2 \rfloor}$ the features $r_k = \sigma_k T_k$
obey $r_{k+1} = r_{k-1} \pm u r_k$, one fused operation a feature.

Reference: Trefethen, Approximation Theory and Approximation Practice, 2013, chapters 3, 4 and 8.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuits.derived import derived

Matrix = NDArray[np.floating]

_SINGLE = 24
"""The highest degree whose recurrence runs in float32: rounding grows as its square, to 2e-5 at worst there."""


@dataclass(frozen=True)
class Basis(ABC):
    """The constant $r_0 = 1$ and features $r_1, ..., r_{size - 1}$ of one variable.

    Args:
        degree: the highest frequency, or degree of a polynomial.
    """

    constant_slopes: ClassVar[bool]
    """Whether the derivative of a feature can have a constant part."""

    degree: int

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of coefficients, and of nodes: one more than there are features that are not constant."""

    @abstractmethod
    def nodes(self) -> Matrix:
        """Where a function is looked at, `(size,)`."""

    @abstractmethod
    def analysis(self) -> Matrix:
        """From values at the nodes to coefficients, `(size, size)`; exact for what the basis spans."""

    @abstractmethod
    def derivative(self) -> Matrix:
        """From coefficients of a function to coefficients of its derivative, `(size, size)`."""

    @abstractmethod
    def waves(self, v: Tensor) -> tuple[Tensor, ...]:
        """The first term of every sequence at `v`; twice the first of them is the factor u of the recurrence.

        In float64 where the recurrence would lose too much in float32.
        """

    def features(self, v: Tensor) -> Tensor:
        """The plain twin of `fill`: `v (*batch, n)` to `(*batch, size - 1, n)`, for torch to differentiate."""
        columns = list(_sequences(self.degree, self.waves(v)))
        return torch.stack(columns, dim=-2).to(v.dtype) if columns else v.new_empty(*v.shape[:-1], 0, v.shape[-1])

    def fill(self, out: Tensor, waves: Sequence[Tensor]) -> None:
        """Write the features that follow from `waves`, each `(rows, n)`, to `out (rows, size - 1, n)`."""
        if waves[0].dtype == out.dtype:
            for _ in _sequences(self.degree, waves, iter(out.unbind(1))):
                pass
        else:
            for column, feature in zip(out.unbind(1), _sequences(self.degree, waves), strict=True):
                column.copy_(feature)

    @abstractmethod
    def fill_quickly(self, out: Tensor, v: Tensor, orders: Tensor) -> None:
        """Write the features of `v (rows, n)` without their signs to `out (rows, size - 1, n)`, each by a cosine.

        In fewer calls than `fill`, each of which takes longer: for few rows at a time, over and over.

        Args:
            out: where to.
            v: within [-1, 1] for polynomials, but for rounding.
            orders: the numbers from 1 to the degree, `(degree, 1)`.
        """

    @property
    @abstractmethod
    def signs(self) -> Matrix:
        """The sign of each feature, `(size - 1,)`."""

    def _exactly(self, v: Tensor) -> Tensor:
        return v.double() if self.degree > _SINGLE else v


def _sequences(degree: int, waves: Sequence[Tensor], places: Iterator[Tensor] | None = None) -> Iterator[Tensor]:
    """One feature after the other, written to `places` if there are any."""
    if not degree:
        return
    factor = 2 * waves[0]
    for constant, current in zip((1.0, 0.0), waves, strict=False):  # cosines and polynomials start from 1, sines from 0
        before, current = current.new_full((), constant), current if places is None else next(places).copy_(current)
        yield current
        for k in range(2, degree + 1):
            sign = 1 if k % 2 else -1
            if places is None:
                after = torch.addcmul(before, factor, current, value=sign)
            else:
                after = torch.addcmul(before, factor, current, value=sign, out=next(places))
            yield after
            before, current = current, after


@dataclass(frozen=True)
class Fourier(Basis):
    r"""$1, \cos v, ..., \cos Dv, \sin v, ..., \sin Dv$ (each with its sign), looked at in 2D + 1 equispaced nodes."""

    constant_slopes: ClassVar[bool] = False

    @property
    def size(self) -> int:
        return 2 * self.degree + 1

    def nodes(self) -> Matrix:
        return 2 * np.pi * np.arange(self.size) / self.size

    def analysis(self) -> Matrix:
        angles = np.outer(np.arange(self.degree + 1), self.nodes())
        signs = _signs(self.degree)[:, None]
        matrix = np.concatenate([signs * np.cos(angles), (signs * np.sin(angles))[1:]]) * 2 / self.size
        matrix[0] /= 2
        return matrix

    def derivative(self) -> Matrix:
        matrix = np.zeros((self.size, self.size))
        for k in range(1, self.degree + 1):
            cos, sin = k, self.degree + k
            matrix[sin, cos], matrix[cos, sin] = -k, k
        return matrix

    def waves(self, v: Tensor) -> tuple[Tensor, ...]:
        v = self._exactly(v)
        return torch.cos(v), torch.sin(v)

    def fill_quickly(self, out: Tensor, v: Tensor, orders: Tensor) -> None:
        cosines, sines = out[:, : self.degree], out[:, self.degree :]
        torch.sin(torch.mul(v[:, None], orders, out=cosines), out=sines)
        cosines.cos_()

    @property
    def signs(self) -> Matrix:
        return np.tile(_signs(self.degree)[1:], 2)


@dataclass(frozen=True)
class Chebyshev(Basis):
    """The Chebyshev polynomials $T_0, ..., T_D$ on [-1, 1] (each with its sign), looked at in the roots of the next."""

    constant_slopes: ClassVar[bool] = True

    @property
    def size(self) -> int:
        return self.degree + 1

    def nodes(self) -> Matrix:
        return np.cos(np.pi * (np.arange(self.size) + 0.5) / self.size)

    def analysis(self) -> Matrix:
        angles = np.outer(np.arange(self.size), np.pi * (np.arange(self.size) + 0.5) / self.size)
        matrix = _signs(self.degree)[:, None] * np.cos(angles) * 2 / self.size
        matrix[0] /= 2
        return matrix

    def derivative(self) -> Matrix:
        # T_k' = 2 k (T_{k-1} + T_{k-3} + ...), where T_0 counts half.
        order = np.arange(self.size)
        odd = (order[None, :] > order[:, None]) & ((order[None, :] - order[:, None]) % 2 == 1)
        matrix = np.where(odd, 2.0 * order[None, :], 0.0)
        matrix[0] /= 2
        signs = _signs(self.degree)
        return signs[:, None] * matrix * signs[None, :]

    def waves(self, v: Tensor) -> tuple[Tensor, ...]:
        return (self._exactly(v),)

    def fill_quickly(self, out: Tensor, v: Tensor, orders: Tensor) -> None:
        torch.mul(torch.arccos(v.clamp(-1, 1))[:, None], orders, out=out).cos_()

    @property
    def signs(self) -> Matrix:
        return _signs(self.degree)[1:]


def _signs(degree: int) -> Matrix:
    return (-1.0) ** (np.arange(degree + 1) // 2)


@dataclass(frozen=True, eq=False)
class Interval:
    """Where a function is expanded, `[middle - half, middle + half]`: numbers, or tensors of one entry an input."""

    middle: Tensor | float = 0.0
    half: Tensor | float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """The argument of the features, from -1 to 1."""
        return x if isinstance(self.half, float) and self.half == 1.0 else (x - self.middle) / self.half


Constants = tuple[Tensor, Tensor, Tensor]
"""Nodes, analysis and derivative."""


def constants(basis: Basis, dtype: torch.dtype, device: torch.device) -> Constants:
    """Nodes, analysis and derivative as tensors."""
    if torch.compiler.is_compiling():  # which wants to make its own
        nodes, analysis, derivative = _lists(type(basis), basis.degree)
        options = {"dtype": dtype, "device": device}
        return torch.tensor(nodes, **options), torch.tensor(analysis, **options), torch.tensor(derivative, **options)
    return _remembered(basis, dtype, device)


@lru_cache(maxsize=32)
def _remembered(basis: Basis, dtype: torch.dtype, device: torch.device) -> Constants:
    with torch.inference_mode(False):  # autograd meets them later
        nodes, analysis, derivative = (
            torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)
            for array in (basis.nodes(), basis.analysis(), basis.derivative())
        )
    return nodes, analysis, derivative


@lru_cache(maxsize=32)
def signs(basis: Basis, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The sign of each feature, `(size - 1,)`, as a tensor."""
    with torch.inference_mode(False):
        return torch.from_numpy(np.ascontiguousarray(basis.signs)).to(device, dtype)


@derived
def _lists(kind: type[Basis], degree: int) -> tuple[list[float], list[list[float]], list[list[float]]]:
    basis = kind(degree)
    return basis.nodes().tolist(), basis.analysis().tolist(), basis.derivative().tolist()
