"""How many floating-point operations a model takes, counted while it runs: one rule for every kind of model."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

MOVES = frozenset(
    {
        "_to_copy", "_unsafe_view", "alias", "arange", "as_strided", "cat", "clone", "constant_pad_nd", "copy_",
        "detach", "diagonal", "empty", "expand", "eye", "fill_", "flip", "full", "full_like", "gather",
        "index", "index_select",
        "lift_fresh", "linspace", "movedim", "new_empty", "new_full", "new_ones", "new_zeros", "ones", "ones_like",
        "permute", "repeat", "reshape", "roll", "scalar_tensor", "scatter", "select", "slice", "split",
        "split_with_sizes", "squeeze", "stack", "t", "transpose", "tril", "triu", "unbind", "unfold", "unsqueeze",
        "view", "zero_", "zeros", "zeros_like",
    }
)  # fmt: skip
"""What only moves or makes numbers."""


class Operations(TorchDispatchMode):
    """Counts, while it is entered: `total` operations.

    A product of matrices of m x k and k x n numbers is 2 m k n operations; anything else is one for each number that it
    computes or, where it reduces, reads: an exponential is one, like a sum. Moving numbers is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in flop_registry:
            self.total += flop_registry[packet](*args, **(kwargs or {}), out_val=out)
        elif packet.__name__ not in MOVES:
            sizes = [leaf.numel() for leaf in tree_leaves((args, out)) if _counts(leaf)]
            self.total += max(sizes, default=0)
        return out


def _counts(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.dtype.is_floating_point | leaf.dtype.is_complex


def operations(model: Callable[[Tensor], Tensor] | nn.Module, x: Tensor) -> float:
    """Operations of a forward pass without gradients for one of the samples `x`."""
    with torch.no_grad(), Operations() as counter:
        model(x)
    return counter.total / math.prod(x.shape[:-1])
