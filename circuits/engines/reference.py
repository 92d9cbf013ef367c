"""The judge: dense matrices in complex128, no cleverness."""

from collections.abc import Mapping
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor

from circuits.angles import bind
from circuits.circuit import Circuit, Gate
from circuits.engines.engine import Engine
from circuits.gates import GATES, PAULI


class Reference(Engine):
    """Multiplies full `2**n x 2**n` matrices, gate after gate, exactly as written in the circuit."""

    name: ClassVar[str] = "reference"

    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        x = x.double()
        params = {name: tensor.double() for name, tensor in params.items()}
        state = torch.zeros(2**circuit.wires, 1, dtype=torch.complex128, device=x.device)
        state[0] = 1
        for gate in circuit.gates:
            angle = (
                None
                if gate.angle is None
                else torch.as_tensor(bind(gate.angle, x, params), dtype=x.dtype, device=x.device)
            )
            state = _unitary(gate, angle, circuit.wires, x.device) @ state
        values = [
            state.mH @ _pauli(dict(enumerate(string)), circuit.wires, x.device) @ state for string in circuit.strings
        ]
        return torch.stack([value[..., 0, 0].real for value in values], dim=-1)

    def __repr__(self) -> str:
        return "Reference()"


def _unitary(gate: Gate, angle: Tensor | None, wires: int, device: torch.device) -> Tensor:
    """The gate on the whole register, `(*grid, 2**wires, 2**wires)`."""
    kind = GATES[gate.name]
    identity = _pauli({}, wires, device)
    first, last = gate.wires[0], gate.wires[-1]
    if gate.name == "SWAP":
        return sum((_pauli({first: letter, last: letter}, wires, device) for letter in "XYZ"), identity) / 2
    if kind.axis is not None:
        assert angle is not None
        half = angle[..., None, None] / 2
        action = torch.cos(half) * identity - 1j * torch.sin(half) * _pauli({last: kind.axis}, wires, device)
    else:
        action = reduce(torch.kron, [torch.tensor(kind.matrix if w == last else PAULI["I"]) for w in range(wires)])
    if not kind.controlled:
        return action.to(device)
    control = _pauli({first: "Z"}, wires, device)
    return (identity + control) / 2 + (identity - control) / 2 @ action.to(device)


def _pauli(letters: Mapping[int, str], wires: int, device: torch.device) -> Tensor:
    """The Pauli string with `letters` on their wires and the identity elsewhere, wire 0 leftmost."""
    return reduce(torch.kron, [torch.tensor(PAULI[letters.get(wire, "I")]) for wire in range(wires)]).to(device)
