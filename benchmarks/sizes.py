"""Models of matched size: families of models, each in as many variants, as large as a number of parameters allows."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from torch import nn

from qkan import parameter_count

Make = Callable[[int, int, str], nn.Module]
"""A model from the number of inputs, the number that grows with the size, and the device; one output, float64."""


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Args:
        name: as tables show it.
        variants: label to how the model is made; as many as every other family has.
    """

    name: str
    variants: Mapping[str, Make]


def count(model: nn.Module) -> int:
    """Trainable scalars: what every benchmark calls the parameters of a model."""
    return sum(parameter_count(model).values())


@cache
def growth(make: Make, inputs: int, size: int) -> int:
    """The largest number that `make` can be given with at most `size` trainable parameters; 0 if there is none."""
    return bisect_right(range(1, size + 1), size, key=lambda number: count(make(inputs, number, "meta")))


def build(make: Make, inputs: int, size: int) -> nn.Module:
    """The largest model of at most `size` parameters."""
    return make(inputs, growth(make, inputs, size), "cpu")


def fitting(family: Family, inputs: int, size: int) -> Mapping[str, Make]:
    """The variants that have a model so small."""
    return {label: make for label, make in family.variants.items() if growth(make, inputs, size)}
