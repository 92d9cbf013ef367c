"""What shots do to the outputs of a model: standard errors of activations, carried on through the layers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
        x: inputs.

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
    variance = torch.zeros_like(y, requires_grad=False)
    apart = _apart(y, seen)
    # Samples that go their own ways take one pass an output, others one an entry.
    ends = y.flatten(0, -2).sum(0) if apart and y.ndim > 1 else y.flatten()
    for place, end in enumerate(ends):
        for slope, each in zip(slopes(end, seen), seen, strict=True):
            if apart:
                variance[..., place] += (slope * each.errors).square().sum((-3, -2, -1))
            else:
                together = slope.sum_to_size(each.errors.shape)  # of all samples that share a row
                variance.view(-1)[place] += (together * each.errors).square().sum()
    return variance


def _apart(y: Tensor, seen: list[Seen]) -> bool:
    """Whether samples go their own ways: by shape, and because the first and the last one see no other.

    Both, since one of them may be the one that sees the others last.
    """
    if any(each.handle.shape[:-3] != y.shape[:-1] for each in seen):
        return False
    if y.ndim == 1 or not y.numel():
        return True
    samples = y.flatten(0, -2).sum(-1)
    return not any(
        slope.flatten(0, -4).roll(shift, 0)[1:].any()
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
