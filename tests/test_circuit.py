"""A circuit is a value: frozen, compared by content, and impossible to build wrong."""

# Wrong arguments are what half of this file is about.
# pyright: reportArgumentType=false

import dataclasses
import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given

from circuits import ANSATZE, Circuit, Encode, Gate, Slot, Sum, mix, px, pz, real, rpz
from circuits.draw import draw
from random_circuits import circuits

THETA = Slot("theta")

VALUES = [THETA, Encode(2, THETA), Sum((THETA, 1)), Gate("RX", 0, 0.5), Gate("CNOT", (0, 1)), pz(2)]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_are_frozen(value):
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, getattr(value, field.name))


@given(circuits())
def test_equal_content_is_one_dictionary_key(circuit):
    gates = [Gate(gate.name, list(gate.wires), gate.angle) for gate in circuit.gates]
    readout = circuit.readout if isinstance(circuit.readout, str) else list(circuit.readout)
    twin = Circuit(gates, readout)
    assert twin is not circuit
    assert {circuit: "found"}[twin] == "found"


@pytest.mark.parametrize(
    "other",
    [
        pz(3),
        rpz(2),
        pz(2, scale=1),
        Circuit(pz(2).gates[:-1]),
        Circuit(pz(2).gates, "X"),
        Circuit(pz(2).gates, ("Z",)),
    ],
    ids=["reps", "ansatz", "scale", "gate", "readout", "tuple readout"],
)
def test_different_content_is_a_different_value(other):
    assert other != pz(2)


def test_label_is_not_content():
    assert Circuit(pz(2).gates, label="mine") == pz(2)
    assert hash(Circuit(pz(2).gates, label="mine")) == hash(pz(2))
    assert pz(2).label == "pz(2)"
    assert pz(2, scale=[1, 3], shift=0).label == "pz(2, scale=[1, 3], shift=0)"


def test_numbers_of_any_type_are_floats():
    assert Gate("RX", 0, 1) == Gate("RX", (0,), 1.0)
    assert Encode(2, 1) == Encode(2.0, 1.0)
    assert Sum([1, THETA]) == Sum((1.0, THETA))


# Slots.

THETAS = {"pz": lambda reps: 2 * (reps + 1), "rpz": lambda reps: reps + 1, "px": lambda reps: reps}
THETAS |= {"real": lambda reps: reps, "mix": lambda reps: 2 * (reps + 1)}


def without_empty(slots):
    return {name: length for name, length in slots.items() if length}


@pytest.mark.parametrize("reps", range(5))
@pytest.mark.parametrize("name", ANSATZE)
def test_ansatz_asks_for_the_slots_of_the_design_table(name, reps):
    theta = {"theta": THETAS[name](reps)}
    trainable = {"scale": reps, "shift": reps}
    geometric = [3.0**block for block in range(reps)]
    assert ANSATZE[name](reps).slots == without_empty(theta | trainable)
    assert ANSATZE[name](reps, scale=1).slots == without_empty(theta | {"shift": reps})
    assert ANSATZE[name](reps, shift=0.5).slots == without_empty(theta | {"scale": reps})
    assert ANSATZE[name](reps, scale=geometric, shift=0).slots == without_empty(theta)
    assert [e.scale for e in ANSATZE[name](reps, scale=geometric).encodings] == geometric
    assert ANSATZE[name](reps).features == 1


def test_slots_of_pz_3():
    assert pz(3).slots == {"theta": 8, "scale": 3, "shift": 3}


def test_slots_are_as_long_as_their_largest_index_in_order_of_appearance():
    gates = (
        Gate("RX", 0, Sum((Slot("b", 4), Encode(Slot("c"), feature=2)))),
        Gate("RY", 0, Slot("a")),
        Gate("RX", 0, Slot("b")),
    )
    circuit = Circuit(gates)
    assert list(circuit.slots.items()) == [("b", 5), ("c", 1), ("a", 1)]
    assert circuit.features == 3
    assert circuit.encodings == (Encode(Slot("c"), feature=2),)


def test_circuit_without_data_is_a_function_of_one_feature():
    assert Circuit((Gate("H", 0),)).features == 1


def test_readouts():
    one, several = Circuit((), "XZ"), Circuit((), ("XZ", "IY"))
    assert (one.wires, one.strings) == (2, ("XZ",))
    assert (several.wires, several.strings) == (2, ("XZ", "IY"))


