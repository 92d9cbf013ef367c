"""Shots are unbiased, errors are what they say, and gradients of devices are right on average."""

import math
import warnings

import pytest
import torch

from circuits import Circuit, Encode, Gate, Slot, expectation, pz
from circuits.engines import get
from circuits.engines.pennylane import PennyLane
from circuits.engines.sampled import Sampled
from circuits.gradient import Simulator, Spsa
from circuits.noise import Noise, ReadoutError, depolarising
from circuits.shots import standard_error
from judge import assert_same, derivatives, report
from random_circuits import inputs
from tolerances import EXACT, SHIFTED, bernstein, rms_window

F64 = torch.float64
NOISE = Noise({"SX": depolarising(0.02)}, ReadoutError(0.02, 0.05))
BASES = {"auto": "auto", "bloch": "bloch", "statevector": "statevector", "noisy": get("noisy", noise=NOISE)}
each_base = pytest.mark.parametrize("base", BASES.values(), ids=BASES)


@each_base
def test_shots_are_binomial_on_the_exact_value(base):
    x, params = inputs(pz(2), (500, 1), (4,))
    exact = get(base)(pz(2), x, params)
    values, errors = get("sampled", base=base, shots=400, seed=1)(pz(2), x, params, with_error=True)
    assert ((values - exact).abs() <= bernstein(exact, 400)).all()
    steps = (values + 1) * 200
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-9)
    inner = exact.abs() < 0.9
    scores = ((values - exact) / errors)[inner]
    assert abs(scores.square().mean().sqrt() - 1) <= rms_window(len(scores)) + 0.02  # errors are estimates themselves
    torch.testing.assert_close(errors, standard_error(values, 400), **EXACT)


def test_seeds_repeat_runs_and_not_steps():
    x, params = inputs(pz(1), (50,))
    first, second = (get("sampled", shots=100, seed=3) for _ in range(2))
    one, two = first(pz(1), x, params), first(pz(1), x, params)
    assert not torch.equal(one, two)
    assert torch.equal(second(pz(1), x, params), one)
    assert torch.equal(second(pz(1), x, params), two)
    assert not torch.equal(get("sampled", shots=100, seed=4)(pz(1), x, params), one)


def test_without_a_seed_torch_has_the_last_word(seeded):
    x, params = inputs(pz(1), (50,))
    runs = []
    for _ in range(2):
        torch.manual_seed(5)
        runs.append(get("sampled", shots=100)(pz(1), x, params))
    assert torch.equal(*runs)


def test_every_readout_string_has_shots_of_its_own():
    circuit = Circuit((Gate("RY", 0, Encode()),), ("Z", "X"))
    x = torch.linspace(-1, 1, 300, dtype=F64)[:, None]
    exact = get("bloch")(circuit, x, {})
    values, errors = get("sampled", shots=1000, seed=0)(circuit, x, {}, with_error=True)
    assert values.shape == errors.shape == (300, 2)
    assert ((values - exact).abs() <= bernstein(exact, 1000)).all()
    scores = (values - exact) / errors
    product = scores.prod(-1)  # mean 0 and variance 1 if both are independent
    assert abs(product.mean()) <= 5 / math.sqrt(300)


@pytest.mark.parametrize("name", ["sampled", "qiskit", "pennylane"])
def test_rows_may_have_shots_of_their_own(name):
    """A tensor of shots broadcasts with the grid, and every grid point is measured as often as it says."""
    x, params = inputs(pz(1), (40, 1), (3,))
    shots = torch.tensor([1, 7, 5000])
    values, errors = get(name, shots=shots, seed=0)(pz(1), x, params, with_error=True)
    exact = get("bloch")(pz(1), x, params)
    assert values[:, 0].abs().eq(1).all()
    sevenths = (values[:, 1] + 1) * 3.5
    torch.testing.assert_close(sevenths, sevenths.round(), rtol=0, atol=1e-9)
    assert ((values - exact)[:, 2].abs() <= bernstein(exact[:, 2], 5000)).all()
    torch.testing.assert_close(errors, standard_error(values, shots), **EXACT)


