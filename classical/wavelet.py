r"""Kolmogorov-Arnold networks of wavelets (Wav-KAN)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from classical.basis import Basis, Quadrature, hold, standard_normal
from classical.checks import Base, checked_choice, checked_domain, checked_size
from classical.edge import EdgeLayer
from classical.stack import Stack


@dataclass(frozen=True)
class Mother:
    r"""A function $\psi$ with $\int \psi = 0$ and $\int \psi^2 = 1$, and the operations of one evaluation."""

    function: Callable[[Tensor], Tensor]
    flops: int


def mexican_hat(u: Tensor) -> Tensor:
    r"""$\frac{2}{\sqrt 3 \pi^{1/4}} (1 - u^2) e^{-u^2/2}$."""
    square = u.square().clamp(max=1e4)  # Infinity times the zero of the exponential would be NaN.
    return (2 / (math.sqrt(3) * math.pi**0.25)) * (1 - square) * torch.exp(-0.5 * square)


def derivative_of_gaussian(u: Tensor) -> Tensor:
    r"""$-\frac{\sqrt 2}{\pi^{1/4}} u e^{-u^2/2}$."""
    return (-math.sqrt(2) / math.pi**0.25) * u * torch.exp(-0.5 * u.square())


def morlet(u: Tensor, frequency: float = 5.0) -> Tensor:
    r"""$c\, (\cos \omega u - e^{-\omega^2/2}) e^{-u^2/2}$, where the second term takes the mean away."""
    offset = math.exp(-(frequency**2) / 2)
    cosine, mixed = (1 + math.exp(-(frequency**2))) / 2, 2 * offset * math.exp(-(frequency**2) / 4)
    norm = math.sqrt(math.sqrt(math.pi) * (cosine - mixed + offset**2))
    return (1 / norm) * ((frequency * u).cos() - offset) * torch.exp(-0.5 * u.square())


def meyer(u: Tensor) -> Tensor:
    r"""$\frac{1}{\pi} \int_{2\pi/3}^{4\pi/3} -\cos\frac{3\omega}{4} \cos \omega u\, d\omega
    + \frac{1}{\pi} \int_{4\pi/3}^{8\pi/3} \sin\frac{3\omega}{8} \cos \omega u\, d\omega$, in closed form.

    Products of cosines are sums, and each integral of a sum is a sinc: no quotient has to be repaired where its
    denominator vanishes.
    """
    low = [(math.pi * k).cos() * torch.sinc(k / 3) for k in (0.75 + u, 0.75 - u)]
    high = [(2 * math.pi * k).sin() * torch.sinc(2 * k / 3) for k in (0.375 + u, 0.375 - u)]
    return (2 * (high[0] + high[1]) - (low[0] + low[1])) / 3


def shannon(u: Tensor) -> Tensor:
    r"""$2\, \mathrm{sinc}\, 2u - \mathrm{sinc}\, u$ with $\mathrm{sinc}\, u = \sin(\pi u) / (\pi u)$, whose spectrum is
    flat between $\pi$ and $2 \pi$ and zero elsewhere.
    """
    return 2 * torch.sinc(2 * u) - torch.sinc(u)


WAVELETS = {
    "mexican_hat": Mother(mexican_hat, 7),
    "morlet": Mother(morlet, 8),
    "dog": Mother(derivative_of_gaussian, 5),
    "meyer": Mother(meyer, 37),
    "shannon": Mother(shannon, 9),
}
"""Wavelets by name; "dog" is the first derivative of a Gaussian. A sinc has three operations."""


class Wavelet(Basis):
    r"""$\psi(r_{im} (x_i - t_{im}))$, wavelets with translations $t$ and rates $r$, the inverses of scales, for each
    input.

    They start as the middles of `size` equal cells of `domain` and one over the width of a cell.

    Args:
        in_features: Number of inputs.
        wavelet: "mexican_hat", "morlet", "dog", "meyer" or "shannon".
        size: Number of wavelets of each input.
        domain: The ends of the interval that the cells divide.
        trainable: Whether `translation` and `rate`, of shape `(in, size)`, are trained.

    Raises:
        TypeError: If a size is not an integer or the domain not a pair of numbers.
        ValueError: If a size is too small, the domain empty or not finite, or the name of the wavelet unknown.
    """

    translation: Tensor
    rate: Tensor

    def __init__(
        self,
        in_features: int,
        wavelet: str = "mexican_hat",
        size: int = 3,
        domain: tuple[float, float] = (-2.0, 2.0),
        trainable: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        inputs = checked_size("in_features", in_features, at_least=1)
        self.size = checked_size("size", size, at_least=1)
        self.wavelet = checked_choice("wavelet", wavelet, tuple(WAVELETS))
        self.domain = checked_domain(domain)
        self.trainable = trainable
        # A difference and a product more.
        self.flops = size * (WAVELETS[wavelet].flops + 2)
        for name in ("translation", "rate"):
            hold(self, name, torch.empty(inputs, size, device=device, dtype=dtype), trainable)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Put translations and rates back to where they start."""
        cell = (self.domain[1] - self.domain[0]) / self.size
        middles = torch.arange(self.size, device=self.rate.device, dtype=torch.float64) + 0.5
        self.translation.copy_(self.domain[0] + middles * cell)
        self.rate.fill_(1 / cell)

    def forward(self, x: Tensor) -> Tensor:
        return WAVELETS[self.wavelet].function(self.rate * (x[..., None] - self.translation))

    def inputs(self) -> Quadrature:
        """Standard normal ones."""
        return standard_normal()

    def extra_repr(self) -> str:
        return f"{self.wavelet}, size={self.size}, domain={self.domain}, trainable={self.trainable}"


