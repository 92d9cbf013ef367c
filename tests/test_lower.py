"""Rewrites keep the function, and facts about a circuit hold for its values."""

import math

import pytest
import torch
from hypothesis import given, reject
from hypothesis import strategies as st

from circuits import ANSATZE, Circuit, Encode, Gate, Slot, Sum, expectation, mix, px, pz, real, rpz
from circuits.engines import get
from circuits.lower import facts, merge, prune, simplify
from judge import assert_same, report
from random_circuits import circuits, inputs, numbers, seeds, slots
from tolerances import EXACT

REWRITES = {
    "merge": merge,
    "prune": prune,
    "simplify": simplify,
}

A, B, X = Slot("a"), Slot("b"), Encode()

reference = get("reference")


def seen(circuit, x, params):
    """The part of the inputs that a rewritten circuit still asks for."""
    return x[..., : circuit.features], {name: params[name][..., :n] for name, n in circuit.slots.items()}


@pytest.mark.parametrize("rewrite", REWRITES)
@given(circuit=circuits(max_gates=20), seed=seeds)
def test_rewriting_keeps_the_function(rewrite, circuit, seed):
    x, params = inputs(circuit, x_grid=(3,), params_grid=(3,), seed=seed)
    rewritten = REWRITES[rewrite](circuit)
    actual = reference(rewritten, *seen(rewritten, x, params))
    torch.testing.assert_close(actual, reference(circuit, x, params), **EXACT)


@given(circuit=circuits(), position=st.floats(0, 1), angle=st.floats(-7, 7), data=st.data())
def test_inserting_a_rotation_and_its_inverse_changes_nothing(circuit, position, angle, data):
    name, wires = data.draw(
        st.sampled_from([("RX", 1), ("RY", 1), ("RZ", 1), ("CRY", 2)]).filter(lambda kind: kind[1] <= circuit.wires)
    )
    where = data.draw(st.permutations(range(circuit.wires)))[:wires]
    at = round(position * len(circuit.gates))
    pair = (Gate(name, where, angle), Gate(name, where, -angle))
    longer = Circuit((*circuit.gates[:at], *pair, *circuit.gates[at:]), circuit.readout)
    x, params = inputs(circuit)
    assert_same(report(get("statevector"), longer, x, params), report(reference, circuit, x, params), EXACT)
    if at == 0:
        assert simplify(longer) == simplify(circuit)


@given(circuits(max_gates=20))
def test_simplify_is_idempotent_and_never_longer(circuit):
    simple = simplify(circuit)
    assert simplify(simple) == simple
    assert len(simple.gates) <= len(circuit.gates)
    assert len(simple.angles) <= len(circuit.angles)


def rx(angle, wire=0):
    return Gate("RX", wire, angle)


def ry(angle, wire=0):
    return Gate("RY", wire, angle)


def rz(angle, wire=0):
    return Gate("RZ", wire, angle)


SIMPLER = {
    "RZ before Z is dropped": ("Z", [rx(A), rz(B)], [rx(A)]),
    "RZ before X stays": ("X", [rx(A), rz(B)], [rx(A), rz(B)]),
    "RZ before Z and X stays": (("Z", "X"), [rx(A), rz(B)], [rx(A), rz(B)]),
    "phases before Z are dropped": ("Z", [rx(A), *(Gate(name, 0) for name in ("Z", "S", "T"))], [rx(A)]),
    "SX before X is dropped": ("X", [ry(A), Gate("SX", 0)], [ry(A)]),
    "what becomes dead is dropped": ("Z", [rx(A), rz(A), rz(-1.0), Gate("S", 0)], [rx(A)]),
    "H turns Z into X": ("Z", [ry(A), rx(B), Gate("H", 0)], [ry(A), Gate("H", 0)]),
    "neighbours about one axis are one": ("Z", [rx(A), rx(B)], [rx(Sum((A, B)))]),
    "data too": ("Z", [rx(A), rx(X), rx(B)], [rx(Sum((A, X, B)))]),
    "numbers are folded": ("Z", [rx(0.25), rx(A), rx(0.5)], [rx(Sum((A, 0.75)))]),
    "zero vanishes": ("Z", [rx(A), Gate("RY", 0, 0), rx(B)], [rx(Sum((A, B)))]),
    "opposite numbers vanish": ("Z", [rx(0.3), rx(-0.3)], []),
    "opposite numbers inside vanish": ("Z", [rx(A), rx(0.5), rx(-0.5)], [rx(A)]),
    "other axes stay apart": ("Y", [rx(A), rz(B), rx(A)], [rx(A), rz(B), rx(A)]),
    "other wires do not separate": ("ZZ", [rx(A), rx(B, 1), rx(A)], [rx(Sum((A, A))), rx(B, 1)]),
    "two-wire gates separate": (
        "ZZ",
        [rx(A), Gate("CZ", (0, 1)), rx(B)],
        [rx(A), Gate("CZ", (0, 1)), rx(B)],
    ),
    "controlled neighbours are one": (
        "IX",
        [Gate("H", 0), Gate("CRZ", (0, 1), A), Gate("CRZ", (0, 1), 1)],
        [Gate("H", 0), Gate("CRZ", (0, 1), Sum((A, 1.0)))],
    ),
    "control and target are not interchangeable": (
        "XX",
        [Gate("CRX", (0, 1), A), Gate("CRX", (1, 0), A)],
        [Gate("CRX", (0, 1), A), Gate("CRX", (1, 0), A)],
    ),
    "unread wires are dropped": ("ZI", [rx(A), rx(B, 1), Gate("H", 1)], [rx(A)]),
    "unless a gate brings them into the light cone": (
        "ZI",
        [rx(B, 1), Gate("CNOT", (1, 0)), Gate("H", 1)],
        [rx(B, 1), Gate("CNOT", (1, 0))],
    ),
    "a control is not seen by its own Z": ("ZI", [rx(A), Gate("CNOT", (0, 1)), rx(B, 1)], [rx(A)]),
    "a target is not seen by its own X": ("IX", [ry(A, 1), Gate("CNOT", (0, 1))], [ry(A, 1)]),
    "CZ commutes with ZZ": ("ZZ", [rx(A), Gate("CZ", (0, 1))], [rx(A)]),
    "SWAP moves the light cone": ("ZI", [rx(A), rx(B, 1), Gate("SWAP", (0, 1))], [rx(B, 1), Gate("SWAP", (0, 1))]),
    "the start takes a phase from its own axis": ("X", [rz(A), Gate("T", 0), ry(B), rz(A)], [ry(B), rz(A)]),
    "H turns the start": ("Z", [Gate("H", 0), rx(A), ry(B)], [Gate("H", 0), ry(B)]),
    "SWAP swaps starts": (
        "ZZ",
        [Gate("H", 0), Gate("SWAP", (0, 1)), rz(A), rx(A, 1), ry(B), ry(B, 1)],
        [Gate("H", 0), Gate("SWAP", (0, 1)), ry(B), ry(B, 1)],
    ),
    "SWAP of unread wires is dropped": ("ZII", [rx(A), Gate("SWAP", (1, 2))], [rx(A)]),
}
"""Readout, gates, and what is left of them."""


