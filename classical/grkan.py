r"""Kolmogorov-Arnold networks whose edges share rational functions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat

import torch
from torch import Tensor, nn
from torch.nn import functional

from classical.basis import mean_square, standard_normal
from classical.checks import Activation, checked_probability, checked_size
from classical.cost import Cost
from classical.rational import Rational
from classical.stack import Stack


class GRKANLayer(nn.Module):
    r"""$y_o = \sum_i w_{oi} F_{g(i)}(x_i) + \mathrm{bias}_o$, from `(*batch, in)` to `(*batch, out)`.

    $F_g$ is the rational function of a group of inputs, see `Rational`, and acts before the affine map. Parameters are
    `weight` of shape `(out, in)`, `bias` of shape `(out,)` and those of `rational`: in * out + out + 38 numbers by
    default.

    **At the start** standard normal inputs give outputs of mean square 1: the weights are normal with variance
    $1 / (\mathrm{in} \, \mathrm{E} F(z)^2)$, the expectation by quadrature, and the bias is zero. So the scale of a
    signal survives many layers.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        start: What the rational functions start as; see `Rational`.
        degrees: Of numerators and denominators.
        groups: Numbers of groups for numerators and for denominators; see `Rational`.
        form: Of the denominators; see `Rational`.
        bias: Whether to add a bias to each output.
        dropout: Probability in [0, 1) with which a value of F is left out in training.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If a size is not an integer or the start not callable.
        ValueError: If a size is too small, groups do not divide the inputs, the form or the name of the start is
            unknown, the dropout is not in [0, 1), or if the last axis of an input does not have `in_features` entries.

    >>> GRKANLayer(64, 10, "silu")
    GRKANLayer(
      64, 10, bias=True, dropout=0.0
      (rational): Rational(64, start=silu, degrees=(5, 4), groups=(1, 8), form=A)
    )

    Reference:
        X. Yang and X. Wang, Kolmogorov-Arnold Transformer, 2024, arXiv:2409.10594.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        start: Activation = "silu",
        degrees: tuple[int, int] = (5, 4),
        groups: tuple[int | None, int | None] = (1, None),
        form: str = "A",
        bias: bool = True,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = checked_size("in_features", in_features, at_least=1)
        self.out_features = checked_size("out_features", out_features, at_least=1)
        self.rational = Rational(in_features, start, degrees, groups, form, device, dtype)
        self.dropout = checked_probability("dropout", dropout)
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights anew, from `generator` or torch's global one, and put the functions back to their start."""
        self.rational.reset_parameters(generator)
        nodes, weights = (part.to(self.weight.device) for part in standard_normal())
        values = self.rational(nodes.to(self.weight.dtype)[:, None].expand(-1, self.in_features))
        squares = self.in_features * mean_square(values, weights)
        self.weight.normal_(generator=generator).mul_(squares.rsqrt().nan_to_num(posinf=0.0))
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        values = functional.dropout(self.rational(x), self.dropout, self.training)
        return functional.linear(values, self.weight, self.bias)

    def cost(self) -> Cost:
        """Parameters and operations for one sample; the published ones are (2 m + 2 n + 3) in + 2 in out."""
        edges = self.in_features * self.out_features
        affine = Cost(edges + (0 if self.bias is None else self.out_features), 2 * edges, 2 * edges)
        return self.rational.cost() + affine

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, dropout={self.dropout}"


class GRKAN(Stack):
    """Layers of shared rational functions one after the other, each a `GRKANLayer`.

    `GRKAN([784, 64, 10])` has 784 * 64 + 64 + 64 * 10 + 10 + 2 * 38 = 50,966 parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        start: What the rational functions start as, but for those of the inputs.
        first: What those of the inputs start as.
        degrees: Of numerators and denominators.
        groups: Numbers of groups for numerators and for denominators, which divide all widths but the last.
        form: Of the denominators.
        bias: Whether the layers add biases.

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers, and as `GRKANLayer`.
        ValueError: If there are too few widths or one is not positive, and as `GRKANLayer`.

    Reference:
        X. Yang and X. Wang, Kolmogorov-Arnold Transformer, 2024, arXiv:2409.10594.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        start: Activation = "silu",
        first: Activation = "identity",
        degrees: tuple[int, int] = (5, 4),
        groups: tuple[int | None, int | None] = (1, None),
        form: str = "A",
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        starts = chain([first], repeat(start))
        super().__init__(
            widths,
            lambda inputs, outputs: GRKANLayer(
                inputs, outputs, next(starts), degrees, groups, form, bias, device=device, dtype=dtype
            ),
        )
