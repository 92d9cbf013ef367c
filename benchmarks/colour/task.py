"""What a seed trains on, chooses by and is tested on: new scenes, and new cameras."""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.colour.scenes import cameras, scenes

Pairs = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Sizes:
    """How many pairs there are, and how large they are.

    Args:
        train: pairs that are fitted.
        validation: pairs that choose.
        test: pairs that are looked at once.
        few: pairs of a second couple of cameras that are fitted; as many choose.
        side: pixels of a picture's side.
    """

    train: int = 96
    validation: int = 16
    test: int = 32
    few: int = 4
    side: int = 32


@dataclass(frozen=True)
class Task:
    """Pairs of pictures `(n, 3, side, side)`, no scene in two parts.

    Args:
        train: what is fitted.
        validation: what chooses.
        test: what is looked at once.
    """

    train: Pairs
    validation: Pairs
    test: Pairs


def tasks(seed: int, sizes: Sizes) -> tuple[Task, Task]:
    """A task for a couple of cameras, and one of few pairs for another couple; seeds draw cameras and scenes."""
    random = torch.Generator().manual_seed(seed)

    def task(train: int, validation: int) -> Task:
        ours, theirs = cameras(random)
        light = [scenes(count, sizes.side, random) for count in (train, validation, sizes.test)]
        return Task(*((ours(part, random), theirs(part, random)) for part in light))

    return task(sizes.train, sizes.validation), task(sizes.few, sizes.few)
