r"""Kolmogorov-Arnold networks of Fourier series."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from classical.mlp import checked_activation, checked_size
from classical.stack import Stack

Base = str | Callable[[Tensor], Tensor] | None


class FourierKANLayer(nn.Module):
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
        base: Name in `ACTIVATIONS`, a function of one tensor that acts on each entry, or None for no base branch; a
            module that is given is trained along.
        bias: Whether to add a bias to each output.
        smoothness: With 0 all harmonics start equally strong, with 1 their slopes do, with 2 their curvatures.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If a size is not an integer, a number not a number, or the base not callable.
        ValueError: If a size is too small, the frequency not positive and finite, the smoothness not finite or the name
            of the base unknown, or if the last axis of an input does not have `in_features` entries.

    >>> FourierKANLayer(2, 3, degree=4)
    FourierKANLayer(2, 3, degree=4, frequency=1.0, base=silu, bias=True, smoothness=1.0)

    Reference:
        J. Xu et al., FourierKAN-GCF: Fourier Kolmogorov-Arnold Network, 2024, arXiv:2406.01034.
    """

    base_weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        degree: int = 3,
        frequency: float = 1.0,
        base: Base = "silu",
        bias: bool = True,
        smoothness: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = checked_size("in_features", in_features, at_least=1)
        self.out_features = checked_size("out_features", out_features, at_least=1)
        self.degree = checked_size("degree", degree, at_least=1)
        self.frequency = _checked_number("frequency", frequency, above=0.0)
        self.smoothness = _checked_number("smoothness", smoothness, above=-math.inf)
        self.base = None if base is None else checked_activation(base, argument="base")

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        self.base_weight = None if base is None else parameter(out_features, in_features)
        self.coefficients = parameter(out_features, in_features, 2 * degree)
        self.bias = parameter(out_features) if bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        part = 1 if self.base is None else 2
        decay = torch.arange(1, self.degree + 1, device=self.coefficients.device, dtype=torch.float32)
        decay = decay.pow(-self.smoothness)
        decay = decay / (part * self.in_features * decay.square().sum()).sqrt()
        self.coefficients.normal_(generator=generator).mul_(decay.repeat(2))
        if self.base is not None and self.base_weight is not None:
            power = part * self.in_features * _mean_square(self.base, self.base_weight)
            # A base that vanishes cannot contribute: weights of zero rather than infinite ones.
            self.base_weight.normal_(generator=generator).mul_(power.rsqrt().nan_to_num(posinf=0.0))
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ValueError(f"Argument `x` must have shape (*batch, {self.in_features}), but has {tuple(x.shape)}.")
        features = fourier_basis(x, self.degree, self.frequency)
        y = functional.linear(features.flatten(-2), self.coefficients.flatten(-2), self.bias)
        if self.base is None or self.base_weight is None:
            return y
        return y + functional.linear(self.base(x), self.base_weight)

    def extra_repr(self) -> str:
        base = getattr(self.base, "__name__", repr(self.base))
        return (
            f"{self.in_features}, {self.out_features}, degree={self.degree}, frequency={self.frequency}, "
            f"base={base}, bias={self.bias is not None}, smoothness={self.smoothness}"
        )


class FourierKAN(Stack):
    """Layers of Fourier series one after the other, each a `FourierKANLayer`.

    `FourierKAN([2, 5, 1])` has 2 inputs, 5 hidden units and 1 output, so (2 * 5 + 5 * 1) * (2 * 3 + 1) + 5 + 1 = 111
    parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        degree: Number of harmonics.
        frequency: Of the first harmonic, in all layers.
        base: Function of the base branch, one for all layers, or None; see `FourierKANLayer`.
        bias: Whether the layers add biases.
        smoothness: Of the functions at the start; see `FourierKANLayer`.

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
        degree: int = 3,
        frequency: float = 1.0,
        base: Base = "silu",
        bias: bool = True,
        smoothness: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            widths,
            lambda inputs, outputs: FourierKANLayer(
                inputs, outputs, degree, frequency, base, bias, smoothness, device, dtype
            ),
        )


def fourier_basis(x: Tensor, degree: int = 3, frequency: float = 1.0) -> Tensor:
    r"""$\cos k \omega x$ and then $\sin k \omega x$ for k from 1 to `degree`, `(*shape) -> (*shape, 2 degree)`.

    >>> fourier_basis(torch.tensor([0.0, 1.0]), degree=1, frequency=math.pi).round(decimals=4).abs()
    tensor([[1., 0.],
            [1., 0.]])
    """
    harmonics = torch.arange(1, degree + 1, device=x.device, dtype=x.dtype)
    angles = (frequency * x)[..., None] * harmonics
    return torch.cat([angles.cos(), angles.sin()], -1)


def _mean_square(base: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """The mean square of `base` of a standard normal variable, by the trapezoidal rule; it sees entries like `like`."""
    nodes = torch.linspace(-8, 8, 401, device=like.device)
    weights = torch.exp(-nodes.square() / 2)
    return (weights / weights.sum()) @ base(nodes.to(like.dtype)).float().square()


def _checked_number(argument: str, number: float, *, above: float) -> float:
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise TypeError(f"Argument `{argument}` must be a number, such as 1.0, but is {number!r}.")
    if not above < number < math.inf:
        kind = "finite" if above == -math.inf else "positive and finite"
        raise ValueError(f"Argument `{argument}` must be {kind}, but is {number}.")
    return float(number)
