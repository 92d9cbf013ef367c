"""One convolutional body for all sets and heads, and the heads: a new one is one row."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from circuits import pz
from classical import MLP, BSplineKAN
from qkan import HQKAN, QKAN

CHANNELS = (16, 32)
FEATURES = 4 * CHANNELS[-1]
"""That a head sees, whatever the size of the images."""


def body(channels: int) -> nn.Sequential:
    """Two convolutions, then averages over the quarters of the image, `(n, channels, height, width)` to `(n, 128)`.

    Features are normalised over the batch, without parameters, so that every head meets inputs of the same scale.
    """
    first, second = CHANNELS
    return nn.Sequential(
        nn.Conv2d(channels, first, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.BatchNorm1d(FEATURES, affine=False),
    )


@dataclass(frozen=True)
class Head:
    """What turns features into scores of classes.

    Args:
        name: as tables show it.
        build: from numbers of features and classes to the head.
    """

    name: str
    build: Callable[[int, int], nn.Module]


MLP_HEAD = Head("MLP, 64 hidden", lambda features, classes: MLP([features, 64, classes]))
HQKAN_HEADS = (
    Head("HQKAN, latent 12, 12", lambda features, classes: HQKAN(features, classes, latent=[12, 12])),
    Head(
        "HQKAN, latent 12, 12, beside the identity",
        lambda features, classes: HQKAN(features, classes, latent=[12, 12], base="identity"),
    ),
    Head(
        "HQKAN, latent 16, 16, a circuit an output, beside the identity",
        lambda features, classes: HQKAN(features, classes, latent=[16, 16], base="identity", share="in"),
    ),
)
"""Of a third of the parameters; validation chooses the one that is held against the goals."""

HEADS = (
    MLP_HEAD,
    # A shift of pz is redundant beside the angle after it, and left out where every parameter counts.
    Head("QKAN", lambda features, classes: QKAN([features, classes], circuit=pz(1, shift=0))),
    Head("HQKAN, latent 26, 25", lambda features, classes: HQKAN(features, classes, latent=[26, 25])),
    Head(
        "KAN, 3 cells",
        lambda features, classes: BSplineKAN([features, classes], grid_size=3, domain=(-3, 3), bias=True, scaler=False),
    ),
    Head("MLP, 20 hidden", lambda features, classes: MLP([features, 20, classes])),
    Head(
        "QKAN, a circuit an output",
        lambda features, classes: QKAN([features, classes], circuit=pz(1, shift=0), share="in"),
    ),
    *HQKAN_HEADS,
    Head("linear", lambda features, classes: nn.Linear(features, classes)),
)
"""For 10 classes the first four have about as many parameters, the next five about a third of it."""


def network(head: Head, channels: int, classes: int, seed: int) -> nn.Sequential:
    """Body and head; the body starts the same under every head of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(body(channels), head.build(FEATURES, classes))