@pytest.mark.parametrize("case", SIMPLER)
def test_simplify(case):
    readout, gates, left = SIMPLER[case]
    assert simplify(Circuit(tuple(gates), readout)) == Circuit(tuple(left), readout)


def test_simplify_keeps_the_label():
    assert simplify(pz(2)).label == "pz(2)"


@pytest.mark.parametrize("reps", range(4))
def test_pz_has_as_many_distinct_angles_as_thetas(reps):
    """Each shift joins the RZ angle of the next block."""
    assert len(pz(reps).angles) == 3 * reps + 2
    assert len(simplify(pz(reps)).angles) == 2 * (reps + 1)


# Facts.


def read_z(*gates):
    return Circuit(gates)


def joined(*scales):
    """One angle with several entries of data."""
    return read_z(rx(Sum(tuple(Encode(scale) for scale in scales))))


def controlled(scale):
    return Circuit((Gate("H", 0), Gate("CRX", (0, 1), Encode(scale))), "IZ")


DEGREES = [
    *((ANSATZE[name](reps, scale=1), reps) for name in ANSATZE if name != "px" for reps in range(4)),
    *((pz(reps, scale=[3**block for block in range(reps)]), (3**reps - 1) // 2) for reps in range(5)),
    (real(2, scale=[-2, 3]), 5),
    (rpz(3), None),
    (mix(3, scale=[1, 2, 0.5]), None),
    (read_z(rx(A)), 0),
    (read_z(rx(A), rz(Encode(A))), 0),
    (read_z(rx(Encode(A))), None),
    (read_z(rx(Encode(1, A))), 1),
    (read_z(rx(X), rz(Encode(feature=1)), rx(A)), None),
    (read_z(rx(X), Gate("RY", 0, Encode(through="arccos"))), None),
    (joined(1, 2), 3),
    (joined(2, -2), 0),
    (joined(0.5, 0.5), 1),
    (joined(0.5, 1), None),
    (controlled(1), None),
    (controlled(2), 2),
    (controlled(3), None),
    (px(3, scale=1, shift=0), 3),
    (px(3, scale=0.5, shift=0.2), 3),
    (px(2, scale=[1, 0.5], shift=0), None),
    (px(2), None),
]


@pytest.mark.parametrize(("circuit", "degree"), DEGREES, ids=lambda value: getattr(value, "label", value))
def test_degree(circuit, degree):
    assert facts(circuit).degree == degree


integers = st.builds(Encode, st.integers(-2, 2), numbers | slots)


@given(circuits(max_wires=3, max_gates=8, angles=numbers | slots | integers), seeds)
def test_spectrum_of_any_circuit_stops_at_its_degree(circuit, seed):
    degree = facts(circuit).degree
    if degree is None:
        reject()
    nodes = 2 * degree + 9
    _, params = inputs(circuit, seed=seed)
    x = 2 * math.pi * torch.arange(nodes, dtype=torch.float64)[:, None] / nodes
    values = expectation(Circuit(circuit.gates, circuit.strings), x, params)
    spectrum = torch.fft.rfft(values.contiguous(), dim=0, norm="forward").abs()  # torch 2.6 refuses expanded ones
    torch.testing.assert_close(spectrum[degree + 1 :], torch.zeros_like(spectrum[degree + 1 :]), **EXACT)


def test_single_feature():
    second = Encode(feature=1)
    assert facts(pz(2)).single_feature
    assert facts(read_z(rx(A))).single_feature
    assert facts(read_z(rx(second), rz(second), rx(A))).single_feature
    assert not facts(read_z(rx(X), rz(second), rx(A))).single_feature
    assert facts(read_z(rx(X), rz(second))).single_feature  # the readout does not see the last gate


@pytest.mark.parametrize("name", ANSATZE)
def test_facts_of_the_ansatze(name):
    about = facts(ANSATZE[name](3))
    assert about.wires == 1
    assert about.single_feature
    assert about.encodings == ANSATZE[name](3).encodings
    assert about.bounded_domain == (name == "px")
