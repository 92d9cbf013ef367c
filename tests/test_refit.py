"""A layer that gets another basis keeps its function, as far as the new basis can express it."""

import numpy as np
import pytest
import torch
from torch import nn

from classical import BSplineKANLayer, FourierKANLayer
from classical.edge import EdgeLayer
from classical.fourier import Fourier
from classical.refit import refit, transfer
from classical.spline_basis import BSpline

F64 = torch.float64


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, dtype=F64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=drawn(seed))


def spline(**options):
    """With scalers that are not 1, which a refit must not apply twice."""
    layer = BSplineKANLayer(3, 2, **{"dtype": F64, **options})
    layer.reset_parameters(drawn(1))
    if layer.scaler is not None:
        layer.scaler.data.uniform_(-2, 2, generator=drawn(2))
    return layer


@pytest.mark.parametrize(("dtype", "bar"), [(F64, 1e-10), (torch.float32, 1e-6)])
@pytest.mark.parametrize("options", [{}, {"base": "silu", "norm": "batch"}])
def test_the_degree_of_a_series_is_raised_exactly(dtype, bar, options):
    layer = FourierKANLayer(3, 2, degree=3, dtype=dtype, **options)
    layer.reset_parameters(drawn(1))
    x, new = draw(60, 3, dtype=dtype), draw(20, 3, dtype=dtype, seed=5)
    before, old = (layer(new) if layer.norm is None else layer(x)).detach(), layer.coefficients.detach().clone()
    assert refit(layer, Fourier(degree=6), x) < bar
    torch.testing.assert_close(layer(new if layer.norm is None else x), before, rtol=0, atol=50 * bar)
    cosines, sines = layer.coefficients.detach().split(6, -1)
    torch.testing.assert_close(torch.cat([cosines[..., :3], sines[..., :3]], -1), old, rtol=0, atol=50 * bar)
    assert torch.cat([cosines[..., 3:], sines[..., 3:]], -1).abs().max() < 50 * bar


def test_every_edge_is_kept_and_scalers_are_not_applied_twice():
    layer, x = spline(), draw(300, 3).clamp(-0.99, 0.99)
    assert layer.scaler is not None
    edges, scaler = layer.edge_values(x).detach(), layer.scaler.detach().clone()
    assert refit(layer, BSpline(grid_size=15), x) < 1e-10  # Cells are thirds of the old ones.
    torch.testing.assert_close(layer.edge_values(x), edges, rtol=0, atol=1e-10)
    assert torch.equal(layer.scaler, scaler)


def test_a_layer_of_splines_without_splines_has_no_published_cost():
    layer = spline()
    assert layer.cost().published_flops is not None
    refit(layer, Fourier(8), draw(200, 3))
    assert layer.cost().published_flops is None
    assert layer.cost().parameters == sum(parameter.numel() for parameter in layer.parameters())


def test_nothing_comes_closer_to_a_function_that_cannot_be_kept():
    """Against numpy's least squares of every edge on its own."""
    layer, x = spline(base=None, scaler=False), draw(200, 3)
    edges = layer.edge_values(x).detach()
    change = refit(layer, Fourier(degree=2), x)
    assert change > 1e-2
    features = Fourier(degree=2)(x).numpy()
    for i in range(3):
        solution, *_ = np.linalg.lstsq(features[:, i], edges[..., i].numpy(), rcond=None)
        torch.testing.assert_close(layer.coefficients[:, i].detach(), torch.from_numpy(solution.T), rtol=0, atol=1e-9)
    assert (layer(x) - edges.sum(-1)).abs().max().item() == pytest.approx(change)


@pytest.mark.parametrize("count", [1, 4])
def test_fewer_samples_than_functions_are_kept_too(count):
    layer, x = spline(), draw(count, 3)
    before = layer(x).detach()
    assert refit(layer, BSpline(grid_size=20, domain=(-3.0, 3.0)), x) < 1e-6
    torch.testing.assert_close(layer(x), before, rtol=0, atol=1e-6)
    assert layer.coefficients.isfinite().all()


def test_samples_that_are_all_equal_are_no_trouble():
    layer = spline()
    assert refit(layer, Fourier(), torch.full((50, 3), 0.3, dtype=F64)) < 1e-6
    assert layer.coefficients.isfinite().all()


def test_a_function_that_no_sample_sees_gets_no_weight():
    layer, x = spline(), draw(100, 3).clamp(-1, 1)
    refit(layer, BSpline(grid_size=10, domain=(-3.0, 3.0)), x)
    assert layer.coefficients[..., 0].abs().max() < 1e-6
    assert layer.coefficients[..., 6].abs().max() > 1e-3


def test_weights_of_samples_are_repetitions():
    x, old, new = draw(30, 2), Fourier(3), Fourier(2)
    repeated = transfer(old, new, torch.cat([x, x[:10], x[:10]]))
    weights = torch.ones(30, dtype=F64)
    weights[:10] = 3
    torch.testing.assert_close(transfer(old, new, x, weights / 50), repeated, rtol=0, atol=1e-9)


def test_statistics_of_a_normalisation_do_not_notice():
    layer = FourierKANLayer(3, 2, norm="batch", dtype=F64)
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    refit(layer, Fourier(7), 2 + draw(60, 3))
    assert before
    for name, buffer in layer.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_the_basis_follows_the_layer():
    layer = EdgeLayer(3, 2, Fourier(3)).eval()
    refit(layer, BSpline(), draw(50, 3))
    assert layer.coefficients.dtype == torch.float32
    assert not layer.basis.training
    frozen = FourierKANLayer(3, 2)
    frozen.coefficients.requires_grad_(False)
    refit(frozen, Fourier(8), draw(50, 3))
    assert not frozen.coefficients.requires_grad
    assert isinstance(frozen.coefficients, nn.Parameter)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda layer: refit(layer, Fourier(), torch.ones(0, 3)), ValueError, r"`x` must have one sample or more"),
        (lambda layer: refit(layer, Fourier(), torch.ones(5, 2)), ValueError, r"`x` must have shape \(\*batch, 3\)"),
        (lambda layer: refit(layer, Fourier(), torch.ones(2, 3) / 0), ValueError, r"`x` must .* all finite, but is"),
        (lambda layer: refit(layer, Fourier(), torch.ones(2, 3), ridge=0), ValueError, r"`ridge` must be positive"),
        (lambda layer: refit(layer, Fourier(), torch.ones(2, 3), ridge="1"), TypeError, r"`ridge` must be a number"),  # pyright: ignore
    ],
)
def test_an_impossible_argument_is_named_and_nothing_changes(spoil, error, message):
    layer = spline()
    basis, before = layer.basis, layer.coefficients.detach().clone()
    with pytest.raises(error, match=message):
        spoil(layer)
    assert layer.basis is basis
    assert torch.equal(layer.coefficients, before)
