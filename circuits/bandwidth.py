r"""How fast a circuit can vary with its data, and what degree of polynomial follows from that.

Every encoding is a rotation by $s x + b$, so $f(x) = \sum_\omega a_\omega e^{i \omega x}$ with
$|\omega| \le \Omega = \sum |s|$, and $|f| \le 1$ on the real line.

Reference: Schuld, Sweke and Meyer, Effect of data encoding on the expressive power of variational quantum machine
learning models, 2021, arXiv:2008.08605.
"""

import math
from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from circuits.circuit import Circuit, Encode, Slot, terms
from circuits.derived import derived
from circuits.lower import simplify


def bandwidth(circuit: Circuit, params: Mapping[str, Tensor]) -> Tensor | float:
    r"""$\Omega = \sum_\mathrm{gates} |\sum \mathrm{scale}|$ over the grid of the scales; a float if all are numbers."""
    number, whole, sums = _scales(circuit)
    total: Tensor | float = number
    for name, indices in whole:
        family = params[name]
        family = family if indices == tuple(range(family.shape[-1])) else family[..., indices]
        total = family.abs().sum(-1) + total
    for scales in sums:
        slope = sum(params[s.name][..., s.index] if isinstance(s, Slot) else s for s in scales)
        total = abs(slope) + total
    return total


@derived
def _scales(
    circuit: Circuit,
) -> tuple[float, tuple[tuple[str, tuple[int, ...]], ...], tuple[tuple[Slot | float, ...], ...]]:
    """The scales of all data gates: the sum of numbers, indices in each family of slots, and what must be added up."""
    number, families, sums = 0.0, dict[str, tuple[int, ...]](), []
    for gate in simplify(circuit).gates:
        scales = tuple(term.scale for term in terms(gate.angle or 0.0) if isinstance(term, Encode))
        numbers = [scale for scale in scales if isinstance(scale, float)]
        if len(numbers) == len(scales):
            number += abs(sum(numbers))
        elif len(scales) == 1 and isinstance(slot := scales[0], Slot):
            families[slot.name] = (*families.get(slot.name, ()), slot.index)
        else:
            sums.append(scales)
    return number, tuple(families.items()), tuple(sums)


def chebyshev_error(width: float, degree: int) -> float:
    r"""A bound on the error of interpolating f by a polynomial of `degree` in the Chebyshev nodes of an interval.

    f extends to the Bernstein ellipse of any $\rho > 1$ with $|f(x + iy)| \le e^{\Omega |y|}$ (Bernstein), so with
    $z = \Omega h (\rho - 1/\rho) / 2$ its coefficients obey
    $|c_k| \le \frac{\rho^{-k}}{\pi} \int_0^{2\pi} e^{z |\sin t|} dt \le 4 I_0(z) \rho^{-k}$,
    and interpolation errs by at most twice the sum of those left out: $8 I_0(z) \rho^{-D} / (\rho - 1)$. The best of
    many $\rho$ is taken.

    Args:
        width: $\Omega h$, the bandwidth times half the length of the interval.
        degree: D.

    Reference: Trefethen, Approximation Theory and Approximation Practice, 2013, theorems 8.1 and 8.2.
    """
    log_rho, log_scale = _ellipses(width)
    # An interpolant of values within [-1, 1] stays within the Lebesgue constant.
    most = 2 + 2 / math.pi * math.log(degree + 1)
    return min(most, math.exp(min(2.0 + math.log(most), (log_scale - degree * log_rho).min().item())))


@lru_cache(maxsize=4096)
def chebyshev_degree(width: float, tolerance: float) -> int:
    """The smallest degree for which `chebyshev_error` is at most `tolerance`."""
    log_rho, log_scale = _ellipses(width)
    return max(1, math.ceil(((log_scale - math.log(tolerance)) / log_rho).min().item()))


@lru_cache(maxsize=4096)
def _ellipses(width: float) -> tuple[Tensor, Tensor]:
    r"""$\ln \rho$ of many ellipses, and $\ln (8 I_0(z) / (\rho - 1))$."""
    log_rho = torch.logspace(-4, 1.5, 400, dtype=torch.float64, device="cpu")
    z = width * torch.sinh(log_rho)
    return log_rho, math.log(8) + torch.special.i0e(z).log() + z - torch.expm1(log_rho).log()
