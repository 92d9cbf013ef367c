"""How far pictures are from each other, by scikit-image, which only this file imports."""

from collections.abc import Mapping

import numpy as np
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn

from benchmarks.colour.task import Pairs


@torch.no_grad()
def scores(model: nn.Module, pairs: Pairs) -> Mapping[str, float]:
    """Means over pictures: PSNR in dB, SSIM, and the colour difference of CIEDE2000, colours read as sRGB."""
    x, y = pairs
    return distances(model(x), y)


def distances(results: Tensor, targets: Tensor) -> Mapping[str, float]:
    """As `scores`, of pictures `(n, 3, H, W)`; those of the model are cut to [0, 1]."""
    rows = []
    for a, b in zip(results.clamp(0, 1), targets, strict=True):
        a, b = (picture.double().movedim(0, -1).numpy() for picture in (a, b))
        similar = structural_similarity(
            a, b, channel_axis=-1, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        difference = deltaE_ciede2000(rgb2lab(a), rgb2lab(b)).mean()
        with np.errstate(divide="ignore"):  # equal pictures: infinite
            rows.append((peak_signal_noise_ratio(b, a, data_range=1.0), similar, difference))
    means = torch.tensor(rows, dtype=torch.float64).mean(0).tolist()
    return dict(zip(("psnr", "ssim", "de2000"), means, strict=True))
