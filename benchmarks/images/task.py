"""From a set of images to what a seed trains on, chooses by and is tested on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.images.loaders import Labelled

Data = tuple[Tensor, Tensor]

WITHOUT_TEST = (0.6, 0.2, 0.2)
WITH_TEST = (5 / 6, 1 / 6)
"""Fractions for training, validation and, where no official part is kept for it, test."""


@dataclass(frozen=True)
class Task:
    """Images `(n, channels, height, width)`, standardised, and their classes `(n,)`, in three parts.

    Args:
        train: what is fitted.
        validation: what chooses.
        test: what is looked at once.
    """

    train: Data
    validation: Data
    test: Data


def task(known: Labelled, test: Labelled | None, seed: int, most: int | None = None) -> Task:
    """The parts of a seed, with equal fractions of every class; the scale of each channel is that of training.

    Args:
        known: what may be trained on.
        test: the official test part, the same for all seeds; None if a fifth of `known` is to be it.
        seed: of the split.
        most: images of a part, for a test of the benchmark.
    """
    chosen = stratified(known.y, WITHOUT_TEST if test is None else WITH_TEST, seed)
    pieces = [Labelled(known.x[rows], known.y[rows]) for rows in chosen]
    pieces += [] if test is None else [test]
    parts = [(torch.tensor(piece.x[:most]).float(), torch.tensor(piece.y[:most])) for piece in pieces]
    across = (0, 2, 3)
    centre, spread = parts[0][0].mean(across, keepdim=True), parts[0][0].std(across, keepdim=True)
    return Task(*(((x - centre) / spread, y) for x, y in parts))


def stratified(labels: np.ndarray, fractions: Sequence[float], seed: int) -> list[np.ndarray]:
    """Row numbers of parts, shuffled; each part has its fraction of every class, to within a row.

    Args:
        labels: `(n,)`.
        fractions: of the parts; they add up to 1.
        seed: of the order.
    """
    random = np.random.default_rng(seed)
    cuts = np.cumsum(fractions)[:-1]
    classes = [random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    split = [np.split(rows, np.rint(cuts * len(rows)).astype(int)) for rows in classes]
    return [random.permutation(np.concatenate(part)) for part in zip(*split, strict=True)]
