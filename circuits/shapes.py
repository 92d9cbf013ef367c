"""Shapes that broadcast."""

from collections.abc import Sequence

import torch


def broadcast(*shapes: Sequence[int]) -> torch.Size:
    """The shape that all `shapes` broadcast to.

    What `torch.broadcast_shapes` does, which takes ten times as long and imports sympy: that shows in small layers.

    Raises:
        ValueError: if they do not broadcast.
    """
    common = [1] * max([0, *(len(shape) for shape in shapes)])
    for shape in shapes:
        for place, size in enumerate(reversed(shape), start=1):
            if size != 1:
                if common[-place] not in (1, size):
                    raise ValueError(f"Shapes {', '.join(str(tuple(shape)) for shape in shapes)} do not broadcast.")
                common[-place] = size
    return torch.Size(common)
