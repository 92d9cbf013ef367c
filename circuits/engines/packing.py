"""Programs for a device: circuits side by side, transpiled once and folded afterwards, and calibrations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from circuits.calibration import best_path, rank_qubits
from circuits.circuit import Circuit
from circuits.engines.qiskit import to_qiskit
from circuits.errors import third_party
from circuits.native import extra_pairs, side_by_side

_FREE = {"rz", "id", "barrier", "measure", "delay"}
"""Instructions that are no pulses of gates, and are not folded."""


@dataclass(frozen=True, eq=False)
class Program:
    """Copies of a circuit on qubits of a device, all of which are measured into register c.

    Args:
        circuit: for the sampler.
        about: all that distinguishes it, in words.
        width: copies.
        wires: of each.
        string: the readout of each, of I and Z.
        qubits: of the device, in the order of register c.
        stretch: pulses, in units of those of the unfolded program.
        backend: the device; None if it is not known.
    """

    circuit: Any
    about: str
    width: int
    wires: int
    string: str
    qubits: tuple[int, ...]
    stretch: float
    backend: Any

    @cached_property
    def columns(self) -> list[int]:
        """Where the values of its parameters are in a row."""
        return [parameter.index for parameter in self.circuit.parameters]

    @cached_property
    def duration(self) -> float:
        """Seconds of one execution: gates and measurement of the busiest qubit, and the wait for the next one."""
        if self.backend is None:
            return 0.0
        busy: dict[Any, float] = {}
        for instruction in self.circuit.data:
            qubits = tuple(self.circuit.find_bit(qubit).index for qubit in instruction.qubits)
            name = instruction.operation.name
            places = self.backend.target[name] if name in self.backend.target.operation_names else {}
            properties = places.get(qubits) if places else None
            for qubit in qubits:
                busy[qubit] = busy.get(qubit, 0.0) + ((properties and properties.duration) or 0.0)
        return max(busy.values(), default=0.0) + _repetition_delay(self.backend)


class Programs:
    """Makes programs, each once.

    Args:
        backend: what they are transpiled for; None for as they are.
        qubits: how many copies at most, or the qubits that may be used.
    """

    def __init__(self, backend: Any, qubits: int | tuple[int, ...]) -> None:
        self.backend, self.qubits = backend, qubits
        self._made: dict[Any, Program] = {}

    def some_qubits(self) -> list[int]:
        """The qubits that circuits of one wire run on."""
        return self._layout(1, self.qubits if isinstance(self.qubits, int) else len(self.qubits))

    def width(self, wires: int, rows: int) -> int:
        """Copies side by side for so many rows; circuits of several wires run one at a time."""
        if wires > 1:
            return 1
        return min(rows, self.qubits if isinstance(self.qubits, int) else len(self.qubits))

    def of(self, circuit: Circuit, width: int, scale: float) -> Program:
        """Copies of a native circuit that reads Z, with its pulses stretched after everything else is done."""
        key = circuit, width, scale
        if key not in self._made:
            layout = self._layout(circuit.wires, width)
            placed, qubits = self._placed(to_qiskit(side_by_side(circuit, width)), layout)
            program = _folded(placed, scale)
            pulses, before = _count(program), _count(placed)
            stretch = pulses / before if before else 1.0
            about = f"{circuit!r} x {width}, {pulses} pulses, on {self._name} {qubits}"
            string = circuit.strings[0]
            self._made[key] = Program(program, about, width, circuit.wires, string, qubits, stretch, self.backend)
        return self._made[key]

    def calibration(self, qubits: tuple[int, ...], up: bool) -> Program:
        """All of some qubits of the device in |0>, or in |1>."""
        key = qubits, up
        if key not in self._made:
            program = third_party("qiskit", "qiskit").QuantumCircuit(len(qubits))
            if up:
                program.x(range(len(qubits)))
            placed, found = self._placed(program, list(qubits))
            about = f"all {'up' if up else 'down'}, on {self._name} {found}"
            self._made[key] = Program(placed, about, len(qubits), 1, "Z", qubits, 1.0, self.backend)
        return self._made[key]

    @property
    def _name(self) -> str:
        return "qubits" if self.backend is None else f"{self.backend.name}"

    def _layout(self, wires: int, width: int) -> list[int]:
        count = wires * width
        if not isinstance(self.qubits, int):
            if len(self.qubits) < count:
                raise ValueError(f"Argument `qubits` names {len(self.qubits)} qubits, but a circuit has {wires} wires.")
            return list(self.qubits[:count])
        if self.backend is None:
            return list(range(count))
        return rank_qubits(self.backend)[:count] if wires == 1 else best_path(self.backend, wires)

    def _placed(self, program: Any, layout: Sequence[int]) -> tuple[Any, tuple[int, ...]]:
        """The program with measurements on the qubits of the device, and these in the order of register c."""
        count = program.num_qubits
        program.add_register(third_party("qiskit", "qiskit").ClassicalRegister(count, "c"))
        program.measure(range(count), range(count))
        if self.backend is None:
            return program, tuple(layout)
        # Level 0 leaves native gates as they are, but for what routing adds; any other level would change pulses.
        manager = third_party("qiskit.transpiler", "qiskit").generate_preset_pass_manager(
            0, backend=self.backend, initial_layout=list(layout), seed_transpiler=0
        )
        placed = manager.run(program)
        used = {placed.find_bit(qubit).index for each in placed.data for qubit in each.qubits}
        allowed = set(rank_qubits(self.backend)) if isinstance(self.qubits, int) else set(self.qubits)
        if not used <= allowed:
            raise ValueError(
                f"Argument `qubits` allows {sorted(allowed)[:8]}, but the couplings of {self.backend.name} take the "
                f"circuit through {sorted(used - allowed)}: name qubits that are coupled."
            )
        measured = {
            placed.find_bit(each.clbits[0]).index: placed.find_bit(each.qubits[0]).index
            for each in placed.data
            if each.operation.name == "measure"
        }
        return placed, tuple(measured[place] for place in range(count))


def _count(program: Any) -> int:
    """How many instructions are pulses."""
    return sum(each.operation.name not in _FREE for each in program.data)


def _folded(program: Any, scale: float) -> Any:
    """Every pulse followed by pairs of its inverse and itself, as `circuits.native.folded` has it."""
    pairs = iter(extra_pairs(_count(program), scale))
    longer = program.copy_empty_like()
    for each in program.data:
        longer.append(each)
        if each.operation.name in _FREE:
            continue
        for _ in range(next(pairs)):
            if each.operation.name == "sx":  # whose inverse devices do not have
                longer.rz(math.pi, each.qubits)
                longer.append(each)
                longer.rz(math.pi, each.qubits)
            else:
                longer.append(each.operation.inverse(), each.qubits)
            longer.append(each)
    return longer


def _repetition_delay(backend: Any) -> float:
    """Seconds between executions, in which qubits relax; 250 microseconds where the backend does not say."""
    configuration = getattr(backend, "configuration", None)
    known = getattr(configuration() if callable(configuration) else None, "default_rep_delay", None)
    return 250e-6 if known is None else float(known)
