"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from classical.checks import Activation, check_features, checked_activation, checked_widths
from classical.cost import NORM_FLOPS, Cost, activation_flops, linear_cost


class MLP(nn.Module):
    """Affine layers with an activation `σ` between them, `x -> W_n σ(... σ(W_1 x + b_1) ...) + b_n`.

    `MLP([12, 16, 1])` has 12 inputs, 16 hidden units and 1 output, so 12 * 16 + 16 + 16 * 1 + 1 = 225 parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        activation: Name in `ACTIVATIONS`, or a function of one tensor; a module that is given is trained along.
        bias: Whether the layers have the `b`.
        norm: Whether each affine layer sees its inputs through a layer normalisation of its own.

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers or the activation is not callable.
        ValueError: If there are too few widths or one is not positive, if the name of the activation is unknown, or if
            the last axis of an input does not have `widths[0]` entries.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: Activation = "silu",
        bias: bool = True,
        norm: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.widths = checked_widths(widths, at_least=2, example="MLP([12, 16, 1])")
        self.activation = checked_activation(activation)
        self.norms = nn.ModuleList(
            nn.LayerNorm(inputs, device=device, dtype=dtype) if norm else nn.Identity() for inputs in self.widths[:-1]
        )
        self.layers = nn.ModuleList(
            nn.Linear(inputs, outputs, bias, device, dtype) for inputs, outputs in pairwise(self.widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        check_features(x, self.widths[0])
        for number, (norm, layer) in enumerate(zip(self.norms, self.layers, strict=True)):
            x = layer(norm(self.activation(x) if number else x))
        return x

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by the formulas of arXiv:2407.16674.

        Raises:
            ValueError: If the activation is not one whose operations are known.
        """
        affine = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        cost = sum(map(linear_cost, affine), start=Cost(0, 0, 0))
        operations = sum(self.widths[1:-1]) * activation_flops(self.activation)
        shared = sum(p.numel() for p in self.activation.parameters()) if isinstance(self.activation, nn.Module) else 0
        normed = [norm.normalized_shape[0] for norm in self.norms if isinstance(norm, nn.LayerNorm)]
        operations += NORM_FLOPS * sum(normed)
        return cost + Cost(2 * sum(normed) + shared, operations, operations)

    def extra_repr(self) -> str:
        return f"widths={list(self.widths)}"
