"""Who takes part: kinds of models, each with what may be chosen about it. A new family is one row."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import torch
from sklearn.model_selection import ParameterGrid
from torch import Tensor, nn

from benchmarks.sizes import count
from circuits import rpz
from classical import (
    AFKAN,
    GRKAN,
    MLP,
    SKAN,
    BSplineKAN,
    BSplineKANLayer,
    ChebyshevKAN,
    ChebyshevKANLayer,
    FastKAN,
    FourierKAN,
    FourierKANLayer,
    Nodewise,
    Rational,
    ReLUKAN,
    SingleParameterKAN,
    WaveletKAN,
)
from classical.fourier import Fourier
from classical.spline_basis import BSpline
from qkan import DARUAN, HQKAN, QKAN, QKANLayer

Choice = Mapping[str, Any]

Make = Callable[[Sequence[int], Choice, str], nn.Module]
"""A float64 model from widths, choices and device."""

HALF = math.pi / 2
"""First frequency with which [-1, 1] is half a period, so that both ends are free."""

HIDDEN_LAYERS = (1, 2)


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Args:
        name: as tables show it.
        make: from widths, choices and device to the model.
        choices: what may be chosen, beside the number of hidden layers.
    """

    name: str
    make: Make = field(repr=False)
    choices: Mapping[str, Sequence[Any]] = field(repr=False)

    def candidates(self, inputs: int, outputs: int, size: int) -> list[Choice]:
        """All choices with a model of at most `size` parameters."""
        every = ParameterGrid({**self.choices, "hidden": HIDDEN_LAYERS})
        return [choice for choice in every if self.width(choice, inputs, outputs, size)]

    def width(self, choice: Choice, inputs: int, outputs: int, size: int) -> int:
        """The largest width of hidden layers with at most `size` parameters; 0 if there is none."""
        return _width(self.name, tuple(sorted(choice.items())), inputs, outputs, size)

    def build(self, choice: Choice, inputs: int, outputs: int, size: int, device: str = "cpu") -> nn.Module:
        """The widest model of at most `size` parameters."""
        return self._of_width(choice, inputs, outputs, self.width(choice, inputs, outputs, size), device)

    def _of_width(self, choice: Choice, inputs: int, outputs: int, width: int, device: str) -> nn.Module:
        return self.make([inputs, *[width] * choice["hidden"], outputs], choice, device)


@lru_cache(None)
def _width(name: str, choice: tuple[tuple[str, Any], ...], inputs: int, outputs: int, size: int) -> int:
    family, chosen = BY_NAME[name], dict(choice)

    def parameters(width: int) -> int:
        return count(family._of_width(chosen, inputs, outputs, width, "meta"))

    return bisect_right(range(1, size + 1), size, key=parameters)


F64 = torch.float64


