"""Native circuits have the same function, and folding multiplies their pulses by exactly what was asked."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from circuits import ANSATZE, Circuit, Encode, Gate, Slot, UnsupportedCircuit, pz
from circuits.engines import get
from circuits.native import PULSES, coin, folded, measured, native, pulses, side_by_side
from judge import assert_same, report
from random_circuits import circuits, inputs, seeds
from tolerances import EXACT

reference = get("reference")
lowerable = circuits(max_wires=3).filter(
    lambda circuit: not any(len(gate.wires) == 2 and gate.angle is not None for gate in circuit.gates)
)


def seen(circuit, x, params):
    return x[..., : circuit.features], {name: params[name][..., :n] for name, n in circuit.slots.items()}


@given(lowerable, seeds)
def test_native_circuits_have_the_same_value_and_only_native_gates(circuit, seed):
    x, params = inputs(circuit, (3,), (3,), seed=seed)
    lowered = native(circuit)
    assert {gate.name for gate in lowered.gates} <= {"RZ", *PULSES}
    torch.testing.assert_close(reference(lowered, *seen(lowered, x, params)), reference(circuit, x, params), **EXACT)
    assert native(lowered) == lowered


@pytest.mark.parametrize("reps", range(5))
def test_pz_takes_one_pulse_for_h_and_two_for_every_ry(reps):
    expected = 1 + 2 * (reps + 1)
    assert pulses(native(pz(reps))) == expected


PULSES_OF_TWO_BLOCKS = {"pz": 7, "rpz": 6, "px": 5, "mix": 9, "real": 7}
"""SX and X of reps = 2: what Qiskit's transpiler finds at level 1 for the circuit with parameters; two more for real,
whose X it moves past rotations."""


@pytest.mark.parametrize("name", ANSATZE)
def test_native_circuits_have_as_few_pulses_as_a_transpiler_finds(name):
    assert pulses(native(ANSATZE[name](2))) <= PULSES_OF_TWO_BLOCKS[name]


@pytest.mark.parametrize(
    "turns", [(0.0,), (math.pi / 2,), (math.pi,), (-math.pi / 2,), (3 * math.pi / 2, 0.0, math.pi)]
)
def test_two_pulses_around_quarter_turns_are_fewer(turns):
    middle = [gate for turn in turns for gate in (Gate("RZ", 0, turn), Gate("SX", 0))]
    circuit = Circuit(
        (Gate("RX", 0, Encode()), Gate("RZ", 0, 0.4), Gate("SX", 0), *middle, Gate("RZ", 0, 0.3)), ("X", "Y", "Z")
    )
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    assert pulses(native(circuit)) <= 3
    torch.testing.assert_close(reference(native(circuit), x, {}), reference(circuit, x, {}), **EXACT)


@given(lowerable, seeds)
def test_reading_z_after_the_turns_is_reading_the_string(circuit, seed):
    x, params = inputs(circuit, (3,), (3,), seed=seed)
    lowered = native(circuit)
    for k, string in enumerate(circuit.strings):
        turned = measured(lowered, string)
        assert set(turned.strings[0]) <= {"I", "Z"}
        expected = reference(Circuit(circuit.gates, circuit.strings), x, params)[..., k]
        torch.testing.assert_close(reference(turned, *seen(turned, x, params)), expected, **EXACT)


@given(lowerable, st.sampled_from([1, 3, 5, 2.0, 1.7]), seeds)
def test_folding_keeps_the_value(circuit, scale, seed):
    x, params = inputs(circuit, (2,), (2,), seed=seed)
    longer = folded(native(circuit), scale)
    torch.testing.assert_close(reference(longer, *seen(longer, x, params)), reference(circuit, x, params), **EXACT)


@pytest.mark.parametrize("scale", [1, 3, 5, 7])
@pytest.mark.parametrize("name", ANSATZE)
def test_odd_folding_multiplies_every_pulse(name, scale):
    circuit = native(ANSATZE[name](3))
    longer = folded(circuit, scale)
    for pulse in PULSES:
        count = sum(gate.name == pulse for gate in circuit.gates)
        assert sum(gate.name == pulse for gate in longer.gates) == scale * count


@given(st.floats(1, 9))
def test_folding_between_odd_numbers_comes_within_one_pair(scale):
    circuit = native(pz(4))
    assert abs(pulses(folded(circuit, scale)) - scale * pulses(circuit)) <= 1 + 1e-9


def test_partial_folds_are_spread_over_the_circuit():
    circuit = Circuit(tuple(Gate("SX", 0) for _ in range(6)))
    longer = folded(circuit, 2.0)  # three pairs on six pulses
    names = [gate.name for gate in longer.gates]
    assert names.count("SX") == 12
    half = names.index("SX", 7)
    assert 5 <= sum(name == "SX" for name in names[: len(names) // 2]) <= 7, half


@pytest.mark.parametrize("scale", [0.9, 0, -1, math.nan, math.inf, "3", True])
def test_folding_refuses_what_is_no_stretch(scale):
    with pytest.raises(ValueError, match="`scale`"):
        folded(native(pz(1)), scale)


def test_controlled_rotations_have_no_native_form():
    circuit = Circuit((Gate("H", 0), Gate("CRY", (0, 1), Slot("a"))), "ZZ")
    with pytest.raises(UnsupportedCircuit, match="CRY"):
        native(circuit)


@given(lowerable, st.integers(1, 3), seeds)
def test_copies_side_by_side_do_not_know_of_each_other(circuit, copies, seed):
    wide = side_by_side(Circuit(circuit.gates, circuit.strings[0]), copies)
    if wide.wires > 6:
        return
    lengths = circuit.slots
    x, _ = inputs(circuit, seed=seed)
    each = [inputs(circuit, seed=seed + copy)[1] for copy in range(copies)]
    together = {name: torch.cat([params[name] for params in each]) for name in lengths}
    expected = math.prod(
        reference(Circuit(circuit.gates, circuit.strings[0]), x, params).item() for params in each
    )  # a product state's parity is the product of parities
    wanted = {name: together[name][:n] for name, n in wide.slots.items()}
    assert reference(wide, x[..., : wide.features], wanted).item() == pytest.approx(expected, abs=1e-12)


def test_a_coin_is_the_cosine_of_its_angle():
    angle = torch.linspace(0, math.pi, 7, dtype=torch.float64)
    torch.testing.assert_close(
        reference(coin(), torch.zeros(1, dtype=torch.float64), {"angle": angle[:, None]}), torch.cos(angle), **EXACT
    )


def test_gradients_go_through_native_circuits():
    circuit = pz(2)
    x, params = inputs(circuit, (3,), (3,))
    assert_same(report(reference, native(circuit), x, params), report(reference, circuit, x, params), EXACT)


def test_numbers_and_data_may_be_anywhere():
    circuit = Circuit((Gate("RX", 0, 0.3), Gate("RY", 0, Encode(2.0, Slot("a"))), Gate("Y", 0), Gate("S", 0)), "X")
    x, params = inputs(circuit, (3,), (3,))
    lowered = native(circuit)
    torch.testing.assert_close(reference(lowered, *seen(lowered, x, params)), reference(circuit, x, params), **EXACT)
