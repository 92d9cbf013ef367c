r"""Kolmogorov-Arnold convolution: the functions of every pixel, and one ordinary convolution."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from classical.checks import checked_size
from classical.cost import Cost
from classical.edge import EdgeLayer
from classical.patches import Padding, Pair, checked_patches
from classical.spline_layer import BSplineKANLayer


class KANConv2d(nn.Module):
    r"""$y_o(p) = \sum_{kc} \phi_{okc}(x_c(p_k)) + \mathrm{bias}_o$, a convolution whose kernels are functions.

    $p_k = \mathrm{stride}\, p + \mathrm{dilation}\, k - \mathrm{padding}$ is where kernel position k lies for output
    position p. Shapes and arguments are those of `torch.nn.Conv2d`: `(C, H, W)` or `(N, C, H, W)` to the same with
    `out_channels` and, in each direction, `(size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1`.

    The $\phi$ are edges of `layer`, which has a channel for each input and, for each kernel position and channel of a
    group of outputs, an output. Its functions are evaluated once per pixel; then one convolution of the features, and
    of the base as one more of them, does what a layer on each patch would do, without patches in memory.

    Parameters are those of `layer`, `K * C * O / groups` edges for K kernel positions, C and O channels, and `bias` of
    shape `(out_channels,)`. What a basis learns, such as phases, belongs to a channel and is the same at all positions.

    **Padding** is with zeros of the image, which functions do not leave alone: a padded pixel adds $\phi(0)$. A
    normalisation sees the channels of one pixel of the padded image.

    **At the start** inputs for which the basis is made give outputs of their variance, as in `EdgeLayer`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Height and width of a patch; an int for both.
        stride: Steps from patch to patch.
        padding: Rows and columns of zeros added on each side, "valid" for none, or "same" for as many as keep the size,
            at stride 1; of an odd number the larger half comes after.
        dilation: Steps between the entries of a patch.
        groups: Into how many groups channels are divided; outputs of a group see its inputs only.
        make: A layer from its numbers of inputs and outputs: `FastKANLayer`, or
            `lambda inputs, outputs: BSplineKANLayer(inputs, outputs, grid_size=3)`. A bias of it is left out.
        bias: Whether to add a bias to each channel of the output.

    Raises:
        TypeError: If a number of channels is not an integer, or `make` does not make an `EdgeLayer`.
        ValueError: If an argument is out of its range, the groups do not divide the channels, or if an input has other
            channels or is smaller than a patch.

    >>> KANConv2d(3, 8, kernel_size=3, padding=1)(torch.zeros(10, 3, 28, 28)).shape
    torch.Size([10, 8, 28, 28])
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: int = 1,
        *,
        make: Callable[[int, int], EdgeLayer] = BSplineKANLayer,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = checked_size("in_channels", in_channels, at_least=1)
        self.out_channels = checked_size("out_channels", out_channels, at_least=1)
        self.groups = checked_size("groups", groups, at_least=1)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Argument `groups` must divide in_channels={in_channels} and out_channels={out_channels}, "
                f"but is {groups}."
            )
        self.padding, self.patches = padding, checked_patches(kernel_size, stride, padding, dilation)
        layer = _made(make, in_channels, self.patches.positions * out_channels // groups)
        self.layer = layer.to(device=device, dtype=dtype)
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        self.layer.reset_parameters(generator)
        # An output sums over the inputs of its group at all positions, one of the layer over in_channels inputs.
        ratio = (self.groups / self.patches.positions) ** 0.5
        for parameter in (self.layer.coefficients, self.layer.base_weight):
            if parameter is not None:
                parameter.mul_(ratio)
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """`(C, H, W)` or `(N, C, H, W)` to the convolved image."""
        self._check(x)
        features, patches = self._features(functional.pad(x, self.patches.margins)), self.patches
        return functional.conv2d(features, self._kernel(), self.bias, patches.stride, 0, patches.dilation, self.groups)

    def _features(self, x: Tensor) -> Tensor:
        """`(*batch, C, H, W)` to `(*batch, C * size, H, W)`, with the base, if any, as one more function."""
        pixels = x.movedim(-3, -1)
        features = self.layer.features(pixels)
        if self.layer.base is not None:
            features = torch.cat([features, self.layer.base(pixels)[..., None]], -1)
        return features.flatten(-2).movedim(-1, -3)

    def _kernel(self) -> Tensor:
        """`(out_channels, C / groups * size, height, width)`."""
        weights = self.layer.weights()
        if self.layer.base_weight is not None:
            weights = torch.cat([weights, self.layer.base_weight[..., None]], -1)
        kernel = weights.unflatten(1, (self.groups, -1)).unflatten(0, (*self.patches.kernel_size, -1))
        # From (height, width, out / groups, groups, C / groups, size).
        return kernel.permute(3, 2, 4, 5, 0, 1).flatten(2, 3).flatten(0, 1)

    def cost(self, height: int, width: int) -> Cost:
        """Parameters, and operations for an image of that size, by formula."""
        layer, weights = self.layer.cost(), self._kernel().numel()
        scalers = 0 if self.layer.scaler is None else self.layer.coefficients.numel()
        functions = math.prod(self.patches.padded(height, width)) * (layer.flops - 2 * weights - scalers)
        products = math.prod(self.patches.counts(height, width)) * 2 * weights
        parameters = layer.parameters + (0 if self.bias is None else self.out_channels)
        return Cost(parameters, functions + products + scalers)

    def extra_repr(self) -> str:
        patches = self.patches
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={patches.kernel_size}, stride={patches.stride}, "
            f"padding={self.padding!r}, dilation={patches.dilation}, groups={self.groups}, bias={self.bias is not None}"
        )

    def _check(self, x: Tensor) -> None:
        if x.ndim not in (3, 4) or x.shape[-3] != self.in_channels:
            raise ValueError(
                f"Argument `x` must have shape (C, H, W) or (N, C, H, W) with C = {self.in_channels}, but has "
                f"{tuple(x.shape)}."
            )
        self.patches.counts(*x.shape[-2:])


def _made(make: Callable[[int, int], EdgeLayer], inputs: int, outputs: int) -> EdgeLayer:
    layer: Any = make(inputs, outputs)
    if not isinstance(layer, EdgeLayer):
        raise TypeError(f"Argument `make` must make an EdgeLayer, such as BSplineKANLayer, but makes {layer!r}.")
    if (layer.in_features, layer.out_features) != (inputs, outputs):
        raise ValueError(f"Argument `make` must make a layer of ({inputs}, {outputs}) features, but makes {layer!r}.")
    layer.bias = None  # One for each kernel position: the convolution has its own.
    return layer
