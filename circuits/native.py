r"""Circuits in the gates that superconducting devices have: RZ, SX, X, and CNOT or CZ between wires.

RZ is a change of frame there: it takes no time and makes no error. Every other gate is a pulse, so that the number of
SX and X, and where they stand, decides what noise does; what is simulated under noise is what a device runs.

References: McKay et al., Efficient Z gates for quantum computing, 2017, arXiv:1612.00858; folding: Giurgica-Tiron et
al., Digital zero noise extrapolation for quantum error mitigation, 2020, arXiv:2005.10921.
"""

import math
from collections.abc import Iterator
from functools import reduce

from circuits.checks import is_real
from circuits.circuit import Circuit, Encode, Gate, Slot, add, terms
from circuits.derived import derived
from circuits.errors import UnsupportedCircuit
from circuits.lower import simplify

PULSES = ("SX", "X", "CNOT", "CZ")
"""Native gates that take time, and make errors."""

NATIVE = ("RZ", *PULSES)
"""All of them."""

_HALF, _TURN = math.pi / 2, math.pi

# One-wire gates but RZ, SX and X as those, up to a phase: RZ by numbers, and "angle" for RZ by the angle plus pi.
_ONE_WIRE: dict[str, tuple[str | float, ...]] = {
    "H": (_HALF, "SX", _HALF),
    "Y": (_TURN, "X"),
    "Z": (_TURN,),
    "S": (_HALF,),
    "T": (_HALF / 2,),
    "RX": (_HALF, "SX", "angle", "SX", _HALF),
    "RY": ("SX", "angle", "SX", _TURN),
}

_TO_Z = {"X": (_HALF, "SX", _HALF), "Y": ("SX",)}
"""What turns a letter into Z, so that measuring Z measures it."""


@derived
def native(circuit: Circuit) -> Circuit:
    r"""The simplified circuit in RZ, SX, X, CNOT and CZ, whose value is the same.

    A rotation about X or Y is two SX with an RZ in between, $R_X(t) = R_Z(\pi/2)\, S_X R_Z(t + \pi)\, S_X R_Z(\pi/2)$,
    and two SX with a quarter turn in between are fewer pulses: $S_X S S_X = S S_X S$, $S_X Z S_X = Z$, $S_X S_X = X$.

    Raises:
        UnsupportedCircuit: for controlled rotations.
    """
    plain = simplify(circuit)
    if (reason := no_native_form(plain)) is not None:
        raise UnsupportedCircuit(f"This circuit cannot be brought to native gates: {reason}.")
    return _shortened(
        Circuit(tuple(gate for each in plain.gates for gate in _lowered(each)), plain.readout, plain.label)
    )


def no_native_form(circuit: Circuit) -> str | None:
    """Why a circuit has none, naming the gate; None if it has one."""
    gate = next((gate for gate in circuit.gates if len(gate.wires) > 1 and gate.angle is not None), None)
    return gate and f"gate {gate} is a controlled rotation: write it with CNOT and rotations of the target"


def _shortened(circuit: Circuit) -> Circuit:
    """Again and again until no two SX on a wire have nothing but a number of quarter turns between them."""
    circuit = simplify(circuit)
    gates = list(circuit.gates)
    for first, gate in enumerate(gates):
        if gate.name != "SX":
            continue
        after = [k for k in range(first + 1, len(gates)) if gate.wires[0] in gates[k].wires][:2]
        between = gates[after[0]].angle if after and gates[after[0]].name == "RZ" else 0.0
        last = after[-1] if len(after) == 2 and gates[after[0]].name == "RZ" else after[0] if after else first
        if last == first or gates[last].name != "SX" or not isinstance(between, float):
            continue
        quarters = between / _HALF
        if abs(quarters - round(quarters)) > 1e-12:
            continue
        parts: tuple[str | float, ...] = {0: ("X",), 1: (_HALF, "SX", _HALF), 2: (_TURN,), 3: (-_HALF, "SX", -_HALF)}[
            round(quarters) % 4
        ]
        kept = [each for k, each in enumerate(gates) if k not in (first, last, after[0])]
        new = [_native_gate(part, gate.wires[0]) for part in parts]
        return _shortened(Circuit((*kept[:first], *new, *kept[first:]), circuit.readout, circuit.label))
    return circuit


