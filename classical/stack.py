"""Stacks of layers, which all families of classical KANs are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from classical.checks import checked_widths
from classical.cost import Cost


class Stack(nn.Module):
    """Layers of the given widths, one after the other.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        make: A layer from its numbers of inputs and outputs; it has `reset_parameters(generator)`.
    """

    def __init__(self, widths: Sequence[int], make: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.widths = checked_widths(widths, at_least=2, example=f"{type(self).__name__}([2, 5, 1])")
        self.layers = nn.ModuleList(make(inputs, outputs) for inputs, outputs in pairwise(self.widths))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        for layer in self.layers:
            layer.reset_parameters(generator)  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by formula."""
        first, *others = (layer.cost() for layer in self.layers)  # pyright: ignore[reportCallIssue]
        return sum(others, start=first)

    def extra_repr(self) -> str:
        return f"widths={list(self.widths)}"
