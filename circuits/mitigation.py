r"""Readout correction and zero-noise extrapolation: arithmetic on measured values, with the error bars that follow.

References: readout, Bravyi et al., Mitigating measurement errors in multiqubit experiments, 2021, arXiv:2006.14044;
extrapolation, Temme et al., Error mitigation for short-depth quantum circuits, 2017, arXiv:1612.02058, and
Giurgica-Tiron et al., Digital zero noise extrapolation for quantum error mitigation, 2020, arXiv:2005.10921.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from circuits.shots import sign_variance

Values = NDArray[np.float64]

FITS = ("linear", "exponential")


SUMS = 5
"""How many `summed` gives."""


def corrected_signs(signs: Values, zero: Values, one: Values) -> tuple[Values, Values]:
    """The value of a Pauli string from measured signs, without the readout error of its wires, and its standard error.

    Args:
        signs: `(..., shots, wires)`.
        zero: `(calibration shots, wires)`, signs of wires in |0>.
        one: `(calibration shots, wires)`, signs of wires in |1>.

    Returns:
        Values and standard errors, `(...)`, those of the calibration included to first order.
    """
    return estimated(summed(signs, zero, one))


def summed(signs: Values, zero: Values | None = None, one: Values | None = None) -> Values:
    r"""Sums over the shots of a row, of which those of several rows add up to those of all of their shots.

    With $e_0, e_1$ the mean signs of a wire prepared in |0> and |1>, $a = (e_0 - e_1)/2$ and $b = (e_0 + e_1)/2$, every
    shot counts as $\prod_w (s_w - b_w)/a_w$: unbiased if the wires err independently. Values may leave [-1, 1].

    Args:
        signs: `(..., shots, wires)`.
        zero: `(calibration shots, wires)`, signs of wires in |0>; None for no correction.
        one: `(calibration shots, wires)`, signs of wires in |1>; None for no correction.

    Returns:
        For each shot 1, its value, the square of that, the square of the largest there is, and the standard error of
        the calibration, summed: `(SUMS, ...)`.
    """
    shots = signs.shape[-2]
    if zero is None or one is None:
        products = signs.prod(-1)
        total, squares, largest, error = products.sum(-1), (products**2).sum(-1), 1.0, 0.0
    else:
        total, squares, largest, error = _corrected(signs, zero, one)
    full = np.ones_like(total)
    return np.stack([shots * full, total, squares, shots * largest * full, shots * error * full])


def estimated(sums: Values) -> tuple[Values, Values]:
    """Values and standard errors `(...)` from sums `(SUMS, ...)` over all of their shots.

    As if two more shots had told +1 and -1, so that equal outcomes are not taken for certainty. The error of
    calibrations is taken to be the same for all rows, which is right on one qubit and more than there is on several.
    """
    shots, total, squares, largest, error = sums
    mean = total / shots
    spread = (squares + 2 * largest / shots) / (shots + 2) - (total / (shots + 2)) ** 2
    return mean, np.sqrt(np.maximum(spread / shots + (error / shots) ** 2, 0.0))


def _corrected(signs: Values, zero: Values, one: Values) -> tuple[Values, Values, float, Values]:
    """Sums of what shots count and of their squares, the largest square, and the standard error of the calibration."""
    means = zero.mean(0), one.mean(0)
    a, b = (means[0] - means[1]) / 2, (means[0] + means[1]) / 2
    if (a <= 0.05).any():
        raise ValueError(
            f"Readout tells |0> from |1> by {a.min():.3f} of 1 only on one of the wires, too little to correct: choose "
            "other qubits."
        )
    factors = (signs - b) / a
    products = factors.prod(-1)
    values, variances = products.mean(-1), np.zeros(products.shape[:-1])
    for wire in range(signs.shape[-1]):
        others = np.delete(factors, wire, axis=-1).prod(-1).mean(-1) if signs.shape[-1] > 1 else 1.0
        # Of a_w and b_w: a slope of -value / a and of -others / a.
        by_zero, by_one = (-values - others) / (2 * a[wire]), (values - others) / (2 * a[wire])
        for slope, measured, mean in ((by_zero, zero, means[0]), (by_one, one, means[1])):
            variances = variances + slope**2 * sign_variance(mean[wire], len(measured))
    return products.sum(-1), (products**2).sum(-1), float((1 / a).prod() ** 2), np.sqrt(variances)


def extrapolated(values: Values, errors: Values, scales: Sequence[float], fit: str) -> tuple[Values, Values]:
    r"""Values at no noise, from those with noise that is `scales` times as large.

    The linear fit is least squares of $v = \alpha + \beta s$. The exponential one is that of $\log |v|$, which is exact
    for depolarising noise; where values have no common sign beyond two standard errors, the linear one is taken.

    Args:
        values: `(scales, ...)`.
        errors: their standard errors.
        scales: two or more different ones.
        fit: "linear" or "exponential".

    Returns:
        Values and standard errors, which grow as the fit asks: for scales 1, 3 and 5 by 1.4 if they are equal.
    """
    weights = intercept(scales)
    linear = np.tensordot(weights, values, 1)
    spread = np.sqrt(np.tensordot(weights**2, errors**2, 1))
    if fit == "linear":
        return linear, spread
    clear = (np.abs(values) > 2 * errors).all(0) & ((values > 0).all(0) | (values < 0).all(0))
    safe = np.where(clear, values, 1.0)
    size = np.exp(np.tensordot(weights, np.log(np.abs(safe)), 1))
    relative = np.sqrt(np.tensordot(weights**2, (errors / np.abs(safe)) ** 2, 1))
    exponential = np.sign(safe[0]) * size
    return np.where(clear, exponential, linear), np.where(clear, size * relative, spread)


def intercept(scales: Sequence[float]) -> Values:
    """The weights of values at `scales` in the intercept of their straight line."""
    points = np.asarray(scales, dtype=np.float64)
    centred = points - points.mean()
    return 1 / len(points) - points.mean() * centred / (centred**2).sum()