def _lowered(gate: Gate) -> Iterator[Gate]:
    if gate.name == "SWAP":
        first, second = gate.wires
        for wires in ((first, second), (second, first), (first, second)):
            yield Gate("CNOT", wires)
    elif gate.name not in _ONE_WIRE:
        yield gate
    else:
        for part in _ONE_WIRE[gate.name]:
            if part == "angle":
                yield Gate("RZ", gate.wires, add(gate.angle or 0.0, math.pi))
            else:
                yield _native_gate(part, gate.wires[0])


def _native_gate(part: str | float, wire: int) -> Gate:
    return Gate(part, wire) if isinstance(part, str) else Gate("RZ", wire, part)


@derived
def measured(circuit: Circuit, string: str) -> Circuit:
    """`circuit` with native gates after which measuring Z measures `string`, one of its readout strings."""
    turns = (_native_gate(part, wire) for wire, letter in enumerate(string) for part in _TO_Z.get(letter, ()))
    readout = "".join("Z" if letter in _TO_Z else letter for letter in string)
    return Circuit((*circuit.gates, *turns), readout, circuit.label)


def folded(circuit: Circuit, scale: float) -> Circuit:
    r"""A native circuit with its pulses stretched: G becomes $G G^\dagger G$ until there are `scale` times as many.

    $S_X^\dagger$ is $R_Z(\pi) S_X R_Z(\pi)$, X, CNOT and CZ undo themselves. For an odd integer every pulse becomes
    `scale` of them; otherwise some become two more than others, spread evenly over the circuit.

    Args:
        circuit: of native gates; nothing may simplify it afterwards.
        scale: at least 1.
    """
    check_stretch(scale)
    return _folded(circuit, float(scale))


@derived
def _folded(circuit: Circuit, scale: float) -> Circuit:
    pairs = iter(extra_pairs(pulses(circuit), scale))
    gates: list[Gate] = []
    for gate in circuit.gates:
        gates.append(gate)
        if gate.name in PULSES:
            for _ in range(next(pairs)):
                gates += [*_inverse(gate), gate]
    return Circuit(tuple(gates), circuit.readout, circuit.label)


def extra_pairs(count: int, scale: float) -> list[int]:
    """How many pairs of an inverse and itself follow each of `count` pulses, to make them `scale` times as many."""
    total = round((scale - 1) * count / 2)
    return [total * (k + 1) // count - total * k // count for k in range(count)]


def check_stretch(scale: object) -> None:
    """Refuse factors that shorten."""
    if not is_real(scale) or scale < 1:
        raise ValueError(f"Argument `scale` must be a number of at least 1, but is {scale!r}.")


def _inverse(gate: Gate) -> list[Gate]:
    if gate.name != "SX":
        return [gate]
    turn = Gate("RZ", gate.wires, math.pi)
    return [turn, gate, turn]


def pulses(circuit: Circuit) -> int:
    """How many gates of a native circuit are pulses."""
    return sum(gate.name in PULSES for gate in circuit.gates)


@derived
def side_by_side(circuit: Circuit, copies: int) -> Circuit:
    """`copies` of a circuit on wires of their own, each with slots of its own: entry k of copy c is entry c n + k of n.

    The readout is that of every copy at once.
    """
    lengths = circuit.slots

    def own(part: float | Slot, copy: int) -> float | Slot:
        return Slot(part.name, copy * lengths[part.name] + part.index) if isinstance(part, Slot) else part

    def moved(term: float | Slot | Encode, copy: int) -> float | Slot | Encode:
        if not isinstance(term, Encode):
            return own(term, copy)
        return Encode(own(term.scale, copy), own(term.shift, copy), term.feature, term.through)

    gates = (
        Gate(
            gate.name,
            tuple(copy * circuit.wires + wire for wire in gate.wires),
            None if gate.angle is None else reduce(add, [moved(term, copy) for term in terms(gate.angle)]),
        )
        for copy in range(copies)
        for gate in circuit.gates
    )
    return Circuit(tuple(gates), tuple(string * copies for string in circuit.strings), circuit.label)


def coin() -> Circuit:
    """A qubit turned by an angle: the circuit that any function of one angle on one wire amounts to."""
    return Circuit((Gate("RY", 0, Slot("angle")),))
