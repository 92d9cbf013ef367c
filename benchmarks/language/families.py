"""What stands between the attentions: the families that are compared."""

from collections.abc import Mapping

from torch import nn

from circuits import pz
from classical import BSplineKAN
from qkan import GPT, HQKAN
from qkan.transformer import FeedForward, MakeFeedForward

MLP, SMALL, HYBRID, GROUPED, KAN = "MLP", "MLP, as small as HQKAN", "HQKAN", "grouped HQKAN", "B-spline KAN"

FAMILIES: Mapping[str, MakeFeedForward] = {
    MLP: FeedForward,
    SMALL: lambda width: FeedForward(width, hidden=3 * width // 2),
    HYBRID: lambda width: HQKAN(width, width, latent=(width // 2, width // 2), circuit=pz(1)),
    # "auto" evaluates shared activations value by value, which takes longer here than expanding them.
    GROUPED: lambda width: HQKAN(
        width, width, latent=(3 * width // 2, width // 2), circuit=pz(1), share=8, engine="spectral"
    ),
    KAN: lambda width: BSplineKAN([width, width], grid_size=4, domain=(-3.0, 3.0)),
}
"""Name to what makes a feed-forward of a width; the first is what the others are held against."""


def count(model: GPT) -> tuple[int, int]:
    """Trainable scalars of the whole model, and of its feed-forwards."""
    parts = (model, *(block.get_submodule("feed_forward") for block in model.blocks))
    whole, *feed_forwards = (_count(part) for part in parts)
    return whole, sum(feed_forwards)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
