"""The B-spline layers are de Boor's splines, summed over the inputs."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch import nn

from classical import BSplineKAN, BSplineKANLayer
from classical.bspline import bspline_basis
from tolerances import EXACT, Tolerance

F64 = torch.float64

STEEP: Tolerance = {"rtol": 1e-9, "atol": 1e-9}
"""EXACT for derivatives, which have powers of the number of cells per unit length, up to 10**3, in front."""

SINGLE: Tolerance = {"rtol": 0.0, "atol": 1e-5}
"""float32: positions of up to 20 cells are rounded to 20 * 2**-24 = 1e-6 cells, and slopes per cell are at most 1."""

GRIDS = [(5, 3, (-1.0, 1.0)), (1, 3, (0.0, 1.0)), (1, 1, (-1.0, 1.0)), (4, 2, (-2.0, 5.0)), (7, 4, (-1, 1))]
GRIDS += [(3, 0, (-1.0, 1.0)), (1, 0, (2.0, 3.0)), (6, 1, (-0.5, 0.25)), (20, 5, (-3.0, 3.0)), (2, 8, (-1.0, 1.0))]
BATCHES = [(), (1,), (4,), (2, 3), (2, 1, 3)]


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, dtype=F64):
    return torch.randn(*shape, dtype=dtype, generator=drawn())


def knots(grid_size, degree, domain):
    a, b = domain
    return a + (b - a) / grid_size * np.arange(-degree, grid_size + degree + 1)


def points(domain, beyond=0.0, count=501):
    """Points of the domain and of `beyond` times its length to each side. An irrational shift keeps them off knots."""
    a, b = domain
    ends = (b - a) * torch.tensor([-beyond, 1 + beyond], dtype=F64) + a
    return ends[0] + (ends[1] - ends[0]) * (torch.arange(count, dtype=F64) + math.pi / 4) / count


def scipys(x, grid_size, degree, domain, derivative=0):
    """All basis functions of scipy at a tensor, zero outside their supports."""
    t = knots(grid_size, degree, domain)
    columns = []
    for j in range(grid_size + degree):
        spline = BSpline.basis_element(t[j : j + degree + 2], extrapolate=False)
        values = np.asarray(spline.derivative(derivative)(x) if derivative else spline(x))
        columns.append(np.nan_to_num(values))
    return torch.from_numpy(np.stack(columns, -1))


@pytest.mark.parametrize("grid", GRIDS)
def test_the_basis_is_that_of_scipy_inside_and_outside_the_domain(grid):
    x = points(grid[2], beyond=2.0 + grid[1])
    torch.testing.assert_close(bspline_basis(x, *grid), scipys(x, *grid), **EXACT)


@pytest.mark.parametrize("grid", [grid for grid in GRIDS if grid[1] > 0])
def test_the_basis_is_that_of_scipy_at_the_knots(grid):
    x = torch.from_numpy(knots(*grid))
    torch.testing.assert_close(bspline_basis(x, *grid), scipys(x, *grid), **EXACT)


@pytest.mark.parametrize("grid", [grid for grid in GRIDS if grid[1] > 0])
@pytest.mark.parametrize("derivative", [1, 2])
def test_derivatives_are_those_of_scipy(grid, derivative):
    x = points(grid[2], beyond=1.0)
    actual = derivatives(x, *grid)[derivative]
    expected = scipys(x, *grid, derivative=derivative) if derivative <= grid[1] else torch.zeros_like(actual)
    torch.testing.assert_close(actual, expected, **STEEP)


def test_derivatives_of_cubic_splines_are_those_of_scipy_at_the_knots_too():
    grid = (4, 3, (-1.0, 1.0))
    x = torch.from_numpy(knots(*grid))
    for derivative in (1, 2):
        expected = scipys(x, *grid, derivative=derivative)
        torch.testing.assert_close(derivatives(x, *grid)[derivative], expected, **STEEP)


def derivatives(x, *grid):
    """Value, slope and second derivative of all basis functions."""
    x = x.clone().requires_grad_()
    orders = [[], [], []]
    for column in bspline_basis(x, *grid).unbind(-1):
        orders[0].append(column)
        for order in (1, 2):
            (column,) = torch.autograd.grad(column.sum() + 0 * x.sum(), x, create_graph=True)
            orders[order].append(column)
    return [torch.stack(columns, -1).detach() for columns in orders]


def test_the_slope_of_hats_at_a_knot_is_the_one_from_the_right():
    x = torch.tensor([-1.0, -0.5, 0.0, 0.5], dtype=F64, requires_grad=True)
    heights = torch.tensor([1.0, 4.0, 2.0, 5.0, 3.0], dtype=F64)
    (bspline_basis(x, 4, 1) @ heights).sum().backward()
    torch.testing.assert_close(x.grad, heights.diff() / 0.5, **EXACT)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_basis_is_a_partition_of_unity_on_the_domain(grid):
    basis = bspline_basis(points(grid[2]), *grid)
    assert (basis >= -1e-15).all()
    torch.testing.assert_close(basis.sum(-1), torch.ones(len(basis), dtype=F64), **EXACT)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_splines_and_their_slopes_vanish_outside_the_extended_knots(grid, dtype):
    t = knots(*grid)
    x = [t[0] - 1e-3, t[-1] + 1e-3, t[0] - 100.0, t[-1] + 100.0, -1e30, 1e30, -math.inf, math.inf]
    x = torch.tensor(x, dtype=dtype, requires_grad=True)
    basis = bspline_basis(x, *grid)
    assert not basis.any()
    if grid[1] > 0:
        (slope,) = torch.autograd.grad(basis.sum(), x)
        assert not slope.any()


@pytest.mark.parametrize("degree", range(5))
def test_splines_reproduce_polynomials_up_to_their_degree(degree):
    """By Marsden's identity: coefficients of (y - x)^k at a fixed y are products of y minus the inner knots."""
    grid = (5, degree, (-1.0, 1.0))
    t, x = knots(*grid), points((-1.0, 1.0))
    for y in np.linspace(-1.5, 1.5, degree + 1):  # As many powers (y - x)^k as make a basis of the polynomials.
        coefficients = [np.prod(y - t[j + 1 : j + degree + 1]) for j in range(5 + degree)]
        spline = bspline_basis(x, *grid) @ torch.tensor(coefficients, dtype=F64)
        torch.testing.assert_close(spline, (y - x) ** degree, **EXACT)


