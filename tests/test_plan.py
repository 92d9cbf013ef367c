"""Plans count what devices are then asked."""

import math

import pytest
import torch

from circuits import entangled, pz
from circuits.calibration import fake_backend, samplers_of
from circuits.engines import Costs, Limits, get
from circuits.engines.sampled import Sampled
from circuits.gradient import Spsa
from qkan import DARUAN, QKAN, plan, set_engine

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


def test_models_keep_their_engines(seeded):
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


def test_plans_are_readable(seeded):
    text = str(plan(model_on(get("sampled", shots=100)), torch.rand(3, 2, dtype=F64)))
    assert "executions" in text
    assert "standard error" in text
    assert "limits" not in text  # a simulator has none


def test_a_plan_for_no_samples_is_readable(seeded):
    found = plan(model_on(get("sampled", shots=100)), torch.zeros(0, 2, dtype=F64))
    assert found.forward.executions == 0
    assert "standard error" not in str(found)


@pytest.mark.parametrize("gradient", ["shift", "spsa", "simulator", Spsa(repeats=3), True, False, None], ids=str)
def test_a_backend_is_planned_for_as_its_sampler_would_be(seeded, gradient):
    """The backend itself, the engine that it makes, and the model on that engine: one plan."""
    pytest.importorskip("qiskit_ibm_runtime")
    backend, x = fake_backend("FakeManilaV2"), torch.rand(4, 2, dtype=F64)
    rule = "shift" if gradient in (True, False, None) else gradient
    engine = get("sampler", backend=backend, shots=300, gradient=rule)
    expected = plan(model_on(engine), x, gradient=bool(gradient))
    for found in (
        plan(model_on("auto"), x, backend, 300, gradient=gradient),
        plan(model_on("auto"), x, get("sampler", backend=backend, gradient="spsa"), 300, gradient=gradient or False)
        if gradient is not True
        else plan(model_on("auto"), x, engine),
    ):
        assert (found.forward, found.gradient) == (expected.forward, expected.gradient)
        torch.testing.assert_close(found.error, expected.error)
    assert (expected.gradient == Costs()) == (gradient in (False, None, "simulator"))
    assert expected.forward.seconds > 0


def test_plans_show_the_limits_that_jobs_are_made_within(seeded):
    pytest.importorskip("qiskit_ibm_runtime")
    limits = Limits(executions=50_000, rows=20, pending=2)
    engine = get("sampler", backend=fake_backend("FakeManilaV2"), shots=500, limits=limits)
    found = plan(model_on("auto"), torch.rand(30, 2, dtype=F64), engine)
    assert found.limits == (limits,)
    assert found.shots == 500
    assert found.forward.jobs == 3 + 1  # 180 and 90 rows in parts of 20, and at most 92 beside eight calibrations
    assert "limits: 50,000 executions a job (100 rows of 500 shots), 20 rows a part, 2 jobs open at a time" in str(
        found
    )


def test_what_is_no_backend_is_refused(seeded):
    pytest.importorskip("qiskit")
    model, x = model_on("auto"), torch.rand(3, 2, dtype=F64)
    with pytest.raises(TypeError, match="`backend` must be a Qiskit BackendV2"):
        plan(model, x, 3)
    with pytest.raises(ValueError, match="`engine` must be one of"):
        plan(model, x, "fake_manila")
    with pytest.raises(ValueError, match="`gradient` must be one of"):
        plan(model, x, "sampled", 100, gradient="adjoint")
    with pytest.raises(ValueError, match="`shots` must be at least 1"):
        plan(model, x, "sampled", 0)
