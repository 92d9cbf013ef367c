"""Before anything is paid for: what a model asks of a device, and what comes of shots."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from circuits import engines
from circuits.engines import BlackBox, Costs, Engine
from circuits.engines.auto import Auto
from circuits.engines.probe import Dry, Probe
from qkan.daruan import DARUAN


@dataclass(frozen=True)
class Plan:
    """What one evaluation of a model, and one gradient, take.

    Args:
        forward: of the evaluation.
        gradient: of the gradient, on top.
        error: the standard error of each output to first order, `(*batch, out)`.
    """

    forward: Costs
    gradient: Costs
    error: Tensor

    def __str__(self) -> str:
        lines = [f"{'':10}{'circuits':>12}{'rows':>12}{'executions':>14}{'jobs':>7}{'device s':>10}"]
        for name, costs in (("forward", self.forward), ("gradient", self.gradient)):
            lines.append(
                f"{name:10}{costs.circuits:>12,}{costs.rows:>12,}{costs.executions:>14,}{costs.jobs:>7,}"
                f"{costs.seconds:>10.1f}"
            )
        error = self.error.square().mean().sqrt().item()
        return "\n".join(
            [*lines, f"standard error of an output: {error:.2g} (rms), {self.error.max().item():.2g} at most"]
        )


def plan(model: nn.Module, x: Tensor, engine: str | Engine | None = None, gradient: bool = True) -> Plan:
    """What `model` on `x` would take on a device, found out by an exact simulator in its place.

    Args:
        model: `(*batch, in)` to `(*batch, out)`, with DARUAN activations anywhere.
        x: inputs.
        engine: the device; None for the engines that the model has.
        gradient: whether to count a gradient in all parameters as well, as the engine gets it.

    Raises:
        TypeError: if an engine is no device, but simulates exactly: there is nothing to plan.
    """

    def dry(module: DARUAN) -> Dry:
        device = module.engine if engine is None else engines.get(engine)
        if not isinstance(device, BlackBox):
            raise TypeError(f"Argument `engine` must be a device, such as engines.get('sampled'), but is {device!r}.")
        return Dry(device)

    with engines_of(model, dry) as devices, torch.enable_grad(), _undrawn(devices):
        y = model(x)
        forward = _total(devices)
        if gradient and y.requires_grad:
            wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
            torch.autograd.grad(y.sum(), wanted, allow_unused=True)
        total = _total(devices)
        back = Costs(*(getattr(total, name) - getattr(forward, name) for name in Costs.__dataclass_fields__))
        return Plan(forward, back, output_error(model, x, dry))


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


def output_error(model: nn.Module, x: Tensor, engine: Callable[[DARUAN], Engine]) -> Tensor:
    r"""The standard error of each output, $\sqrt{\sum_e (\partial y / \partial f_e)^2 \sigma_e^2}$ over activations e.

    Args:
        model: `(*batch, in)` to `(*batch, out)`, each sample by itself.
        x: inputs.
        engine: gives the engine of each DARUAN, whose standard errors are carried on.
    """
    with engines_of(model, lambda module: Probe(engine(module))) as probes, torch.enable_grad():
        y = model(x)
        seen = [entry for probe in probes.values() for entry in probe.seen]
        variance = torch.zeros_like(y)
        for output in range(y.shape[-1]):
            slopes = torch.autograd.grad(y[..., output].sum(), [handle for handle, *_ in seen], retain_graph=True)
            for slope, (_, _, error) in zip(slopes, seen, strict=True):
                contributions = (slope * error).square()[..., 0]
                grid = contributions.shape[: max(0, contributions.ndim - 2)]
                variance[..., output] += contributions.flatten(len(grid)).sum(-1)
    return variance.detach().sqrt()


def allocate(
    model: nn.Module, x: Tensor, shots: int, loss: Callable[[Tensor], Tensor] | None = None
) -> dict[str, Tensor]:
    r"""Shots for every edge, `shots` on average, so that what comes out has the least variance.

    The variance is $\sum_e c_e / S_e$ with $c_e = \sum_b (\partial y_b / \partial f_{be})^2 (1 - f_{be}^2)$, to first
    order. At a fixed sum of the $S_e$ it is least for $S_e \propto \sqrt{c_e}$, and by Cauchy's inequality never more
    than with equal shots, up to rounding, which is checked. Circuits side by side on a device share their shots, so
    that unequal ones pack worse there: compare by `plan`.

    Args:
        model: with DARUAN activations.
        x: inputs that are typical.
        shots: of an evaluation, on average over all edges of all layers.
        loss: of the outputs, whose derivative counts; None for all outputs alike.

    Returns:
        For the name of each DARUAN its shots, `(out or 1, in or 1)`, to be set by `set_shots`.
    """
    if not isinstance(shots, int) or isinstance(shots, bool) or shots < 1:
        raise ValueError(f"Argument `shots` must be an int of at least 1, but is {shots!r}.")
    with engines_of(model, lambda module: Probe(Auto())) as probes, torch.enable_grad():
        y = model(x)
        ends = [loss(y)] if loss is not None else [y[..., output].sum() for output in range(y.shape[-1])]
        costs: dict[str, Tensor] = {}
        for name, probe in probes.items():
            for handle, values, _ in probe.seen:
                total = torch.zeros_like(values)
                for end in ends:
                    (slope,) = torch.autograd.grad(end, handle, retain_graph=True)
                    total += slope.square() * (1 - values.square()).clamp(min=0)
                edge = total[..., 0].reshape(-1, *total.shape[-3:-1]).sum(0)
                costs[name] = costs.get(name, 0) + edge.double().cpu()
    weights = torch.cat([cost.flatten() for cost in costs.values()])
    chosen = _rounded(weights.sqrt(), shots * len(weights))
    if (weights / chosen).sum() > (weights / shots).sum():
        chosen = torch.full_like(chosen, shots)
    parts = chosen.split([cost.numel() for cost in costs.values()])
    return {name: part.reshape(cost.shape) for (name, cost), part in zip(costs.items(), parts, strict=True)}


def set_shots(model: nn.Module, shots: dict[str, Tensor]) -> nn.Module:
    """Give every DARUAN of the model that is named its own shots, on the device it has; returns the model."""
    for name, each in shots.items():
        module = model.get_submodule(name)
        if not isinstance(module, DARUAN) or not isinstance(module.engine, BlackBox):
            raise TypeError(f"Module {name!r} is no DARUAN on a device: use set_engine(model, device) first.")
        module.engine = module.engine.with_shots(each)
    return model


def _rounded(weights: Tensor, total: int) -> Tensor:
    """Ints of at least 1 in proportion to weights, which add up to `total`."""
    if weights.sum() == 0:
        weights = torch.ones_like(weights)
    ideal = weights / weights.sum() * (total - len(weights))
    floors = ideal.floor()
    rest = int(total - len(weights) - floors.sum())
    floors[(ideal - floors).argsort(descending=True, stable=True)[:rest]] += 1
    return 1 + floors.long()


@contextmanager
def engines_of(model: nn.Module, make: Callable[[DARUAN], Engine]) -> Iterator[dict]:
    """Within this context every DARUAN of the model has the engine that is made for it."""
    modules = {name: module for name, module in model.named_modules() if isinstance(module, DARUAN)}
    if not modules:
        raise ValueError(f"Argument `model` must have DARUAN activations, but {type(model).__name__} has none.")
    before = {name: module.engine for name, module in modules.items()}
    made = {name: make(module) for name, module in modules.items()}
    try:
        for name, module in modules.items():
            module.engine = made[name]
        yield made
    finally:
        for name, module in modules.items():
            module.engine = before[name]