def test_a_layer_fits_a_polynomial_of_its_degree():
    x = points((-1.0, 1.0))
    target = 1 - 2 * x + 0.5 * x**2 + 3 * x**3
    layer = BSplineKANLayer(1, 1, base=None, dtype=F64)
    solution = torch.linalg.lstsq(bspline_basis(x), target[:, None]).solution
    layer.coefficients.data = solution.reshape(1, 1, -1)
    torch.testing.assert_close(layer(x[:, None])[:, 0], target, **EXACT)


@pytest.mark.parametrize("grid", GRIDS)
def test_single_precision_is_double_precision_rounded(grid):
    x = points(grid[2], beyond=0.5).float()
    if grid[1] == 0:  # Steps have no slope, but a jump where rounding may change sides.
        x = points(grid[2], count=97).float()
    basis = bspline_basis(x, *grid)
    assert basis.dtype == torch.float32
    torch.testing.assert_close(basis.double(), bspline_basis(x.double(), *grid), **SINGLE)


LAYERS = [
    {},
    {"bias": True},
    {"base": None},
    {"base": None, "bias": True},
    {"base": torch.tanh, "grid_size": 2, "degree": 1, "domain": (-2.0, 1.0)},
    {"grid_size": 1, "degree": 0},
    {"grid_size": 3, "degree": 2, "base": "gelu"},
    {"grid_size": 3, "degree": 4, "base": "identity"},
]


def test_far_away_only_base_and_bias_are_left():
    layer, x = BSplineKANLayer(3, 2, bias=True, dtype=F64), torch.tensor([-40.0, 50.0, 1e3], dtype=F64)
    assert layer.base_weight is not None
    assert layer.bias is not None
    layer.bias.data = draw(2)
    torch.testing.assert_close(layer(x), nn.functional.silu(x) @ layer.base_weight.T + layer.bias, **EXACT)


