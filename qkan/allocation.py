"""Shots where they matter: more of them for edges with more influence."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from circuits.checks import check_int
from circuits.engines import BlackBox
from circuits.engines.auto import Auto
from circuits.engines.probe import Probe
from qkan.daruan import DARUAN
from qkan.errors import engines_of, slopes
from qkan.plan import plan


def allocate(
    model: nn.Module, x: Tensor, shots: int, loss: Callable[[Tensor], Tensor] | None = None
) -> dict[str, Tensor]:
    r"""Shots for every edge, `shots` on average, so that what comes out has the least variance.

    The variance is $\sum_e c_e / S_e$ with $c_e = \sum_b (\partial y_b / \partial f_{be})^2 (1 - f_{be}^2)$, to first
    order. At a fixed sum of the $S_e$ it is least for $S_e \propto \sqrt{c_e}$, and by Cauchy's inequality never more
    than with equal shots, up to rounding, which is checked.

    Circuits side by side on a device share their shots, so that unequal ones leave places empty, and take more
    executions. A device with `row_shots` has none empty: shots come in multiples of it, and as many as evaluating `x`,
    and its gradient, takes no more executions for than equal ones, calibrations included, by `qkan.plan`.

    Args:
        model: with DARUAN activations.
        x: inputs that are typical.
        shots: of an evaluation, on average over all edges of all layers; a multiple of the `row_shots` of devices.
        loss: one number of the outputs, whose derivative counts; None for all outputs alike.

    Returns:
        For the name of each DARUAN its shots, `(out or 1, in or 1)`, to be set by `set_shots`.
    """
    check_int("shots", shots, 1)
    unit = _unit(model)
    if shots % unit:
        raise ValueError(f"Argument `shots` must be a multiple of the devices' row_shots={unit}, but is {shots}.")
    costs = _influence(model, x, loss)
    weights = torch.cat([cost.flatten() for cost in costs.values()])
    equal = torch.full(weights.shape, shots)

    def shown(chosen: Tensor) -> dict[str, Tensor]:
        parts = chosen.split([cost.numel() for cost in costs.values()])
        return {name: part.reshape(cost.shape) for (name, cost), part in zip(costs.items(), parts, strict=True)}

    def best(total: int) -> Tensor:
        return unit * _rounded(weights.sqrt(), total)

    total = shots // unit * len(weights)
    if unit == 1:
        chosen = best(total)
    else:
        chosen = _affordable(best, total, equal, lambda chosen: _executions(model, x, shown(chosen)))
    worse = (weights / chosen).sum() > (weights / equal).sum()
    return shown(equal if worse else chosen)


def set_shots(model: nn.Module, shots: dict[str, Tensor]) -> nn.Module:
    """Give every DARUAN of the model that is named its own shots, on the device it has; returns the model."""
    for name, each in shots.items():
        module = model.get_submodule(name)
        if not isinstance(module, DARUAN) or not isinstance(module.engine, BlackBox):
            raise TypeError(f"Module {name!r} is no DARUAN on a device: use set_engine(model, device) first.")
        module.engine = module.engine.with_shots(each)
    return model


def _influence(model: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor] | None) -> dict[str, Tensor]:
    """The $c_e$ of every DARUAN, `(out or 1, in or 1)`."""
    with engines_of(model, lambda module: Probe(Auto())) as probes, torch.enable_grad():
        y = model(x)
        ends = [_scalar(loss(y))] if loss is not None else [y[..., output].sum() for output in range(y.shape[-1])]
        found: dict[str, Tensor] = {}
        for name, probe in probes.items():
            for each in probe.seen:
                # Of a loss all samples that share an evaluation are parts; of outputs each is one by itself.
                parts = (slopes(end, [each])[0] for end in ends)
                shape = each.values.shape if loss is not None else each.handle.shape
                slope = sum((part.sum_to_size(shape).square() for part in parts), torch.zeros(()))
                total = slope * (1 - each.values.square()).clamp(min=0)
                edge = total[..., 0].reshape(-1, *total.shape[-3:-1]).sum(0)
                found[name] = found.get(name, 0) + edge.double().cpu()
    return found


def _scalar(loss: Tensor) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"Argument `loss` must return one number, but returns {found}: take the mean or the sum.")
    return loss


def _unit(model: nn.Module) -> int:
    """What shots are multiples of on the devices of a model."""
    devices = (module.engine for module in model.modules() if isinstance(module, DARUAN))
    return math.lcm(*(device.row_shots or 1 for device in devices if isinstance(device, BlackBox)))


def _executions(model: nn.Module, x: Tensor, shots: dict[str, Tensor]) -> list[int]:
    """Those of an evaluation and of its gradient."""
    with engines_of(model, lambda module: module.engine):  # and afterwards as before
        found = plan(set_shots(model, shots), x)
    return [found.forward.executions, found.gradient.executions]


def _affordable(
    best: Callable[[int], Tensor], total: int, equal: Tensor, executions: Callable[[Tensor], list[int]]
) -> Tensor:
    """The best shots of the largest total, up to `total`, that take no more executions than equal ones; or these."""
    most = executions(equal)
    while total >= len(equal):
        chosen = best(total)
        excess = max(one / other for one, other in zip(executions(chosen), most, strict=True) if other)
        if excess <= 1:
            return chosen
        total = min(total - 1, int(total / excess))
    return equal


def _rounded(weights: Tensor, total: int) -> Tensor:
    """Ints of at least 1 in proportion to weights, as nearly as may be, which add up to `total`."""
    weights = weights if weights.sum() > 0 else torch.ones_like(weights)
    least = torch.zeros_like(weights, dtype=torch.bool)
    while True:
        free = weights * ~least
        ideal = torch.where(least, 1.0, free / free.sum() * (total - least.sum()))
        if not (below := ideal < 1 - 1e-9).any():
            break
        least |= below
    floors = (ideal + 1e-9).floor()
    rest = int(total - floors.sum())
    floors[(ideal - floors).argsort(descending=True, stable=True)[:rest]] += 1
    return floors.long()
