"""The Fourier layers are trigonometric series, summed over the inputs: the classical twins of circuits."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from circuits import pz
from classical import FourierKAN, FourierKANLayer
from classical.fourier import fourier_basis
from qkan import QKANLayer
from tolerances import EXACT

F64 = torch.float64

BATCHES = [(), (1,), (4,), (2, 3), (2, 1, 3)]


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, dtype=F64):
    return torch.randn(*shape, dtype=dtype, generator=drawn())


def summed(layer, x):
    """The layer by its formula, one term at a time."""
    y = torch.zeros(*x.shape[:-1], layer.out_features, dtype=x.dtype)
    for o in range(layer.out_features):
        for i in range(layer.in_features):
            for k in range(1, layer.basis.degree + 1):
                angle = k * layer.basis.frequency * x[..., i]
                y[..., o] += layer.coefficients[o, i, k - 1] * torch.cos(angle)
                y[..., o] += layer.coefficients[o, i, layer.basis.degree + k - 1] * torch.sin(angle)
            if layer.base is not None:
                y[..., o] += layer.base_weight[o, i] * layer.base(x[..., i])
        if layer.bias is not None:
            y[..., o] += layer.bias[o]
    return y


LAYERS = [
    {},
    {"bias": False},
    {"base": None},
    {"base": None, "bias": False, "degree": 1},
    {"base": torch.tanh, "degree": 5, "frequency": math.pi},
    {"base": "identity", "frequency": 0.3, "smoothness": 0.0},
]


@pytest.mark.parametrize("kwargs", LAYERS)
def test_a_layer_is_the_double_sum(kwargs):
    layer, x = FourierKANLayer(3, 2, **kwargs, dtype=F64), draw(7, 3)
    if layer.bias is not None:
        layer.bias.data = draw(2)
    torch.testing.assert_close(layer(x), summed(layer, x), **EXACT)


@pytest.mark.parametrize("frequency", [0.5, 1.0, math.pi])
def test_without_a_base_the_layer_has_the_period_of_its_first_harmonic(frequency):
    layer, x = FourierKANLayer(2, 3, 4, frequency, base=None, dtype=F64), draw(5, 2)
    period = 2 * math.pi / frequency
    torch.testing.assert_close(layer(x + period), layer(x), **EXACT)
    assert (layer(x + period / 2) - layer(x)).abs().max() > 1e-2


def test_its_spectrum_is_its_coefficients():
    layer = FourierKANLayer(1, 1, 4, base=None, dtype=F64)
    assert layer.bias is not None
    layer.bias.data.fill_(0.7)
    x = 2 * math.pi * torch.arange(16, dtype=F64)[:, None] / 16
    spectrum = np.fft.rfft(layer(x)[:, 0].detach().numpy()) / 8
    cosines, sines = layer.coefficients.detach().numpy().reshape(2, 4)
    np.testing.assert_allclose(spectrum[1:5], cosines - 1j * sines, atol=1e-12)
    assert spectrum[0] / 2 == pytest.approx(0.7)
    np.testing.assert_allclose(spectrum[5:], 0, atol=1e-12)


@pytest.mark.parametrize("reps", [1, 3])
@pytest.mark.parametrize("frequency", [1.0, math.pi])
def test_a_circuit_with_equal_scales_is_such_a_series_of_the_degree_of_its_repetitions(reps, frequency):
    """Solve for the coefficients of a quantum layer, and find nothing left over: the control has its spectrum."""
    quantum = QKANLayer(2, 3, pz(reps), init_scale=frequency, frozen=["scale"], dtype=F64)
    layer = FourierKANLayer(2, 3, reps, frequency, "silu", dtype=F64)
    x, y = draw(60, 2), quantum(draw(60, 2)).detach()

    def fitted(degree):
        features = fourier_basis(x, degree, frequency).flatten(-2)
        features = torch.cat([features, nn.functional.silu(x), torch.ones(60, 1, dtype=F64)], -1)
        return torch.linalg.lstsq(features, y).solution, features

    solution, features = fitted(reps)
    torch.testing.assert_close(features @ solution, y, rtol=0, atol=1e-9)
    assert layer.base_weight is not None
    assert layer.bias is not None
    series, base, bias = solution.T.split([4 * reps, 2, 1], -1)
    layer.coefficients.data, layer.base_weight.data = series.reshape(3, 2, 2 * reps), base
    layer.bias.data = bias[:, 0]
    torch.testing.assert_close(layer(x), y, rtol=0, atol=1e-9)
    if reps > 1:
        solution, features = fitted(reps - 1)
        assert (features @ solution - y).abs().max() > 1e-3


@pytest.mark.parametrize(("degree", "smoothness"), [(1, 1.0), (3, 0.0), (6, 1.0), (6, 2.0)])
@pytest.mark.parametrize("location", [0.0, 3.0])
def test_the_series_starts_with_unit_mean_square_wherever_the_inputs_are(degree, smoothness, location):
    """2,000 outputs with 100 inputs, each of its own weights, so independent and nearly normal: five deviations."""
    layer = FourierKANLayer(100, 2000, degree, base=None, smoothness=smoothness, dtype=F64)
    layer.reset_parameters(drawn(2))
    y = layer(location + 0.01 * torch.randn(100, dtype=F64, generator=drawn(1)))
    assert y.mean().item() == pytest.approx(0, abs=5 / math.sqrt(2000))
    assert y.square().mean().item() == pytest.approx(1, rel=5 * math.sqrt(2 / 2000))


@pytest.mark.parametrize("base", ["silu", "identity", "tanh", nn.PReLU(dtype=F64)])
def test_the_base_gives_half_of_it_for_normal_inputs(base):
    layer = FourierKANLayer(100, 2000, base=base, dtype=F64)
    layer.reset_parameters(drawn(2))
    assert layer.base is not None
    assert layer.base_weight is not None
    x = torch.randn(2000, 100, dtype=F64, generator=drawn(1))
    half = (layer.base_weight * layer.base(x)).sum(-1)
    assert half.square().mean().item() == pytest.approx(0.5, rel=5 * math.sqrt(2 / 2000))
    assert layer(x).square().mean().item() == pytest.approx(1, rel=0.1)


def test_harmonics_start_as_their_smoothness_says():
    layer = FourierKANLayer(100, 1000, degree=4, smoothness=2.0, dtype=F64)
    layer.reset_parameters(drawn(3))
    deviations = layer.coefficients.detach().square().mean((0, 1)).sqrt().reshape(2, 4)
    expected = torch.arange(1, 5, dtype=F64) ** -2.0 * deviations[0, 0]
    torch.testing.assert_close(deviations, expected.expand(2, 4), rtol=0.02, atol=0.0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FourierKANLayer(0, 1), ValueError, r"Argument `in_features` must be at least 1, but is 0\."),
        (lambda: FourierKANLayer(1, -2), ValueError, r"Argument `out_features` must be at least 1, but is -2\."),
        (lambda: FourierKANLayer(2.0, 1), TypeError, r"`in_features` must be an integer, such as 3, but is 2\.0\."),  # pyright: ignore
        (lambda: FourierKANLayer(1, 1, degree=0), ValueError, r"`degree` must be at least 1, but is 0\."),
        (lambda: FourierKANLayer(1, 1, True), TypeError, r"`degree` must be an integer, .*, but is True\."),
        (lambda: FourierKANLayer(1, 1, 3, 0.0), ValueError, r"`frequency` must be positive and finite, but is 0\.0\."),
        (lambda: FourierKANLayer(1, 1, 3, math.nan), ValueError, r"`frequency` must be positive .*, but is nan\."),
        (lambda: FourierKANLayer(1, 1, 3, "1"), TypeError, r"`frequency` must be a number, such as 1\.0, but is '1'\."),  # pyright: ignore
        (lambda: FourierKANLayer(1, 1, smoothness=math.inf), ValueError, r"`smoothness` must be finite, but is inf\."),
        (lambda: FourierKANLayer(1, 1, base="swish"), ValueError, r"`base` must be .* relu, .*, but is 'swish'\."),
        (lambda: FourierKANLayer(1, 1, base=nn.SiLU), TypeError, r"`base` must be a name or a function .*, but is <"),  # pyright: ignore
        (lambda: FourierKAN([3]), ValueError, r"`widths` must have 2 entries or more, as in FourierKAN\(\[2, 5, 1\]\)"),
        (lambda: FourierKAN([3, 0]), ValueError, r"`widths` must have positive entries only, but has 0\."),
        (lambda: FourierKAN([3, 1], degree=0), ValueError, r"`degree` must be at least 1, but is 0\."),
        (
            lambda: FourierKANLayer(3, 1)(torch.ones(5, 2)),
            ValueError,
            r"`x` must have shape \(\*batch, 3\), .* \(5, 2\)",
        ),
        (
            lambda: FourierKAN([1, 1])(torch.tensor(1.0)),
            ValueError,
            r"`x` must have shape \(\*batch, 1\), but has \(\)",
        ),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
