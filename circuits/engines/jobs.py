"""Tables of angles as jobs: rows of circuits side by side, calibrations with them, within the limits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuits.circuit import Circuit
from circuits.engines.bloch import Bloch
from circuits.engines.limits import Limits
from circuits.engines.packing import Program, Programs
from circuits.engines.submission import Request
from circuits.gradient import on_table
from circuits.native import coin, measured, native

Array = NDArray[Any]

CALIBRATIONS = 4
"""How often |0> and |1> are measured for every time that a row is, on average over the rows of a job."""


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one program.

    Args:
        program: what runs.
        values: of its parameters, `(rows, parameters)`.
        places: where its values belong: readout, scale, and rows of the table; None for a calibration.
    """

    program: Program
    values: Array
    places: tuple[int, int, Array] | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """Parts that are submitted together, calibrations last; all with the same shots, as providers want them.

    Args:
        parts: the parts.
        shots: of every row.
        qubits: that are calibrated; none for no correction.
        calibrations: parts in which they are in |0>, and then as many in |1>.
    """

    parts: list[Part]
    shots: int
    qubits: tuple[int, ...] = ()
    calibrations: int = 0

    @property
    def rows(self) -> int:
        """Of all parts."""
        return sum(len(part.values) for part in self.parts)

    @property
    def seconds(self) -> float:
        """On the device, without the queue."""
        return sum(len(part.values) * self.shots * part.program.duration for part in self.parts)

    @property
    def requests(self) -> list[Request]:
        """What is asked for."""
        return [
            Request(
                part.program.circuit,
                part.values,
                self.shots,
                part.program.width * part.program.wires,
                part.program.about,
            )
            for part in self.parts
        ]


@dataclass(frozen=True, eq=False)
class Planner:
    """Makes jobs of tables.

    Args:
        programs: of the device.
        limits: of the provider.
        scales: factors of the noise.
        fuse: whether only the rotation runs that a circuit amounts to.
        calibrates: whether jobs have calibrations.
        row_shots: shots of every row, of which evaluations with more have several; None for rows that have all shots
            of their evaluation, and jobs for each number of them.
    """

    programs: Programs
    limits: Limits
    scales: Sequence[float]
    fuse: bool
    calibrates: bool
    row_shots: int | None

    def jobs(self, circuit: Circuit, table: Tensor, shots: Tensor) -> Iterator[Job]:
        """The jobs that evaluating a table takes, whose rows have `shots (N,)`."""
        for count, calibrations, rows in self._groups(shots.numpy()):
            most = self._most_rows(count, 2 * calibrations)
            parts: list[Part] = []
            for part in self._parts(circuit, table, rows, most):
                if parts and sum(len(each.values) for each in (*parts, part)) > most:
                    yield self._calibrated(parts, count, calibrations)
                    parts = []
                parts.append(part)
            yield self._calibrated(parts, count, calibrations)

    def _groups(self, shots: Array) -> Iterator[tuple[int, int, Array]]:
        """Rows of the table that run together: their shots, the calibrations of |0> and of |1>, and which they are."""
        often = CALIBRATIONS * self.calibrates
        if self.row_shots is None:
            for count in np.unique(shots).tolist():
                yield count, often, np.flatnonzero(shots == count)
            return
        times, rest = np.divmod(shots, self.row_shots)
        if rest.any():
            raise ValueError(
                f"Argument `shots` must be a multiple of row_shots={self.row_shots}, but has {shots[rest > 0][0]}."
            )
        yield self.row_shots, often * max(1, round(times.mean())), np.repeat(np.arange(len(shots)), times)

    def _parts(self, circuit: Circuit, table: Tensor, rows: Array, most: int) -> Iterator[Part]:
        """Of the rows of a table, each with at most `most` rows of parameters."""
        for readout, string in enumerate(circuit.strings):
            one = Circuit(circuit.gates, string)
            angles = table.numpy()
            if self.fuse:
                one, angles = coin(), _turned(one, table)
            plain = measured(native(one), one.strings[0])
            # Of the angles that this readout sees: copies side by side have no room for others.
            angles = angles[:, : plain.slots.get("angle", 0)]
            width = self.programs.width(plain.wires, len(rows))
            programs = [self.programs.of(plain, width, scale) for scale in self.scales]
            _check_stretches(self.scales, [program.stretch for program in programs])
            step = min(self.limits.rows, most) * width
            for scale, program in enumerate(programs):
                for start in range(0, len(rows), step):
                    places = rows[start : start + step]
                    yield Part(program, _filled(angles[places], width)[:, program.columns], (readout, scale, places))

    def _most_rows(self, shots: int, calibrations: int) -> int:
        most = self.limits.executions // shots - calibrations
        if most < 1:
            raise ValueError(
                f"Argument `shots` is {shots}, but a job has {self.limits.executions} executions at most, which must "
                f"do for a row and {calibrations} calibrations: take fewer shots, or other `limits`."
            )
        return most

    def _calibrated(self, parts: list[Part], shots: int, calibrations: int) -> Job:
        if not calibrations:
            return Job(parts, shots)
        qubits = tuple(dict.fromkeys(qubit for part in parts for qubit in part.program.qubits))
        programs = [self.programs.calibration(qubits, up) for up in (False, True)]
        more = [Part(program, np.zeros((1, 0))) for program in programs for _ in range(calibrations)]
        return Job([*parts, *more], shots, qubits, calibrations)


def _check_stretches(scales: Sequence[float], stretches: Sequence[float]) -> None:
    if len(set(stretches)) < len(stretches):
        raise ValueError(
            f"Argument `scales` is {tuple(scales)}, but circuits with so few pulses reach {tuple(stretches)}: take odd "
            "numbers, which are always reached."
        )


def _filled(angles: Array, width: int) -> Array:
    """Rows of `width` circuits each, the last one filled up with zeros."""
    rows = -(-len(angles) // width)
    filled = np.zeros((rows * width, angles.shape[1]))
    filled[: len(angles)] = angles
    return filled.reshape(rows, -1)


def _turned(circuit: Circuit, table: Tensor) -> Array:
    """The angle of the one rotation that a circuit amounts to."""
    return torch.arccos(on_table(Bloch(), circuit, table).clamp(-1, 1)).numpy()
