"""Before anything is paid for: what a model asks of a device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from circuits import engines
from circuits.engines import BlackBox, Costs, Engine, Limits
from circuits.engines.auto import Auto
from circuits.engines.probe import Dry
from circuits.gradient import Gradient, gradient_of
from qkan.daruan import DARUAN
from qkan.errors import carried, engines_of


@dataclass(frozen=True)
class Plan:
    """What one evaluation of a model, and one gradient, take.

    Args:
        forward: of the evaluation.
        gradient: of the gradient, on top.
        error: the standard error of each output to first order, `(*batch, out)`.
        limits: of the providers, within which jobs were made.
        shots: of a row, the most there are; None for exact values.
    """

    forward: Costs
    gradient: Costs
    error: Tensor
    limits: tuple[Limits, ...] = ()
    shots: int | None = None

    def __str__(self) -> str:
        lines = [f"{'':10}{'circuits':>12}{'rows':>12}{'executions':>14}{'jobs':>7}{'device s':>10}"]
        for name, costs in (("forward", self.forward), ("gradient", self.gradient)):
            lines.append(
                f"{name:10}{costs.circuits:>12,}{costs.rows:>12,}{costs.executions:>14,}{costs.jobs:>7,}"
                f"{costs.seconds:>10.1f}"
            )
        for limits in self.limits:
            rows = "" if self.shots is None else f" ({limits.executions // self.shots:,} rows of {self.shots:,} shots)"
            lines.append(
                f"limits: {limits.executions:,} executions a job{rows}, {limits.rows:,} rows a part, {limits.pending} "
                "jobs open at a time"
            )
        if self.error.numel():
            error = self.error.square().mean().sqrt().item()
            lines.append(f"standard error of an output: {error:.2g} (rms), {self.error.max().item():.2g} at most")
        return "\n".join(lines)


def plan(
    model: nn.Module,
    x: Tensor,
    backend: Any = None,
    shots: int | Tensor | None = None,
    gradient: str | Gradient | bool | None = True,
) -> Plan:
    """What `model` on `x` would take on a device, found out by an exact simulator in its place.

    Args:
        model: `(*batch, in)` to `(*batch, out)`, with DARUAN activations anywhere.
        x: inputs.
        backend: a Qiskit backend, of which "sampler" with its defaults would use one qubit; the name of an engine or an
            engine, which knows more; None for the engines that the model has.
        shots: of every evaluation; None for those of the engine.
        gradient: "shift", "spsa", "simulator", or one that is built; True for that of the engine. A gradient in all
            parameters is then counted as well; False or None for none.

    Raises:
        TypeError: if an engine is no device, but simulates exactly: there is nothing to plan.

    >>> from qkan import QKAN
    >>> found = plan(QKAN([2, 1]), torch.zeros(5, 2), "sampled", shots=100, gradient="spsa")
    >>> found.forward.executions, found.gradient.executions
    (1000, 2000)
    """
    device = _device(backend, shots)
    rule = None if isinstance(gradient, bool) or gradient is None else gradient_of(gradient, 0, Auto)

    def dry(module: DARUAN) -> Dry:
        return Dry(device(module), rule)

    with engines_of(model, dry) as devices, torch.enable_grad(), _undrawn(devices):
        y = model(x)
        forward = _total(devices)
        if gradient and y.requires_grad:
            wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
            torch.autograd.grad(y.sum(), wanted, allow_unused=True)
        total = _total(devices)
    back = Costs(*(getattr(total, name) - getattr(forward, name) for name in Costs.__dataclass_fields__))
    asked = [each.engine for each in devices.values()]
    limits = tuple(dict.fromkeys(each.limits for each in asked if each.limits is not None))
    return Plan(forward, back, carried(model, x, dry)[1], limits, max(map(_row_shots, asked)) or None)


def _device(backend: Any, shots: int | Tensor | None) -> Callable[[DARUAN], BlackBox]:
    """What gives each DARUAN its device."""
    if backend is None or isinstance(backend, (str, Engine)):
        one = None if backend is None else engines.get(backend)
    else:
        one = engines.get("sampler", backend=backend)

    def device(module: DARUAN) -> BlackBox:
        engine = module.engine if one is None else one
        if not isinstance(engine, BlackBox):
            raise TypeError(f"Argument `backend` must be a device, such as engines.get('sampled'), but is {engine!r}.")
        return engine if shots is None else engine.with_shots(shots)

    return device


def _row_shots(engine: BlackBox) -> int:
    if engine.shots is None:
        return 0
    return engine.row_shots or int(torch.as_tensor(engine.shots).max())


@contextmanager
def _undrawn(devices: dict[str, Dry]) -> Iterator[None]:
    """After this context random directions go on as if nothing had been drawn: a plan changes nothing."""
    found = (getattr(device.gradient, "generator", None) for device in devices.values())
    generators = {id(each): each for each in found if isinstance(each, torch.Generator)}.values()
    states = [each.get_state() for each in generators]
    try:
        yield
    finally:
        for each, state in zip(generators, states, strict=True):
            each.set_state(state)


def _total(devices: dict[str, Dry]) -> Costs:
    return sum((device.costs_so_far for device in devices.values()), Costs())
