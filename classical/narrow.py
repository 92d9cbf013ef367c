"""Modules with some of their outputs only."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]

from classical.convolution import KANConv2d

NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
"""Normalisations of a sample over what may be its outputs."""


def narrowed(
    module: nn.Module, maker: Callable[[int, int], nn.Module], inputs: int, outputs: int, rows: Tensor
) -> nn.Module:
    """A copy of `module`, which is `maker(inputs, outputs)` by its shapes, that computes the outputs `rows` only.

    `maker(inputs, len(rows))` says what a smaller module looks like: the axis along which one of its parameters or
    buffers is shorter is the axis of outputs, of which the rows are kept. There may be several entries for each output,
    among which outputs run fastest, as in `[a; b]` of a gated linear unit.

    So a module must compute its outputs apart from each other, each from rows of its own and from what is the same for
    all. Of those that do not, convolutions with groups and normalisations over outputs are refused; others, such as a
    softmax over outputs, cannot be told and would not be what they were.

    Raises:
        ValueError: If the smaller module differs from `module` by more than such axes, or mixes its outputs.

    >>> layer = nn.Linear(2, 3)
    >>> small = narrowed(layer, nn.Linear, 2, 3, torch.tensor([2, 0]))
    >>> torch.equal(small.weight, layer.weight[[2, 0]])
    True
    """
    if rows.tolist() == list(range(outputs)):
        return copy.deepcopy(module)
    with torch.random.fork_rng(devices=[]):
        # Copied before, as it was when it made `module`, and after, for its modules may share a part.
        small = copy.deepcopy(copy.deepcopy(maker)(inputs, len(rows)))
    _check_apart(module, small, len(rows), outputs)
    state, sizes = module.state_dict(), {name: value.shape for name, value in small.state_dict().items()}
    if state.keys() != sizes.keys():
        raise _cannot(module, len(rows), outputs, f"the names of its parameters are {list(state)}, not {list(sizes)}")
    for name, value in state.items():
        state[name] = _kept(module, name, value, sizes[name], outputs, rows)
    small.load_state_dict(state, assign=True)
    for name, parameter in small.named_parameters():
        parameter.requires_grad_(module.get_parameter(name).requires_grad)
    return small.train(module.training)


def _check_apart(module: nn.Module, small: nn.Module, kept: int, outputs: int) -> None:
    """Raise if a part depends on the number of outputs that does not compute them apart from each other."""
    smaller = dict(small.named_modules())
    for name, part in module.named_modules():
        grouped = isinstance(part, _ConvNd | KANConv2d) and part.groups > 1
        if (grouped or isinstance(part, NORMS)) and name in smaller and repr(part) != repr(smaller[name]):
            raise _cannot(module, kept, outputs, f"its {type(part).__name__} mixes or groups outputs")


def _kept(module: nn.Module, name: str, value: Tensor, size: torch.Size, outputs: int, rows: Tensor) -> Tensor:
    if value.shape == size:
        return value.clone()
    if len(size) == value.ndim:
        axis, *others = [axis for axis, (old, new) in enumerate(zip(value.shape, size, strict=True)) if old != new]
        entries, rest = divmod(value.shape[axis], outputs)
        if not others and not rest and size[axis] == entries * len(rows):
            return value.unflatten(axis, (entries, outputs)).index_select(axis + 1, rows).flatten(axis, axis + 1)
    raise _cannot(module, len(rows), outputs, f"`{name}` of shape {tuple(value.shape)} would have {tuple(size)}")


def _cannot(module: nn.Module, kept: int, outputs: int, reason: str) -> ValueError:
    return ValueError(
        f"{type(module).__name__} cannot be pruned to {kept} of {outputs} outputs, since {reason}: take candidates in "
        "which each output has rows of its own."
    )