def _mlp(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    return MLP(widths, activation=choice["activation"], device=device, dtype=F64)


def _nodewise(nodes: Callable[[int, Choice, str], nn.Module]) -> Make:
    """A perceptron with a learnable function on each node, from a width, the choices and a device."""

    def make(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
        return MLP(widths, nodewise=lambda width: nodes(width, choice, device), device=device, dtype=F64)

    return make


def _spline_nodes(width: int, choice: Choice, device: str) -> nn.Module:
    basis = BSpline(choice["grid"], domain=(-choice["reach"], choice["reach"]))
    return Nodewise(width, basis, base="silu", device=device, dtype=F64)


def _series_nodes(width: int, choice: Choice, device: str) -> nn.Module:
    return Nodewise(width, Fourier(*choice["fineness"]), base="silu", device=device, dtype=F64)


class CircuitNodes(nn.Module):
    """A circuit on each node, with a weight that starts at 0, beside a SiLU: the functions of the edges of a QKAN."""

    def __init__(self, width: int, fineness: tuple[int, float], device: str) -> None:
        super().__init__()
        reps, scale = fineness
        self.activation = DARUAN(width, 1, rpz(reps), init_scale=scale, device=device, dtype=F64)
        self.weight = nn.Parameter(torch.zeros(width, device=device, dtype=F64))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(x) + self.weight * self.activation(x)[..., 0, :]


def _rational_nodes(width: int, choice: Choice, device: str) -> nn.Module:
    return Rational(width, "silu", choice["degrees"], groups=(width, width), device=device, dtype=F64)


def _circuit_nodes(width: int, choice: Choice, device: str) -> nn.Module:
    return CircuitNodes(width, choice["fineness"], device)


def _gaussians(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    domain = (-choice["reach"], choice["reach"])
    return FastKAN(widths, centres=choice["centres"], domain=domain, norm=None, device=device, dtype=F64)


def _chebyshev(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    return ChebyshevKAN(widths, degree=choice["degree"], device=device, dtype=F64)


def _bumps(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    domain = (-choice["reach"], choice["reach"])
    return ReLUKAN(widths, grid_size=choice["grid"], domain=domain, device=device, dtype=F64)


def _wavelets(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    return WaveletKAN(widths, wavelet=choice["wavelet"], size=choice["wavelets"], device=device, dtype=F64)


def _single(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    return SingleParameterKAN(widths, function=choice["function"], norm=None, device=device, dtype=F64)


def _rationals(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    # One function a layer: with several groups, which must divide it, a wider layer may have fewer parameters.
    chosen = {"start": choice["start"], "degrees": choice["degrees"], "groups": (1, 1)}
    return GRKAN(widths, **chosen, device=device, dtype=F64)


def _pairs(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    chosen = {"combination": choice["combination"], "reductions": choice["reduction"], "norm": None}
    return AFKAN(widths, **chosen, device=device, dtype=F64)


def _selecting(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    pool = [partial(SPACES[name], device=device, dtype=F64) for name in choice["spaces"]]
    return SKAN(widths, pool=pool, device=device, dtype=F64)


def _splines(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    domain = (-choice["reach"], choice["reach"])
    return BSplineKAN(
        widths, grid_size=choice["grid"], domain=domain, bias=True, scaler=False, device=device, dtype=F64
    )


def _fourier(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    degree, frequency = choice["fineness"]
    return FourierKAN(widths, degree=degree, frequency=frequency, base="silu", device=device, dtype=F64)


def _qkan(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    reps, scale = choice["fineness"]
    return QKAN(widths, rpz(reps), share=choice["share"], init_scale=scale, device=device, dtype=F64)


def _hqkan(widths: Sequence[int], choice: Choice, device: str) -> nn.Module:
    reps, scale = choice["fineness"]
    inputs, *hidden, outputs = widths
    latent = [hidden[0], *hidden]
    return HQKAN(inputs, outputs, latent, rpz(reps), share=choice["share"], init_scale=scale, device=device, dtype=F64)


SPACES: Mapping[str, Callable[..., nn.Module]] = {
    "splines": partial(BSplineKANLayer, grid_size=3, domain=(-2.0, 2.0), base=None, scaler=False, bias=True),
    "polynomials": partial(ChebyshevKANLayer, degree=3),
    "series": partial(FourierKANLayer, degree=2, frequency=HALF),
    "circuits": partial(QKANLayer, circuit=rpz(2), init_scale=HALF, share="in"),
}
"""From which the units of a network select, two or three at a time."""

SPECTRA = ((1, HALF), (2, 1.0), (2, HALF), (3, 1.0))
"""Repetitions or degree, and first frequency: the same for circuits and for the series that have their spectrum."""

SHARES = (None, "out", "in")
"""Which edges of a layer have a circuit in common: none, those of an input, those of an output."""

QKAN_NAME, HQKAN_NAME, MLP_NAME, FOURIER_NAME = "QKAN", "HQKAN", "MLP", "Fourier KAN"

FAMILIES: tuple[Family, ...] = (
    Family(MLP_NAME, _mlp, {"activation": ("silu", "tanh", "relu", "gelu")}),
    Family("MLP, splines on nodes", _nodewise(_spline_nodes), {"grid": (3, 5, 10), "reach": (2.0, 3.0)}),
    Family("MLP, series on nodes", _nodewise(_series_nodes), {"fineness": SPECTRA}),
    Family("MLP, circuits on nodes", _nodewise(_circuit_nodes), {"fineness": SPECTRA}),
    Family("MLP, rationals on nodes", _nodewise(_rational_nodes), {"degrees": ((3, 2), (5, 4))}),
    Family("B-spline KAN", _splines, {"grid": (2, 3, 5, 10), "reach": (1.0, 2.0, 3.0)}),
    Family("FastKAN", _gaussians, {"centres": (4, 6, 8), "reach": (1.5, 2.0, 3.0)}),
    Family("Chebyshev KAN", _chebyshev, {"degree": (2, 3, 4, 6)}),
    Family(FOURIER_NAME, _fourier, {"fineness": SPECTRA}),
    Family("ReLU-KAN", _bumps, {"grid": (2, 3, 5), "reach": (1.0, 2.0, 3.0)}),
    Family("wavelet KAN", _wavelets, {"wavelet": ("mexican_hat", "dog", "morlet"), "wavelets": (2, 4)}),
    Family("one parameter an edge", _single, {"function": ("sine", "arctan")}),
    Family("GR-KAN", _rationals, {"start": ("silu", "gelu", "identity"), "degrees": ((3, 2), (5, 4))}),
    Family(
        "AF-KAN",
        _pairs,
        {"combination": ("quad1", "sum", "sum_prod"), "reduction": ("global_attn", "spatial_attn", "multistep")},
    ),
    Family(
        "S-KAN, all spaces kept",
        _selecting,
        {"spaces": (("splines", "polynomials"), ("splines", "circuits"), ("splines", "series", "circuits"))},
    ),
    Family(QKAN_NAME, _qkan, {"fineness": SPECTRA, "share": SHARES}),
    Family(HQKAN_NAME, _hqkan, {"fineness": SPECTRA, "share": SHARES}),
)

BY_NAME = {family.name: family for family in FAMILIES}
