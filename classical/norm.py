"""Normalisations of the features of a sample, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from classical.checks import checked_choice

NORMS = ("layer", "batch")


def made_norm(
    norm: str | None, features: int, device: torch.device | str | None, dtype: torch.dtype | None
) -> nn.Module | None:
    """A normalisation with trained factors and shifts, one of `NORMS`, or None."""
    if norm is None:
        return None
    checked_choice("norm", norm, NORMS)
    if norm == "batch":
        return nn.BatchNorm1d(features, device=device, dtype=dtype)
    if features == 1:
        raise ValueError(
            "Argument `norm` must not be 'layer' for 1 input, which it would make 0: take 'batch' or None."
        )
    return nn.LayerNorm(features, device=device, dtype=dtype)


def normalised(norm: nn.Module | None, x: Tensor) -> Tensor:
    """`x (*batch, features)` after the normalisation; all leading axes are the batch."""
    match norm:
        case None:
            return x
        case nn.BatchNorm1d():
            return norm(x.reshape(-1, x.shape[-1])).reshape(x.shape)
        case _:
            return norm(x)


@contextmanager
def unnoticed(model: nn.Module) -> Iterator[None]:
    """Within it batch normalisations compute what they always do, but keep their statistics as they are."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    tracking = [module for module in model.modules() if isinstance(module, kinds) and module.track_running_stats]
    try:
        for module in tracking:
            module.track_running_stats = False
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
