r"""Every tolerance of the tests of `circuits`, each with its reason. Values are Born expectations, so |f| <= 1."""

import math
from typing import TypedDict

import torch
from torch import Tensor


class Tolerance(TypedDict):
    """Keyword arguments of `torch.testing.assert_close`."""

    rtol: float
    atol: float


EXACT: Tolerance = {"rtol": 0.0, "atol": 1e-12}
"""float64 against float64: some sixty products of numbers of modulus at most 1 round to about 60 * 2**-53 = 7e-15; a
gradient sums a few of them times |x| or |scale|, both below 10."""

FOREIGN: Tolerance = {"rtol": 0.0, "atol": 1e-10}
"""Other people's simulators in double precision: they fuse gates and decompose rotations in their own way."""

EXPANDED: Tolerance = {"rtol": 0.0, "atol": 1e-9}
"""Expansions to 1e-12 of |f| <= 1 in float64: a derivative of a polynomial of degree D is D**2 / h times as far off at
worst, here with D below 60 and scales up to pi in some twelve encodings."""

EXPANDED_SINGLE: Tolerance = {"rtol": 1e-4, "atol": 1e-4}
"""Expansions to 1e-6 in float32, whose slopes are amplified in the same way and sum to some tens."""

SHIFTED: Tolerance = {"rtol": 0.0, "atol": 1e-10}
"""Parameter shift in float64: differences of values of order 1, twice for second derivatives, through 3 * pi / 2."""

SINGLE: Tolerance = {"rtol": 1e-5, "atol": 1e-5}
"""float32, relative to the bound 1 of |f|: eps = 1.2e-7 times some sixty gates, angles rounded before they are used."""

ROUNDED: dict[torch.dtype, Tolerance] = {
    torch.float64: EXACT,
    torch.float32: SINGLE,
    torch.bfloat16: {"rtol": 0.0, "atol": 2.0**-8},
    torch.float16: {"rtol": 0.0, "atol": 2.0**-11},
}
"""Half precision is computed in float32 and rounded once, which for |f| <= 1 costs at most half of the
last binary place below 1, 2**-8 and 2**-11; the whole place leaves room for float32."""

FAILURE = 1e-6
"""Probability that a right sampler fails one shot test. Seeds are fixed, so that a green test stays green."""


def bernstein(value: Tensor, shots: int) -> Tensor:
    r"""How far means of `shots` outcomes +-1 may lie from their expectations, all of `value` at once.

    $\sqrt{2 (1 - z^2) L / S} + 4 L / (3 S)$ with $L = \ln(2 N / \delta)$: a union bound over the N values. Five
    standard deviations would fail near |z| = 1, where the binomial distribution is skewed.
    """
    log = math.log(2 * value.numel() / FAILURE)
    return ((1 - value**2).clamp(min=0) * 2 * log / shots).sqrt() + 4 * log / (3 * shots)


def rms_window(count: int) -> float:
    r"""How far the rms of `count` z-scores may lie from 1: five of its standard deviations $1 / \sqrt{2 N}$."""
    return 5 / math.sqrt(2 * count)


QUADRATURE: Tolerance = {"rtol": 0.0, "atol": 1e-7}
"""Moments of initial activations by one rule against the same moments by another, both exact to 1e-11 for what is
band-limited; base functions are seen in float32, whose eps is 1.2e-7, and averaging helps."""

ENDPOINT: Tolerance = {"rtol": 0.0, "atol": 1e-4}
"""The same where an arccos brings the root sqrt(1 - x**2), which 32 Gauss nodes integrate up to 0.2 / 32**3 = 6e-6;
sums over inputs and weights a little above 1 leave the rest."""


def chi_square_window(count: int, comparisons: int = 1, failure: float = 1e-9) -> tuple[float, float]:
    r"""Between what the mean of `count` squared standard normal numbers lies, but for a probability of `failure`.

    $1 - 2\sqrt{t/n}$ to $1 + 2\sqrt{t/n} + 2t/n$ with $t = \ln(2 N / \delta)$: a union bound over the comparisons N.

    Reference: Laurent and Massart, Adaptive estimation of a quadratic functional by model selection, Annals of
    Statistics 28, 2000, lemma 1.
    """
    log = math.log(2 * comparisons / failure)
    root = 2 * math.sqrt(log / count)
    return 1 - root, 1 + root + 2 * log / count
