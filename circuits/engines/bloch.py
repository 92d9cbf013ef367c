r"""One wire as a real 3-vector $(\langle X\rangle, \langle Y\rangle, \langle Z\rangle)$, and gates as its rotations.

What comes before the first data gate turns the start vector, what comes after the last one turns the readout axis
backwards; both are done once a parameter set. Only the stretch between them sees the batch.
"""

from collections.abc import Mapping
from functools import lru_cache
from itertools import takewhile
from typing import ClassVar

import torch
from torch import Tensor

from circuits.angles import bind
from circuits.circuit import Circuit, Gate
from circuits.engines.engine import Engine
from circuits.gates import GATES, bloch_matrix
from circuits.lower import fuse, simplify

Vector = list[Tensor | float]
"""Components x, y, z, each over the grid it depends on; a float where it is known before any input is."""


class Bloch(Engine):
    """One wire, real arithmetic, the dtype of the inputs."""

    name: ClassVar[str] = "bloch"

    def unsupported(self, circuit: Circuit) -> str | None:
        gate = next((gate for gate in circuit.gates if len(gate.wires) > 1), None)
        if gate is not None:
            return f"gate {gate} acts on {len(gate.wires)} wires, and bloch has one; use 'statevector'"
        return None if circuit.wires == 1 else f"it has {circuit.wires} wires, and bloch has one; use 'statevector'"

    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        head, tail = _split(circuit)
        state: Vector = [0.0, 0.0, 1.0]
        for run in head:
            state = _turn(_rows(run, x, params), state)
        values = []
        for letter in circuit.strings:
            axis: Vector = [float(letter == other) for other in "XYZ"]
            for run in reversed(tail):
                axis = _turn(_columns(run, x, params), axis)
            values.append(torch.as_tensor(_dot(axis, state), dtype=x.dtype, device=x.device))
        return torch.stack(torch.broadcast_tensors(*values), dim=-1)

    def __repr__(self) -> str:
        return "Bloch()"


@lru_cache(maxsize=256)
def _split(circuit: Circuit) -> tuple[tuple[tuple[Gate, ...], ...], tuple[tuple[Gate, ...], ...]]:
    """The runs up to the last one that encodes data, and those after it."""
    runs = fuse(simplify(circuit))
    tail = tuple(takewhile(lambda run: not run[0].encodes, reversed(runs)))[::-1]
    return runs[: len(runs) - len(tail)], tail


def _columns(run: tuple[Gate, ...], x: Tensor, params: Mapping[str, Tensor]) -> list[Vector]:
    """The rotation that a run of gates makes, column by column: where it takes each axis."""
    columns: list[Vector] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    for gate in run:
        rows = _gate_rows(gate, x, params)
        columns = [_turn(rows, column) for column in columns]
    return columns


def _rows(run: tuple[Gate, ...], x: Tensor, params: Mapping[str, Tensor]) -> list[Vector]:
    return [list(row) for row in zip(*_columns(run, x, params), strict=True)]


def _gate_rows(gate: Gate, x: Tensor, params: Mapping[str, Tensor]) -> list[Vector]:
    """One gate as a rotation matrix; a rotation by $t$ about an axis turns the plane of the other two by $t$."""
    kind = GATES[gate.name]
    if kind.axis is None:
        # Only what is 0 or +-1 by structure stays a float: T twice is S up to rounding, and a 0 that rounding made
        # would cut gradients that `prune`, which knows structure only, has promised.
        return [
            [entry if entry in (0.0, 1.0, -1.0) else x.new_tensor(entry) for entry in row] for row in _fixed(gate.name)
        ]
    assert gate.angle is not None
    angle = torch.as_tensor(bind(gate.angle, x, params), dtype=x.dtype, device=x.device)
    cos, sin = torch.cos(angle), torch.sin(angle)
    along = "XYZ".index(kind.axis)
    i, j = (along + 1) % 3, (along + 2) % 3
    rows: list[Vector] = [[0.0, 0.0, 0.0] for _ in range(3)]
    rows[along][along] = 1.0
    rows[i][i], rows[i][j] = cos, -sin
    rows[j][i], rows[j][j] = sin, cos
    return rows


@lru_cache
def _fixed(name: str) -> list[list[float]]:
    return bloch_matrix(GATES[name].unitary).tolist()


def _turn(rows: list[Vector], r: Vector) -> Vector:
    return [_dot(row, r) for row in rows]


def _dot(a: Vector, b: Vector) -> Tensor | float:
    products = [_times(first, second) for first, second in zip(a, b, strict=True)]
    return _plus(_plus(products[0], products[1]), products[2])


def _times(a: Tensor | float, b: Tensor | float) -> Tensor | float:
    """The product, without touching a tensor for a factor that is known to be 0 or +-1."""
    if isinstance(a, float) and isinstance(b, Tensor):
        a, b = b, a
    if isinstance(b, float) and b in (0.0, 1.0, -1.0):
        return 0.0 if b == 0.0 else a if b == 1.0 else -a
    return a * b


def _plus(a: Tensor | float, b: Tensor | float) -> Tensor | float:
    return a if isinstance(b, float) and b == 0.0 else b if isinstance(a, float) and a == 0.0 else a + b
