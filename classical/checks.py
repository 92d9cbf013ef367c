"""Checks of arguments, each with the same words everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def identity(x: Tensor) -> Tensor:
    """The argument itself: a function with a name, which can be pickled."""
    return x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "identity": identity,
    "softplus": nn.functional.softplus,
    "leaky_relu": nn.functional.leaky_relu,
    "elu": nn.functional.elu,
    "selu": nn.functional.selu,
}

Activation = str | Callable[[Tensor], Tensor]
Base = Activation | None


def checked_widths(widths: Sequence[int], *, at_least: int, example: str) -> tuple[int, ...]:
    """The widths as a tuple, if there are enough of them and all are positive integers."""
    widths = tuple(widths)
    if len(widths) < at_least:
        raise ValueError(f"Argument `widths` must have {at_least} entries or more, as in {example}, but is {widths}.")
    for width in widths:
        if not isinstance(width, int) or isinstance(width, bool):
            raise TypeError(f"Argument `widths` must have integers only, as in {example}, but has {width!r}.")
        if width < 1:
            raise ValueError(f"Argument `widths` must have positive entries only, but has {width}.")
    return widths


def checked_size(argument: str, size: int, *, at_least: int) -> int:
    """The size, if it is an integer of at least `at_least`."""
    if not isinstance(size, int) or isinstance(size, bool):
        raise TypeError(f"Argument `{argument}` must be an integer, such as {max(at_least, 3)}, but is {size!r}.")
    if size < at_least:
        raise ValueError(f"Argument `{argument}` must be at least {at_least}, but is {size}.")
    return size


def checked_number(argument: str, number: float, *, above: float) -> float:
    """The number as a float, if it is a finite one above `above`."""
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise TypeError(f"Argument `{argument}` must be a number, such as 1.0, but is {number!r}.")
    if not above < number < math.inf:
        kind = {-math.inf: "finite", 0.0: "positive and finite"}.get(above, f"finite and above {above}")
        raise ValueError(f"Argument `{argument}` must be {kind}, but is {number}.")
    return float(number)


def checked_probability(argument: str, probability: float) -> float:
    """The probability, if it is one in [0, 1)."""
    if not isinstance(probability, int | float) or isinstance(probability, bool):
        raise TypeError(f"Argument `{argument}` must be a number, such as 0.1, but is {probability!r}.")
    if not 0 <= probability < 1:
        raise ValueError(f"Argument `{argument}` must be in [0, 1), but is {probability}.")
    return probability


def checked_domain(domain: tuple[float, float], *, argument: str = "domain") -> tuple[float, float]:
    """The ends of an interval, if they are two finite numbers, the lower one first."""
    example = "must be a pair of numbers such as (-1.0, 1.0)"
    if not isinstance(domain, Sequence) or not all(isinstance(end, int | float) for end in domain):
        raise TypeError(f"Argument `{argument}` {example}, but is {domain!r}.")
    if len(domain) != 2 or not 0 < domain[1] - domain[0] < math.inf:
        raise ValueError(f"Argument `{argument}` {example}, finite and the lower one first, but is {domain!r}.")
    return domain


def checked_choice(argument: str, choice: str, choices: Sequence[str]) -> str:
    """The choice, if it is one of the choices."""
    if choice not in choices:
        raise ValueError(f"Argument `{argument}` must be one of {', '.join(choices)}, but is {choice!r}.")
    return choice


def checked_activation(activation: Activation, *, argument: str = "activation") -> Callable[[Tensor], Tensor]:
    """The function of that name in `ACTIVATIONS`, or the function that is given."""
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            names = ", ".join(ACTIVATIONS)
            raise ValueError(f"Argument `{argument}` must be a function or one of {names}, but is {activation!r}.")
        return ACTIVATIONS[activation]
    if not callable(activation) or isinstance(activation, type):
        raise TypeError(
            f"Argument `{argument}` must be a name or a function of one tensor, such as `torch.tanh` or `nn.PReLU()`,"
            f" but is {activation!r}."
        )
    return activation


def check_features(x: Tensor, features: int) -> None:
    """Raise unless the last axis has `features` entries."""
    if x.ndim == 0 or x.shape[-1] != features:
        raise ValueError(f"Argument `x` must have shape (*batch, {features}), but has {tuple(x.shape)}.")
