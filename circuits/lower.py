r"""What follows from a circuit: facts that choose fast paths, and rewrites that keep its function.

Nothing here knows an ansatz. `simplify` is what engines run: neighbouring rotations about one axis merged and gates
that the readout cannot see dropped.
"""

from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np

from circuits.circuit import Circuit, Encode, Gate, Slot, add, terms
from circuits.derived import derived
from circuits.gates import GATES, bloch_matrix

_ALL = frozenset("XYZ")


@dataclass(frozen=True)
class Facts:
    """What engines want to know about a circuit.

    Args:
        wires: number of wires.
        single_feature: whether all data come from one feature (or there are none).
        encodings: every entry of data, in order.
        degree: the value is a trigonometric polynomial of at most this degree in one phase: x itself, or
            arccos(scale * x + shift) if all data enter through that. None if there is no such phase or a frequency is
            trainable or not an integer.
        bounded_domain: whether x must keep some |scale * x + shift| <= 1.
    """

    wires: int
    single_feature: bool
    encodings: tuple[Encode, ...]
    degree: int | None
    bounded_domain: bool


@derived
def facts(circuit: Circuit) -> Facts:
    """The facts of the simplified circuit."""
    circuit = simplify(circuit)
    return Facts(
        wires=circuit.wires,
        single_feature=len({encoding.feature for encoding in circuit.encodings}) <= 1,
        encodings=circuit.encodings,
        degree=_degree(circuit),
        bounded_domain=any(encoding.through == "arccos" for encoding in circuit.encodings),
    )


def _degree(circuit: Circuit) -> int | None:
    phases = {
        (
            encoding.feature,
            encoding.through,
            *((encoding.scale, encoding.shift) if encoding.through == "arccos" else ()),
        )
        for encoding in circuit.encodings
    }
    if len(phases) > 1:
        return None
    degree = 0.0
    for gate in circuit.gates:
        scales = [_frequency(term) for term in terms(gate.angle or 0.0) if isinstance(term, Encode)]
        if any(isinstance(scale, Slot) for scale in scales):
            return None
        frequency = abs(sum(scale for scale in scales if isinstance(scale, float)))
        # The generator P/2 contributes its eigenvalue difference 1; a controlled one also contributes 1/2.
        if not (frequency / len(gate.wires)).is_integer():
            return None
        degree += frequency
    return int(degree)


@derived
def in_phase(circuit: Circuit) -> tuple[Circuit, Encode]:
    r"""A circuit of one phase as a circuit that encodes this phase itself, and the phase.

    The phase is $\arccos(\mathrm{scale} \cdot x + \mathrm{shift})$ if data enter through arccos, otherwise x.
    """
    circuit = simplify(circuit)
    first = next(iter(circuit.encodings), Encode())
    phase = first if first.through == "arccos" else Encode(feature=first.feature)

    def of(term: float | Slot | Encode) -> float | Slot | Encode:
        if not isinstance(term, Encode):
            return term
        return Encode() if term.through == "arccos" else Encode(term.scale, term.shift)

    gates = (
        gate if gate.angle is None else Gate(gate.name, gate.wires, reduce(add, map(of, terms(gate.angle))))
        for gate in circuit.gates
    )
    return Circuit(tuple(gates), circuit.readout), phase


def _frequency(encoding: Encode) -> float | Slot:
    return encoding.scale if encoding.through == "identity" else 1.0


@derived
def simplify(circuit: Circuit) -> Circuit:
    """`merge` and `prune`, again and again until nothing changes. The function of x and parameters stays the same."""
    rewritten = prune(merge(circuit))
    return circuit if rewritten == circuit else simplify(rewritten)


def merge(circuit: Circuit) -> Circuit:
    r"""Rotations about one axis that follow each other on the same wires become one, $R(a) R(b) = R(a + b)$.

    Rotations by the number 0 vanish. Fewer angles also mean fewer parameter shifts: angles that share a derivative are
    shifted once.
    """
    gates: list[Gate] = []
    for gate in circuit.gates:
        if gate.angle == 0.0:
            continue
        before = next((i for i in reversed(range(len(gates))) if set(gates[i].wires) & set(gate.wires)), None)
        if before is not None and gate.angle is not None:
            previous = gates[before]
            if (previous.name, previous.wires) == (gate.name, gate.wires) and previous.angle is not None:
                total = add(previous.angle, gate.angle)
                gates[before : before + 1] = [] if total == 0.0 else [Gate(gate.name, gate.wires, total)]
                continue
        gates.append(gate)
    return Circuit(tuple(gates), circuit.readout, circuit.label)


