"""Engines that watch a model: what it asks of a device, and how much every activation matters."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from circuits.circuit import Circuit
from circuits.engines.auto import Auto
from circuits.engines.engine import BlackBox, Costs, Engine
from circuits.gradient import on_table


class Dry(BlackBox):
    """Takes the place of a device: exact values, with the errors that its shots would have; nothing is run.

    Args:
        engine: the device.
    """

    name: ClassVar[str] = "dry"

    def __init__(self, engine: BlackBox) -> None:
        self.engine, self.shots, self.gradient = engine, engine.shots, engine.gradient
        self.rewrites = engine.rewrites
        self.costs_so_far = Costs()

    def unsupported(self, circuit: Circuit) -> str | None:
        return self.engine.unsupported(circuit)

    def _measure(self, circuit: Circuit, table: Tensor, shots: Tensor | None) -> tuple[Tensor, Tensor]:
        self.costs_so_far += self.engine.costs(circuit, table.detach(), shots)
        values = self._run(circuit, table, None)
        if shots is None:
            return values, torch.zeros_like(values)
        return values, self.expected_error(circuit, values.detach(), shots)

    def expected_error(self, circuit: Circuit, values: Tensor, shots: Tensor) -> Tensor:
        """That of the device."""
        return self.engine.expected_error(circuit, values, shots)

    def _run(self, circuit: Circuit, table: Tensor, shots: int | None) -> Tensor:
        return on_table(Auto(), circuit, table)

    def __repr__(self) -> str:
        return f"Dry({self.engine!r})"


class Probe(Engine):
    """Passes evaluations on, and remembers each with a handle for derivatives of what comes of it.

    Args:
        engine: what evaluates.
    """

    name: ClassVar[str] = "probe"

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []
        """Handles, values and standard errors, `(*grid, readouts)`: an output's derivative in a handle is that in the
        value."""
        self.asked: list[tuple[Circuit, Tensor, dict[str, Tensor]]] = []
        """Circuits, inputs and slots."""

    def unsupported(self, circuit: Circuit) -> str | None:
        return self.engine.unsupported(circuit)

    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        values, errors = self.engine._evaluate_with_error(circuit, x, params)
        self.asked.append((circuit, x.detach(), {name: slot.detach() for name, slot in params.items()}))
        handle = torch.zeros_like(values, requires_grad=True)
        self.seen.append((handle, values.detach(), errors.to(values)))
        return values + handle

    def __repr__(self) -> str:
        return f"Probe({self.engine!r})"
