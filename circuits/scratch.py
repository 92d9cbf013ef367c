"""Memory that is written, read and forgotten."""

import math
from collections.abc import Sequence
from threading import local

import torch
from torch import Tensor

_KEPT = local()


def scratch(like: Tensor, shape: Sequence[int], purpose: str) -> Tensor:
    """Uninitialised memory of `shape` that holds until the next call for the same `purpose` in this thread.

    On a CPU fresh pages cost more than what is written to them (the training step of a 64 by 64 layer spent a quarter
    of its time on them), so the last piece is kept, as the allocators of other devices do by themselves. What asks for
    it has a budget for its size.
    """
    if like.device.type != "cpu" or type(like) is not Tensor:
        return like.new_empty(shape)
    pieces: dict[str, Tensor] = _KEPT.__dict__
    key, entries = f"{purpose} {like.dtype}", math.prod(shape)
    if key not in pieces or pieces[key].numel() < entries:
        with torch.inference_mode(False):  # may be met outside of it next time
            pieces[key] = torch.empty(entries, dtype=like.dtype, device="cpu")
    return pieces[key][:entries].view(*shape)