@pytest.mark.parametrize("name", ["sampled", "qiskit"])
@pytest.mark.parametrize("shape", [(3,), (2, 5, 1), (4, 5, 1)])
def test_shots_of_evaluations_that_there_are_not_are_refused(name, shape):
    from qkan import QKANLayer

    engine = get(name, shots=torch.full(shape, 10), seed=0)
    with pytest.raises(ValueError, match=r"`shots` must broadcast to the grid \(5, 1\).*has shape"):
        engine(pz(1), *inputs(pz(1), (5, 1), ()))
    layer = QKANLayer(2, 4, pz(1), engine=get(name, shots=torch.full((4, 3), 10), seed=0))
    with pytest.raises(ValueError, match=r"`shots` must broadcast to the grid \(6, 4, 2\).*has shape \(4, 3\)"):
        layer(torch.zeros(6, 2))


def test_exact_engines_have_no_error():
    x, params = inputs(pz(1), (5,))
    values, errors = expectation(pz(1), x, params, with_error=True)
    assert torch.equal(values, expectation(pz(1), x, params))
    assert torch.equal(errors, torch.zeros(5, dtype=F64))


def test_errors_have_the_dtype_and_grid_of_values_and_no_gradient():
    x, params = inputs(pz(1), (5, 1), (2,), dtype=torch.float32)
    params["theta"].requires_grad_()
    values, errors = get("sampled", shots=100, seed=0)(pz(1), x, params, with_error=True)
    assert values.dtype == errors.dtype == torch.float32
    assert values.shape == errors.shape == (5, 2)
    assert values.requires_grad
    assert not errors.requires_grad
    values.sum().backward()
    assert params["theta"].grad is not None


def test_certain_outcomes_are_not_taken_for_certainty():
    """At z = 1 all shots agree; the error is then about 2 / S, and never nothing."""
    values, errors = get("sampled", shots=100, seed=0)(
        Circuit((Gate("Z", 0),)), torch.zeros(1, dtype=F64), {}, with_error=True
    )
    assert values == 1
    assert 0.01 < errors < 0.03


def test_errors_are_these_numbers():
    values = torch.tensor([0.0, 0.6, 1.0], dtype=F64)
    expected = torch.tensor([0.1000000000, 0.0808689829, 0.0197056385], dtype=F64)
    torch.testing.assert_close(standard_error(values, 100), expected, rtol=0, atol=1e-9)


def test_corrected_values_have_the_error_of_the_correction():
    """The spread of many runs is the error of one; without the readout error values are those of the gates."""
    base, readout = get("noisy", noise=NOISE), NOISE.readout
    x, params = inputs(pz(1), (3,), ())
    exact = get("noisy", noise=Noise(NOISE.gates))(pz(1), x, params)
    device = get("sampled", base=base, shots=200, seed=0, readout=readout)
    runs = [device(pz(1), x, params, with_error=True) for _ in range(500)]
    values, errors = (torch.stack(each) for each in zip(*runs, strict=True))
    assert ((values.mean(0) - exact).abs() <= 5 * errors.mean(0) / math.sqrt(500)).all()
    assert (values.std(0) / errors.mean(0) - 1).abs().max() <= 0.15


def test_written_gates_run_as_they_are_written():
    """Two rotations that would merge are two sources of noise: on every device that has noise on written gates."""
    aer, qml = pytest.importorskip("qiskit_aer.noise"), pytest.importorskip("pennylane")
    circuit = Circuit((Gate("RY", 0, Slot("a")), Gate("RY", 0, Slot("a", 1))))
    x, params = torch.zeros(1, dtype=F64), {"a": torch.tensor([0.3, 0.4], dtype=F64)}
    model = aer.NoiseModel()
    model.add_all_qubit_quantum_error(aer.depolarizing_error(0.1, 1), ["ry"])
    only_sx = aer.NoiseModel()
    only_sx.add_all_qubit_quantum_error(aer.depolarizing_error(0.1, 1), ["sx"])
    noisy = qml.noise.NoiseModel({qml.noise.op_eq(qml.RY): lambda op, **_: qml.DepolarizingChannel(0.075, op.wires)})
    mixed = qml.noise.add_noise(qml.device("default.mixed", wires=1), noisy)
    devices = {
        "sampled": get("sampled", base=get("noisy", noise=Noise({"RY": depolarising(0.1)}, native=False))),
        "qiskit": get("qiskit", noise_model=model),
        "pennylane": get("pennylane", device=mixed, as_written=True),
    }
    for name, device in devices.items():
        assert device(circuit, x, params).item() == pytest.approx(0.81 * math.cos(0.7), abs=1e-9), name
    # A model of gates that the circuit does not have makes no errors.
    assert get("qiskit", noise_model=only_sx)(circuit, x, params).item() == pytest.approx(math.cos(0.7), abs=1e-9)


