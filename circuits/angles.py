"""From symbols to tensors: what an angle is worth for given x and parameters."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from circuits.circuit import Angle, Circuit, Encode, Gate, Slot, terms


class Entries(Protocol):
    """What holds numbers or tensors by index: the result of `tensor.unbind(-1)` is one."""

    def __getitem__(self, index: int, /) -> Any: ...


class _Last:
    """Entries of the last dimension, each taken when it is asked for."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, index: int) -> Tensor:
        return self._tensor[..., index]


def bind(angle: Angle, x: Tensor, params: Mapping[str, Tensor]) -> Tensor | float:
    """The value of `angle`: a float for a number, otherwise a tensor over the grids it depends on, broadcasting."""
    return value(angle, _Last(x), {name: _Last(tensor) for name, tensor in params.items()})


def value(angle: Angle, features: Entries, slots: Mapping[str, Entries]) -> Any:
    r"""The value of `angle` for entries that are taken out of their tensors already.

    What does not depend on data is added up first, $(\mathrm{shift} + \theta) + \mathrm{scale} \cdot x$, so that all
    of it meets the batch at once.
    """
    return joined(*parts(angle, slots), features, slots)


def joined(
    total: Any, slopes: Mapping[int, Any], bent: Sequence[Encode], features: Entries, slots: Mapping[str, Entries]
) -> Any:
    """The value of what `parts` took apart."""
    for feature, slope in slopes.items():
        total = affine(total, slope, features[feature])
    for term in bent:
        inner = value(term.argument, features, slots)
        total = _plus(total, torch.arccos(inner))
    return total


def parts(angle: Angle, slots: Mapping[str, Entries]) -> tuple[Any, dict[int, Any], list[Encode]]:
    """`angle` as an offset, a slope for each feature, and what enters through arccos."""
    offset: Any = 0.0
    slopes: dict[int, Any] = {}
    bent: list[Encode] = []
    for term in terms(angle):
        if not isinstance(term, Encode):
            offset = _plus(offset, _entry(term, slots))
        elif term.through == "arccos":
            bent.append(term)
        else:
            offset = _plus(offset, _entry(term.shift, slots))
            slopes[term.feature] = _plus(slopes.get(term.feature, 0.0), _entry(term.scale, slots))
    return offset, slopes, bent


def _entry(number: float | Slot, slots: Mapping[str, Entries]) -> Any:
    return slots[number.name][number.index] if isinstance(number, Slot) else number


def _plus(first: Any, second: Any) -> Any:
    """The sum, without a pass over a tensor for a number that is 0."""
    if isinstance(first, float) and first == 0.0:
        return second
    return first if isinstance(second, float) and second == 0.0 else first + second


def affine(offset: Any, slope: Any, x: Any) -> Any:
    """`offset + slope * x`, in as few passes over memory as it takes."""
    if isinstance(slope, float):
        return _plus(offset, x if slope == 1.0 else slope * x)
    if isinstance(offset, Tensor) and isinstance(x, Tensor) and offset.dtype == slope.dtype == x.dtype:
        return torch.addcmul(offset, x, slope)
    return _plus(offset, slope * x)


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
