r"""Kolmogorov-Arnold networks of Gaussian bells (FastKAN)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from classical.basis import Basis, Quadrature, standard_normal
from classical.checks import Base, checked_domain, checked_number, checked_size
from classical.edge import EdgeLayer
from classical.stack import Stack


class GaussianRBF(Basis):
    r"""$\exp(-((x - c_m) / h)^2)$ around `centres` equally spaced $c_m$ from one end of `domain` to the other.

    Args:
        centres: Number of bells, at least 2.
        domain: The ends of the interval of the centres.
        width: The $h$; None for the distance between centres.

    Raises:
        TypeError: If the number of centres is not an integer, the domain not a pair of numbers, or the width no number.
        ValueError: If there are too few centres, the domain is empty or not finite, or the width not positive.

    >>> GaussianRBF(3, domain=(-1.0, 1.0))(torch.tensor([0.0])).log()
    tensor([[-1.,  0., -1.]])
    """

    centred = True

    def __init__(self, centres: int = 8, domain: tuple[float, float] = (-2.0, 2.0), width: float | None = None) -> None:
        super().__init__()
        self.size = checked_size("centres", centres, at_least=2)
        self.domain = checked_domain(domain)
        distance = (domain[1] - domain[0]) / (centres - 1)
        self.width = distance if width is None else checked_number("width", width, above=0.0)
        # A difference, a quotient, a square, a sign and an exponential.
        self.flops = 5 * centres

    def forward(self, x: Tensor) -> Tensor:
        centres = torch.linspace(*self.domain, self.size, device=x.device, dtype=x.dtype)
        return torch.exp(-((x[..., None] - centres) / self.width).square())

    def inputs(self) -> Quadrature:
        """Standard normal ones, which a layer normalisation gives."""
        return standard_normal()

    def extra_repr(self) -> str:
        return f"centres={self.size}, domain={self.domain}, width={self.width:.4g}"


class FastKANLayer(EdgeLayer):
    r"""$y_o = \sum_i [w_{oi} \mathrm{base}(x_i) + \sum_m c_{oim} \exp(-((z_i - c_m) / h)^2)] + \mathrm{bias}_o$, with
    $z$ the normalised input, from `(*batch, in)` to `(*batch, out)`.

    By default the bells see $z$ = LayerNorm(x), so that the data find the centres, and the base branch sees x itself.

    Parameters are `coefficients` of shape `(out, in, centres)`, `base_weight` of shape `(out, in)`, `bias` of shape
    `(out,)`, and factors and shifts of the normalisation, `(in,)` each: by default
    `in * out * (centres + 1) + out + 2 * in` numbers.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        centres: Number of bells of each input, at least 2.
        domain: The ends of the interval of the centres.
        width: The $h$; None for the distance between centres.
        base: Function of the base branch, or None; see `EdgeLayer`.
        bias: Whether to add a bias to each output.
        norm: "layer" or "batch" for a normalisation of what the bells see, or None, which 1 input needs; see
            `EdgeLayer`.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: As `GaussianRBF` and `EdgeLayer`.
        ValueError: As `GaussianRBF` and `EdgeLayer`; a layer normalisation of 1 input is refused.

    Reference:
        Z. Li, Kolmogorov-Arnold Networks are Radial Basis Function Networks, 2024, arXiv:2405.06721.
    """

    basis: GaussianRBF

    def __init__(
        self,
        in_features: int,
        out_features: int,
        centres: int = 8,
        domain: tuple[float, float] = (-2.0, 2.0),
        width: float | None = None,
        base: Base = "silu",
        bias: bool = True,
        norm: str | None = "layer",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        basis = GaussianRBF(centres, domain, width)
        super().__init__(in_features, out_features, basis, base=base, bias=bias, norm=norm, device=device, dtype=dtype)


class FastKAN(Stack):
    """Layers of Gaussian bells one after the other, each a `FastKANLayer`.

    `FastKAN([2, 5, 1])` has 2 inputs, 5 hidden units and 1 output, so (2 * 5 + 5 * 1) * (8 + 1) + 5 + 1 + 2 * (2 + 5)
    = 155 parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        centres: Number of bells of each input.
        domain: The interval of the centres, in all layers.
        width: Of the bells; None for the distance between centres.
        base: Function of the base branch, one for all layers, or None.
        bias: Whether the layers add biases.
        norm: Of what the bells of each layer see, "layer", "batch" or None.

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers, and as `FastKANLayer`.
        ValueError: If there are too few widths or one is not positive, and as `FastKANLayer`.

    Reference:
        Z. Li, Kolmogorov-Arnold Networks are Radial Basis Function Networks, 2024, arXiv:2405.06721.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        centres: int = 8,
        domain: tuple[float, float] = (-2.0, 2.0),
        width: float | None = None,
        base: Base = "silu",
        bias: bool = True,
        norm: str | None = "layer",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            widths,
            lambda inputs, outputs: FastKANLayer(
                inputs, outputs, centres, domain, width, base, bias, norm, device, dtype
            ),
        )
