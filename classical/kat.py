r"""Vision transformers whose feed-forwards are Kolmogorov-Arnold networks of shared rational functions."""

from __future__ import annotations

from functools import partial

import torch

from classical.checks import Activation
from classical.grkan import GRKANLayer
from classical.vit import MakeOperator, ViT
from classical.vit_blocks import FeedForward
from classical.vit_config import ViTConfig


def rational_feed_forward(
    config: ViTConfig,
    start: Activation = "silu",
    degrees: tuple[int, int] = (5, 4),
    groups: tuple[int | None, int | None] = (1, None),
    form: str = "A",
) -> FeedForward:
    """Two `GRKANLayer`, the rational functions of the first of which start as the identity."""
    first = GRKANLayer(config.width, config.hidden, "identity", degrees, groups, form)
    second = GRKANLayer(config.hidden, config.width, start, degrees, groups, form)
    return FeedForward(first, "identity", second, config.hidden, config.dropout)


class KAT(ViT):
    """The Kolmogorov-Arnold transformer: a `ViT` whose feed-forwards are two `GRKANLayer` each.

    Sizes are a value: `KAT(ViTConfig.tiny())` is KAT-T of the publication with its 5,718,328 parameters, 912 more than
    the ViT of that size. `ViTConfig.small()` and `base()` are KAT-S and KAT-B.

    Trained weights of a ViT can be taken over by `warm_start`; then `start` should be the activation of that ViT.

    Args:
        config: The sizes.
        start: What the rational functions before the second map start as; those before the first one start as the
            identity. See `Rational`.
        degrees: Of numerators and denominators.
        groups: Numbers of groups for numerators and for denominators; see `Rational`.
        form: Of the denominators; see `Rational`.
        operator: In place of the softmax; see `ViT`.
        universal: Whether all blocks share one operator.
        device: Of the parameters; "meta" counts without allocating.
        dtype: Of the parameters.

    Raises:
        TypeError: As `Rational`.
        ValueError: As `Rational`, or if images do not have the shape `(*batch, channels, size, size)`.

    >>> sum(parameter.numel() for parameter in KAT(ViTConfig.tiny(), device="meta").parameters())
    5718328

    Reference:
        X. Yang and X. Wang, Kolmogorov-Arnold Transformer, 2024, arXiv:2409.10594.
    """

    def __init__(
        self,
        config: ViTConfig,
        start: Activation = "silu",
        degrees: tuple[int, int] = (5, 4),
        groups: tuple[int | None, int | None] = (1, None),
        form: str = "A",
        operator: MakeOperator | None = None,
        universal: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        feed_forward = partial(rational_feed_forward, start=start, degrees=degrees, groups=groups, form=form)
        super().__init__(config, feed_forward, operator, universal, device, dtype)
