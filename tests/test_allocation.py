"""Allocated shots are never worse than equal ones, and take no more executions side by side."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from circuits import pz
from circuits.engines import get
from qkan import QKAN, QKANLayer, allocate, plan, set_engine, set_shots
from qkan.allocation import _rounded
from test_plan import model_on
from tolerances import chi_square_window

F64 = torch.float64


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.integers(1, 50))
def test_rounding_keeps_the_total_and_leaves_nobody_out(weights, average):
    total = average * len(weights)
    shots = _rounded(torch.tensor(weights, dtype=F64), total)
    assert shots.sum() == total
    assert (shots >= 1).all()


def test_rounding_is_to_the_next_integer():
    """Those that would get less than one get one, and the others share what is left."""
    assert _rounded(torch.tensor([1e-9, 1.0, 2.0, 4.0]), 71).tolist() == [1, 10, 20, 40]
    assert _rounded(torch.tensor([0.0, 0.0]), 7).tolist() == [4, 3]
    assert _rounded(torch.tensor([1.0, 1.0, 1.0]), 3).tolist() == [1, 1, 1]


@pytest.mark.parametrize("share", [None, "in", "out"])
def test_shots_are_in_proportion_to_the_root_of_what_an_edge_matters(seeded, share):
    r"""For a layer $c_{oi} = w_{oi}^2 \sum_b (1 - f_{oi}(x_{bi})^2)$, summed over edges that share an activation."""
    layer, x = QKANLayer(3, 4, circuit=pz(2), share=share, dtype=F64), 2 * torch.rand(20, 3, dtype=F64) - 1
    with torch.no_grad():
        costs = (layer.weight.square() * (1 - layer.activation(x).square())).sum(0)
        costs = costs.sum(0, keepdim=True) if share == "out" else costs
    roots = costs.sqrt()
    shots = allocate(set_engine(layer, get("sampled", shots=10)), x, 1000)["activation"]
    assert shots.sum() == 1000 * roots.numel()
    assert (shots - 1000 * roots.numel() * roots / roots.sum()).abs().max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_allocated_shots_are_never_worse_and_mostly_much_better(seed):
    torch.manual_seed(seed)
    model = QKAN([3, 4, 2], circuit=pz(2), dtype=F64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(torch.rand_like(parameter) * 2)
    x = 2 * torch.rand(40, 3, dtype=F64) - 1
    set_engine(model, get("sampled", shots=500, seed=seed))
    exact = set_engine(QKAN([3, 4, 2], circuit=pz(2), dtype=F64), "auto")
    exact.load_state_dict(model.state_dict())
    with torch.no_grad():
        truth = exact(x)

        def spread():
            return sum((model(x) - truth).square().mean().item() for _ in range(60)) / 60

        equal = spread()
        set_shots(model, shots := allocate(model, x, 500))
        better = spread()
    edges = torch.cat([each.flatten() for each in shots.values()])
    assert edges.sum() == 500 * len(edges)
    assert better <= 0.95 * equal


def test_allocation_on_other_data_and_for_a_loss(seeded):
    model = model_on(get("sampled", shots=100), (2, 3, 2))
    x = torch.rand(30, 2, dtype=F64)
    only_first = allocate(model, x, 100, loss=lambda y: y[:, 0].sum())
    last = only_first["1.activation"]
    assert (last[1] == 1).all()  # what the loss does not see gets the least there is
    assert (last[0] > 100).any()


def test_allocation_is_refused_where_it_makes_no_sense(seeded):
    model = model_on("auto")
    with pytest.raises(ValueError, match="`shots`"):
        allocate(model, torch.rand(3, 2, dtype=F64), 0)
    with pytest.raises(TypeError, match="on a device"):
        set_shots(model, {"0.activation": torch.tensor(3)})
    for loss, found in ((torch.square, r"shape \(3, 1\)"), (lambda y: y.sum().item(), "float")):
        with pytest.raises(ValueError, match=f"`loss` must return one number, but returns {found}: take the mean"):
            allocate(model, torch.rand(3, 2, dtype=F64), 10, loss=loss)


# Side by side.


def unequal(widths=(3, 4, 2)):
    """A model some edges of which matter much more than others."""
    model = QKAN(list(widths), circuit=pz(1), base=None, dtype=F64)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight"):
                parameter.mul_(torch.rand_like(parameter) ** 3 * 3)
    return model


@pytest.mark.parametrize("correction", [False, True])
@pytest.mark.parametrize("qubits", [1, 3, 5, 20])
@pytest.mark.parametrize("batch", [1, 7, 40])
def test_allocated_shots_take_no_more_executions_side_by_side(seeded, qubits, batch, correction):
    pytest.importorskip("qiskit_aer")
    model, x = unequal(), 2 * torch.rand(batch, 3, dtype=F64) - 1
    set_engine(model, get("sampler", shots=640, qubits=qubits, row_shots=32, readout_correction=correction))
    equal = plan(model, x)
    set_shots(model, shots := allocate(model, x, 640))
    found = plan(model, x)
    assert found.forward.executions <= equal.forward.executions
    assert found.gradient.executions <= equal.gradient.executions
    assert found.forward.circuits == equal.forward.circuits
    assert all((each % 32 == 0).all() and (each >= 32).all() for each in shots.values())
    # What is least to first order with exact weights: the errors of calibrations are not among them.
    assert found.error.square().sum() <= (0.9 if batch == 40 else 1.0) * equal.error.square().sum()


def test_without_rows_of_equal_shots_allocated_ones_leave_places_empty(seeded):
    pytest.importorskip("qiskit_aer")
    model, x = unequal(), 2 * torch.rand(7, 3, dtype=F64) - 1
    set_engine(model, get("sampler", shots=640, qubits=20, readout_correction=False))
    equal = plan(model, x).forward
    set_shots(model, allocate(model, x, 640))
    assert plan(model, x).forward.executions > equal.executions


def test_allocated_shots_side_by_side_measure_no_worse(seeded):
    """What is measured with either has the variance that was promised for it, and that of equal shots is larger."""
    pytest.importorskip("qiskit_aer")
    model, x, repeats = unequal((3, 2)), 2 * torch.rand(5, 3, dtype=F64) - 1, 100
    with torch.no_grad():
        exact = model(x)
    set_engine(model, get("sampler", shots=80, qubits=5, row_shots=16, readout_correction=False, seed=0))

    def measured():
        promised = plan(model, x, gradient=False).error.square()
        with torch.no_grad():
            squares = (model(x.expand(repeats, 5, 3)) - exact).square()
        return promised, squares.mean(0)

    equal = measured()
    set_shots(model, allocate(model, x, 80))
    better = measured()
    assert better[0].sum() < 0.9 * equal[0].sum()
    low, high = chi_square_window(repeats * exact.numel(), 2)
    for promised, found in (equal, better):
        assert low <= (found / promised).mean() <= high
    assert better[1].sum() <= equal[1].sum() * high / low


def test_shots_that_are_no_multiple_are_refused(seeded):
    pytest.importorskip("qiskit_aer")
    model, x = unequal(), torch.rand(3, 3, dtype=F64)
    set_engine(model, get("sampler", shots=60, row_shots=32))
    with pytest.raises(ValueError, match="must be a multiple of row_shots=32, but has 60"):
        model(x)
    with pytest.raises(ValueError, match="must be a multiple of the devices' row_shots=32, but is 60"):
        allocate(model, x, 60)
