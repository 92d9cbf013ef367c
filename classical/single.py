r"""Kolmogorov-Arnold networks with a single parameter on each edge."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from classical.basis import Basis, Quadrature, standard_normal
from classical.checks import Base, checked_choice
from classical.edge import EdgeLayer
from classical.stack import Stack

FUNCTIONS = {"sine": (torch.sin, 1), "arctan": (torch.arctan, 1), "tanh": (torch.tanh, 6)}
"""Functions of a number by name, and the operations of one evaluation."""


class Single(Basis):
    """One fixed function, "sine", "arctan" or "tanh".

    Raises:
        ValueError: If the name of the function is unknown.
    """

    size = 1

    def __init__(self, function: str = "sine") -> None:
        super().__init__()
        self.name = checked_choice("function", function, tuple(FUNCTIONS))
        self.function, self.flops = FUNCTIONS[function]

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)[..., None]

    def inputs(self) -> Quadrature:
        """Standard normal ones, which a layer normalisation gives."""
        return standard_normal()

    def extra_repr(self) -> str:
        return f"function={self.name!r}"


class SingleParameterKANLayer(EdgeLayer):
    r"""$y_o = \sum_i k_{oi} f(z_i) + \mathrm{bias}_o$ with $z$ the normalised input, from `(*batch, in)` to
    `(*batch, out)`: one parameter on each edge, as many as an affine layer has.

    It is the control that tells what several parameters on an edge are worth.

    Of the published functions of an edge these are the ones that are linear in their parameter, $k \sin x$ and
    $k \arctan x$: all edges of an input share $f(z_i)$, and the layer is a matrix product. Others, such as
    $\ln(1 + e^{kx}) - \ln 2$, are another function of the input on every edge, so that a layer has to evaluate one for
    each sample and edge; they are not provided.

    Parameters are `coefficients` of shape `(out, in, 1)`, `bias` of shape `(out,)`, and factors and shifts of the
    normalisation, `(in,)` each: by default `(in + 1) * out + 2 * in` numbers.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        function: The $f$, "sine", "arctan" or "tanh".
        base: Function of a base branch, which has a second parameter on each edge, or None; see `EdgeLayer`.
        bias: Whether to add a bias to each output.
        norm: "layer" or "batch" for a normalisation of what the function sees, or None, which 1 input needs; see
            `EdgeLayer`.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: As `EdgeLayer`.
        ValueError: If the name of the function is unknown, and as `EdgeLayer`; a layer normalisation of 1 input is
            refused.

    Reference:
        Z. Chen and X. Zhang, LSS-SKAN: Efficient Kolmogorov-Arnold Networks based on Single-Parameterized Function,
        2024, arXiv:2410.14951.
    """

    basis: Single

    def __init__(
        self,
        in_features: int,
        out_features: int,
        function: str = "sine",
        base: Base = None,
        bias: bool = True,
        norm: str | None = "layer",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        basis = Single(function)
        super().__init__(in_features, out_features, basis, base=base, bias=bias, norm=norm, device=device, dtype=dtype)


class SingleParameterKAN(Stack):
    """Layers with one parameter on each edge, one after the other, each a `SingleParameterKANLayer`.

    `SingleParameterKAN([2, 5, 1])` has 2 inputs, 5 hidden units and 1 output, so (2 + 1) * 5 + (5 + 1) * 1 +
    2 * (2 + 5) = 35 parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        function: Of all edges, "sine", "arctan" or "tanh".
        base: Function of a base branch, one for all layers, or None.
        bias: Whether the layers add biases.
        norm: Of what the function sees in each layer, "layer", "batch" or None.

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers, and as `SingleParameterKANLayer`.
        ValueError: If there are too few widths or one is not positive, and as `SingleParameterKANLayer`.

    Reference:
        Z. Chen and X. Zhang, LSS-SKAN, 2024, arXiv:2410.14951.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        function: str = "sine",
        base: Base = None,
        bias: bool = True,
        norm: str | None = "layer",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            widths,
            lambda inputs, outputs: SingleParameterKANLayer(inputs, outputs, function, base, bias, norm, device, dtype),
        )
