"""Whether a module is nothing but its linear maps and what acts on each token between them: seen by calling it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


def is_tokenwise(module: nn.Module, maps: Sequence[nn.Module], in_features: int) -> bool:
    """Whether `module` gives its input to all maps but the last, and returns what the last makes of each token.

    So it adds no residual, no gate and no norm of its own, before the maps or behind them, and no token sees another
    between them: not the first one, nor the last. It is called on random tokens, `(2, 3, in)` or `(6, in)` if it does
    not take the former, in evaluation mode, without gradients, and on copies of its buffers; hooks are called too. On
    the meta device only shapes can tell.

    Args:
        module: calls each of its maps as a module.
        maps: the last one last.
        in_features: of the module.
    """
    like = next(maps[0].parameters())
    tokens = torch.rand(2, 3, in_features, generator=torch.Generator().manual_seed(0)).to(like)
    with _undisturbed(module, like.device):
        for x in (tokens, tokens.flatten(0, 1)):
            try:
                hidden = _hidden(module, maps, x)
                return hidden is not None and _apart(module, maps, x, hidden)
            except Exception:  # of whatever kind the module has for inputs that it does not take
                continue
    return False


def _hidden(module: nn.Module, maps: Sequence[nn.Module], x: Tensor) -> Tensor | None:
    """What the last map receives, `(tokens, hidden)`, if the others receive x and the module returns what it makes."""
    calls: dict[nn.Module, list[Any]] = {each: [] for each in maps}
    hooks = [
        each.register_forward_hook(lambda each, given, made: calls[each].append((given[0], made))) for each in calls
    ]
    try:
        y = functional_call(module, {name: buffer.clone() for name, buffer in module.named_buffers()}, (x,))
    finally:
        for hook in hooks:
            hook.remove()
    if any(len(calls[each]) != 1 for each in maps):
        return None
    *ups, (hidden, made) = [calls[each][0] for each in maps]
    whole = y.shape == (*x.shape[:-1], made.shape[-1]) and _equal(made, y)
    return hidden.flatten(0, -2) if whole and all(_equal(given, x) for given, _ in ups) else None


def _apart(module: nn.Module, maps: Sequence[nn.Module], x: Tensor, hidden: Tensor) -> bool:
    """Whether no token but the first sees a change of the first one, and none but the last one of the last."""
    for place, others in ((0, slice(1, None)), (-1, slice(None, -1))):
        changed = x.clone()
        changed.view(-1, x.shape[-1])[place] += 1
        seen = _hidden(module, maps, changed)
        if seen is None or not _equal(seen[others], hidden[others]):
            return False
    return True


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether both have the same entries, whatever their batch is."""
    return one.numel() == other.numel() and (one.is_meta or torch.equal(one.reshape(other.shape), other))


@contextmanager
def _undisturbed(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards modes and random numbers are as before."""
    modes = [(each, each.training) for each in module.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            for each, _ in modes:  # not eval(), which a module may have overridden
                each.training = False
            yield
    finally:
        for each, mode in modes:
            each.training = mode
