"""Engines that watch a model: what it asks of a device, and how much every activation matters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from circuits.circuit import Circuit
from circuits.engines.auto import Auto
from circuits.engines.engine import BlackBox, Costs, Engine
from circuits.gradient import Gradient, on_table


class Dry(BlackBox):
    """Takes the place of a device: exact values, with the errors that its shots would have; nothing is run.

    Args:
        engine: the device.
        gradient: where gradients come from; None for as the device has them.
    """

    name: ClassVar[str] = "dry"

    def __init__(self, engine: BlackBox, gradient: Gradient | None = None) -> None:
        self.engine, self.shots, self.gradient = engine, engine.shots, gradient or engine.gradient
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


@dataclass(frozen=True, eq=False)
class Seen:
    """Evaluations of a layer.

    Args:
        handle: zeros, `(*batch, out or 1, in or 1, readouts)`: a derivative in them is one in the values there.
        values: of the evaluations; of a shape that broadcasts to that of the handle, with one entry for those samples
            and edges that share an evaluation.
        errors: their standard errors, of the same shape.
    """

    handle: Tensor
    values: Tensor
    errors: Tensor


class Probe(Engine):
    """Passes evaluations of layers on, and remembers each with a handle for derivatives of what comes of it.

    A device is asked for values only: how these change with the inputs is said by an exact simulator.

    Args:
        engine: what evaluates.
    """

    name: ClassVar[str] = "probe"
    checks_first: ClassVar[bool] = True

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.seen: list[Seen] = []
        self.asked: list[tuple[Circuit, Tensor, dict[str, Tensor]]] = []
        """Circuits, inputs and slots."""

    def unsupported(self, circuit: Circuit) -> str | None:
        return self.engine.unsupported(circuit)

    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        params = {name: slot.detach() for name, slot in params.items()}
        self.asked.append((circuit, x.detach(), params))
        device = isinstance(self.engine, BlackBox)
        values, errors = self.engine._evaluate_with_error(circuit, x.detach() if device else x, params)
        # A sample has a handle of its own, even if it shares the evaluation.
        shape = torch.broadcast_shapes(values.shape, (*x.shape[:-3], 1, 1, 1))
        handle = values.new_zeros(shape).requires_grad_(torch.is_grad_enabled())
        self.seen.append(Seen(handle, values.detach(), errors.to(values)))
        if device and x.requires_grad:
            simulated = Auto()._evaluate(circuit, x, params)
            values = values + (simulated - simulated.detach())
        return values + handle

    def __repr__(self) -> str:
        return f"Probe({self.engine!r})"