# Errors name the argument, the gate or position, and the value.

REFUSED = {
    "slot name": (lambda: Slot("2x"), "`name` of Slot .* '2x'"),
    "slot named x": (lambda: Slot("x"), "'x', which stands for the data"),
    "slot index": (lambda: Slot("theta", -1), "`index` of Slot .* -1"),
    "slot bool index": (lambda: Slot("theta", True), "`index` of Slot .* True"),
    "scale type": (lambda: Encode("1"), "`scale` of Encode .* '1'"),
    "scale tensor": (lambda: Encode(torch.ones(1)), "`scale` of Encode"),
    "scale nan": (lambda: Encode(math.nan), "`scale` of Encode must be finite, but is nan"),
    "shift inf": (lambda: Encode(1, math.inf), "`shift` of Encode must be finite, but is inf"),
    "feature": (lambda: Encode(feature=-1), "`feature` of Encode .* -1"),
    "through": (lambda: Encode(through="arcsin"), "`through` of Encode .* 'arcsin'"),
    "sum of one": (lambda: Sum((THETA,)), "`terms` of Sum must be two or more"),
    "sum of sums": (lambda: Sum((THETA, Sum((THETA, THETA)))), "`terms` of Sum must be numbers, Slots or Encodes"),
    "sum with nan": (lambda: Sum((THETA, math.nan)), "`terms` of Sum must be finite, but is nan"),
    "gate name": (lambda: Gate("RW", 0, 1), "`name` of Gate must be one of H, X, .* 'RW'"),
    "wire sign": (lambda: Gate("H", -1), "`wires` of gate H .* is -1"),
    "wire float": (lambda: Gate("H", 0.0), r"`wires` of gate H .* is 0\.0"),
    "wire bool": (lambda: Gate("H", True), "`wires` of gate H .* is True"),
    "too many wires": (lambda: Gate("H", (0, 1)), r"gate H must be 1 distinct wire\(s\), but is \(0, 1\)"),
    "too few wires": (lambda: Gate("CNOT", 0), r"gate CNOT must be 2 distinct wire\(s\), but is \(0,\)"),
    "equal wires": (lambda: Gate("CRX", (1, 1), 0), r"gate CRX must be 2 distinct wire\(s\), but is \(1, 1\)"),
    "angle missing": (lambda: Gate("RX", 0), "`angle` of gate RX .* None"),
    "angle nan": (lambda: Gate("RX", 0, math.nan), "`angle` of gate RX must be finite, but is nan"),
    "angle text": (lambda: Gate("CRZ", (0, 1), "theta"), "`angle` of gate CRZ .* 'theta'"),
    "angle bool": (lambda: Gate("RX", 0, True), "`angle` of gate RX .* True"),
    "angle given": (lambda: Gate("H", 0, 0.5), "Gate H takes no angle, but has 0.5"),
    "not a gate": (lambda: Circuit((Gate("H", 0), "X")), "`gates` must hold Gates, but position 1 is 'X'"),
    "bare gate": (lambda: Circuit(Gate("H", 0)), "`gates` must be a tuple, but is Gate"),
    "wire beyond readout": (lambda: Circuit((Gate("H", 0), Gate("X", 2)), "ZZ"), "X at position 1 .* wire 2, .* 'ZZ'"),
    "no readout": (lambda: Circuit((), ()), "`readout` must hold at least one"),
    "empty string": (lambda: Circuit((), ""), "`readout` must be Pauli strings .* ''"),
    "readout letter": (lambda: Circuit((), "ZA"), "`readout` must be Pauli strings .* 'ZA'"),
    "readout identity": (lambda: Circuit((), ("ZZ", "II")), "`readout` must be Pauli strings .* 'II'"),
    "readout lengths": (lambda: Circuit((), ("ZZ", "Z")), "'Z' and 'ZZ' differ in length"),
    "readout number": (lambda: Circuit((), 1), "`readout` must be a tuple, but is 1"),
    "reps negative": (lambda: pz(-1), "`reps` must not be negative, but is -1"),
    "reps bool": (lambda: rpz(True), "`reps` must be an int, but is True"),
    "reps float": (lambda: px(2.0), "`reps` must be an int, but is 2.0"),
    "scales too few": (lambda: real(2, scale=[1]), r"`scale` must be one number or 2 .* \[1\]"),
    "shifts too many": (lambda: mix(1, shift=(0, 0)), r"`shift` must be one number or 1 .* \(0, 0\)"),
    "scale of ansatz": (lambda: pz(1, scale="1"), "`scale` must be one number or 1 .* '1'"),
    "nan of ansatz": (lambda: pz(2, shift=[0, math.nan]), "`shift` of Encode must be finite, but is nan"),
    "ansatz": (lambda: ANSATZE["foo"], "no ansatz 'foo'; the known ones are pz, rpz, px, real, mix"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_impossible_values_are_refused_by_name(case):
    build, message = REFUSED[case]
    with pytest.raises((TypeError, ValueError, KeyError), match=message):
        build()


# Drawings.

PICTURES = {
    "one wire": (
        Circuit(
            (Gate("H", 0), Gate("RX", 0, 0.25), Gate("RZ", 0, Encode(Slot("scale"), 1.5)), Gate("S", 0)), ("Z", "X")
        ),
        "0: |0>──H──RX(0.25)──RZ(scale[0]*x[0]+1.5)──S──<Z, X>",
    ),
    "wires": (
        Circuit(
            (
                Gate("H", 0),
                Gate("CRY", (2, 0), Slot("theta", 1)),
                Gate("SWAP", (0, 1)),
                Gate("CNOT", (1, 2)),
                Gate("X", 0),
            ),
            "ZIX",
        ),
        """\
0: |0>──H──RY(theta[1])──×──X──<Z
1: |0>──────────│────────×──●──I
2: |0>──────────●───────────X──X>""",
    ),
    "encodings": (
        Circuit(
            (
                Gate("RX", 0, Encode(through="arccos")),
                Gate("RY", 1, Sum((THETA, Encode(feature=1)))),
                Gate("CZ", (0, 1)),
            ),
            "ZZ",
        ),
        """\
0: |0>───RX(arccos(x[0]))──●──<Z
1: |0>──RY(theta[0]+x[1])──Z──Z>""",
    ),
}


@pytest.mark.parametrize("case", PICTURES)
def test_printed_circuit_is_its_drawing(case):
    circuit, picture = PICTURES[case]
    assert str(circuit) == picture


def test_wide_circuits_are_wrapped():
    circuit = Circuit((Gate("H", 0), Gate("CNOT", (0, 1))) * 3, "ZZ")
    assert (
        draw(circuit, width=20)
        == """\
0: |0>──H──●──H──●─
1: |0>─────X─────X─

   ─H──●──<Z
   ────X──Z>"""
    )


@given(circuits())
def test_drawn_wires_are_aligned_in_every_row(circuit):
    for row in draw(circuit, width=40).split("\n\n"):
        lines = row.split("\n")
        assert len(lines) == circuit.wires
        assert len({line.rindex("─") for line in lines}) == 1


def test_wires_above_nine_are_aligned():
    lines = draw(Circuit(tuple(Gate("H", wire) for wire in range(11)), "Z" * 11)).split("\n")
    assert {line.index("|0>") for line in lines} == {4}
    assert {line.index("H") for line in lines} == {9}


def test_a_circuit_is_the_same_value_in_another_process():
    """Its hash is made anew where it is loaded: strings have other hashes there."""
    code = (
        "import pickle, sys; from circuits import pz; c = pickle.load(sys.stdin.buffer);"
        "assert c == pz(2) and c in {pz(2)} and hash(c) == hash(pz(2)) and c.label == 'pz(2)'"
    )
    circuit = pz(2)
    hash(circuit)
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    for seed in ("1", "2"):
        environment = os.environ | path | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code], input=pickle.dumps(circuit), check=True, env=environment)


def test_slots_cannot_be_changed_through_the_mapping_it_gives():
    circuit = pz(2)
    circuit.slots["oops"] = 1
    assert circuit.slots == {"theta": 6, "scale": 2, "shift": 2}


def test_numbers_of_numpy_are_numbers():
    assert pz(np.int64(2), scale=np.float32(1), shift=np.int64(0)) == pz(2, scale=1, shift=0)
    assert Gate("RX", np.int64(0), np.float64(0.5)) == Gate("RX", 0, 0.5)
    assert Encode(np.float32(2), feature=np.int32(1)) == Encode(2.0, feature=1)
