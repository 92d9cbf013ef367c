"""The ReLU-KAN layers are sums of squared products of two ReLU."""

import pytest
import torch

from classical import ReLUKAN, ReLUKANLayer
from classical.relu import ReLUBump
from tolerances import EXACT

F64 = torch.float64

GRIDS = [(3, 3, (-1.0, 1.0)), (5, 3, (0.0, 1.0)), (1, 0, (2.0, 5.0)), (4, 1, (-3.0, 0.0))]
each_grid = pytest.mark.parametrize("grid", GRIDS)


@pytest.mark.parametrize(("g", "k"), [(5, 3), (3, 3), (2, 1)])
def test_on_the_unit_interval_phases_and_bumps_are_the_published_ones(g, k):
    bumps = ReLUBump(1, g, k, (0.0, 1.0), dtype=F64)
    low = torch.arange(-k, g, dtype=F64) / g
    torch.testing.assert_close(bumps.low[0], low, **EXACT)
    torch.testing.assert_close(bumps.high[0], low + (k + 1) / g, **EXACT)
    x = torch.linspace(-1, 2, 97, dtype=F64)[:, None]
    r = 4 * g**2 / (k + 1) ** 2
    expected = (r * (x - low).relu() * (low + (k + 1) / g - x).relu()) ** 2
    torch.testing.assert_close(bumps(x)[:, 0], expected, **EXACT)


@each_grid
def test_a_bump_is_one_at_its_midpoint_and_smaller_elsewhere(grid):
    bumps = ReLUBump(1, *grid, dtype=F64)
    middle = (bumps.low[0] + bumps.high[0]) / 2
    values = bumps(middle[:, None])[:, 0].diagonal()
    torch.testing.assert_close(values, torch.ones_like(values), **EXACT)
    slopes = torch.vmap(torch.func.jacrev(lambda x: bumps(x[None])[0]))(middle).diagonal()
    torch.testing.assert_close(slopes, torch.zeros_like(slopes), **EXACT)
    assert (bumps(torch.linspace(-5, 5, 1001, dtype=F64)[:, None]) <= 1 + 1e-12).all()


@each_grid
def test_a_bump_lives_between_its_phases(grid):
    bumps, x = ReLUBump(1, *grid, dtype=F64), torch.linspace(-9, 9, 1801, dtype=F64)[:, None]
    inside = (x > bumps.low[0]) & (x < bumps.high[0])
    assert torch.equal(bumps(x)[:, 0] > 0, inside)


@each_grid
def test_moving_by_a_cell_moves_to_the_next_bump(grid):
    bumps, x = ReLUBump(1, *grid, dtype=F64), torch.linspace(-2, 2, 41, dtype=F64)[:, None]
    cell = (grid[2][1] - grid[2][0]) / grid[0]
    torch.testing.assert_close(bumps(x + cell)[..., 1:], bumps(x)[..., :-1], **EXACT)


def test_phases_of_inputs_are_trained_apart():
    layer, x = ReLUKANLayer(2, 1, dtype=F64), torch.tensor([[0.1, 0.2]], dtype=F64)
    before = layer.basis(x)
    layer.basis.low.data[0] -= 0.1
    after = layer.basis(x)
    assert not torch.equal(after[:, 0], before[:, 0])
    assert torch.equal(after[:, 1], before[:, 1])
    layer.reset_parameters()
    assert torch.equal(layer.basis(x), before)


def test_fixed_phases_are_no_parameters_but_travel_with_the_state():
    fixed, trained = ReLUKAN([3, 2], trainable=False), ReLUKAN([3, 2])
    assert fixed.cost().parameters == trained.cost().parameters - 2 * 3 * 6
    assert fixed.state_dict().keys() == trained.state_dict().keys()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReLUKANLayer(2, 1, grid_size=0), r"`grid_size` must be at least 1, but is 0\."),
        (lambda: ReLUKANLayer(2, 1, order=-1), r"`order` must be at least 0, but is -1\."),
        (lambda: ReLUKANLayer(2, 1, domain=(1.0, 0.0)), r"`domain` must be .*, but is \(1\.0, 0\.0\)\."),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()
