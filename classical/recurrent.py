"""Recurrent networks: the long short-term memory and the gated recurrent unit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from classical.checks import checked_size, checked_widths
from classical.cost import ACTIVATION_FLOPS, Cost, linear_cost
from classical.mlp import draw_uniform


class _Recurrent(nn.Module):
    """Stacked recurrent layers that start from zero states, and an affine read-out of the last hidden state."""

    layer: type[nn.LSTM | nn.GRU]

    gates: int
    """Affine maps of the input, and of the hidden state, for each hidden unit."""

    unit_flops: int
    """Operations of a hidden unit in a step, beside the affine maps."""

    def __init__(
        self,
        widths: Sequence[int],
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.widths = checked_widths(widths, at_least=3, example=f"{type(self).__name__}([1, 8, 1])")
        # One module per layer, because the layers of one `nn.LSTM` all have the same width.
        self.layers = nn.ModuleList(
            self.layer(inputs, outputs, bias=bias, batch_first=True, device=device, dtype=dtype)
            for inputs, outputs in pairwise(self.widths[:-1])
        )
        self.readout = nn.Linear(self.widths[-2], self.widths[-1], bias, device, dtype)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one, as torch starts such layers."""
        for layer, width in zip(self.layers, self.widths[1:-1], strict=True):
            draw_uniform(layer, width, generator)
        draw_uniform(self.readout, self.widths[-2], generator)

    def cost(self, time: int) -> Cost:
        """Parameters, and operations for one sequence of `time` steps, by formula.

        Raises:
            TypeError: If the number of steps is not an integer.
            ValueError: If it is not positive.
        """
        checked_size("time", time, at_least=1)
        biases = 0 if self.readout.bias is None else 2
        parameters, flops = 0, 0
        for inputs, units in pairwise(self.widths[:-1]):
            parameters += self.gates * units * (inputs + units + biases)
            flops += time * units * (2 * self.gates * (inputs + units) + self.unit_flops)
        readout = linear_cost(self.readout)
        return Cost(parameters + readout.parameters, flops + readout.flops)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or x.shape[-2] == 0 or x.shape[-1] != self.widths[0]:
            raise ValueError(
                f"Argument `x` must have shape (*batch, time, {self.widths[0]}) with time >= 1,"
                f" but has {tuple(x.shape)}."
            )
        batch, sequence = x.shape[:-2], x.reshape(x.shape[:-2].numel(), *x.shape[-2:])
        for layer in self.layers:
            sequence, _ = layer(sequence)
        return self.readout(sequence[:, -1]).reshape(*batch, self.widths[-1])

    def extra_repr(self) -> str:
        return f"widths={list(self.widths)}"


class LSTM(_Recurrent):
    """Stacked `torch.nn.LSTM` layers that start from zero states, and an affine read-out of the last hidden state.

    With `h_0 = x` and layer `k` acting on whole sequences, `h_k = LSTM_k(h_{k-1})`, the output is `W h_n[T] + b`.
    `LSTM([1, 8, 1])` reads 1 feature per time step into 8 hidden units and has 1 output; `LSTM([1, 8, 4, 1])` stacks
    two layers.

    Args:
        widths: Numbers of features per time step, of hidden units in each layer, and of outputs; at least three.
        bias: Whether the layers and the read-out have biases.

    Shapes:
        `(*batch, time, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers.
        ValueError: If there are too few widths or one is not positive, or if an input does not have the shape above
            with at least one time step.

    Reference:
        S. Hochreiter and J. Schmidhuber, Long short-term memory, Neural Computation 9, 1735 (1997).
    """

    layer = nn.LSTM
    gates = 4
    # A sum in each gate, three of which are sigmoid; the cell takes three operations, and what it shows one.
    unit_flops = 4 + 3 * ACTIVATION_FLOPS["sigmoid"] + 2 * ACTIVATION_FLOPS["tanh"] + 4


class GRU(_Recurrent):
    """Stacked `torch.nn.GRU` layers that start from zero states, and an affine read-out of the last hidden state.

    Arguments, shapes and errors are those of `LSTM`.

    Reference:
        K. Cho et al., Learning phrase representations using RNN encoder-decoder for statistical machine translation,
        2014, arXiv:1406.1078.
    """

    layer = nn.GRU
    gates = 3
    # A sum in each gate, two of which are sigmoid and one resets the state; the new state is n + z (h - n).
    unit_flops = 3 + 2 * ACTIVATION_FLOPS["sigmoid"] + ACTIVATION_FLOPS["tanh"] + 1 + 3
