"""Less memory for more time: what a function computes on its way is computed again in the backward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable[[Tensor], Tensor], x: Tensor, rows: int) -> Tensor:
    """`function(x)`, some `rows` of samples at a time: its intermediates exist for those only, and are not kept.

    Args:
        function: From `(*batch, in)` to `(*batch, out)`, for every sample alone, and without randomness.
        x: `(*batch, in)`.
        rows: How many samples at a time; fewer samples are not worth it, and go the ordinary way.
    """
    parts = x.reshape(-1, x.shape[-1]).split(rows)
    if len(parts) < 2:
        return function(x)
    done = [checkpoint(function, part, use_reentrant=False, preserve_rng_state=False) for part in parts]
    return torch.cat(done).reshape(*x.shape[:-1], -1)
