r"""How far images are from each other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

WINDOW, DEVIATION = 11, 1.5
"""Pixels of the window of SSIM, and the standard deviation of its Gaussian."""

SHARE = 0.15
"""Of the structural part of the loss, as published."""


def ssim(x: Tensor, y: Tensor) -> Tensor:
    r"""The mean structural similarity of images `(*batch, channels, H, W)` with values in [0, 1], a number.

    With means, variances and the covariance under a Gaussian window of 11 by 11 pixels, wherever it fits:
    $\frac{(2 \mu_x \mu_y + c_1)(2 \sigma_{xy} + c_2)}{(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}$ with
    $c_1 = 0.01^2$ and $c_2 = 0.03^2$.

    Raises:
        ValueError: If the shapes differ, or the window does not fit.

    Reference:
        Z. Wang, A. Bovik, H. Sheikh and E. Simoncelli, Image quality assessment: from error visibility to structural
        similarity, IEEE Transactions on Image Processing 13, 2004.
    """
    if x.shape != y.shape or x.ndim < 3 or min(x.shape[-2:]) < WINDOW:
        raise ValueError(
            f"Arguments `x` and `y` must have one shape (*batch, channels, H, W) with sides of {WINDOW} or more, but "
            f"have {tuple(x.shape)} and {tuple(y.shape)}."
        )
    x, y = (image.reshape(-1, 1, *image.shape[-2:]) for image in (x, y))
    mean_x, mean_y = _blurred(x), _blurred(y)
    variances = _blurred(x * x) - mean_x**2 + _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
    return (alike / ((mean_x**2 + mean_y**2 + 0.01**2) * (variances + 0.03**2))).mean()


def colour_loss(x: Tensor, y: Tensor) -> Tensor:
    r"""$\mathrm{mean} |x - y| + 0.15\, (1 - \mathrm{SSIM}(x, y))$, what colour matching is trained by."""
    return functional.l1_loss(x, y) + SHARE * (1 - ssim(x, y))


def _blurred(image: Tensor) -> Tensor:
    """`(n, 1, H, W) -> (n, 1, H - 10, W - 10)`, rows and then columns."""
    offsets = torch.arange(WINDOW, device=image.device, dtype=image.dtype) - WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * DEVIATION**2))
    weights = weights / weights.sum()
    return functional.conv2d(functional.conv2d(image, weights[None, None, :, None]), weights[None, None, None])