@pytest.mark.parametrize("degree", range(1, 5))
def test_gradients_are_those_of_finite_differences(degree):
    model = BSplineKAN([2, 3, 2], grid_size=3, degree=degree, bias=True, dtype=F64)
    model.reset_parameters(drawn())
    names, values = zip(*model.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

    x = draw(4, 2).requires_grad_()
    assert torch.autograd.gradcheck(function, (x, *values))
    if degree > 2:
        assert torch.autograd.gradgradcheck(function, (x, *values))


def test_steps_have_gradients_in_their_coefficients_only():
    layer, x = BSplineKANLayer(2, 3, degree=0, base=None, dtype=F64), draw(5, 2).requires_grad_()
    layer(x).sum().backward()
    assert x.grad is None
    torch.testing.assert_close(layer.coefficients.grad, bspline_basis(x.detach(), degree=0).sum(0).expand(3, 2, 5))


@pytest.mark.parametrize("domain", [(-1.0, 1.0), (-3.0, 3.0), (0.0, 1.0)])
@pytest.mark.parametrize("base", ["silu", "identity", None])
@pytest.mark.parametrize("degree", [0, 1, 3])
def test_initial_outputs_have_the_variance_of_uniform_inputs(domain, base, degree):
    """2,000 outputs with 100 inputs, each of its own sample, so independent and nearly normal: five deviations."""
    a, b = domain
    x = a + (b - a) * torch.rand(2000, 100, dtype=F64, generator=drawn(1))
    layer = BSplineKANLayer(100, 2000, degree=degree, domain=domain, base=base, dtype=F64)
    layer.reset_parameters(drawn(2))
    y = (layer.coefficients * bspline_basis(x, degree=degree, domain=domain)).sum((-2, -1))
    if layer.base is not None and layer.base_weight is not None:
        half = y.square().mean().item() / ((b - a) ** 2 / 12)
        assert half == pytest.approx(0.5, rel=5 * math.sqrt(2 / 2000))
        y = y + (layer.base_weight * layer.base(x)).sum(-1)
    assert y.square().mean().item() / ((b - a) ** 2 / 12) == pytest.approx(1, rel=5 * math.sqrt(2 / 2000))


@pytest.mark.parametrize("degree", [2, 3])
@pytest.mark.parametrize("outside", ["fade", "clamp", "linear"])
def test_signals_keep_their_scale_through_many_layers_whatever_is_outside(outside, degree):
    model = BSplineKAN([64] * 9, degree=degree, outside=outside, dtype=F64)
    model.reset_parameters(drawn(1))
    x = 2 * torch.rand(256, 64, dtype=F64, generator=drawn(2)) - 1
    assert 0.4 < (model(x).var(0).mean() / x.var(0).mean()).item() < 3


@pytest.mark.parametrize("dtype", [torch.float32, F64, torch.bfloat16, torch.float16])
def test_results_follow_the_dtype(dtype):
    x = torch.tensor([[0.5, -3e4], [0.0, 3e4]], dtype=dtype, requires_grad=True)
    y = BSplineKANLayer(2, 3, dtype=dtype)(x)
    y[:, 0].sum().backward()
    assert y.dtype == dtype
    assert x.grad is not None
    assert x.grad.isfinite().all()


PAIR = r"`domain` must be a pair of numbers such as \(-1\.0, 1\.0\)"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: BSplineKANLayer(0, 1), ValueError, r"Argument `in_features` must be at least 1, but is 0\."),
        (lambda: BSplineKANLayer(1, -2), ValueError, r"Argument `out_features` must be at least 1, but is -2\."),
        (lambda: BSplineKANLayer(2.0, 1), TypeError, r"`in_features` must be an integer, such as 3, but is 2\.0\."),  # pyright: ignore
        (lambda: BSplineKANLayer(1, 1, grid_size=0), ValueError, r"`grid_size` must be at least 1, but is 0\."),
        (lambda: BSplineKANLayer(1, 1, True), TypeError, r"`grid_size` must be an integer, .*, but is True\."),
        (lambda: BSplineKANLayer(1, 1, degree=-1), ValueError, r"`degree` must be at least 0, but is -1\."),
        (lambda: BSplineKANLayer(1, 1, degree=1.5), TypeError, r"`degree` must be an integer, .*, but is 1\.5\."),  # pyright: ignore
        (lambda: BSplineKANLayer(1, 1, domain=(1.0, -1.0)), ValueError, PAIR + r", .*, but is \(1\.0, -1\.0\)\."),
        (lambda: BSplineKANLayer(1, 1, domain=(0.0, 0.0)), ValueError, PAIR + r", .*, but is \(0\.0, 0\.0\)\."),
        (lambda: BSplineKANLayer(1, 1, domain=(0.0, math.inf)), ValueError, PAIR + r", .*, but is \(0\.0, inf\)\."),
        (lambda: BSplineKANLayer(1, 1, domain=(math.nan, 1.0)), ValueError, PAIR + r", .*, but is \(nan, 1\.0\)\."),
        (lambda: BSplineKANLayer(1, 1, domain=(0.0,)), ValueError, PAIR + r", .*, but is \(0\.0,\)\."),  # pyright: ignore
        (lambda: BSplineKANLayer(1, 1, domain=2.0), TypeError, PAIR + r", but is 2\.0\."),  # pyright: ignore
        (lambda: BSplineKANLayer(1, 1, domain="ab"), TypeError, PAIR + r", but is 'ab'\."),  # pyright: ignore
        (lambda: BSplineKANLayer(1, 1, base="swish"), ValueError, r"`base` must be .* relu, .*, but is 'swish'\."),
        (lambda: BSplineKANLayer(1, 1, base=nn.SiLU), TypeError, r"`base` must be a name or a function .*, but is <"),  # pyright: ignore
        (lambda: BSplineKAN([3]), ValueError, r"`widths` must have 2 entries or more, as in BSplineKAN\(\[2, 5, 1\]\)"),
        (lambda: BSplineKAN([3, 0]), ValueError, r"`widths` must have positive entries only, but has 0\."),
        (lambda: BSplineKAN([3, 1], grid_size=0), ValueError, r"`grid_size` must be at least 1, but is 0\."),
        (lambda: bspline_basis(torch.ones(2), 0), ValueError, r"`grid_size` must be at least 1, but is 0\."),
        (lambda: bspline_basis(torch.ones(2), degree=-1), ValueError, r"`degree` must be at least 0, but is -1\."),
        (
            lambda: BSplineKANLayer(3, 1)(torch.ones(5, 2)),
            ValueError,
            r"`x` must have shape \(\*batch, 3\), .* \(5, 2\)",
        ),
        (
            lambda: BSplineKAN([1, 1])(torch.tensor(1.0)),
            ValueError,
            r"`x` must have shape \(\*batch, 1\), but has \(\)",
        ),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
