r"""Pauli strings read from state vectors, and what they pull back.

A string flips some wires and multiplies by signs, $(P \psi)_b = s_b \psi_{b \oplus f}$, times i where its number of Y
is odd. Strings with the same flips are read together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuits.engines.atoms import Readings
from circuits.engines.sweeps import Register, Workspace, weighted
from circuits.gates import PAULI, Matrix


@dataclass(frozen=True, eq=False)
class Readout:
    """Strings with the same flips.

    Args:
        numbers: the places of their values in the result.
        indices: where amplitudes come from; None if no wire is flipped.
        signs: `(strings, 2**n)`.
        imaginary: whether the factor i is there.
    """

    numbers: tuple[int, ...]
    indices: Tensor | None
    signs: Tensor
    imaginary: bool

    def image(self, state: Tensor, room: Tensor | None) -> Tensor:
        """What the strings make of the state, but for their signs; maybe in `room`."""
        image = state if self.indices is None else torch.index_select(state, 0, self.indices, out=room)
        return torch.mul(image, 1j, out=room) if self.imaginary else image


def readouts(readings: Readings, dtype: torch.dtype, device: torch.device) -> tuple[Readout, ...]:
    """Strings by their flips, with signs of a real dtype."""
    groups: dict[tuple[bool, ...], list[tuple[int, NDArray[np.int64], Matrix]]] = {}
    for number, (sign, string) in enumerate(readings):
        indices, phases = _pauli(string)
        key = (string.count("Y") % 2 == 1, *(letter in "XY" for letter in string))
        groups.setdefault(key, []).append((number, indices, sign * phases))
    return tuple(
        Readout(
            tuple(number for number, _, _ in group),
            torch.tensor(group[0][1], device=device) if any(flips) else None,
            torch.tensor(
                np.stack([phases.imag if imaginary else phases.real for _, _, phases in group]),
                dtype=dtype,
                device=device,
            ),
            imaginary,
        )
        for (imaginary, *flips), group in groups.items()
    )


def read(readouts: Sequence[Readout], register: Register) -> Tensor:
    r"""Values $\langle \psi | P | \psi \rangle$, real scalar products of $\psi$ and $P \psi$, `(strings, *grid)`."""
    state, room = register.state, register.room()
    values: dict[int, Tensor] = {}
    for readout in readouts:
        image = torch.view_as_real(readout.image(state, room))
        products = torch.mul(torch.view_as_real(state), image, out=None if room is None else torch.view_as_real(room))
        values |= zip(readout.numbers, reduce(torch.add, weighted(readout.signs, products).unbind(-1)), strict=True)
    return torch.cat([values[number] for number in sorted(values)])


def pulled(readouts: Sequence[Readout], state: Tensor, grad: Tensor) -> Workspace:
    r"""The state $\psi$ and its adjoint $\lambda = 2 \sum_r g_r P_r \psi$, times -i, as two copies.

    Args:
        readouts: what was read.
        state: `(2**n, 1, *grid)`.
        grad: $g$, `(strings, *grid)`.
    """
    register = Workspace(state, copies=2)
    adjoint = register.state[:, 1:].zero_()
    room, table = register.room().view(2, *state.shape)
    for readout in readouts:
        shares = -2j * grad[list(readout.numbers)].reshape(len(readout.numbers), state[0].numel())
        torch.mm(readout.signs.mT.to(state.dtype), shares, out=table.view(state.shape[0], shares.shape[1]))
        adjoint.addcmul_(readout.image(state, room), table)
    return register


def _pauli(string: str) -> tuple[NDArray[np.int64], Matrix]:
    """A Pauli string, `(P state)[b] = phases[b] * state[indices[b]]`."""
    basis = np.arange(2 ** len(string))
    indices, phases = basis.copy(), np.ones(len(basis), dtype=np.complex128)
    for wire, letter in enumerate(string):
        place = len(string) - 1 - wire
        bits = basis >> place & 1
        phases *= PAULI[letter][bits, bits ^ (letter in "XY")]
        indices ^= (letter in "XY") << place
    return indices, phases
