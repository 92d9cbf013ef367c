"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}


class MLP(nn.Module):
    """Affine layers with an activation `σ` between them, `x -> W_n σ(... σ(W_1 x + b_1) ...) + b_n`.

    `MLP([12, 16, 1])` has 12 inputs, 16 hidden units and 1 output, so 12 * 16 + 16 + 16 * 1 + 1 = 225 parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        activation: Name in `ACTIVATIONS`, or a function of one tensor; a module that is given is trained along.
        bias: Whether the layers have the `b`.

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
        activation: str | Callable[[Tensor], Tensor] = "silu",
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.widths = checked_widths(widths, at_least=2, example="MLP([12, 16, 1])")
        self.activation = checked_activation(activation)
        self.layers = nn.ModuleList(
            nn.Linear(inputs, outputs, bias, device, dtype) for inputs, outputs in pairwise(self.widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 0 or x.shape[-1] != self.widths[0]:
            raise ValueError(f"Argument `x` must have shape (*batch, {self.widths[0]}), but has {tuple(x.shape)}.")
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)

    def extra_repr(self) -> str:
        return f"widths={list(self.widths)}"


def checked_widths(widths: Sequence[int], *, at_least: int, example: str) -> tuple[int, ...]:
    """The widths as a tuple, if there are enough of them and all are positive integers."""
    widths = tuple(widths)
    if len(widths) < at_least:
        raise ValueError(f"Argument `widths` must have {at_least} entries or more, as in {example}, but is {widths}.")
    for width in widths:
        if not isinstance(width, int) or isinstance(width, bool):
            raise TypeError(f"Argument `widths` must have integers only, as in {example}, but has {width!r}.")
        if width < 1:
            raise ValueError(f"Argument `widths` must have positive entries only, but has {width}.")
    return widths


def checked_size(argument: str, size: int, *, at_least: int) -> int:
    """The size, if it is an integer of at least `at_least`."""
    if not isinstance(size, int) or isinstance(size, bool):
        raise TypeError(f"Argument `{argument}` must be an integer, such as {max(at_least, 3)}, but is {size!r}.")
    if size < at_least:
        raise ValueError(f"Argument `{argument}` must be at least {at_least}, but is {size}.")
    return size


def checked_activation(
    activation: str | Callable[[Tensor], Tensor], *, argument: str = "activation"
) -> Callable[[Tensor], Tensor]:
    """The function of that name in `ACTIVATIONS`, or the function that is given."""
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            names = ", ".join(ACTIVATIONS)
            raise ValueError(f"Argument `{argument}` must be a function or one of {names}, but is {activation!r}.")
        return ACTIVATIONS[activation]
    if not callable(activation) or isinstance(activation, type):
        raise TypeError(
            f"Argument `{argument}` must be a name or a function of one tensor, such as `torch.tanh` or `nn.PReLU()`,"
            f" but is {activation!r}."
        )
    return activation
