r"""Kolmogorov-Arnold colour matching."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from classical.checks import checked_size
from classical.colour.generator import Generator
from classical.colour.pixel import COLOURS, PixelFunction, PixelSpline


class CmKAN(nn.Module):
    r"""Colours to colours, at every pixel by a function whose coefficients are made of the whole image:
    $y(p) = F(x(p);\, \mathrm{generator}(x)(p))$, from `(*batch, 3, H, W)` to the same.

    $F$ is a Kolmogorov-Arnold layer of three inputs and outputs, by default of cubic splines on [0, 1]; see
    `PixelSpline`. The generator is a small network that estimates the illumination, looks at wavelets of half and
    quarter the size through attention between channels, and reads coefficients from a trained bank of colour features;
    see `Generator`. With the defaults there are 76,875 parameters, in `CmKAN.light()` 7,311, as published.

    What is different from what is published: at the start colours stay as they are, to rounding, since the last map of
    the generator has weights of 0 and the coefficients of the identity as bias; all maps before it start normal with
    variance `1 / inputs`; the queries of the modulator are normalised over the channels of a pixel rather than over the
    pixels of a channel, so that a pixel is treated alike in images of all sizes; and images of any size are taken.

    **Memory.** Coefficients are as many as 90 numbers a pixel: cut large photographs into parts.

    Args:
        levels: How often the generator halves height and width, 2 or 1 as published.
        entries: Of the generator's bank of colour features.
        function: The $F$; another one may be passed in, such as one of quantum circuits.

    Shapes:
        `(*batch, 3, H, W) -> (*batch, 3, H, W)`, for any leading shape, none and empty included, and any height and
        width. Colours are meant to be in [0, 1]; nothing makes the result stay there.

    Raises:
        TypeError: If a size is not an integer.
        ValueError: If a size is not positive, or an input has another number of colours or no pixels.

    >>> model = CmKAN.light()
    >>> x = torch.rand(2, 3, 13, 10)
    >>> torch.allclose(model(x), x, atol=1e-6)
    True

    Reference:
        cmKAN: color matching by Kolmogorov-Arnold networks, ICCV 2025, arXiv:2503.11781.
    """

    def __init__(
        self,
        levels: int = 2,
        entries: int = 128,
        function: PixelFunction = PixelSpline(),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        checked_size("levels", levels, at_least=1)
        checked_size("entries", entries, at_least=1)
        self.function = function
        self.generator = Generator(function.channels, levels, entries)
        self.to(device=device, dtype=dtype)
        self.reset_parameters()

    @classmethod
    def light(
        cls,
        function: PixelFunction = PixelSpline(),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """The small variant: one level and a bank of 30, a tenth of the parameters."""
        return cls(1, 30, function, device, dtype)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one; colours stay as they are again."""
        self.generator.start(self.function.start(), generator)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 3 or x.shape[-3] != COLOURS or 0 in x.shape[-2:]:
            raise ValueError(f"Argument `x` must have shape (*batch, 3, H, W) with pixels, but has {tuple(x.shape)}.")
        images = x.flatten(0, -4) if x.ndim > 3 else x[None]
        return self.function(images, self.generator(images)).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"function={self.function}"