def prune(circuit: Circuit) -> Circuit:
    r"""Drop the gates that no readout can see, and those that the start cannot feel.

    Walking backwards, each wire carries the Pauli letters that the evolved readouts $U^\dagger P U$ may have there; a
    gate that commutes with all of them leaves every value as it is. Walking forwards, a wire that is still in an
    eigenstate of a Pauli letter takes only a phase from gates about that axis.
    """
    return _prune_unfelt(_prune_unseen(circuit))


def _prune_unseen(circuit: Circuit) -> Circuit:
    letters = [frozenset(string[wire] for string in circuit.strings) - {"I"} for wire in range(circuit.wires)]
    kept: list[Gate] = []
    for gate in reversed(circuit.gates):
        seen = [letters[wire] for wire in gate.wires]
        evolved = _evolve(gate, seen)
        if evolved is not None:
            kept.append(gate)
            for wire, after in zip(gate.wires, evolved, strict=True):
                letters[wire] = after
    return Circuit(tuple(reversed(kept)), circuit.readout, circuit.label)


def _prune_unfelt(circuit: Circuit) -> Circuit:
    eigenstates: list[str | None] = ["Z"] * circuit.wires
    kept: list[Gate] = []
    for gate in circuit.gates:
        letters = [eigenstates[wire] for wire in gate.wires]
        if len(gate.wires) == 1 and letters[0] is not None and letters[0] == _axis(gate):
            continue
        kept.append(gate)
        for wire, letter in zip(gate.wires, _turned(gate, letters), strict=True):
            eigenstates[wire] = letter
    return Circuit(tuple(kept), circuit.readout, circuit.label)


def _evolve(gate: Gate, seen: list[frozenset[str]]) -> list[frozenset[str]] | None:
    """The letters on the wires of `gate` before it, given those after it; None if it commutes with all of them."""
    if not any(seen):
        return None
    if gate.name == "SWAP":
        return seen[::-1]
    axis = _axis(gate)
    target = seen[-1]
    if len(gate.wires) == 1:
        if axis is not None and target <= {axis}:
            return None
        if axis is not None and gate.angle is not None:
            return [target | (_ALL - {axis})]
        matrix = bloch_matrix(GATES[gate.name].unitary)
        return [frozenset(row for i, row in enumerate("XYZ") if any(matrix["XYZ".index(b), i] for b in target))]
    aligned_control, aligned_target = seen[0] <= {"Z"}, target <= {axis}
    if aligned_control and aligned_target:
        return None
    return [frozenset("Z") if aligned_control else _ALL, frozenset(axis or "") if aligned_target else _ALL]


def _turned(gate: Gate, letters: list[str | None]) -> list[str | None]:
    """The letters whose eigenstates the wires of `gate` are in after it; None where there is no such letter."""
    if gate.name == "SWAP":
        return letters[::-1]
    if len(gate.wires) == 2 or gate.angle is not None or letters[0] is None:
        return [None] * len(letters)
    column = bloch_matrix(GATES[gate.name].unitary)[:, "XYZ".index(letters[0])]
    return [next((letter for letter, entry in zip("XYZ", column, strict=True) if abs(entry) == 1), None)]


@lru_cache
def _fixed_axis(name: str) -> str | None:
    """The Pauli letter a fixed action turns about and so commutes with: Z for S, X for SX, none for H."""
    matrix = GATES[name].matrix
    assert matrix is not None
    rotation = bloch_matrix(matrix)
    return next((letter for i, letter in enumerate("XYZ") if np.array_equal(rotation[:, i], np.eye(3)[i])), None)


def _axis(gate: Gate) -> str | None:
    return GATES[gate.name].axis or _fixed_axis(gate.name)
