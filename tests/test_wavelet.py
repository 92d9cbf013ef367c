"""The wavelets have mean zero and norm one, and the spectra that they are named after."""

import math

import pytest
import torch

from classical import WaveletKANLayer
from classical.wavelet import WAVELETS, Wavelet
from tolerances import EXACT

F64 = torch.float64

TAILS = {"mexican_hat": 1e-12, "morlet": 1e-12, "dog": 1e-12, "meyer": 1e-6, "shannon": 1e-3}
"""What sums over |u| < 3,000 miss: a square beyond falls as exp(-u**2), as u**-4, and, for Shannon's, as u**-2."""

each_wavelet = pytest.mark.parametrize("name", WAVELETS)


def sampled(name, step=1 / 8, reach=3000):
    """The trapezoidal rule is exact for spectra that end before pi / step, as those of squares here do."""
    u = torch.arange(-reach, reach, step, dtype=F64)
    return u, WAVELETS[name].function(u), step


def spectrum(name, frequency):
    u, values, step = sampled(name)
    return ((frequency * u).cos() * values).sum().item() * step, ((frequency * u).sin() * values).sum().item() * step


@each_wavelet
def test_a_wavelet_has_mean_zero_and_norm_one(name):
    _, values, step = sampled(name)
    assert values.square().sum().item() * step == pytest.approx(1, abs=TAILS[name])
    assert values.sum().item() * step == pytest.approx(0, abs=TAILS[name])


@pytest.mark.parametrize("frequency", [0.5, 1.0, 2.5])
def test_spectra_of_derivatives_of_gaussians_are_powers_times_gaussians(frequency):
    bell = math.sqrt(2 * math.pi) * math.exp(-(frequency**2) / 2)
    hat = 2 / (math.sqrt(3) * math.pi**0.25) * frequency**2 * bell
    slope = math.sqrt(2) / math.pi**0.25 * frequency * bell
    assert spectrum("mexican_hat", frequency) == pytest.approx((hat, 0), abs=1e-12)
    assert spectrum("dog", frequency) == pytest.approx((0, -slope), abs=1e-12)


def test_the_spectrum_of_the_morlet_wavelet_has_its_maximum_near_its_frequency():
    at = {frequency: spectrum("morlet", frequency)[0] for frequency in (0.0, 4.0, 5.0, 6.0)}
    assert at[0.0] == pytest.approx(0, abs=1e-12)
    assert at[4.0] == pytest.approx(at[6.0], rel=1e-6)
    assert at[4.0] == pytest.approx(at[5.0] * math.exp(-1 / 2), rel=1e-6)


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        (0.5 * math.pi, 0.0),
        (math.pi, math.sin(math.pi / 4)),
        (1.25 * math.pi, math.sin(math.pi / 2 * (3 * 1.25 / 2 - 1))),
        (2.0 * math.pi, math.cos(math.pi / 2 * (3 * 2.0 / 4 - 1))),
        (3.0 * math.pi, 0.0),
    ],
)
def test_the_spectrum_of_the_meyer_wavelet_is_its_definition(frequency, expected):
    assert spectrum("meyer", frequency) == pytest.approx((expected, 0), abs=1e-6)


@pytest.mark.parametrize(("frequency", "expected"), [(0.5, 0.0), (0.9, 0.0), (1.1, 1.0), (1.9, 1.0), (2.1, 0.0)])
def test_the_spectrum_of_the_shannon_wavelet_is_an_octave(frequency, expected):
    assert spectrum("shannon", frequency * math.pi) == pytest.approx((expected, 0), abs=3e-3)


@pytest.mark.parametrize("name", ["meyer", "shannon"])
def test_translates_by_whole_numbers_are_orthogonal(name):
    _, values, step = sampled(name)
    moved = values.roll(int(2 / step))
    assert (values * moved).sum().item() * step == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", ["meyer", "shannon"])
def test_nothing_breaks_where_closed_forms_divide_by_zero(name):
    points = torch.tensor([0.0, 0.375, -0.375, 0.75, -0.75, 0.5, 1.0], dtype=F64, requires_grad=True)
    function, near = WAVELETS[name].function, points.detach() + 1e-7
    torch.testing.assert_close(function(points), function(near), rtol=0, atol=1e-5)
    assert torch.autograd.gradcheck(function, points)


@each_wavelet
def test_a_layer_moves_and_stretches_the_wavelets_of_its_inputs(name):
    layer = WaveletKANLayer(2, 3, name, size=4, dtype=F64)
    layer.basis.translation.data, layer.basis.rate.data = torch.randn(2, 2, 4, dtype=F64, generator=torch.Generator())
    x = torch.tensor([0.3, -1.2], dtype=F64)
    expected = torch.zeros(3, dtype=F64)
    for i in range(2):
        for m in range(4):
            u = (x[i] - layer.basis.translation[i, m]) * layer.basis.rate[i, m]
            expected += layer.coefficients[:, i, m] * WAVELETS[name].function(u)
    torch.testing.assert_close(layer(x), expected, **EXACT)


def test_wavelets_start_side_by_side_on_the_domain():
    basis = Wavelet(2, size=4, domain=(0.0, 2.0), dtype=F64)
    torch.testing.assert_close(basis.translation[1], torch.tensor([0.25, 0.75, 1.25, 1.75], dtype=F64), **EXACT)
    assert basis.rate.eq(2).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WaveletKANLayer(2, 1, "haar"), r"`wavelet` must be one of mexican_hat, .*, but is 'haar'\."),
        (lambda: WaveletKANLayer(2, 1, size=0), r"`size` must be at least 1, but is 0\."),
        (lambda: WaveletKANLayer(2, 1, domain=(1.0, 0.0)), r"`domain` must be .*, but is \(1\.0, 0\.0\)\."),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@each_wavelet
@pytest.mark.parametrize("u", [1e6, -1e25])
def test_far_away_wavelets_and_their_slopes_are_finite(name, u):
    x = torch.tensor([u], requires_grad=True)
    y = WAVELETS[name].function(x)
    y.sum().backward()
    assert x.grad is not None
    assert abs(y.item()) < 1e-4
    assert x.grad.isfinite().all()
