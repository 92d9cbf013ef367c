"""Grids of B-splines become finer without a change of the function, and move to where samples are."""

import copy
import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from classical import BSplineKAN, BSplineKANLayer
from classical.grids import insertion, knots_of_samples, nested_knots, uniform_knots
from classical.knots import bspline_basis_on
from tolerances import EXACT

F64 = torch.float64

POLICIES = pytest.mark.parametrize("outside", ["fade", "clamp", "linear"])
BARS = pytest.mark.parametrize(("dtype", "bar"), [(F64, 1e-10), (torch.float32, 1e-6)])
SAMPLES = {
    "normal": lambda x: x,
    "narrow": lambda x: 0.3 + 1e-2 * x,
    "far": lambda x: 40 + 3 * x,
    "skewed": lambda x: x.exp(),
    "tied": lambda x: x.round(),
    "constant": lambda x: 0 * x + 0.1,
    "one": lambda x: x[:1],
}
EVERY = pytest.mark.parametrize("shape", SAMPLES)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, dtype=F64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=drawn(seed))


def made(make: Callable[..., Any], *sizes, **options) -> Any:
    """With scalers that are not 1, which an update must not apply twice."""
    model = make(*sizes, **{"dtype": F64, **options})
    model.reset_parameters(drawn(1))
    for name, parameter in model.named_parameters():
        if name.endswith("scaler"):
            parameter.data.uniform_(-2, 2, generator=drawn(2))
    return model


def moved(make: Callable[..., Any], *sizes, **options) -> Any:
    """On knots that are not uniform."""
    model = made(make, *sizes, **options)
    inputs = sizes[0][0] if isinstance(sizes[0], list) else sizes[0]
    model.update_grid(draw(50, inputs, seed=3).exp() / 2, keep="cells")
    return model


# The function is kept.


@BARS
@POLICIES
@EVERY
def test_an_update_keeps_the_function_on_its_samples(dtype, bar, outside, shape):
    layer, x = made(BSplineKANLayer, 3, 2, dtype=dtype, outside=outside), SAMPLES[shape](draw(200, 3, dtype=dtype))
    before = copy.deepcopy(layer)
    change = layer.update_grid(x)
    exact = copy.deepcopy(layer).double()(x.double()) - before.double()(x.double())
    scale = max(1.0, x.abs().max().item() if outside == "linear" else 1.0)
    assert change == pytest.approx(exact.abs().max().item(), abs=1e-12)
    assert change <= bar * scale
    assert layer.basis.grid_size >= 10


@BARS
@POLICIES
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("samples", [None, "skewed"])
def test_a_refinement_keeps_the_function_everywhere(dtype, bar, outside, degree, samples):
    layer = made(BSplineKANLayer, 3, 2, degree=degree, outside=outside, dtype=dtype)
    x = 2 * draw(400, 3, dtype=dtype, seed=4)
    x = x if degree else x[(x.abs() * 40 % 1 - 0.5).abs().amin(-1) > 0.1]  # off the jumps of steps
    before = layer(x).detach()
    layer.refine(30, None if samples is None else SAMPLES[samples](draw(100, 3, dtype=dtype)))
    assert layer.basis.grid_size == 30
    assert layer.coefficients.shape == (2, 3, 30 + degree)
    torch.testing.assert_close(layer(x), before, rtol=0, atol=10 * bar)


def test_a_network_is_kept_through_updates_and_refinements():
    model, x = made(BSplineKAN, [3, 4, 2]), 2 * draw(200, 3)
    before = model(x).detach()
    assert model.update_grid(x) < 1e-10
    model.refine(40)
    model.refine(50, x)
    assert [layer.basis.grid_size for layer in model.layers] == [50, 50]
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-10)


def test_an_update_of_as_many_cells_says_how_much_it_changes():
    model, x = made(BSplineKAN, [3, 4, 2]), 2 * draw(200, 3)
    before, parameters = model(x).detach(), list(model.parameters())
    change = model.update_grid(x, keep="cells")
    assert 1e-3 < change < 3
    assert (model(x) - before).abs().max().item() == pytest.approx(change)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert model.update_grid(x, keep="cells") < 1e-3


def test_every_layer_follows_what_the_layers_before_it_hand_on():
    model, x = made(BSplineKAN, [3, 4, 2]), 2 * draw(200, 3)
    model.update_grid(x, keep="cells")
    for layer in model.layers:
        inner = layer.basis.grid(layer.in_features)[:, 3:-3]
        torch.testing.assert_close(inner[:, 0], x.amin(0), rtol=0, atol=1e-9)
        torch.testing.assert_close(inner[:, -1], x.amax(0), rtol=0, atol=1e-9)
        x = layer(x)


