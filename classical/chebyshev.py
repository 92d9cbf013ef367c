r"""Kolmogorov-Arnold networks of Chebyshev polynomials."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from classical.basis import Basis, Quadrature, standard_normal
from classical.checks import Base, checked_size
from classical.cost import ACTIVATION_FLOPS
from classical.edge import EdgeLayer
from classical.stack import Stack


class Chebyshev(Basis):
    r"""$T_0(u) \dots T_D(u)$ of $u = \tanh x$: `chebyshev_basis` as a module.

    Args:
        degree: The highest degree $D$, at least 1.

    Raises:
        TypeError: If the degree is not an integer.
        ValueError: If the degree is too small.
    """

    centred = True

    def __init__(self, degree: int = 3) -> None:
        super().__init__()
        self.degree = checked_size("degree", degree, at_least=1)
        self.size = degree + 1
        # Doubled u, then a product and a difference for each degree above 1.
        self.flops = ACTIVATION_FLOPS["tanh"] + 1 + 2 * (degree - 1)

    def forward(self, x: Tensor) -> Tensor:
        return chebyshev_basis(x.tanh(), self.degree)

    def inputs(self) -> Quadrature:
        """Standard normal ones."""
        return standard_normal()

    def extra_repr(self) -> str:
        return f"degree={self.degree}"


class ChebyshevKANLayer(EdgeLayer):
    r"""$y_o = \sum_i \sum_{d=0}^{D} c_{oid} T_d(\tanh x_i)$, from `(*batch, in)` to `(*batch, out)`.

    Parameters are `coefficients` of shape `(out, in, degree + 1)`, by default the only ones. The constants of all
    inputs of an output are one number; they are counted, for so is the published layer.

    **At the start** standard normal inputs give outputs of mean square 1 for any number of inputs: coefficients are
    normal with a variance proportional to `1 / in`, less what would give an edge a mean. The published deviation,
    `1 / (in * (degree + 1))`, makes the outputs of wide layers vanish, so that normalisations have to repair them.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        degree: The highest degree $D$, at least 1.
        base: Function of a base branch, or None; see `EdgeLayer`.
        bias: Whether to add a bias to each output.
        norm: "layer" or "batch" for a normalisation of what the hyperbolic tangents see, or None; see `EdgeLayer`.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If a size is not an integer or the base not callable.
        ValueError: If a size is too small, the name of the base or the normalisation unknown, or if the last axis of an
            input does not have `in_features` entries.

    Reference:
        S. SS et al., Chebyshev Polynomial-Based Kolmogorov-Arnold Networks, 2024, arXiv:2405.07200.
    """

    basis: Chebyshev

    def __init__(
        self,
        in_features: int,
        out_features: int,
        degree: int = 3,
        base: Base = None,
        bias: bool = False,
        norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        basis = Chebyshev(degree)
        super().__init__(in_features, out_features, basis, base=base, bias=bias, norm=norm, device=device, dtype=dtype)


class ChebyshevKAN(Stack):
    """Layers of Chebyshev polynomials one after the other, each a `ChebyshevKANLayer`.

    `ChebyshevKAN([2, 5, 1])` has 2 inputs, 5 hidden units and 1 output, so (2 * 5 + 5 * 1) * (3 + 1) = 60 parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        degree: The highest degree of the polynomials.
        base: Function of a base branch, one for all layers, or None.
        bias: Whether the layers add biases.
        norm: Of what each layer sees, "layer", "batch" or None.

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers, and as `ChebyshevKANLayer`.
        ValueError: If there are too few widths or one is not positive, and as `ChebyshevKANLayer`.

    Reference:
        S. SS et al., Chebyshev Polynomial-Based Kolmogorov-Arnold Networks, 2024, arXiv:2405.07200.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        degree: int = 3,
        base: Base = None,
        bias: bool = False,
        norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            widths,
            lambda inputs, outputs: ChebyshevKANLayer(inputs, outputs, degree, base, bias, norm, device, dtype),
        )


def chebyshev_basis(u: Tensor, degree: int) -> Tensor:
    r"""$T_0(u) \dots T_D(u)$ for $D$ = `degree` of at least 1, `(*shape) -> (*shape, degree + 1)`.

    By $T_{d+1} = 2 u T_d - T_{d-1}$: the slope of $\cos(d \arccos u)$ is 0 times infinity at the ends of [-1, 1].

    >>> chebyshev_basis(torch.tensor([0.5, 1.0]), degree=3)
    tensor([[ 1.0000,  0.5000, -0.5000, -1.0000],
            [ 1.0000,  1.0000,  1.0000,  1.0000]])
    """
    values, doubled = [torch.ones_like(u), u], 2 * u
    for _ in range(degree - 1):
        values.append(doubled * values[-1] - values[-2])
    return torch.stack(values, -1)
