"""What shots do to the outputs of a model: standard errors of activations, carried on through the layers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile

import torch
from torch import Tensor, nn

from circuits.engines import Engine
from circuits.engines.probe import Probe, Seen
from qkan.daruan import DARUAN


def with_error(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""The outputs of a model on its devices, and the standard errors that were measured with them.

    The model runs once, and every activation with its standard error $\sigma_e$. To first order an output has
    $\sqrt{\sum_e (\partial y / \partial f_e)^2 \sigma_e^2}$ over evaluations e; edges that share an evaluation share
    its error, so that their slopes add up first. Slopes are those of an exact simulator, where the device measured: no
    further circuits run. What is left out is of the next order, the curvature of later layers times variances, as well
    as what several evaluations have in common, such as the calibration of their qubit. Errors are of one output each;
    outputs that share activations err together.

    Args:
        model: any module with DARUAN activations: a layer, a `QKAN`, a `DARUAN` itself.
        x: inputs. Whether samples of a batch mix is looked for at the first and the last of them.

    Returns:
        Outputs and their standard errors, of the same shape and without gradients; errors are zero where all engines
        are exact.

    Raises:
        TypeError: if an engine of the model measures nothing that has an error, because it is none of `circuits`.

    >>> from circuits import engines
    >>> from qkan import QKAN
    >>> model = QKAN([2, 3, 1], engine=engines.get("sampled", shots=1000, seed=0))
    >>> y, error = with_error(model, torch.zeros(5, 2))
    >>> y.shape, error.shape
    (torch.Size([5, 1]), torch.Size([5, 1]))
    """
    return carried(model, x, lambda module: _checked(module.engine))


def carried(model: nn.Module, x: Tensor, engine: Callable[[DARUAN], Engine]) -> tuple[Tensor, Tensor]:
    """Outputs with the engine that each DARUAN is given, and its standard errors carried on; see `with_error`."""
    with torch.inference_mode(False), torch.enable_grad():
        with engines_of(model, lambda module: Probe(engine(module))) as probes:
            y = model(x.clone() if x.is_inference() else x)
        seen = [entry for probe in probes.values() for entry in probe.seen]
        return y.detach(), _variance(y, seen).sqrt()


def slopes(end: Tensor, seen: list[Seen]) -> list[Tensor]:
    """The derivatives of `end` in what was seen, `(*batch, *grid, readouts)`; zero for what it does not see."""
    found = torch.autograd.grad(end, [each.handle for each in seen], retain_graph=True, allow_unused=True)
    return [torch.zeros_like(each.handle) if slope is None else slope for slope, each in zip(found, seen, strict=True)]


def _variance(y: Tensor, seen: list[Seen]) -> Tensor:
    if not y.numel():
        return torch.zeros_like(y, requires_grad=False)
    # Samples that go their own ways take one pass for all of them; at worst every entry takes one.
    dims = next(count for count in range(_common(y, seen), -1, -1) if _apart(y, seen, count))
    batch = y.shape[:dims]
    ends = y.reshape(batch.numel(), -1).sum(0)
    variance = y.new_zeros(*batch, len(ends), requires_grad=False)
    for place, end in enumerate(ends):
        for slope, each in zip(slopes(end, seen), seen, strict=True):
            rows = torch.broadcast_shapes(each.errors.shape, (*batch, *[1] * (slope.ndim - dims)))
            together = slope.sum_to_size(rows)  # of all that share a row
            variance[..., place] += (together * each.errors).square().flatten(dims).sum(-1)
    return variance.reshape(y.shape)


def _common(y: Tensor, seen: list[Seen]) -> int:
    """How many leading dimensions the outputs and all evaluations have in common."""
    shapes = [y.shape, *(each.handle.shape[:-3] for each in seen)]
    return len(list(takewhile(lambda sizes: len(set(sizes)) == 1, zip(*shapes, strict=False))))


def _apart(y: Tensor, seen: list[Seen], dims: int) -> bool:
    """Whether samples, along so many leading dimensions, go their own ways: the first and the last one see no other.

    Both, since in a sequence one of them may be the only one that sees the others.
    """
    if not dims:
        return True
    samples = y.flatten(0, dims - 1).flatten(1).sum(-1) if y.ndim > dims else y.flatten()
    return not any(
        slope.flatten(0, dims - 1).roll(shift, 0)[1:].any()
        for end, shift in ((samples[0], 0), (samples[-1], 1))
        for slope in slopes(end, seen)
    )


def _checked(engine: Engine) -> Engine:
    if not isinstance(engine, Engine):
        raise TypeError(f"Argument `model` must have engines of `circuits`, but has {engine!r}, which tells no errors.")
    return engine


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
