"""Who takes part: kinds of models, each in as many variants, as large as a number of parameters allows."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from circuits import Circuit, rpz
from classical import MLP, BSplineKANLayer, FourierKAN
from qkan import QKAN, parameter_count

QKAN_NAME, SPLINE_NAME, FOURIER_NAME, MLP_NAME = "QKAN", "B-spline KAN", "Fourier KAN", "MLP"

Make = Callable[[int, int, str], nn.Module]
"""A model from the number of inputs, the number that grows with the size, and the device; one output, float64."""

HALF = math.pi / 2
"""First frequency with which [-1, 1] is half a period, so that both ends are free."""


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Args:
        name: as tables show it.
        variants: label to how the model is made; as many as every other family has.
    """

    name: str
    variants: Mapping[str, Make]


@cache
def growth(make: Make, inputs: int, size: int) -> int:
    """The largest number that `make` can be given with at most `size` trainable parameters; 0 if there is none."""
    return bisect_right(range(1, size + 1), size, key=lambda number: _count(make(inputs, number, "meta")))


def build(make: Make, inputs: int, size: int) -> nn.Module:
    """The largest model of at most `size` parameters."""
    return make(inputs, growth(make, inputs, size), "cpu")


def fitting(family: Family, inputs: int, size: int) -> Mapping[str, Make]:
    """The variants that have a model so small."""
    return {label: make for label, make in family.variants.items() if growth(make, inputs, size)}


def _count(model: nn.Module) -> int:
    return sum(parameter_count(model).values())


def _qkan(circuit: Circuit, scale: float) -> Make:
    """One hidden layer that grows."""

    def make(inputs: int, hidden: int, device: str) -> nn.Module:
        return QKAN([inputs, hidden, 1], circuit, init_scale=scale, device=device, dtype=torch.float64)

    return make


def _fine_qkan(inputs: int, reps: int, device: str) -> nn.Module:
    """No hidden layer, repetitions grow."""
    return QKAN([inputs, 1], rpz(reps), init_scale=HALF, device=device, dtype=torch.float64)


def _fourier(degree: int, frequency: float) -> Make:
    def make(inputs: int, hidden: int, device: str) -> nn.Module:
        widths = [inputs, hidden, 1]
        return FourierKAN(widths, degree=degree, frequency=frequency, device=device, dtype=torch.float64)

    return make


def _fine_fourier(inputs: int, degree: int, device: str) -> nn.Module:
    return FourierKAN([inputs, 1], degree=degree, frequency=HALF, device=device, dtype=torch.float64)


def _spline(grid: int, reach: float) -> Make:
    """The first grid covers the inputs, that of the hidden layer -reach to reach."""

    def make(inputs: int, hidden: int, device: str) -> nn.Module:
        first = _spline_layer(inputs, hidden, grid, 1.0, device)
        return nn.Sequential(first, _spline_layer(hidden, 1, grid, reach, device))

    return make


def _fine_spline(inputs: int, grid: int, device: str) -> nn.Module:
    return _spline_layer(inputs, 1, grid, 1.0, device)


def _spline_layer(inputs: int, outputs: int, grid: int, reach: float, device: str) -> nn.Module:
    return BSplineKANLayer(inputs, outputs, grid, domain=(-reach, reach), device=device, dtype=torch.float64)


def _mlp(activation: str, layers: int) -> Make:
    def make(inputs: int, hidden: int, device: str) -> nn.Module:
        widths = [inputs, *[hidden] * layers, 1]
        return MLP(widths, activation=activation, device=device, dtype=torch.float64)

    return make


FAMILIES = (
    Family(
        QKAN_NAME,
        {
            "reps 2, scale π/2": _qkan(rpz(2), HALF),
            "reps 2, scale π": _qkan(rpz(2), math.pi),
            "reps 5, scale π/2": _qkan(rpz(5), HALF),
            "reps 5, scale π": _qkan(rpz(5), math.pi),
            "one layer": _fine_qkan,
        },
    ),
    Family(
        FOURIER_NAME,
        {
            "degree 2, frequency π/2": _fourier(2, HALF),
            "degree 2, frequency π": _fourier(2, math.pi),
            "degree 5, frequency π/2": _fourier(5, HALF),
            "degree 5, frequency π": _fourier(5, math.pi),
            "one layer": _fine_fourier,
        },
    ),
    Family(
        SPLINE_NAME,
        {
            "grid 3, reach 1": _spline(3, 1.0),
            "grid 3, reach 2": _spline(3, 2.0),
            "grid 10, reach 1": _spline(10, 1.0),
            "grid 10, reach 2": _spline(10, 2.0),
            "one layer": _fine_spline,
        },
    ),
    Family(
        MLP_NAME,
        {
            "tanh, 1 hidden": _mlp("tanh", 1),
            "silu, 1 hidden": _mlp("silu", 1),
            "tanh, 2 hidden": _mlp("tanh", 2),
            "silu, 2 hidden": _mlp("silu", 2),
            "tanh, 3 hidden": _mlp("tanh", 3),
        },
    ),
)
