r"""Functions made of pairs of activations that face each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from classical.basis import Basis, Quadrature, standard_normal
from classical.checks import Activation, checked_activation, checked_choice, checked_size
from classical.cost import activation_flops


@dataclass(frozen=True)
class Combination:
    """A function of two activations, and its operations."""

    function: Callable[[Tensor, Tensor], Tensor]
    flops: int


COMBINATIONS = {
    "quad1": Combination(lambda a, b: (a * b).square(), 2),
    "quad2": Combination(lambda a, b: a * b + a.square() + b.square(), 5),
    "sum": Combination(lambda a, b: a + b, 1),
    "prod": Combination(lambda a, b: a * b, 1),
    "sum_prod": Combination(lambda a, b: a + b + a * b, 3),
    "cubic1": Combination(lambda a, b: (a + b) * (a.square() + b.square()), 5),
    "cubic2": Combination(lambda a, b: (a * b).pow(3), 3),
}
"""The combinations of arXiv:2503.06112 by its names."""


class ActivationPairs(Basis):
    r"""$F(\sigma(x - l_m), \sigma(h_m - x))$ for m from 1 to `grid_size + degree`, with trained phases $l$ and $h$.

    The phases are the same for all inputs. They start evenly, $l_m$ at $-k/G, \dots, (G - 1)/G$ for `grid_size` $G$ and
    `degree` $k$, and $h_m$ at $l_m + (k + 1)/G$, so that with a ReLU and the combination "quad1" the functions are the
    bumps of a ReLU-KAN. Parameters are `low` and `high` of shape `(grid_size + degree,)`.

    Args:
        grid_size: Number of starts of functions in [0, 1).
        degree: How many more functions there are below 0; the width of a function is `(degree + 1) / grid_size`.
        activation: The $\sigma$, a name in `ACTIVATIONS` or a function of one tensor; a module that is given is trained
            along.
        combination: The $F$, a name in `COMBINATIONS`.

    Raises:
        TypeError: If a size is not an integer, or the activation not callable.
        ValueError: If a size is too small or a name unknown.

    >>> ActivationPairs(combination="sum")(torch.tensor([[0.5, 0.0]])).shape
    torch.Size([1, 2, 6])

    Reference:
        H.-T. Ta and A. Tran, AF-KAN: Activation Function-Based Kolmogorov-Arnold Networks, 2025, arXiv:2503.06112.
    """

    def __init__(
        self,
        grid_size: int = 3,
        degree: int = 3,
        activation: Activation = "silu",
        combination: str = "quad1",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.grid_size = checked_size("grid_size", grid_size, at_least=1)
        self.degree = checked_size("degree", degree, at_least=0)
        self.activation = checked_activation(activation)
        self.combination = checked_choice("combination", combination, tuple(COMBINATIONS))
        self.size = grid_size + degree
        self.low = nn.Parameter(torch.empty(self.size, device=device, dtype=dtype))
        self.high = nn.Parameter(torch.empty(self.size, device=device, dtype=dtype))
        self.reset_parameters()

    @property
    def flops(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Two differences, two activations and their combination for each function."""
        return self.size * (2 + 2 * activation_flops(self.activation) + COMBINATIONS[self.combination].flops)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Put the phases back to their start, which nobody draws."""
        low = torch.arange(-self.degree, self.grid_size, dtype=torch.float64) / self.grid_size
        self.low.copy_(low)
        self.high.copy_(low + (self.degree + 1) / self.grid_size)

    def forward(self, x: Tensor) -> Tensor:
        x = x[..., None]
        rising, falling = self.activation(x - self.low), self.activation(self.high - x)
        return COMBINATIONS[self.combination].function(rising, falling)

    def inputs(self) -> Quadrature:
        """Standard normal ones."""
        return standard_normal()

    def extra_repr(self) -> str:
        activation = getattr(self.activation, "__name__", repr(self.activation))
        return (
            f"grid_size={self.grid_size}, degree={self.degree}, activation={activation}, "
            f"combination={self.combination!r}"
        )
