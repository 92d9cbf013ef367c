"""Parameter shift is the exact derivative, and asks the device for no more than it must."""

import cmath

import pytest
import torch
from hypothesis import given

from circuits import Circuit, Encode, Gate, Slot, Sum, pz
from circuits.engines import get
from circuits.gates import GATES
from circuits.gradient import FOUR_TERM, TWO_TERM
from judge import Counting, assert_same, derivatives, report
from random_circuits import circuits, inputs, seeds
from tolerances import EXACT, SHIFTED

reference = get("reference")


@pytest.mark.parametrize(("rule", "frequencies"), [(TWO_TERM, (0, 1)), (FOUR_TERM, (0, 0.5, 1))])
def test_rule_is_the_derivative_of_every_frequency_it_is_made_for(rule, frequencies):
    for frequency in frequencies:
        shifted = sum(coefficient * cmath.exp(1j * frequency * shift) for coefficient, shift in rule)
        assert abs(shifted - 1j * frequency) <= EXACT["atol"]


@given(circuits(max_wires=3), seeds)
def test_shifted_gradients_are_those_of_autograd(circuit, seed):
    x, params = inputs(circuit, x_grid=(2, 1), params_grid=(2,), seed=seed)
    assert_same(report(Counting(), circuit, x, params), report(reference, circuit, x, params), SHIFTED)


def visible(*gates):
    """`gates` where no rotation commutes with what comes before or after it."""
    start = [Gate("RY", wire, 0.3 + wire) for wire in (0, 1)]
    return Circuit((*start, *gates, *(Gate("SX", wire) for wire in (0, 1)), Gate("CZ", (0, 1))), ("YX", "ZY", "XZ"))


@pytest.mark.parametrize("name", [name for name, kind in GATES.items() if kind.axis])
def test_derivative_of_every_rotation_gate(name):
    wires = GATES[name].wires
    circuit = visible(Gate(name, range(wires), Slot("theta")))
    x, params = inputs(circuit, params_grid=(3,))
    engine = Counting()
    assert_same(report(engine, circuit, x, params), report(reference, circuit, x, params), SHIFTED)
    assert engine.tables == [(3, 1), (3 * (2 if wires == 1 else 4), 1)]


@pytest.mark.parametrize("reps", range(4))
def test_gradient_of_pz_is_one_table_with_two_rows_a_distinct_angle(reps):
    x, params = inputs(pz(reps), x_grid=(5,))
    engine, angles = Counting(), 2 * (reps + 1)
    report(engine, pz(reps), x, params)
    samples = 5 if reps else 1  # without data there is nothing to repeat
    assert engine.tables == [(samples, angles), (2 * angles * samples, angles)]


MIXED = visible(
    Gate("RX", 0, Slot("theta")),
    Gate("RZ", 0, Encode(Slot("scale"), Slot("shift"))),
    Gate("CRY", (0, 1), Encode(Slot("scale", 1))),
    Gate("CRX", (1, 0), Slot("theta", 1)),
)


@pytest.mark.parametrize(
    ("leaves", "rows"),
    [
        ({"theta"}, 2 + 4),
        ({"scale"}, 2 + 4),
        ({"shift"}, 2),
        ({"x"}, 2 + 4),
        ({"shift", "scale", "x"}, 2 + 4),
        ({"theta", "shift", "scale", "x"}, 2 + 4 + 2 + 4),
    ],
    ids=str,
)
def test_only_angles_with_a_wanted_gradient_are_shifted(leaves, rows):
    """Scale, shift and x share the shifts of the angle that they make."""
    x, params = inputs(MIXED, x_grid=(3,))
    for name, tensor in ({"x": x} | params).items():
        tensor.requires_grad_(name in leaves)
    engine = Counting()
    engine(MIXED, x, params).sum().backward()
    assert engine.tables == [(3, 4), (3 * rows, 4)]


def test_values_alone_are_not_shifted():
    engine = Counting()
    engine(MIXED, *inputs(MIXED, x_grid=(3,)))
    assert engine.tables == [(3, 4)]


def test_chain_rule_through_scale_and_x():
    """With e = scale * x + shift: df/dscale = x df/dshift, and df/dx = scale df/dshift."""
    circuit = Circuit((Gate("RY", 0, 0.4), Gate("RX", 0, Encode(Slot("scale"), Slot("shift")))))
    x, params = inputs(circuit, x_grid=(4,), params_grid=(4,))
    gradient = report(Counting(), circuit, x, params)
    torch.testing.assert_close(gradient["d/dscale"], x * gradient["d/dshift"], **SHIFTED)
    torch.testing.assert_close(gradient["d/dx"], params["scale"] * gradient["d/dshift"], **SHIFTED)


def test_an_angle_used_twice_has_the_sum_of_both_derivatives():
    circuit = visible(Gate("RX", 0, Slot("theta")), Gate("CRY", (0, 1), Sum((Slot("theta"), Slot("theta"), 0.2))))
    x, params = inputs(circuit)
    assert_same(report(Counting(), circuit, x, params), report(reference, circuit, x, params), SHIFTED)


@pytest.mark.parametrize("circuit", [pz(1), MIXED], ids=["pz(1)", "controlled"])
def test_second_derivatives_are_shifts_of_shifts(circuit):
    x, params = inputs(circuit, x_grid=(2,))

    def hessian(engine):
        def slopes(**leaves):
            value = engine(circuit, leaves["x"], {name: leaves[name] for name in params}).sum()
            gradients = torch.autograd.grad(value, list(leaves.values()), create_graph=True)
            return torch.cat([gradient.flatten() for gradient in gradients])

        return derivatives(slopes, {"x": x, **params})

    assert_same(hessian(Counting()), hessian(reference), SHIFTED)


def test_simplified_away_is_no_request_at_all():
    """A circuit without visible angles is one row for the whole grid."""
    engine = Counting()
    value = engine(Circuit((Gate("RZ", 0, Encode()),)), torch.zeros(7, 1), {})
    assert engine.tables == [(1, 0)]
    assert value.tolist() == [1.0] * 7


def test_a_batch_of_tables_is_one_longer_table():
    """A vmap adds rows to a run; jacrev maps over the cotangents only, and shifts no more than one gradient does."""
    engine, circuit = Counting(), pz(1)
    x, params = inputs(circuit, (3,), (), seed=5)
    jacobian = torch.func.jacrev(lambda x: engine(circuit, x, params))(x)
    assert [rows for rows, _ in engine.tables] == [3, 2 * 3]
    expected = torch.func.jacrev(lambda x: get("reference")(circuit, x, params))(x)
    torch.testing.assert_close(jacobian, expected, **SHIFTED)
    mapped = torch.vmap(lambda x: engine(circuit, x, params))(x[:, None])
    assert [rows for rows, _ in engine.tables[2:]] == [3]
    torch.testing.assert_close(mapped, get("reference")(circuit, x, params)[:, None], **SHIFTED)
