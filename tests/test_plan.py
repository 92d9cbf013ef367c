"""Plans count what devices are then asked, and allocated shots are never worse than equal ones."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from circuits import entangled, pz
from circuits.calibration import fake_backend, samplers_of
from circuits.engines import Costs, get
from circuits.engines.sampled import Sampled
from qkan import DARUAN, QKAN, allocate, plan, set_engine, set_shots
from qkan.allocation import _rounded

F64 = torch.float64


def model_on(engine, widths=(2, 3, 1), circuit=pz(2), **options):
    torch.manual_seed(0)
    return set_engine(QKAN(list(widths), circuit=circuit, dtype=F64, **options), engine)


def counting(**options):
    """A device that counts what it is asked."""
    asked = []

    class Device(Sampled):
        def _run(self, circuit, table, shots):
            asked.append((len(table) * len(circuit.strings), len(table) * (shots or 0)))
            return super()._run(circuit, table, shots)

    return Device(**options), asked


@pytest.mark.parametrize("gradient", ["shift", "spsa"])
@pytest.mark.parametrize("share", [None, "out", 1])
def test_plans_count_what_is_then_asked(seeded, gradient, share):
    device, asked = counting(shots=50, seed=0, gradient=gradient)
    model, x = model_on(device, share=share), torch.rand(4, 2, dtype=F64)
    found = plan(model, x)
    assert asked == []
    y = model(x)
    forward = [sum(column) for column in zip(*asked, strict=True)]
    assert [found.forward.circuits, found.forward.executions] == forward
    y.sum().backward()
    total = [sum(column) for column in zip(*asked, strict=True)]
    assert [found.gradient.circuits, found.gradient.executions] == [
        after - before for after, before in zip(total, forward, strict=True)
    ]
    assert found.forward.jobs == 2
    assert found.gradient.jobs == 2


def test_a_two_by_two_layer_takes_eight_and_ninety_six(seeded):
    found = plan(model_on(get("sampled"), (2, 2)), torch.rand(2, 2, dtype=F64))
    assert found.forward.circuits == 8
    assert found.gradient.circuits <= 96


def test_gradients_of_a_simulator_cost_nothing(seeded):
    from circuits.gradient import Simulator

    device = get("sampled", gradient=Simulator(get("bloch")))
    assert plan(model_on(device), torch.rand(3, 2, dtype=F64)).gradient == Costs()


def test_models_keep_theirengines_of(seeded):
    device = get("sampled", shots=10)
    model = model_on(device)
    plan(model, torch.rand(3, 2, dtype=F64))
    assert all(module.engine is device for module in model.modules() if isinstance(module, DARUAN))
    with pytest.raises(ValueError, match="`x`"):
        plan(model, torch.full((3, 2), math.nan, dtype=F64))
    assert all(module.engine is device for module in model.modules() if isinstance(module, DARUAN))


def test_plans_change_nothing(seeded):
    """Not even the directions that SPSA draws next."""

    def slopes(planned):
        model, x = model_on(get("sampled", shots=20, seed=0, gradient="spsa")), torch.ones(3, 2, dtype=F64)
        if planned:
            plan(model, x)
        return torch.autograd.grad(model(x).sum(), list(model.parameters()))

    for first, second in zip(slopes(False), slopes(True), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("options", [{}, {"readout_correction": False}, {"scales": (1, 3, 5)}], ids=str)
def test_expected_errors_on_a_noisy_device_have_its_mitigation(seeded, options):
    pytest.importorskip("qiskit_ibm_runtime")
    backend = fake_backend("FakeManilaV2")
    device = get("sampler", sampler=samplers_of(backend), backend=backend, shots=200, qubits=[2], seed=0, **options)
    model, x = model_on(device, (1, 1), pz(1)), torch.rand(3, 1, dtype=F64)
    expected = plan(model, x, gradient=False).error.square().mean().sqrt()
    with torch.no_grad():
        runs = torch.stack([model(x) for _ in range(40)])
    assert 0.8 <= runs.std(0).square().mean().sqrt() / expected <= 1.25


def test_exact_engines_have_no_plan(seeded):
    with pytest.raises(TypeError, match="`backend` must be a device"):
        plan(model_on("auto"), torch.rand(3, 2, dtype=F64))
    with pytest.raises(ValueError, match="has none"):
        plan(torch.nn.Linear(2, 1), torch.rand(3, 2))


@pytest.mark.parametrize("circuit", [pz(2), entangled(1)], ids=["pz", "entangled"])
def test_expected_errors_are_those_of_repeated_runs(seeded, circuit):
    device = get("sampled", shots=4000, seed=1)
    model, x = model_on(device, circuit=circuit), torch.rand(5, 2, dtype=F64)
    expected = plan(model, x, gradient=False).error
    with torch.no_grad():
        runs = torch.stack([model(x) for _ in range(300)])
    ratio = runs.std(0) / expected
    assert expected.shape == (5, 1)
    assert (ratio - 1).abs().max() <= 0.25


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.integers(1, 50))
def test_rounding_keeps_the_total_and_leaves_nobody_out(weights, average):
    total = average * len(weights)
    shots = _rounded(torch.tensor(weights, dtype=F64), total)
    assert shots.sum() == total
    assert (shots >= 1).all()


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


def test_plans_are_readable(seeded):
    text = str(plan(model_on(get("sampled", shots=100)), torch.rand(3, 2, dtype=F64)))
    assert "executions" in text
    assert "standard error" in text