class WaveletKANLayer(EdgeLayer):
    r"""$y_o = \sum_i \sum_m c_{oim} \psi(r_{im} (x_i - t_{im})) + \mathrm{bias}_o$, from `(*batch, in)` to
    `(*batch, out)`.

    **Translations and scales belong to the inputs.** The published layer has one wavelet on each edge, with a scale and
    a translation of its own, so that it evaluates one for each sample and edge. Here an input has `size` of them that
    all its outputs share, and an edge has a weight for each: with the default of 3 as many parameters on an edge, but
    wavelets are evaluated once per input, and a matrix product does the rest. Scales are held as their inverses, the
    rates, so that nothing is divided by zero in training.

    Parameters are `coefficients` of shape `(out, in, size)`, `bias` of shape `(out,)`, and `basis.translation` and
    `basis.rate` of shape `(in, size)`: by default `in * out * size + out + 2 * in * size` numbers.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        wavelet: "mexican_hat", "morlet", "dog" (the derivative of a Gaussian), "meyer" or "shannon"; each has mean zero
            and norm one.
        size: Number of wavelets of each input.
        domain: The ends of the interval on which the wavelets start.
        trainable: Whether translations and rates are trained.
        base: Function of a base branch, or None; see `EdgeLayer`.
        bias: Whether to add a bias to each output.
        norm: "layer" or "batch" for a normalisation of what the wavelets see, or None; see `EdgeLayer`.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: As `Wavelet` and `EdgeLayer`.
        ValueError: As `Wavelet` and `EdgeLayer`.

    Reference:
        Z. Bozorgasl and H. Chen, Wav-KAN: Wavelet Kolmogorov-Arnold Networks, 2024, arXiv:2405.12832.
    """

    basis: Wavelet

    def __init__(
        self,
        in_features: int,
        out_features: int,
        wavelet: str = "mexican_hat",
        size: int = 3,
        domain: tuple[float, float] = (-2.0, 2.0),
        trainable: bool = True,
        base: Base = None,
        bias: bool = True,
        norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        basis = Wavelet(in_features, wavelet, size, domain, trainable, device, dtype)
        super().__init__(in_features, out_features, basis, base=base, bias=bias, norm=norm, device=device, dtype=dtype)


class WaveletKAN(Stack):
    """Layers of wavelets one after the other, each a `WaveletKANLayer`.

    `WaveletKAN([2, 5, 1])` has 2 inputs, 5 hidden units and 1 output, so (2 * 5 + 5 * 1) * 3 + 5 + 1 + 2 * (2 + 5) * 3
    = 93 parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        wavelet: "mexican_hat", "morlet", "dog", "meyer" or "shannon".
        size: Number of wavelets of each input.
        domain: The interval on which the wavelets start, in all layers.
        trainable: Whether translations and rates are trained.
        base: Function of a base branch, one for all layers, or None.
        bias: Whether the layers add biases.
        norm: Of what the wavelets of each layer see, "layer", "batch" or None.

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers, and as `WaveletKANLayer`.
        ValueError: If there are too few widths or one is not positive, and as `WaveletKANLayer`.

    Reference:
        Z. Bozorgasl and H. Chen, Wav-KAN, 2024, arXiv:2405.12832.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        wavelet: str = "mexican_hat",
        size: int = 3,
        domain: tuple[float, float] = (-2.0, 2.0),
        trainable: bool = True,
        base: Base = None,
        bias: bool = True,
        norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            widths,
            lambda inputs, outputs: WaveletKANLayer(
                inputs, outputs, wavelet, size, domain, trainable, base, bias, norm, device, dtype
            ),
        )
