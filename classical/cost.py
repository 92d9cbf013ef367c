r"""What a layer costs: parameters and floating-point operations, by formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from classical.checks import ACTIVATIONS

ACTIVATION_FLOPS = {
    "relu": 1,
    "sigmoid": 4,
    "silu": 5,
    "tanh": 6,
    "gelu": 14,
    "identity": 0,
    "softplus": 3,
    "leaky_relu": 2,
    "elu": 3,
    "selu": 5,
}
"""Operations of an activation at one number, as arXiv:2407.16674 counts them; from softplus on counted like them: a
sum, product, comparison, exponential or logarithm is one."""

NORM_FLOPS = 4
"""Operations of a normalisation per number, as arXiv:2407.16674 counts them."""


@dataclass(frozen=True)
class Cost:
    """Parameters and floating-point operations of a layer or a model, by formula.

    Args:
        parameters: trained numbers.
        flops: operations for one sample as this package computes it: functions once per input, then a matrix product,
            of which a multiplication and an addition are two operations.
        published_flops: operations by the formula of the publication, which charges the functions of a layer once per
            edge; None where there is no such formula.
    """

    parameters: int
    flops: int
    published_flops: int | None = None

    def __add__(self, other: Cost) -> Cost:
        known = self.published_flops is not None and other.published_flops is not None
        published = (self.published_flops or 0) + (other.published_flops or 0) if known else None
        return Cost(self.parameters + other.parameters, self.flops + other.flops, published)


@runtime_checkable
class Costed(Protocol):
    """A module that knows its own cost, where it depends on it for the size of an input: height and width of images."""

    def cost(self, *size: int) -> Cost: ...


def activation_flops(function: Callable[[Tensor], Tensor]) -> int:
    """Operations of an activation at one number.

    Raises:
        ValueError: If the function is not one of `ACTIVATIONS`, whose costs are known.
    """
    for name, known in ACTIVATIONS.items():
        if function is known:
            return ACTIVATION_FLOPS[name]
    raise ValueError(f"The operations of {function!r} are not known: take one of {', '.join(ACTIVATIONS)}.")


def numbers_in(module: nn.Module) -> int:
    """Parameters of a module, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def linear_cost(layer: nn.Linear) -> Cost:
    """Of an affine map; adding the bias is part of the product, as arXiv:2407.16674 counts it."""
    products = layer.in_features * layer.out_features
    flops = 2 * products
    return Cost(products + (0 if layer.bias is None else layer.out_features), flops, flops)


def known_cost(module: nn.Module, *size: int) -> Cost:
    """Of a module that knows it, see `Costed`.

    Raises:
        TypeError: If it does not.
    """
    if not isinstance(module, Costed):
        raise TypeError(f"The cost of {type(module).__name__} is not known: it must have a method `cost`.")
    return module.cost(*size)
