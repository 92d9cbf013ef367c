"""Who takes part: kinds of models, each in as many variants, as large as a number of parameters allows."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

from benchmarks.sizes import Family, Make
from circuits import rpz
from classical import MLP, BSplineKANLayer, FourierKAN
from qkan import QKAN

QKAN_NAME, SPLINE_NAME, FOURIER_NAME, MLP_NAME = "QKAN", "B-spline KAN", "Fourier KAN", "MLP"

Network = Callable[[Sequence[int], int, float, str], nn.Module]
"""A KAN from widths, fineness, scale and device."""

HALF = math.pi / 2
"""First frequency with which [-1, 1] is half a period, so that both ends are free."""


def _qkan(widths: Sequence[int], reps: int, scale: float, device: str) -> nn.Module:
    """Of rpz circuits: they are as expressive as pz, without its redundant angle."""
    return QKAN(widths, rpz(reps), init_scale=scale, device=device, dtype=torch.float64)


def _fourier(widths: Sequence[int], degree: int, frequency: float, device: str) -> nn.Module:
    return FourierKAN(widths, degree=degree, frequency=frequency, base="silu", device=device, dtype=torch.float64)


def _spline(widths: Sequence[int], grid: int, reach: float, device: str) -> nn.Module:
    """The first grid covers the inputs, those of hidden layers -reach to reach."""
    reaches = [1.0, *[reach] * (len(widths) - 2)]
    return nn.Sequential(
        *(
            BSplineKANLayer(i, o, grid, domain=(-end, end), scaler=False, device=device, dtype=torch.float64)
            for (i, o), end in zip(pairwise(widths), reaches, strict=True)
        )
    )


def _wide(network: Network, fineness: int, scale: float) -> Make:
    """One hidden layer, which grows."""

    def make(inputs: int, hidden: int, device: str) -> nn.Module:
        return network([inputs, hidden, 1], fineness, scale, device)

    return make


def _other(network: Network, scale: float) -> Make:
    """One edge, which gets finer, for one input; two hidden layers, which grow, for more."""

    def make(inputs: int, number: int, device: str) -> nn.Module:
        if inputs == 1:
            return network([1, 1], number, scale, device)
        return network([inputs, number, number, 1], 3, scale, device)

    return make


def _mlp(activation: str, layers: int) -> Make:
    def make(inputs: int, hidden: int, device: str) -> nn.Module:
        widths = [inputs, *[hidden] * layers, 1]
        return MLP(widths, activation=activation, device=device, dtype=torch.float64)

    return make


FAMILIES = (
    Family(
        QKAN_NAME,
        {
            "reps 2, scale π/2": _wide(_qkan, 2, HALF),
            "reps 2, scale π": _wide(_qkan, 2, math.pi),
            "reps 5, scale 1": _wide(_qkan, 5, 1.0),
            "reps 5, scale π/2": _wide(_qkan, 5, HALF),
            "other depth": _other(_qkan, HALF),
        },
    ),
    Family(
        FOURIER_NAME,
        {
            "degree 2, frequency π/2": _wide(_fourier, 2, HALF),
            "degree 2, frequency π": _wide(_fourier, 2, math.pi),
            "degree 5, frequency 1": _wide(_fourier, 5, 1.0),
            "degree 5, frequency π/2": _wide(_fourier, 5, HALF),
            "other depth": _other(_fourier, HALF),
        },
    ),
    Family(
        SPLINE_NAME,
        {
            "grid 3, reach 1": _wide(_spline, 3, 1.0),
            "grid 3, reach 2": _wide(_spline, 3, 2.0),
            "grid 10, reach 1": _wide(_spline, 10, 1.0),
            "grid 10, reach 2": _wide(_spline, 10, 2.0),
            "other depth": _other(_spline, 1.0),
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
"""The variants were found by rough runs on validation points of six targets. Other depth: one edge for one input, two
hidden layers of fineness 3 for more."""
