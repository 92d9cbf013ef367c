"""From symbols to tensors: what an angle is worth for given x and parameters."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from circuits.circuit import Angle, Circuit, Encode, Gate, Slot, terms


def bind(angle: Angle, x: Tensor, params: Mapping[str, Tensor]) -> Tensor | float:
    """The value of `angle`: a float for a number, otherwise a tensor over the grids it depends on, broadcasting."""
    value = 0.0
    for position, term in enumerate(terms(angle)):
        bound = _term(term, x, params)
        value = value + bound if position else bound
    return value


def affine(encoding: Encode, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
    r"""$\mathrm{scale} \cdot x_\mathrm{feature} + \mathrm{shift}$, over the broadcast grid."""
    value = x[..., encoding.feature]
    if encoding.scale != 1.0:
        value = value * _term(encoding.scale, x, params)
    if encoding.shift != 0.0:
        value = value + _term(encoding.shift, x, params)
    return value


def _term(term: float | Slot | Encode, x: Tensor, params: Mapping[str, Tensor]) -> Tensor | float:
    if isinstance(term, (int, float)):
        return term
    if isinstance(term, Slot):
        return params[term.name][..., term.index]
    value = affine(term, x, params)
    return value if term.through == "identity" else torch.arccos(value)


@lru_cache(maxsize=256)
def template(circuit: Circuit) -> tuple[Circuit, tuple[Angle, ...]]:
    """`circuit` with its k-th symbolic angle replaced by `Slot("angle", k)`, and those angles.

    This is what a foreign backend sees: a circuit with plain parameters, to be built once, and a table of angles.
    """
    symbols: list[Angle] = []
    gates: list[Gate] = []
    for gate in circuit.gates:
        if gate.angle is not None and not isinstance(gate.angle, float):
            symbols.append(gate.angle)
            gate = Gate(gate.name, gate.wires, Slot("angle", len(symbols) - 1))
        gates.append(gate)
    return Circuit(tuple(gates), circuit.readout), tuple(symbols)
