"""B-splines on knots of their own for every input are de Boor's, and those of uniform knots where these are uniform."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline as Scipys

from classical.bspline import bspline_basis
from classical.grids import uniform_knots
from classical.knots import bspline_basis_on
from classical.spline_basis import BSpline
from tolerances import EXACT, ROUNDED, Tolerance

F64 = torch.float64

STEEP: Tolerance = {"rtol": 1e-9, "atol": 1e-9}
"""EXACT for slopes, which have widths of cells down to 1e-2 in their denominators."""

SINGLE: Tolerance = {"rtol": 1e-5, "atol": 2e-5}
"""float32: positions of up to 10 cells are rounded to 10 * 2**-24 cells, values are at most 1, slopes per cell too."""

DEGREES = pytest.mark.parametrize("degree", range(5))
POLICIES = pytest.mark.parametrize("outside", ["fade", "clamp", "linear"])


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def irregular(inputs, cells, degree, seed=0, dtype=F64):
    """Knots whose widths differ by factors up to a hundred."""
    widths = torch.logspace(-2, 0, cells + 2 * degree, dtype=F64).expand(inputs, -1)
    places = torch.rand(widths.shape, generator=drawn(seed)).argsort(-1)
    edges = torch.cat([torch.zeros(inputs, 1, dtype=F64), widths.gather(-1, places).cumsum(-1)], -1)
    return (edges - edges[:, -1:] / 2).to(dtype)


def spread(knots, count=40, reach=1.5):
    """Points around the knots of every input, `(count, in)`; an irrational shift keeps them off knots."""
    steps = (torch.arange(count, dtype=F64) + math.pi / 4) / count - 0.5
    return steps[:, None] * reach * (knots[:, -1] - knots[:, 0]).double() + (knots[:, 0] + knots[:, -1]).double() / 2


def scipys(x, knots, degree, derivative=0):
    """All basis functions of one input, zero outside their supports."""
    columns = []
    for j in range(len(knots) - degree - 1):
        spline = Scipys.basis_element(knots[j : j + degree + 2].numpy(), extrapolate=False)
        values = np.asarray(spline.derivative(derivative)(x) if derivative else spline(x))
        columns.append(np.nan_to_num(values))
    return torch.from_numpy(np.stack(columns, -1))


def slopes(function, x):
    """Derivatives of all basis functions."""
    x = x.clone().requires_grad_()
    columns = [torch.autograd.grad(column.sum(), x, retain_graph=True)[0] for column in function(x).unbind(-1)]
    return torch.stack(columns, -1)


@DEGREES
def test_the_basis_is_that_of_scipy(degree):
    knots = irregular(3, 6, degree)
    x = spread(knots)
    actual = bspline_basis_on(x, knots, degree)
    for i in range(3):
        torch.testing.assert_close(actual[:, i], scipys(x[:, i], knots[i], degree), **EXACT)
    if degree > 0:
        steep = slopes(lambda x: bspline_basis_on(x, knots, degree), x)
        for i in range(3):
            torch.testing.assert_close(steep[:, i], scipys(x[:, i], knots[i], degree, 1), **STEEP)


@pytest.mark.parametrize("degree", range(1, 5))
def test_the_basis_is_that_of_scipy_at_the_knots(degree):
    knots = irregular(2, 5, degree)
    actual = bspline_basis_on(knots.T, knots, degree)
    for i in range(2):
        torch.testing.assert_close(actual[:, i], scipys(knots[i], knots[i], degree), **EXACT)


def test_steps_include_where_they_start_and_not_where_they_stop():
    knots = irregular(1, 4, 0)
    assert torch.equal(bspline_basis_on(knots.T, knots, 0)[:, 0], torch.eye(5, 4, dtype=F64))


@DEGREES
@POLICIES
@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, STEEP), (torch.float32, SINGLE)])
def test_on_uniform_knots_it_is_the_uniform_basis_in_value_and_slope(degree, outside, dtype, tolerance):
    grid = (6, degree, (-2.0, 1.0))
    knots = uniform_knots(*grid).expand(2, -1).to(dtype)
    x = spread(knots, reach=2.0).to(dtype)
    arguments = (6, degree, (-2.0, 1.0), outside)
    torch.testing.assert_close(bspline_basis_on(x, knots, degree, outside), bspline_basis(x, *arguments), **tolerance)
    if degree > 0:
        actual = slopes(lambda x: bspline_basis_on(x, knots, degree, outside), x)
        torch.testing.assert_close(actual, slopes(lambda x: bspline_basis(x, *arguments), x), **tolerance)


@DEGREES
@POLICIES
def test_functions_sum_to_one_on_the_domain_and_beyond_it_if_they_go_on(degree, outside):
    knots = irregular(3, 6, degree)
    x = spread(knots)
    sums = bspline_basis_on(x, knots, degree, outside).sum(-1)
    inside = (x >= knots[:, degree]) & (x < knots[:, -degree - 1])
    assert inside.any()
    everywhere = inside if outside == "fade" else torch.ones_like(inside)
    torch.testing.assert_close(sums[everywhere], torch.ones_like(sums[everywhere]), **EXACT)


@pytest.mark.parametrize("make", ["uniform", "irregular"])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_outside_values_are_continuous_and_slopes_as_said(make, degree):
    """Against the values and slopes just inside the domain, whatever comes after."""
    knots = uniform_knots(5, degree, (-1.0, 2.0)).expand(2, -1) if make == "uniform" else irregular(2, 5, degree)
    for outside in ("clamp", "linear"):
        basis = BSpline(5, degree, (-1.0, 2.0), outside)
        basis = basis if make == "uniform" else basis.moved(knots)
        for end, sign in ((knots[:, degree], -1), (knots[:, -degree - 1], 1)):
            inside = end - sign * 1e-12
            value, slope = basis(inside), slopes(basis, inside)
            for far in (1e-12, 0.5, 40.0):
                expected = value if outside == "clamp" else value + sign * far * slope
                torch.testing.assert_close(basis(end + sign * far), expected, rtol=1e-6, atol=1e-6)
                expected = torch.zeros_like(slope) if outside == "clamp" else slope
                torch.testing.assert_close(slopes(basis, end + sign * far), expected, rtol=1e-6, atol=1e-6)


@DEGREES
def test_far_away_fading_functions_are_zero_and_flat(degree):
    knots = irregular(1, 4, degree)
    x = torch.tensor([-1e30, -30.0, 30.0, 1e30, -math.inf, math.inf], dtype=F64)[:, None].requires_grad_()
    values = bspline_basis_on(x, knots, degree)
    assert not values.any()
    if degree > 0:
        values.sum().backward()
        assert x.grad is not None
        assert not x.grad.any()


def test_clamped_functions_admit_infinite_inputs():
    knots = irregular(1, 4, 3)
    x = torch.tensor([[-math.inf], [math.inf]], dtype=F64)
    ends = torch.stack([knots[:, 3], knots[:, -4]])
    torch.testing.assert_close(bspline_basis_on(x, knots, 3, "clamp"), bspline_basis_on(ends, knots, 3, "clamp"))


@POLICIES
@pytest.mark.parametrize("degree", [1, 3])
def test_gradients_are_those_of_finite_differences(outside, degree):
    knots = irregular(2, 4, degree)
    x = spread(knots, count=7).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: bspline_basis_on(x, knots, degree, outside), x)
    if degree > 2:
        assert torch.autograd.gradgradcheck(lambda x: bspline_basis_on(x, knots, degree, outside), x)


@POLICIES
@pytest.mark.parametrize("shape", [(2,), (0, 2), (3, 2), (2, 1, 3, 2)])
def test_leading_axes_are_independent_samples(outside, shape):
    knots = irregular(2, 4, 3)
    x = torch.randn(*shape, dtype=F64, generator=drawn())
    actual = bspline_basis_on(x, knots, 3, outside)
    assert actual.shape == (*shape, 7)
    rows = [bspline_basis_on(row, knots, 3, outside) for row in x.reshape(-1, 2)]
    torch.testing.assert_close(actual.reshape(-1, 2, 7), torch.stack(rows) if rows else actual, **EXACT)


@POLICIES
def test_nan_travels_to_the_result(outside):
    x = torch.tensor([[0.1, math.nan], [0.1, 0.2]], dtype=F64)
    values = bspline_basis_on(x, irregular(2, 4, 3), 3, outside)
    assert values[0, 1].sum().isnan()
    assert values[1].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype):
    knots = uniform_knots(5, 3, (-1.0, 1.0)).expand(2, -1).to(dtype)
    x = torch.randn(20, 2, generator=drawn()).to(dtype)
    exact = bspline_basis_on(x.double(), knots.double())
    assert bspline_basis_on(x, knots).dtype == dtype
    torch.testing.assert_close(bspline_basis_on(x, knots).double(), exact, **ROUNDED[dtype])


@pytest.mark.parametrize(
    "knots",
    [
        torch.arange(8.0),
        torch.arange(7.0)[None],
        torch.tensor([[0.0, 1, 2, 3, 3, 5, 6, 7]]),
        torch.tensor([[0.0, 1, 2, 3, 4, 5, 6, math.inf]]),
        torch.tensor([[0.0, 1, 2, 3, math.nan, 5, 6, 7]]),
    ],
    ids=["no inputs", "no cell", "equal", "infinite", "nan"],
)
def test_knots_that_are_none_are_refused(knots):
    with pytest.raises(ValueError, match=r"`knots` must have shape \(in, cells \+ 7\) and increase .*, but has shape"):
        BSpline().moved(knots)


def test_an_unknown_policy_is_named():
    with pytest.raises(ValueError, match=r"`outside` must be one of fade, clamp, linear, but is 'wrap'\."):
        BSpline(outside="wrap")
