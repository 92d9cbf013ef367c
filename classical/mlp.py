"""The multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from inspect import signature
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from classical.checks import Activation, check_features, checked_activation, checked_widths
from classical.cost import NORM_FLOPS, Cost, Costed, activation_flops, linear_cost


class MLP(nn.Module):
    """Affine layers with an activation `σ` between them, `x -> W_n σ(... σ(W_1 x + b_1) ...) + b_n`.

    `MLP([12, 16, 1])` has 12 inputs, 16 hidden units and 1 output, so 12 * 16 + 16 + 16 * 1 + 1 = 225 parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        activation: Name in `ACTIVATIONS`, or a function of one tensor; a module that is given is trained along.
        bias: Whether the layers have the `b`.
        norm: Whether each affine layer sees its inputs through a layer normalisation of its own.
        nodewise: From the width of a hidden layer to a module that acts in the place of `activation` there, of its own
            for each layer: `lambda width: Nodewise(width, Chebyshev())` for a learnable function on each node. None for
            `activation`.

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers or the activation is not callable.
        ValueError: If there are too few widths or one is not positive, if a single input were normalised, if the name
            of the activation is unknown, or if the last axis of an input does not have `widths[0]` entries.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: Activation = "silu",
        bias: bool = True,
        norm: bool = False,
        nodewise: Callable[[int], nn.Module] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.widths = checked_widths(widths, at_least=2, example="MLP([12, 16, 1])")
        self.activation = checked_activation(activation)
        if norm and 1 in self.widths[:-1]:
            raise ValueError(
                "Argument `norm` must be False where an affine layer has 1 input, which it would make 0, but `widths` "
                f"is {self.widths}: widen the layer, or leave the normalisation out."
            )
        self.nodewise = None if nodewise is None else nn.ModuleList(map(nodewise, self.widths[1:-1]))
        self.norms = nn.ModuleList(
            nn.LayerNorm(inputs, device=device, dtype=dtype) if norm else nn.Identity() for inputs in self.widths[:-1]
        )
        self.layers = nn.ModuleList(
            nn.Linear(inputs, outputs, bias, device, dtype) for inputs, outputs in pairwise(self.widths)
        )

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one, as torch starts affine layers.

        Modules that were given start anew where they know how: by `reset_parameters`, with the generator if they take
        one.
        """
        for layer in self._affine():
            draw_uniform(layer, layer.in_features, generator)
        for module in (*self.norms, *(self.nodewise or ()), self.activation):
            _reset(module, generator)

    def forward(self, x: Tensor) -> Tensor:
        check_features(x, self.widths[0])
        for number, (norm, layer) in enumerate(zip(self.norms, self.layers, strict=True)):
            x = layer(norm(self._activated(x, number) if number else x))
        return x

    def _activated(self, x: Tensor, number: int) -> Tensor:
        return self.activation(x) if self.nodewise is None else self.nodewise[number - 1](x)

    def _affine(self) -> list[nn.Linear]:
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by the formulas of arXiv:2407.16674.

        Raises:
            ValueError: If an activation is not one whose operations are known.
        """
        normed = sum(norm.normalized_shape[0] for norm in self.norms if isinstance(norm, nn.LayerNorm))
        norms = Cost(2 * normed, NORM_FLOPS * normed, NORM_FLOPS * normed)
        return sum(map(linear_cost, self._affine()), start=norms) + self._activation_cost()

    def _activation_cost(self) -> Cost:
        if self.nodewise is None:
            operations = sum(self.widths[1:-1]) * activation_flops(self.activation)
            return Cost(0, operations, operations)
        costs = [module.cost() for module in self.nodewise if isinstance(module, Costed)]
        if len(costs) < len(self.nodewise):
            raise ValueError(f"The operations of {self.nodewise} are not known: give each of them a method `cost()`.")
        return sum(costs, start=Cost(0, 0, 0))

    def extra_repr(self) -> str:
        return f"widths={list(self.widths)}"


@torch.no_grad()
def draw_uniform(module: nn.Module, width: int, generator: torch.Generator | None) -> None:
    """All parameters, uniformly within one over the root of a width, as torch starts affine and recurrent layers."""
    bound = 1 / math.sqrt(width)
    for parameter in module.parameters():
        parameter.uniform_(-bound, bound, generator=generator)


@runtime_checkable
class _Resettable(Protocol):
    """A module that can start anew."""

    def reset_parameters(self) -> None: ...


def _reset(module: object, generator: torch.Generator | None) -> None:
    if isinstance(module, _Resettable):
        takes_one = "generator" in signature(module.reset_parameters).parameters
        module.reset_parameters(**{"generator": generator} if takes_one else {})
