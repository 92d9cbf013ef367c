r"""State vectors of n wires, batched, on CPU or GPU, differentiated by torch.

The state is `(*grid, 2**n)`, and its grid grows only when a gate brings a larger one: what comes before the first data
gate costs one circuit per parameter set, not per sample.
"""

from collections.abc import Mapping
from functools import lru_cache, reduce
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from circuits.angles import bind
from circuits.circuit import Circuit, Gate
from circuits.engines.engine import Engine
from circuits.gates import GATES, PAULI
from circuits.lower import fuse, simplify


class Statevector(Engine):
    """Any circuit; complex64 for float32 inputs, complex128 for float64."""

    name: ClassVar[str] = "statevector"

    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        dtype = torch.complex64 if x.dtype == torch.float32 else torch.complex128
        state = torch.zeros(2**circuit.wires, dtype=dtype, device=x.device)
        state[0] = 1
        for group in fuse(simplify(circuit)):
            gate = group[0]
            if len(gate.wires) == 1:
                matrix = reduce(lambda early, late: late @ early, [_matrix(g, x, params, dtype) for g in group])
                state = _apply(matrix, state, gate.wires[0])
            elif gate.angle is None:
                indices, phases = _monomial(gate.name, gate.wires, circuit.wires)
                state = state[..., torch.as_tensor(indices, device=x.device)] * _tensor(phases, state)
            else:
                state = _apply_controlled(_matrix(gate, x, params, dtype), state, *gate.wires)
        values = []
        for string in circuit.strings:
            indices, phases = _pauli(string)
            image = state[..., torch.as_tensor(indices, device=x.device)] * _tensor(phases, state)
            values.append((state.conj() * image).real.sum(-1))
        return torch.stack(values, dim=-1)

    def __repr__(self) -> str:
        return "Statevector()"


def _matrix(gate: Gate, x: Tensor, params: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
    """The action on the target wire, `(*grid, 2, 2)`."""
    kind = GATES[gate.name]
    if kind.axis is None:
        return torch.tensor(kind.matrix, dtype=dtype, device=x.device)
    assert gate.angle is not None
    half = torch.as_tensor(bind(gate.angle, x, params), dtype=x.dtype, device=x.device)[..., None, None] / 2
    identity, pauli = (torch.tensor(PAULI[letter], dtype=dtype, device=x.device) for letter in ("I", kind.axis))
    return torch.cos(half) * identity - 1j * torch.sin(half) * pauli


def _apply(matrix: Tensor, state: Tensor, wire: int) -> Tensor:
    """`matrix (*grid, 2, 2)` on one wire of `state (*grid, 2**n)`."""
    zero, one = state.unflatten(-1, (2**wire, 2, -1)).unbind(-2)
    a, b, c, d = matrix.flatten(-2)[..., None, None, :].unbind(-1)
    return torch.stack(torch.broadcast_tensors(a * zero + b * one, c * zero + d * one), dim=-2).flatten(-3)


def _apply_controlled(matrix: Tensor, state: Tensor, control: int, target: int) -> Tensor:
    """`matrix (*grid, 2, 2)` on the target wire where the control wire is 1."""
    indices = torch.arange(state.shape[-1], device=state.device)
    wires = state.shape[-1].bit_length() - 1
    active = (indices >> (wires - 1 - control) & 1).bool()
    return torch.where(active, _apply(matrix, state, target), state)


@lru_cache(maxsize=256)
def _monomial(name: str, wires: tuple[int, int], total: int) -> tuple[np.ndarray, np.ndarray]:
    """A fixed two-wire gate, all of which have one entry a row, as `state[indices] * phases` on the whole register."""
    unitary = GATES[name].unitary
    sources = np.abs(unitary).argmax(axis=1)
    indices = np.arange(2**total)
    first, last = (total - 1 - wire for wire in wires)
    rows = (indices >> first & 1) * 2 + (indices >> last & 1)
    flips = rows ^ sources[rows]
    return indices ^ (flips >> 1 << first) ^ ((flips & 1) << last), unitary[rows, sources[rows]]


@lru_cache(maxsize=256)
def _pauli(string: str) -> tuple[np.ndarray, np.ndarray]:
    """A Pauli string, `(P state)[b] = state[indices[b]] * phases[b]`."""
    indices = np.arange(2 ** len(string))
    flipped, phases = indices.copy(), np.ones(len(indices), dtype=np.complex128)
    for wire, letter in enumerate(string):
        place = len(string) - 1 - wire
        bits = indices >> place & 1
        sources = bits ^ (letter in "XY")
        phases *= PAULI[letter][bits, sources]
        flipped ^= (letter in "XY") << place
    return flipped, phases


def _tensor(phases: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(phases, dtype=like.dtype, device=like.device)