def test_moved_cells_hold_the_function_that_is_closest():
    """Against least squares of the outputs of a layer of one input."""
    layer, x = made(BSplineKANLayer, 1, 2, base=None), 2 * draw(300, 1)
    before = layer(x).detach()
    layer.update_grid(x, keep="cells")
    features = layer.features(x).flatten(-2)
    best = features @ torch.linalg.lstsq(features, before).solution
    torch.testing.assert_close(layer(x), best, rtol=0, atol=1e-7)


def test_between_samples_moved_cells_stay_near_the_function():
    layer = made(BSplineKANLayer, 1, 1, base=None, domain=(0.0, 1.0))
    x = torch.linspace(0, 1, 100, dtype=F64)[:, None]
    before = layer(x).detach()
    assert layer.update_grid(x[[0, -1]], keep="cells", mix=1.0) < 1e-8
    torch.testing.assert_close(layer(x), before, rtol=0, atol=1e-8)


# The grids.


def test_a_cubic_on_cells_of_any_width_is_reproduced():
    layer = moved(BSplineKANLayer, 1, 1, base=None, scaler=False)
    knots = layer.basis.grid(1)[0]
    assert knots.diff().max() > 5 * knots.diff().min()
    x = torch.linspace(knots[3], knots[-4], 101, dtype=F64)[:-1, None]
    target = 1 - 2 * x + 0.5 * x**2 + 3 * x**3
    solution = torch.linalg.lstsq(layer.features(x)[:, 0], target).solution
    layer.coefficients.data = solution.reshape(1, 1, -1)
    torch.testing.assert_close(layer(x), target, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("degree", range(5))
def test_inserted_knots_give_the_same_functions(degree):
    old = nested_knots(uniform_knots(4, degree, (-1.0, 1.0)).expand(2, -1), degree, 14, draw(30, 2), True, F64)
    new = nested_knots(old, degree, 36, draw(50, 2, seed=1).exp(), True, F64)
    assert new.shape == (2, 36 + 2 * degree + 1)
    for i in range(2):
        assert set(old[i].tolist()) <= set(new[i].tolist())
    x = 4 * draw(200, 2, seed=2)
    matrix = insertion(old, new, degree)
    assert matrix.min() >= 0
    assert matrix.max() <= 1 + 1e-12
    sums = torch.einsum("nij,ikj->nik", bspline_basis_on(x, new, degree), matrix)
    torch.testing.assert_close(sums, bspline_basis_on(x, old, degree), **EXACT)


@pytest.mark.parametrize(("cells", "expected"), [(4, {0.5}), (8, {0.25}), (6, {0.25, 0.5})])
def test_without_samples_the_widest_cells_are_halved(cells, expected):
    knots = nested_knots(uniform_knots(4, 3, (-1.0, 1.0))[None], 3, cells, None, True, F64)
    assert set(knots[0, 3:-3].diff().tolist()) == expected


def test_with_samples_knots_come_where_they_are():
    x = torch.cat([torch.full((90, 1), 0.6), torch.full((10, 1), -0.9)]) + 0.05 * draw(100, 1)
    knots = nested_knots(uniform_knots(4, 3, (-1.0, 1.0))[None], 3, 12, x, True, F64)
    inner = knots[0, 3:-3]
    assert ((inner > 0.45) & (inner < 0.75)).sum() >= 5
    assert ((inner > -0.45) & (inner < 0.45)).sum() == 1


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_cells_are_never_empty(shape, dtype):
    x = SAMPLES[shape](draw(100, 2, dtype=dtype)).double()
    knots = uniform_knots(5, 3, (-1.0, 1.0)).expand(2, -1).to(dtype).double()
    for grid in (nested_knots(knots, 3, 40, x, True, dtype), knots_of_samples(knots, 3, x, 0.02, dtype)):
        assert torch.equal(grid, grid.to(dtype).double())
        assert (grid.diff() > 0).all()
    mean = (x.amax(0) - x.amin(0)) / 5
    moved = knots_of_samples(knots, 3, x, 0.02, dtype)
    assert (moved.diff().amin(-1) >= 0.0199 * mean).all()


def test_moved_knots_are_the_published_mixture():
    x = draw(101, 2).exp()
    knots = knots_of_samples(uniform_knots(4, 2, (-1.0, 1.0)).expand(2, -1), 2, x, 0.3, F64)
    quantiles = torch.quantile(x, torch.linspace(0, 1, 5, dtype=F64), dim=0).T
    low, high = x.amin(0)[:, None], x.amax(0)[:, None]
    expected = 0.3 * (low + (high - low) * torch.linspace(0, 1, 5, dtype=F64)) + 0.7 * quantiles
    torch.testing.assert_close(knots[:, 2:-2], expected, **EXACT)
    for outer in (knots[:, :3], knots[:, -3:]):
        torch.testing.assert_close(outer.diff(), (high - low).expand(2, 2) / 4, **EXACT)


def test_an_input_that_does_not_vary_keeps_its_knots():
    knots = uniform_knots(4, 2, (-1.0, 1.0)).expand(2, -1)
    x = torch.stack([draw(50), torch.full((50,), 7.0, dtype=F64)], -1)
    new = knots_of_samples(knots, 2, x, 0.1, F64)
    assert torch.equal(new[1], knots[1])
    assert not torch.equal(new[0], knots[0])


def test_the_domain_grows_to_hold_samples_only_where_splines_fade():
    x = torch.tensor([[-1.3, 0.0], [5.0, 0.5]], dtype=F64)
    for outside, low, high in (("fade", [-1.3, -1.0], [5.0, 1.0]), ("clamp", [-1.0, -1.0], [1.0, 1.0])):
        layer = made(BSplineKANLayer, 2, 1, outside=outside)
        layer.update_grid(x)
        inner = layer.basis.grid(2)[:, 3:-3]
        assert inner[:, 0].tolist() == low
        assert inner[:, -1].tolist() == high


def test_what_a_normalisation_makes_of_the_samples_is_what_counts():
    layer, x = made(BSplineKANLayer, 3, 2, norm="batch"), 100 + 5 * draw(200, 3)
    statistics = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    before = copy.deepcopy(layer)(x)
    assert layer.update_grid(x) < 1e-10
    inner = layer.basis.grid(3)[:, 3:-3]
    assert inner.abs().max() < 5
    for name, value in statistics.items():
        assert torch.equal(layer.get_buffer(name), value), name
    torch.testing.assert_close(layer(x), before, rtol=0, atol=1e-10)


# What else a layer on moved knots has to do.


@POLICIES
def test_gradients_are_those_of_finite_differences(outside):
    model = moved(BSplineKAN, [2, 3, 2], grid_size=3, outside=outside)
    names, values = zip(*model.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (draw(4, 2).requires_grad_(), *values))


def test_it_is_traced_as_one_graph_before_and_after():
    torch._dynamo.reset()  # Graphs of other tests count towards a limit.
    model, x = made(BSplineKAN, [2, 3], outside="linear"), draw(5, 2)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for change in (lambda: None, lambda: model.update_grid(x, keep="cells"), lambda: model.refine(9)):
        change()
        torch.testing.assert_close(compiled(x), model(x), **EXACT)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of torch 2.6, which maps over scatter_add_ slowly
@pytest.mark.filterwarnings(
    r"ignore:torch.searchsorted\(\). input value tensor is non-contiguous"
)  # as vmap hands it on
def test_per_sample_transforms_agree_with_the_batch():
    model, x = moved(BSplineKAN, [2, 3, 2]), draw(5, 2)
    torch.testing.assert_close(torch.vmap(model)(x), model(x), **EXACT)
    jacobians = torch.vmap(torch.func.jacrev(model))(x)
    each = torch.stack([torch.autograd.functional.jacobian(model, one) for one in x])
    torch.testing.assert_close(jacobians, each, **EXACT)


@pytest.mark.parametrize("batch", [(0,), (2, 0)])
def test_an_empty_batch_has_an_empty_result(batch):
    y = moved(BSplineKAN, [2, 3, 2])(torch.empty(*batch, 2, dtype=F64))
    assert y.shape == (*batch, 2)


def test_moved_knots_follow_to_other_devices_and_dtypes():
    model = moved(BSplineKAN, [2, 3, 2]).to("meta").float()
    assert model(torch.empty(5, 2, device="meta")).shape == (5, 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_moves_and_refines(dtype):
    layer, x = made(BSplineKANLayer, 2, 3, dtype=dtype), draw(50, 2).to(dtype)
    assert layer.update_grid(x) < 0.1
    assert layer.update_grid(x, keep="cells") < 1
    assert layer(x).isfinite().all()


def test_costs_are_those_of_the_present_grid():
    model = made(BSplineKAN, [3, 4, 2])
    model.refine(20)
    cost = model.cost()
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters()) == 20 * (20 + 3 + 2)
    assert cost.flops > made(BSplineKAN, [3, 4, 2], grid_size=20).cost().flops


def test_a_new_start_is_on_uniform_knots():
    layer, fresh = moved(BSplineKANLayer, 3, 2), made(BSplineKANLayer, 3, 2)
    layer.reset_parameters(drawn(1))
    assert layer.basis.knots is None
    assert torch.equal(layer.coefficients, fresh.coefficients)
    assert layer.cost() == fresh.cost()


# Saving, loading and training on.


def test_a_state_dict_carries_the_grid_into_a_model_of_another_size():
    model, x = moved(BSplineKAN, [2, 4, 3]), draw(20, 2)
    model.refine(12, x)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    models: list[Any] = [BSplineKAN([2, 4, 3], grid_size=size, dtype=F64) for size in (5, 12, 30)]
    for fresh in (*models, moved(BSplineKAN, [2, 4, 3])):
        fresh.load_state_dict(state)
        assert [layer.basis.grid_size for layer in fresh.layers] == [12, 12]
        assert torch.equal(fresh(x), model(x))
        fresh(x).sum().backward()


def test_models_that_exchange_state_share_nothing():
    model, other, x = moved(BSplineKAN, [2, 3]), BSplineKAN([2, 3], dtype=F64), draw(20, 2)
    other.load_state_dict(model.state_dict())
    before = model(x)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.add_(0.5)
    assert torch.equal(model(x), before)


def test_an_earlier_state_on_uniform_knots_comes_back():
    model, x = made(BSplineKAN, [2, 4, 3]), draw(20, 2)
    before, state = model(x), copy.deepcopy(model.state_dict())
    assert not [name for name in state if name.endswith("knots")]
    model.update_grid(x, keep="cells")
    model.load_state_dict(state)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("make", [lambda: BSplineKAN([2, 3], grid_size=7), lambda: moved(BSplineKAN, [2, 3], degree=2)])
def test_a_state_that_cannot_fit_says_what_to_do(make):
    with pytest.raises(RuntimeError, match=r"7 cells|degree 3 .*: make the model with the arguments that the saved"):
        BSplineKAN([2, 3], dtype=F64).load_state_dict(make().state_dict())
    model = BSplineKAN([2, 3], grid_size=20)
    with pytest.raises(RuntimeError, match=r"8 coefficients an edge on uniform knots do not fit .* on 20 cells: make"):
        model.load_state_dict(BSplineKAN([2, 3]).state_dict())


def fit(model, x, y, steps=40):
    """Losses before and after some steps of a new optimiser."""
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        return loss

    first = optimizer.step(closure)
    return first.item(), closure().item()


def test_the_ladder_of_grids_lowers_the_loss_at_every_rung():
    x = 2 * torch.rand(300, 2, dtype=F64, generator=drawn()) - 1
    y = torch.exp(torch.sin(4 * math.pi * x[:, :1]) + x[:, 1:] ** 2)
    model = made(BSplineKAN, [2, 2, 1], grid_size=3)
    _, last = fit(model, x, y)
    for cells in (5, 10, 20):
        model.refine(cells)
        first, after = fit(model, x, y)
        assert first == pytest.approx(last, rel=1e-9)
        assert after < 0.7 * first
        last = after


def test_an_optimiser_goes_on_after_an_update_of_as_many_cells():
    model, x = made(BSplineKAN, [2, 3, 1]), draw(100, 2)
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        before = parameters_to_vector(model.parameters()).detach().clone()
        optimizer.step()
        # But for splines on cells without samples.
        assert (parameters_to_vector(model.parameters()) != before).double().mean() > 0.9
        model.update_grid(x, keep="cells")


def test_a_graph_of_the_coarse_grid_does_not_disturb_the_finer_one():
    model, x = made(BSplineKAN, [2, 1]), draw(20, 2)
    alive = model(x).square().mean()
    model.refine(12)
    model(x).square().mean().backward()
    alive.backward()
    (layer,) = model.layers
    assert isinstance(layer.coefficients, nn.Parameter)
    assert layer.coefficients.grad is not None
    assert layer.coefficients.grad.shape == (1, 2, 15)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda model: model.refine(4), ValueError, r"`grid_size` must be at least 5, the cells .*, but is 4\."),
        (lambda model: model.refine(6, draw(9, 2) * 9), ValueError, r"`grid_size` must be at least \d+, .*, but is 6"),
        (lambda model: model.refine(7.0), TypeError, r"`grid_size` must be an integer, .*, but is 7\.0\."),
        (lambda model: model.refine(7, draw(3)), ValueError, r"`x` must have shape \(\*batch, 2\), but has \(3,\)"),
        (lambda model: model.update_grid(draw(0, 2)), ValueError, r"`x` must have one sample or more"),
        (lambda model: model.update_grid(draw(3, 2) / 0), ValueError, r"`x` must .* all finite, but is"),
        (lambda model: model.update_grid(draw(3, 2), "size"), ValueError, r"`keep` must be one of function, cells"),
        (lambda model: model.update_grid(draw(3, 2), "cells", 0.0), ValueError, r"`mix` must be above 0 .* is 0\.0\."),
        (lambda model: model.update_grid(draw(3, 2), "cells", 1.5), ValueError, r"`mix` .* at most 1, but is 1\.5\."),
    ],
)
def test_an_impossible_argument_is_named_and_nothing_changes(spoil, error, message):
    model = made(BSplineKAN, [2, 1])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(error, match=message):
        spoil(model)
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
