r"""Rational activations, trained, one for each group of channels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from classical.checks import ACTIVATIONS, Activation, check_features, checked_activation, checked_choice, checked_size
from classical.cost import Cost
from classical.rational_fit import fitted
from classical.rational_function import FORMS, rational

GROUPS = 8
"""The number of groups of channels in the publication."""


class Rational(nn.Module):
    r"""$F_c(x) = P_c(x) / Q_c(x)$ on each channel of `(*batch, features)`, with coefficients that groups of channels
    share: `rational` as a module.

    Parameters are `numerator` of shape `(groups[0], m + 1)` and `denominator` of shape `(groups[1], n)`; by default
    one numerator for all channels and a denominator for each of 8 groups, 6 + 8 * 4 = 38 numbers. (The publication
    counts m + n g, one less, and its text exchanges the two, which its author has called an error.)

    They start where F is closest to a given function on [-3, 3]. Farther away F becomes a straight line, which need
    not be what the function does, so the inputs should be normalised. Coefficients should not decay, and those of a
    denominator that starts as the identity cannot be told from biases by their shape: see `parameter_groups`.

    Args:
        features: Number of channels, the size of the last axis.
        start: Name in `ACTIVATIONS`, or a function of one tensor to which F is fitted. For degrees (5, 4) in form A
            the largest errors on [-3, 3] are 0 for the identity, 5e-9 for sigmoid, 2e-6 for SiLU, 3e-6 for tanh,
            3e-3 for GELU and 3e-2 for ReLU.
        degrees: m of the numerators and n of the denominators.
        groups: Numbers of groups for numerators and for denominators, which divide `features`; None for the greatest
            common divisor of 8 and `features`.
        form: "A" for denominators $1 + \sum_j |b_j| |x|^j$, "B" for $1 + |\sum_j b_j x^j|$.

    Shapes:
        `(*batch, features) -> (*batch, features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If a size is not an integer or the start not callable.
        ValueError: If a size is too small, groups do not divide the channels, the form or the name of the start is
            unknown, or if the last axis of an input does not have `features` entries.

    >>> Rational(64, "silu")
    Rational(64, start=silu, degrees=(5, 4), groups=(1, 8), form=A)

    Reference:
        X. Yang and X. Wang, Kolmogorov-Arnold Transformer, 2024, arXiv:2409.10594.
    """

    def __init__(
        self,
        features: int,
        start: Activation = "identity",
        degrees: tuple[int, int] = (5, 4),
        groups: tuple[int | None, int | None] = (1, None),
        form: str = "A",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.features = checked_size("features", features, at_least=1)
        self.start = checked_activation(start, argument="start")
        m, n = self.degrees = _checked_degrees(degrees)
        self.groups = _checked_groups(groups, features)
        self.form = checked_choice("form", form, FORMS)
        self.numerator = nn.Parameter(torch.empty(self.groups[0], m + 1, device=device, dtype=dtype))
        self.denominator = nn.Parameter(torch.empty(self.groups[1], n, device=device, dtype=dtype))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Put the coefficients back to their start; nothing is drawn."""
        for parameter, start in zip(
            (self.numerator, self.denominator), fitted(self.start, *self.degrees, self.form), strict=True
        ):
            parameter.copy_(torch.tensor(start, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        check_features(x, self.features)
        return rational(x, self.numerator, self.denominator, self.form)

    def cost(self) -> Cost:
        """Parameters and operations for one sample; the published ones are 2 m + 2 n + 3 for each channel."""
        m, n = self.degrees
        modulus = 1  # of x, or of the sum
        flops = 2 * m + 2 * n + modulus + 1
        count = self.groups[0] * (m + 1) + self.groups[1] * n
        return Cost(count, flops * self.features, (2 * m + 2 * n + 3) * self.features)

    def extra_repr(self) -> str:
        names = [name for name, known in ACTIVATIONS.items() if known is self.start]
        start = names[0] if names else getattr(self.start, "__name__", repr(self.start))
        return f"{self.features}, start={start}, degrees={self.degrees}, groups={self.groups}, form={self.form}"


def _checked_degrees(degrees: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(degrees, tuple) or len(degrees) != 2:
        raise TypeError(f"Argument `degrees` must be a pair of integers, such as (5, 4), but is {degrees!r}.")
    for degree in degrees:
        checked_size("degrees", degree, at_least=1)
    return degrees


def _checked_groups(groups: tuple[int | None, int | None], features: int) -> tuple[int, int]:
    if not isinstance(groups, tuple) or len(groups) != 2:
        raise TypeError(f"Argument `groups` must be a pair such as (1, 8) or (1, None), but is {groups!r}.")
    first, second = (math.gcd(GROUPS, features) if count is None else count for count in groups)
    for count in (first, second):
        if features % checked_size("groups", count, at_least=1):
            raise ValueError(
                f"Argument `groups` must have divisors of the {features} channels, but has {count}: take None for "
                f"{math.gcd(GROUPS, features)}."
            )
    return first, second
