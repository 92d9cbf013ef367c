r"""Kolmogorov-Arnold networks of Fourier series."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from classical.basis import Basis, Quadrature, decreasing, standard_normal
from classical.checks import Base, checked_number, checked_size
from classical.edge import EdgeLayer
from classical.stack import Stack


class Fourier(Basis):
    r"""$\cos k \omega x$ and then $\sin k \omega x$, for k from 1 to `degree`: `fourier_basis` as a module.

    Args:
        degree: Number of harmonics.
        frequency: The $\omega$ of the first one, in radians per unit of the input; fixed.
        smoothness: With 0 all harmonics start equally strong, with 1 their slopes do, with 2 their curvatures.

    Raises:
        TypeError: If the degree is not an integer, or a number not a number.
        ValueError: If the degree is too small, the frequency not positive and finite, or the smoothness not finite.
    """

    def __init__(self, degree: int = 5, frequency: float = 1.0, smoothness: float = 1.0) -> None:
        super().__init__()
        self.degree = checked_size("degree", degree, at_least=1)
        self.frequency = checked_number("frequency", frequency, above=0.0)
        self.smoothness = checked_number("smoothness", smoothness, above=-math.inf)
        self.size = 2 * degree
        # An angle for each harmonic, its cosine and its sine.
        self.flops = 3 * degree + 1

    def forward(self, x: Tensor) -> Tensor:
        return fourier_basis(x, self.degree, self.frequency)

    def inputs(self) -> Quadrature:
        r"""Standard normal ones; but since $\cos^2 + \sin^2 = 1$, any inputs have the same mean square."""
        return standard_normal()

    def decay(self) -> Tensor:
        return decreasing(self.degree, self.smoothness).repeat(2)

    def extra_repr(self) -> str:
        return f"degree={self.degree}, frequency={self.frequency}, smoothness={self.smoothness}"


class FourierKANLayer(EdgeLayer):
    r"""$y_o = \sum_i [w_{oi} \mathrm{base}(x_i) + \sum_k (a_{oik} \cos k \omega x_i + b_{oik} \sin k \omega x_i)]
    + \mathrm{bias}_o$, from `(*batch, in)` to `(*batch, out)`.

    `k` runs from 1 to `degree`; the constant terms of all inputs are one number, the bias. Cosines and sines are
    evaluated once per input, then one matrix product sums over `i` and `k`; nothing of shape `(batch, out, in)` exists.

    A data re-uploading circuit of `r` repetitions whose scales are all $\omega$ is such a series of degree `r` with
    coefficients that depend on each other. So this layer, at the degree and with the base of a quantum one, is its
    classical control: the same spectrum, free coefficients.

    Parameters are `base_weight` of shape `(out, in)` for the $w$, `coefficients` of shape `(out, in, 2 degree)` for the
    $a$ and then the $b$, and `bias` of shape `(out,)`: with both `in * out * (2 degree + 1) + out` numbers.

    **Periodic.** Without a base the layer repeats itself after $2 \pi / \omega$ in every input: a function on [-1, 1]
    that does not repeat itself wants $\omega$ below $\pi$.

    **At the start** outputs have mean 0 and mean square 1, half of it from each branch: for any inputs where it comes
    from the series, since $\cos^2 + \sin^2 = 1$, and for standard normal ones where it comes from the base. All
    weights are normal, those of the k-th harmonic with a deviation proportional to $k^{-\mathrm{smoothness}}$, and the
    bias is zero.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        degree: Number of harmonics.
        frequency: The $\omega$ of the first one, in radians per unit of the input; fixed.
        base: Function of the base branch, or None; see `EdgeLayer`.
        bias: Whether to add a bias to each output.
        smoothness: With 0 all harmonics start equally strong, with 1 their slopes do, with 2 their curvatures.
        norm: "layer" or "batch" for a normalisation of what the series see, or None; see `EdgeLayer`.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If a size is not an integer, a number not a number, or the base not callable.
        ValueError: If a size is too small, the frequency not positive and finite, the smoothness not finite or the name
            of the base unknown, or if the last axis of an input does not have `in_features` entries.

    >>> FourierKANLayer(2, 3, degree=4)
    FourierKANLayer(
      2, 3, base=None, scaler=False, bias=True
      (basis): Fourier(degree=4, frequency=1.0, smoothness=1.0)
    )

    Reference:
        J. Xu et al., FourierKAN-GCF: Fourier Kolmogorov-Arnold Network, 2024, arXiv:2406.01034.
    """

    basis: Fourier

    def __init__(
        self,
        in_features: int,
        out_features: int,
        degree: int = 5,
        frequency: float = 1.0,
        base: Base = None,
        bias: bool = True,
        smoothness: float = 1.0,
        norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        basis = Fourier(degree, frequency, smoothness)
        super().__init__(in_features, out_features, basis, base=base, bias=bias, norm=norm, device=device, dtype=dtype)


class FourierKAN(Stack):
    """Layers of Fourier series one after the other, each a `FourierKANLayer`.

    `FourierKAN([2, 5, 1])` has 2 inputs, 5 hidden units and 1 output, so (2 * 5 + 5 * 1) * 2 * 5 + 5 + 1 = 156
    parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        degree: Number of harmonics.
        frequency: Of the first harmonic, in all layers.
        base: Function of the base branch, one for all layers, or None; see `FourierKANLayer`.
        bias: Whether the layers add biases.
        smoothness: Of the functions at the start; see `FourierKANLayer`.
        norm: Of what the series of each layer see, "layer", "batch" or None.

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers, and as `FourierKANLayer`.
        ValueError: If there are too few widths or one is not positive, and as `FourierKANLayer`.

    Reference:
        J. Xu et al., FourierKAN-GCF: Fourier Kolmogorov-Arnold Network, 2024, arXiv:2406.01034.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        degree: int = 5,
        frequency: float = 1.0,
        base: Base = None,
        bias: bool = True,
        smoothness: float = 1.0,
        norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            widths,
            lambda inputs, outputs: FourierKANLayer(
                inputs, outputs, degree, frequency, base, bias, smoothness, norm, device, dtype
            ),
        )


def fourier_basis(x: Tensor, degree: int = 5, frequency: float = 1.0) -> Tensor:
    r"""$\cos k \omega x$ and then $\sin k \omega x$ for k from 1 to `degree`, `(*shape) -> (*shape, 2 degree)`.

    >>> fourier_basis(torch.tensor([0.0, 1.0]), degree=1, frequency=math.pi).round(decimals=4).abs()
    tensor([[1., 0.],
            [1., 0.]])
    """
    harmonics = torch.arange(1, degree + 1, device=x.device, dtype=x.dtype)
    angles = (frequency * x)[..., None] * harmonics
    return torch.cat([angles.cos(), angles.sin()], -1)
