r"""QKAN convolution: the QKAN layer on every patch of an image."""

from collections.abc import Iterable
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from circuits import Circuit, pz
from circuits.checks import check_tensor
from circuits.engines import Engine
from qkan.daruan import Share, check_sizes
from qkan.layer import Base, QKANLayer

Pair = int | tuple[int, int]


class QKANConv2d(nn.Module):
    r"""$y_o(p) = \sum_{kc} [w_{okc} f_{okc}(x_c(p_k)) + b_{okc} \mathrm{base}(x_c(p_k))] + \mathrm{bias}_o$, a
    convolution whose kernels are functions.

    $p_k = \mathrm{stride}\, p + \mathrm{dilation}\, k - \mathrm{padding}$ is where kernel position k lies for output
    position p. Shapes and arguments are those of `torch.nn.Conv2d`, without groups and padding modes: `(C, H, W)` or
    `(N, C, H, W)` to the same with `out_channels` and, in each direction,
    `(size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1`.

    The parameters are those of `layer`, a `QKANLayer` of `kernel_size[0] * kernel_size[1] * in_channels` inputs in
    which the channel runs fastest: the weight of a `torch.nn.Conv2d` is `base_weight` by
    `weight.permute(0, 2, 3, 1).flatten(1)`. So `share=in_channels` is one activation for each channel at all kernel
    positions and outputs, and any g that divides `in_channels` deals g activations to the channels in turn.

    The image is padded with zeros, which an activation does not leave alone: a padded entry contributes
    $w f(0) + b\, \mathrm{base}(0)$.

    All patches are in memory, which is `kernel_size[0] * kernel_size[1]` times the image at stride 1. Contracting each
    pixel with all kernel positions instead, and adding up afterwards, computes features of the data once a pixel, but
    holds as many numbers and was no faster where it was tried.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: height and width of a patch; an int for both.
        stride: steps from patch to patch.
        padding: rows and columns of zeros added on each side, "valid" for none, or "same" for as many as keep the size,
            at stride 1; of an odd number the larger half comes after.
        dilation: steps between the entries of a patch.
        circuit: any circuit of one feature and one readout string.
        base: base function; see `QKANLayer`.
        bias: whether to add a bias.
        share: which edges of `layer` share an activation; see above and `DARUAN`.
        frozen: families of parameters held at their initial value; see `QKANLayer`.
        engine: name of an engine or an engine.
        init_scale: where trainable scales of data start; see `DARUAN`.
        init_angle: angles start within plus and minus this; see `DARUAN`.
        device: of the parameters.
        dtype: of the parameters.

    >>> QKANConv2d(3, 8, kernel_size=3, padding=1)(torch.zeros(10, 3, 28, 28)).shape
    torch.Size([10, 8, 28, 28])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | Literal["same", "valid"] = 0,
        dilation: Pair = 1,
        circuit: Circuit = pz(1),
        base: Base = "silu",
        bias: bool = True,
        share: Share = None,
        frozen: Iterable[str] = (),
        engine: str | Engine = "auto",
        init_scale: float = 1.0,
        init_angle: float = torch.pi,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes(in_channels=in_channels, out_channels=out_channels)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = _pair("kernel_size", kernel_size), _pair("stride", stride)
        self.dilation, self.padding = _pair("dilation", dilation), padding
        self._margins = _margins(padding, self.kernel_size, self.stride, self.dilation)
        inputs = self.kernel_size[0] * self.kernel_size[1] * in_channels
        self.layer = QKANLayer(
            inputs, out_channels, circuit, base, bias, share, frozen, engine, init_scale, init_angle, device, dtype
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        self.layer.reset_parameters(generator)

    def forward(self, x: Tensor) -> Tensor:
        """`(C, H, W)` or `(N, C, H, W)` to the convolved image."""
        height, width = self._output_size(x)
        check_tensor("x", x)  # here, so that an error has the caller's index
        y = self.layer(self._patches(x if x.ndim == 4 else x[None]))
        y = y.transpose(-1, -2).reshape(-1, self.out_channels, height, width)
        return y if x.ndim == 4 else y[0]

    def _patches(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, patches, kernel positions * C)`."""
        x = functional.pad(x, self._margins)
        patches = functional.unfold(x, self.kernel_size, self.dilation, padding=0, stride=self.stride)
        return patches.unflatten(1, (self.in_channels, -1)).permute(0, 3, 2, 1).flatten(2)

    def _output_size(self, x: Tensor) -> tuple[int, int]:
        if not isinstance(x, Tensor):
            raise TypeError(f"Argument `x` must be a torch.Tensor, but is a {type(x).__name__}.")
        if x.ndim not in (3, 4) or x.shape[-3] != self.in_channels:
            raise ValueError(
                f"Argument `x` must have shape (C, H, W) or (N, C, H, W) with C = {self.in_channels}, but has shape "
                f"{tuple(x.shape)}."
            )
        left, right, top, bottom = self._margins
        padded = x.shape[-2] + top + bottom, x.shape[-1] + left + right
        spans = [dilation * (size - 1) + 1 for dilation, size in zip(self.dilation, self.kernel_size, strict=True)]
        if padded[0] < spans[0] or padded[1] < spans[1]:
            raise ValueError(
                f"Argument `x` must be no smaller than a patch, {spans[0]} x {spans[1]}, but is {padded[0]} x "
                f"{padded[1]} with its padding: enlarge it, or add padding."
            )
        return (padded[0] - spans[0]) // self.stride[0] + 1, (padded[1] - spans[1]) // self.stride[1] + 1

    def extra_repr(self) -> str:
        """What `repr` shows beside the layer."""
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        return f"{shown}, padding={self.padding!r}, dilation={self.dilation}"


def _pair(name: str, value: Any, least: int = 1) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else value
    whole = isinstance(pair, (tuple, list)) and all(isinstance(n, int) and not isinstance(n, bool) for n in pair)
    if not whole or len(pair) != 2 or min(pair) < least:
        raise ValueError(f"Argument `{name}` must be an int of at least {least} or a pair of them, but is {value!r}.")
    return pair[0], pair[1]


def _margins(padding: Any, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> list[int]:
    """Zeros to the left, to the right, above and below, as `functional.pad` wants them."""
    if padding == "valid":
        return [0, 0, 0, 0]
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f"Argument `stride` must be 1 with padding='same', but is {stride}.")
        totals = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
        return list(chain.from_iterable((total // 2, total - total // 2) for total in reversed(totals)))
    if isinstance(padding, str):
        raise ValueError(f"Argument `padding` must be an int, a pair of ints, 'same' or 'valid', but is {padding!r}.")
    rows, columns = _pair("padding", padding, least=0)
    return [columns, columns, rows, rows]
