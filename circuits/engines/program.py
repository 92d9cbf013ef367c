"""From the layers of a circuit to sweeps over its state vector, with all that no input changes worked out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuits.circuit import Circuit, Encode, Slot, terms
from circuits.derived import derived
from circuits.engines.atoms import Atom, Layer, exponents, kron, layered
from circuits.engines.blocks import Angles, Requests
from circuits.engines.readout import Readout, readouts
from circuits.engines.sweeps import Block, Factor, Hadamards, Permutation, Phases, Register, Sweep
from circuits.gates import GATES, PAULI
from circuits.lower import simplify

HADAMARDS, PHASES = 4, 6
"""Wires that one matrix of Hadamards and one table of phases act on: measured, one more or less is no faster."""


@dataclass(frozen=True, eq=False)
class Program:
    """What to do with which angles.

    Args:
        start: the state before the sweeps, `(2**n, 1)`.
        sweeps: from the first one on that an input changes.
        readouts: what is read after them.
        angles: the angles that phases ask for.
        unseen: "x" and the slots that the circuit asks for and no sweep does.
    """

    start: Tensor
    sweeps: tuple[Sweep, ...]
    readouts: tuple[Readout, ...]
    angles: tuple[Angles, ...]
    unseen: frozenset[str]


@derived
def program(circuit: Circuit, dtype: torch.dtype, device: torch.device) -> Program:
    """The program of a circuit, with constants of a complex dtype."""
    layers, readings = layered(circuit)
    with torch.inference_mode(False), torch.no_grad():  # constants are kept, and met by autograd later
        builder = _Builder(circuit.wires, dtype, device)
        sweeps = [sweep for layer in layers for sweep in builder.layer(layer)]
        first = next((k for k, sweep in enumerate(sweeps) if isinstance(sweep, Phases) and sweep.factors), len(sweeps))
        register = Register(torch.eye(2**circuit.wires, 1, dtype=dtype, device=device))
        for sweep in sweeps[:first]:
            sweep.apply(register, [])
        angles = builder.requests.angles(device)
        asked = (part for angle in simplify(circuit).angles for part in terms(angle))
        seen = (source for found in angles for source in found.sources)
        return Program(
            register.state,
            tuple(sweeps[first:]),
            readouts(readings, dtype.to_real(), device),
            angles,
            _names(asked) - _names(seen),
        )


def _names(parts: Iterable[float | Slot | Encode | str]) -> frozenset[str]:
    """The inputs that are mentioned."""
    names: set[str] = set()
    for part in parts:
        if isinstance(part, Encode):
            names |= {"x"} | _names((part.scale, part.shift))
        elif not isinstance(part, (int, float)):
            names.add(part if isinstance(part, str) else part.name)
    return frozenset(names)


class _Builder:
    """Makes sweeps of layers, and numbers the blocks of angles on the way."""

    def __init__(self, wires: int, dtype: torch.dtype, device: torch.device) -> None:
        self.wires, self.dtype, self.device = wires, dtype, device
        self.requests = Requests()

    def layer(self, layer: Layer) -> list[Sweep]:
        # Atoms of one sweep each, and for phases those that are joined to them from further on.
        runs: list[tuple[list[Atom], list[Atom]]] = []
        for diagonal, atoms in groupby(layer.atoms, lambda atom: atom.diagonal):
            shared: list[Atom] = []
            data: list[Atom] = []
            for atom in atoms:
                (data if atom.encodes else shared).append(atom)
            match runs:
                case [*_, ([Atom(diagonal=True, encodes=False), *_], late), (moved, _)] if diagonal and all(
                    atom.known for atom in shared
                ):
                    # Phases without angles join those before the permutation that they follow.
                    late += [*moved, *shared]
                    shared = []
            runs += [(group, []) for group in (shared, data) if group]
        sweeps = [
            self._phases(atoms, late)
            if atoms[0].diagonal
            else Permutation(*_permutation(tuple(atoms), self.wires, self.device))
            for atoms, late in runs
        ]
        turned = [self._hadamards(layer.turned)] if layer.turned else []
        return [*turned, *(sweep for sweep in sweeps if not isinstance(sweep, Phases) or not sweep.trivial)]

    def _hadamards(self, wires: Iterable[int]) -> Hadamards:
        windows: list[list[int]] = []
        for wire in sorted(wires):
            if windows and wire < windows[-1][0] + HADAMARDS:
                windows[-1].append(wire)
            else:
                windows.append([wire])
        return Hadamards(tuple(_hadamard(tuple(window), self.dtype.to_real(), self.device) for window in windows))

    def _phases(self, atoms: Sequence[Atom], late: Sequence[Atom]) -> Phases:
        """Phases in groups of neighbouring wires: sines and cosines are taken of these only, not of whole states."""
        groups: list[tuple[set[int], list[Atom]]] = []
        for atom in sorted(atoms, key=lambda atom: min(atom.wires)):
            if atom.known:
                continue
            together = set(atom.wires) | groups[-1][0] if groups else set(atom.wires)
            if groups and max(together) - min(together) < PHASES:
                # Wires in between as well, so that neighbours are one axis.
                groups[-1][0].update(range(min(together), max(together) + 1))
                groups[-1][1].append(atom)
            else:
                groups.append((set(atom.wires), [atom]))
        members = [tuple(wire in wires for wires, _ in groups) for wire in range(self.wires)]
        firsts = [wire for wire in range(self.wires) if not wire or members[wire] != members[wire - 1]]
        axes = tuple(2 ** (after - first) for first, after in zip(firsts, [*firsts[1:], self.wires], strict=True))
        factors = [
            Factor(
                tuple(extent if first in wires else 1 for first, extent in zip(firsts, axes, strict=True)),
                tuple(self._blocks(sorted(wires), inside)),
            )
            for wires, inside in groups
        ]
        constants = tuple(constant for atom in (*atoms, *late) if (constant := atom.constant))
        fixed = _fixed(constants, self.wires, self.dtype, self.device)
        encodes = any(atom.encodes for atom in atoms)
        return Phases(axes, tuple(factors), None if fixed is None else fixed.view(axes), encodes)

    def _blocks(self, wires: Sequence[int], atoms: Sequence[Atom]) -> Iterable[Block]:
        for number, positions in self.requests.add([atom.parts for atom in atoms]):
            acted = tuple(atoms[position].wires for position in positions)
            yield Block(number, _signs(acted, tuple(wires), self.dtype.to_real(), self.device))


def _local(wires: Sequence[int], window: Sequence[int]) -> NDArray[np.int64]:
    """For each basis state of the `window`, that of `wires` inside it."""
    basis = np.arange(2 ** len(window))
    bits = [basis >> (len(window) - 1 - window.index(wire)) & 1 for wire in reversed(wires)]
    return np.sum([bit << place for place, bit in enumerate(bits)], axis=0)


# Layers that look alike share what follows, which may be as large as a state.


@lru_cache(maxsize=64)
def _hadamard(window: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    unitaries = (GATES["H"].unitary if wire in window else PAULI["I"] for wire in range(window[0], window[-1] + 1))
    return torch.tensor(kron(unitaries).real, dtype=dtype, device=device).expand(2 ** window[0], -1, -1)


@lru_cache(maxsize=64)
def _signs(
    acted: tuple[tuple[int, ...], ...], window: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """What multiplies the angles of rotations on some wires in the phases of a `window`, `(2**m, rotations)`."""
    columns = [exponents(len(wires))[_local(wires, window)] for wires in acted]
    return torch.tensor(np.stack(columns, axis=1), dtype=dtype, device=device)


@lru_cache(maxsize=64)
def _permutation(atoms: tuple[Atom, ...], wires: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """One index map, and its inverse, for permutations one after the other."""
    indices = np.arange(2**wires)
    for atom in atoms:
        indices = indices[_sources(atom, wires)]
    return torch.tensor(indices, device=device), torch.tensor(np.argsort(indices), device=device)


@lru_cache(maxsize=64)
def _fixed(atoms: tuple[Atom, ...], wires: int, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    """The phases of atoms that no input changes, as seen before the permutations among them; None if they are all 1."""
    phases, indices = np.ones(2**wires, dtype=np.complex128), np.arange(2**wires)
    for atom in atoms:
        if atom.diagonal:
            phases[indices] *= np.diag(atom.unitary)[_local(atom.wires, range(wires))]
        else:
            indices = indices[_sources(atom, wires)]
    # Without the common phase those of S are 1 and i, and not a rounded root of 1/2.
    phases /= phases[0]
    return None if np.allclose(phases, 1, rtol=0, atol=1e-15) else torch.tensor(phases).to(device, dtype)


def _sources(atom: Atom, wires: int) -> NDArray[np.int64]:
    """Where a permutation takes each amplitude from."""
    rows = _local(atom.wires, range(wires))
    flips = rows ^ np.abs(atom.unitary).argmax(axis=1)[rows]
    basis = np.arange(2**wires)
    for place, wire in enumerate(reversed(atom.wires)):
        basis ^= (flips >> place & 1) << (wires - 1 - wire)
    return basis
