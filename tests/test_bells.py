"""FastKAN layers are sums of Gaussian bells."""

import math

import pytest
import torch
from torch import nn

from classical import FastKAN, FastKANLayer
from classical.rbf import GaussianRBF
from tolerances import EXACT

F64 = torch.float64

ROWS = [(8, (-2.0, 2.0), None), (2, (-1.0, 3.0), None), (5, (0.0, 1.0), 0.3)]


def centres_of(count, domain):
    return torch.tensor([domain[0] + m * (domain[1] - domain[0]) / (count - 1) for m in range(count)], dtype=F64)


@pytest.mark.parametrize(("count", "domain", "width"), ROWS)
def test_each_bell_is_one_at_its_centre_and_falls_by_distance(count, domain, width):
    bells, centres = GaussianRBF(count, domain, width), centres_of(count, domain)
    h = width or (domain[1] - domain[0]) / (count - 1)
    values = bells(centres)
    torch.testing.assert_close(values.diagonal(), torch.ones(count, dtype=F64), **EXACT)
    expected = torch.exp(-((centres[:, None] - centres) ** 2) / h**2)
    torch.testing.assert_close(values, expected, **EXACT)


def test_neighbours_of_a_centre_are_at_one_over_e():
    values = GaussianRBF()(torch.tensor([-2 + 3 * 4 / 7], dtype=F64))[0]
    expected = [math.exp(-((m - 3) ** 2)) for m in range(8)]
    torch.testing.assert_close(values, torch.tensor(expected, dtype=F64), **EXACT)


@pytest.mark.parametrize(("count", "domain", "width"), ROWS)
def test_slopes_are_those_of_the_closed_form(count, domain, width):
    bells, h = GaussianRBF(count, domain, width), width or (domain[1] - domain[0]) / (count - 1)
    x = torch.linspace(-3, 3, 41, dtype=F64)
    slopes = torch.vmap(torch.func.jacrev(bells))(x)
    expected = -2 * (x[:, None] - centres_of(count, domain)) / h**2 * bells(x)
    torch.testing.assert_close(slopes, expected, **EXACT)
    assert slopes[20].abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_far_away_bells_and_their_slopes_vanish(dtype):
    x = torch.tensor([-1e6, 1e20, math.inf], dtype=dtype, requires_grad=True)
    y = GaussianRBF()(x)
    y.sum().backward()
    assert not y.any()
    assert x.grad is not None
    assert not x.grad[:2].any()


def test_the_base_sees_what_is_not_normalised():
    layer, x = FastKANLayer(3, 2, dtype=F64), torch.tensor([1.0, -5.0, 20.0], dtype=F64)
    layer.coefficients.data.zero_()
    assert layer.base_weight is not None
    torch.testing.assert_close(layer(x), nn.functional.silu(x) @ layer.base_weight.T, **EXACT)


def test_without_a_base_a_layer_does_not_see_the_scale_of_its_input():
    layer, x = FastKANLayer(5, 2, base=None, dtype=F64), torch.randn(5, dtype=F64, generator=torch.Generator())
    torch.testing.assert_close(layer(1e3 * x + 7), layer(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FastKANLayer(2, 1, centres=1), ValueError, r"`centres` must be at least 2, but is 1\."),
        (lambda: FastKANLayer(2, 1, 3.0), TypeError, r"`centres` must be an integer, such as 3, but is 3\.0\."),  # pyright: ignore
        (lambda: FastKANLayer(2, 1, width=0.0), ValueError, r"`width` must be positive and finite, but is 0\.0\."),
        (lambda: FastKANLayer(2, 1, domain=(1.0, 1.0)), ValueError, r"`domain` must be .* but is \(1\.0, 1\.0\)\."),
        (lambda: FastKAN([1, 1]), ValueError, r"`norm` must not be 'layer' for 1 input, .*: take 'batch' or None\."),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
