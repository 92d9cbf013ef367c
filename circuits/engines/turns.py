"""A circuit of one wire as turns of a vector in space.

Fixed gates but T only permute the axes and their signs, so they cost nothing: they relabel the frame in which later
gates turn. What comes before the first data gate turns the start, what comes after the last one turns the readout axis
backwards; both are done once a parameter set. Only the stretch between them sees the batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from circuits.circuit import Angle, Circuit, encodes
from circuits.derived import derived
from circuits.gates import GATES, bloch_matrix
from circuits.lower import simplify


@dataclass(frozen=True)
class Turn:
    """A rotation of the plane (i, j) by an angle, from axis i towards axis j.

    Args:
        i: axis.
        j: axis.
        angle: of the gate.
        number: of the angle, the same for turns by the same one.
        since_i: where in a walk's list its component i comes from; None if that is known from the start.
        since_j: where component j does.
    """

    i: int
    j: int
    angle: Angle
    number: int = 0
    since_i: int | None = None
    since_j: int | None = None


@dataclass(frozen=True)
class Program:
    """A circuit as turns.

    Args:
        turns: of the state, in order, up to the last one that encodes data.
        start: the state before them.
        backward: turns of the axis of each readout, in order: what comes after the last data gate, undone.
        axes: the axis of each readout before them.
    """

    turns: tuple[Turn, ...]
    start: tuple[float, ...]
    backward: tuple[Turn, ...]
    axes: tuple[tuple[float, ...], ...]


@derived
def program(circuit: Circuit) -> Program:
    """The turns of a circuit of one wire.

    The state is $F q$ with a frame $F$ of signed axes. A fixed gate $C$ makes it $C F$, and a rotation about the axis a
    turns q about $F^T a$.
    """
    frame = np.eye(3)
    turns: list[Turn] = []
    numbers: dict[Angle, int] = {}
    for gate in simplify(circuit).gates:
        axis, angle = GATES[gate.name].axis, gate.angle
        if gate.name == "T":
            axis, angle = "Z", math.pi / 4
        if axis is None or angle is None:
            frame = bloch_matrix(GATES[gate.name].unitary) @ frame
            continue
        turned = frame["XYZ".index(axis)]
        along = int(np.abs(turned).argmax())
        i, j = (along + 1) % 3, (along + 2) % 3
        if turned[along] < 0:
            i, j = j, i
        turns.append(Turn(i, j, angle, numbers.setdefault(angle, len(numbers))))
    last = max((k + 1 for k, turn in enumerate(turns) if encodes(turn.angle)), default=len(turns))
    axes = tuple(tuple((frame["XYZ".index(letter)] + 0.0).tolist()) for letter in circuit.strings)
    undone = [replace(turn, i=turn.j, j=turn.i) for turn in reversed(turns[last:])]
    return Program(_linked(turns[:last]), (0.0, 0.0, 1.0), _linked(undone), axes)


def _linked(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    since: dict[int, int] = {}
    linked: list[Turn] = []
    for k, turn in enumerate(turns):
        linked.append(replace(turn, since_i=since.get(turn.i), since_j=since.get(turn.j)))
        since |= {turn.i: 4 * k, turn.j: 4 * k + 1}
    return tuple(linked)
