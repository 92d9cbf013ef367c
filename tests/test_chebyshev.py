"""The Chebyshev layers are Chebyshev polynomials of hyperbolic tangents."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev

from classical import ChebyshevKAN, ChebyshevKANLayer
from classical.chebyshev import chebyshev_basis
from tolerances import EXACT

F64 = torch.float64


@pytest.mark.parametrize("degree", [1, 2, 5, 12])
def test_polynomials_are_cosines_of_multiples_of_an_angle(degree):
    angle = torch.linspace(0, math.pi, 101, dtype=F64)
    expected = torch.cos(angle[:, None] * torch.arange(degree + 1, dtype=F64))
    torch.testing.assert_close(chebyshev_basis(angle.cos(), degree), expected, **EXACT)


@pytest.mark.parametrize("order", range(6))
def test_an_edge_reproduces_each_polynomial_that_it_has(order):
    """Outside [-1, 1] too, where no arccos would do."""
    layer = ChebyshevKANLayer(1, 1, degree=5, dtype=F64)
    layer.coefficients.data = torch.eye(6, dtype=F64)[order].reshape(1, 1, 6)
    x = torch.linspace(-3, 3, 31, dtype=F64)
    expected = chebyshev.chebval(np.tanh(x.numpy()), np.eye(6)[order])
    np.testing.assert_allclose(layer(x[:, None])[:, 0].detach(), expected, atol=1e-12)
    u = torch.linspace(-1.2, 1.2, 31, dtype=F64)
    np.testing.assert_allclose(chebyshev_basis(u, 5)[:, order], chebyshev.chebval(u, np.eye(6)[order]), atol=1e-12)


def test_slopes_at_the_ends_are_the_squares_of_the_degrees():
    slopes = torch.func.jacrev(lambda u: chebyshev_basis(u, 5))(torch.tensor(1.0, dtype=F64))
    torch.testing.assert_close(slopes, torch.arange(6, dtype=F64).square(), **EXACT)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64])
def test_saturated_inputs_have_finite_values_and_gradients(dtype):
    x = torch.tensor([[-1e4, 9.2, 30.0], [20.0, -math.inf, math.inf]], dtype=dtype, requires_grad=True)
    model = ChebyshevKAN([3, 4, 2], degree=6, dtype=dtype)
    assert x.detach().float().tanh().abs().max() == 1
    y = model(x)
    y.square().sum().backward()
    assert x.grad is not None
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("inputs", [10, 200])
def test_edges_start_without_a_mean_and_layers_with_variance_one_for_any_width(inputs):
    layer = ChebyshevKANLayer(inputs, 500, dtype=F64)
    layer.reset_parameters(torch.Generator().manual_seed(1))
    nodes, weights = layer.basis.inputs()
    means = torch.einsum("n,nm,oim->oi", weights, layer.basis(nodes), layer.coefficients)
    torch.testing.assert_close(means, torch.zeros_like(means), **EXACT)
    x = torch.randn(1000, inputs, dtype=F64, generator=torch.Generator().manual_seed(2))
    assert layer(x).var().item() == pytest.approx(1, rel=0.1)


def test_a_degree_below_one_is_named():
    with pytest.raises(ValueError, match=r"`degree` must be at least 1, but is 0\."):
        ChebyshevKAN([2, 1], degree=0)
