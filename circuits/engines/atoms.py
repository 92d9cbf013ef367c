r"""Circuits as Hadamards, permutations of the basis and phases, in layers.

Every rotation is diagonal between fixed gates, $R_X = H R_Z H$ and $R_Y = S H R_Z H S^\dagger$, and every fixed gate
but H permutes the basis or multiplies it by phases. Phases commute, so that between two layers of Hadamards all
rotations of a circuit's layer are one diagonal matrix.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from circuits.circuit import Angle, Circuit, Encode, Gate, Slot, encodes, terms
from circuits.gates import GATES, PAULI, Matrix
from circuits.lower import simplify

TURNED = 2
"""Up to so many readout strings are turned by the last Hadamards; more of them cost less after these."""


class Atom(NamedTuple):
    """A gate that is a Hadamard, a permutation of the basis or a diagonal matrix."""

    name: str
    wires: tuple[int, ...]
    angle: Angle | None = None

    @property
    def diagonal(self) -> bool:
        return self.name not in ("H", "X", "CNOT", "SWAP")

    @property
    def parts(self) -> tuple[float | Slot | Encode, ...]:
        return () if self.angle is None else terms(self.angle)

    @property
    def encodes(self) -> bool:
        return encodes(self.angle)

    @property
    def known(self) -> bool:
        """Whether no input changes it."""
        return all(isinstance(part, float) for part in self.parts)

    @property
    def constant(self) -> "Atom | None":
        """What is left without the parts that inputs change."""
        if self.known:
            return self
        numbers = (
            part.shift if isinstance(part, Encode) and part.through == "identity" else part for part in self.parts
        )
        total = sum(number for number in numbers if isinstance(number, float))
        return Atom(self.name, self.wires, total) if total else None

    @property
    def unitary(self) -> Matrix:
        """The matrix of an atom that no input changes."""
        if self.angle is None:
            return GATES[self.name].unitary
        total = sum(part for part in self.parts if isinstance(part, float))
        return np.diag(np.exp(1j * total * exponents(len(self.wires))))


def exponents(wires: int) -> NDArray[np.float64]:
    r"""The $s_b$ of a rotation $\exp(i s_b \varphi)$, one for each basis state of its wires."""
    return np.array([-0.5, 0.5] if wires == 1 else [0.0, 0.0, -0.5, 0.5])


class Layer(NamedTuple):
    """Hadamards on some wires, and then permutations and phases."""

    turned: list[int]
    atoms: list[Atom]


Readings = tuple[tuple[float, str], ...]
"""Pauli strings with their signs."""


def layered(circuit: Circuit) -> tuple[list[Layer], Readings]:
    """The layers of a circuit, and what is read after them. The last Clifford gates turn the readout, not the state."""
    atoms = _cancelled(atom for gate in simplify(circuit).gates for atom in _lowered(gate))
    atoms, readings = _read_early(atoms, circuit.strings)
    return _layers(circuit.wires, _staged(atoms)), readings


def _lowered(gate: Gate) -> Iterable[Atom]:
    kind, target = GATES[gate.name], gate.wires[-1:]
    hadamard = Atom("H", target)
    if kind.axis is not None:
        rotation = Atom("CRZ" if kind.controlled else "RZ", gate.wires, gate.angle)
        if kind.axis == "Z":
            return [rotation]
        if kind.axis == "X":
            return [hadamard, rotation, hadamard]
        # R_Z(pi/2) is S, up to a phase that no value has.
        return [Atom("RZ", target, -math.pi / 2), hadamard, rotation, hadamard, Atom("RZ", target, math.pi / 2)]
    if gate.name == "Y":
        return [Atom("Z", target), Atom("X", target)]
    if gate.name == "SX":
        return [hadamard, Atom("S", target), hadamard]
    return [Atom(gate.name, gate.wires)]


def _cancelled(atoms: Iterable[Atom]) -> list[Atom]:
    """Without the Hadamards that follow each other on a wire."""
    kept: dict[int, Atom] = {}
    history: dict[int, list[int]] = {}
    for number, atom in enumerate(atoms):
        before = history.setdefault(atom.wires[0], [])
        if atom.name == "H" and before and kept[before[-1]].name == "H":
            del kept[before.pop()]
            continue
        kept[number] = atom
        for wire in atom.wires:
            history.setdefault(wire, []).append(number)
    return list(kept.values())


def _read_early(atoms: Sequence[Atom], strings: Sequence[str]) -> tuple[list[Atom], Readings]:
    r"""The readout before the last Clifford gates, $U^\dagger P U$, and the atoms that are left.

    Phases that commute with every string are dropped on the way.
    """
    kept: list[Atom] = []
    blocked: set[int] = set()
    readings: Readings = tuple((1.0, string) for string in strings)
    for atom in reversed(atoms):
        if blocked.isdisjoint(atom.wires):
            if atom.diagonal and all(string[wire] in "IZ" for _, string in readings for wire in atom.wires):
                continue
            if atom.known and (atom.name != "H" or len(strings) <= TURNED):
                images = [_image(atom, sign, string) for sign, string in readings]
                if all(images):
                    readings = tuple(image for image in images if image)
                    continue
        blocked.update(atom.wires)
        kept.append(atom)
    return kept[::-1], readings


def _image(atom: Atom, sign: float, string: str) -> tuple[float, str] | None:
    r"""$U^\dagger P U$; None if that is not a string."""
    turned = _turned(atom, tuple(string[wire] for wire in atom.wires))
    if turned is None:
        return None
    letters = list(string)
    for wire, letter in zip(atom.wires, turned[1], strict=True):
        letters[wire] = letter
    return sign * turned[0], "".join(letters)


@lru_cache(maxsize=1024)
def _turned(atom: Atom, letters: tuple[str, ...]) -> tuple[float, tuple[str, ...]] | None:
    matrix = atom.unitary.conj().T @ kron(PAULI[letter] for letter in letters) @ atom.unitary
    for image in product(PAULI, repeat=len(letters)):
        string = kron(PAULI[letter] for letter in image)
        sign = float(np.sign(np.trace(string @ matrix).real))
        # Entry by entry: the overlap of what a rotation by 1e-8 turns with what it does not is 1 to all digits.
        if np.abs(matrix - sign * string).max() < 4e-15:
            return sign, image
    return None


def _staged(atoms: Iterable[Atom]) -> tuple[list[Atom], list[Atom]]:
    """What does not come after data, and the rest: only the rest sees the batch."""
    early: list[Atom] = []
    late: list[Atom] = []
    reached: set[int] = set()
    for atom in atoms:
        if atom.encodes or not reached.isdisjoint(atom.wires):
            reached.update(atom.wires)
            late.append(atom)
        else:
            early.append(atom)
    return early, late


def _layers(wires: int, stages: Iterable[Iterable[Atom]]) -> list[Layer]:
    """Every atom comes as early as its wires allow, but later stages not before the last layer of earlier ones."""
    layers = [Layer([], [])]
    for stage in stages:
        depth = dict.fromkeys(range(wires), len(layers) - 1)
        for atom in stage:
            number = max(depth[wire] for wire in atom.wires) + (atom.name == "H")
            depth |= dict.fromkeys(atom.wires, number)
            if number == len(layers):
                layers.append(Layer([], []))
            if atom.name == "H":
                layers[number].turned.extend(atom.wires)
            else:
                layers[number].atoms.append(atom)
    return layers


def kron(matrices: Iterable[Matrix]) -> Matrix:
    """The Kronecker product, first factor most significant."""
    return reduce(lambda first, second: np.kron(first, second).astype(np.complex128), matrices)
