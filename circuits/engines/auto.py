"""The engine that picks an engine, and can be asked what it picks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from circuits.checks import check_activation
from circuits.circuit import Circuit
from circuits.engines.bloch import Bloch
from circuits.engines.engine import Engine
from circuits.engines.statevector import Statevector


@dataclass(frozen=True)
class Choice:
    """An engine and why it was taken."""

    engine: Engine
    reason: str

    def __str__(self) -> str:
        return f"{self.engine.name}: {self.reason}"


_BLOCH, _STATEVECTOR = Bloch(), Statevector()


def select(circuit: Circuit, x: Tensor | None = None, params: Mapping[str, Tensor] | None = None) -> Choice:
    """The engine "auto" takes for these inputs, and why.

    >>> from circuits import pz
    >>> print(select(pz(3)))
    bloch: one wire, so a real 3-vector does
    """
    if _BLOCH.supports(circuit):
        return Choice(_BLOCH, "one wire, so a real 3-vector does")
    return Choice(_STATEVECTOR, f"{circuit.wires} wires")


class Auto(Engine):
    """Passes every call on to what `select` chooses."""

    name: ClassVar[str] = "auto"

    def contract(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        """As the chosen engine does it."""
        check_activation(circuit)
        return select(circuit, x, params).engine.contract(circuit, x, params, weight)

    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        return select(circuit, x, params).engine._evaluate(circuit, x, params)

    def __repr__(self) -> str:
        return "Auto()"