def test_exact_values_with_a_readout_error_are_refused_on_aer():
    aer = pytest.importorskip("qiskit_aer.noise")
    model = aer.NoiseModel()
    model.add_all_qubit_readout_error([[0.9, 0.1], [0.2, 0.8]])
    with pytest.raises(ValueError, match="`noise_model` has readout errors"):
        get("qiskit", noise_model=model)(pz(1), *inputs(pz(1)))
    value = get("qiskit", noise_model=model, shots=20_000, seed=0)(Circuit(()), torch.zeros(1), {})
    assert value.item() == pytest.approx(0.8, abs=0.03)


def test_pennylane_devices_say_what_they_do():
    qml = pytest.importorskip("pennylane")
    x, params = inputs(pz(1), (4,), ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PennyLane's own word on such devices
        device = qml.device("lightning.qubit", wires=1, shots=100)
    with pytest.raises(ValueError, match="has 100 shots of its own"):
        get("pennylane", device=device)
    with pytest.raises(TypeError, match="`device`"):
        get("pennylane", device=3)
    exact = PennyLane()
    assert exact._derivative() is None  # torch, through the simulation
    found = report(exact.with_shots(2000), pz(1), x, params)["value"]
    assert ((found - exact(pz(1), x, params)).abs() <= bernstein(found, 2000)).all()
    assert PennyLane("lightning.qubit")._derivative() is not None


BAD = {
    "shots": (lambda: get("sampled", shots=0), ValueError, "`shots` must be at least 1"),
    "float": (lambda: get("sampled", shots=1.5), TypeError, "`shots` must be an int"),
    "float tensor": (lambda: get("qiskit", shots=torch.ones(2)), TypeError, "`shots` must hold ints"),
    "zero in tensor": (lambda: get("pennylane", shots=torch.tensor([3, 0])), ValueError, "at least 1, but is 0"),
    "seed": (lambda: get("sampled", seed=-1), ValueError, "`seed`"),
    "device as base": (lambda: get("sampled", base=get("sampled")), ValueError, "measures by itself"),
    "gradient": (lambda: get("sampled", gradient="adjoint"), ValueError, "shift, spsa"),
    "class": (lambda: get("sampled", gradient=Spsa), TypeError, "`gradient`"),
    "step": (lambda: Spsa(step=0.0), ValueError, "`step`"),
    "repeats": (lambda: Spsa(repeats=0), ValueError, "`repeats`"),
    "simulator": (lambda: Simulator("bloch"), TypeError, "`engine`"),
}


@pytest.mark.parametrize(("call", "error", "message"), BAD.values(), ids=BAD)
def test_bad_options_are_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Gradients.

FREE = Circuit(
    (Gate("RY", 0, Slot("a")), Gate("RZ", 0, Encode(Slot("scale"), Slot("shift"))), Gate("RY", 0, Slot("a", 1)))
)


@each_base
def test_simulated_gradients_are_those_of_the_simulator_to_any_order(base):
    x, params = inputs(FREE, (4,), (4,))
    twin = get(base)
    device = get("sampled", base=base, shots=50, seed=0, gradient=Simulator(twin))
    slopes = report(device, FREE, x, params)
    expected = report(twin, FREE, x, params)
    assert not torch.equal(slopes.pop("value"), expected.pop("value"))
    assert_same(slopes, expected, SHIFTED)

    def curvature(engine):
        def slope(x, **params):
            (slope,) = torch.autograd.grad(engine(FREE, x, params).sum(), x, create_graph=True)
            return slope

        return derivatives(slope, {"x": x, **params})

    assert_same(curvature(device), curvature(twin), SHIFTED)


def test_simulated_gradients_run_nothing_more():
    ran = []

    class Device(Sampled):
        def _run(self, circuit, table, shots):
            ran.append(len(table))
            return super()._run(circuit, table, shots)

    x, params = inputs(FREE, (4,), (4,))
    report(Device(shots=10, seed=0, gradient=Simulator(get("bloch"))), FREE, x, params)
    assert ran == [4]


def test_simultaneous_perturbation_is_the_gradient_on_average_up_to_the_step_squared():
    x, params = inputs(FREE, (1,), (1,))
    expected = report(get("bloch"), FREE, x, params)
    found = report(get("sampled", shots=None, gradient=Spsa(0.01, 4000, seed=0)), FREE, x, params)
    norm = torch.cat([expected[name].flatten() for name in expected if name != "value"]).norm()
    for name in expected:
        # Directions add the other components with random signs: about norm / sqrt(repeats).
        assert (found[name] - expected[name]).abs().max() <= 5 * 4 * norm / math.sqrt(4000) + 1e-3, name


def test_seeds_fix_directions_which_are_new_at_every_step():
    x, params = inputs(FREE, (5,), (5,))
    first, second = (get("sampled", seed=0, gradient="spsa") for _ in range(2))
    one, two = report(first, FREE, x, params), report(first, FREE, x, params)
    assert_same(report(second, FREE, x, params), one, EXACT)
    assert not torch.equal(one["d/da"], two["d/da"])


def test_simultaneous_perturbation_has_no_second_derivative_and_says_so():
    x, params = inputs(FREE, (2,), ())
    x.requires_grad_()
    value = get("sampled", gradient="spsa", seed=0)(FREE, x, params).sum()
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(value, x, create_graph=True)


def test_noise_with_a_grid_is_refused_where_rows_forget_it():
    gridded = get("noisy", noise=Noise.stack([NOISE, NOISE]))
    with pytest.raises(ValueError, match="`base` has noise with a grid"):
        get("sampled", base=gridded)
    with pytest.raises(ValueError, match="`engine` has noise with a grid"):
        Simulator(gridded)


def test_simultaneous_perturbation_takes_two_rows_a_repeat_and_new_directions():
    ran = []

    class Device(Sampled):
        def _run(self, circuit, table, shots):
            ran.append(table.clone())
            return super()._run(circuit, table, shots)

    x, params = inputs(FREE, (5,), ())
    device = Device(shots=None, gradient=Spsa(0.2, 3, seed=0))
    leaf = params["a"].requires_grad_()
    for _ in range(2):
        device(FREE, x, params).sum().backward()
    assert [len(table) for table in ran] == [5, 30, 5, 30]
    signs = (ran[1] - ran[0].repeat(6, 1)) / 0.2
    torch.testing.assert_close(signs[:, [0, 2]].abs(), torch.ones(30, 2, dtype=F64), **EXACT)
    assert signs[:, 1].eq(0).all()  # the encoding wants no gradient
    assert not torch.equal(ran[1], ran[3])
    assert leaf.grad is not None


def test_sampled_shifts_are_the_gradient_with_the_error_of_the_shots():
    """Each derivative is half a difference of two means: its standard error is at most 1 / sqrt(2 S)."""
    x, params = inputs(FREE, (400,), (400,))
    exact = report(get("bloch"), FREE, x, params)
    found = report(get("sampled", shots=1000, seed=0), FREE, x, params)
    weight = torch.linspace(0.5, 1.5, 400, dtype=F64)[:, None]
    scores = (found["d/da"] - exact["d/da"]) / weight * math.sqrt(2 * 1000)
    assert scores.square().mean().sqrt() <= 1 + rms_window(800)
    assert scores.abs().max() <= math.sqrt(2 * math.log(2 * 800 / 1e-6)) * 1.5


def test_stacked_layers_have_the_gradient_of_autograd_through_an_exact_device(seeded):
    from qkan import QKAN, set_engine

    model = QKAN([2, 3, 1], circuit=pz(2), dtype=F64)
    x = torch.rand(6, 2, dtype=F64, requires_grad=True)

    def slopes():
        return torch.autograd.grad(model(x).square().sum(), [x, *model.parameters()])

    expected = slopes()
    set_engine(model, get("sampled", shots=None))
    for found, wanted in zip(slopes(), expected, strict=True):
        torch.testing.assert_close(found, wanted, **SHIFTED)


def test_one_gradient_of_a_two_by_two_layer_takes_ninety_six_circuits(seeded):
    from qkan import QKANLayer

    ran = []

    class Device(Sampled):
        def _run(self, circuit, table, shots):
            ran.append(len(table))
            return super()._run(circuit, table, shots)

    layer = QKANLayer(2, 2, circuit=pz(2), engine=Device(shots=None))
    layer(torch.rand(2, 2, requires_grad=True)).sum().backward()
    assert ran == [8, 96]
