"""What stands between the attentions: the families that are compared."""

from collections.abc import Mapping

from torch import nn

from benchmarks import sizes
from circuits import pz
from classical import BSplineKAN
from qkan import GPT, HQKAN
from qkan.blocks import FeedForward, MakeFeedForward

MLP, GPT2, SMALL = "MLP", "MLP, GPT-2's start", "MLP, as small as HQKAN"
HYBRID, GROUPED, KAN = "HQKAN", "grouped HQKAN", "B-spline KAN"


def perceptron(width: int, hidden: int) -> nn.Module:
    """A perceptron that starts as the others: with outputs of variance 1 for normal inputs, and a gain behind it."""
    module = FeedForward(width, hidden)
    for linear, power in ((module.up, 1.0), (module.down, _GELU)):
        nn.init.normal_(linear.weight, std=(power * linear.in_features) ** -0.5)
        nn.init.zeros_(linear.bias)
    return nn.Sequential(module)  # which is not what a GPT starts as GPT-2 does


_GELU = 0.4252
"""Mean square of the GELU of a standard normal variable."""


def hybrid(width: int) -> nn.Module:
    """An HQKAN that is half as wide inside. With scales fixed at 1 it was 2 % worse in a rough run."""
    return HQKAN(width, width, latent=(width // 2, width // 2), circuit=pz(1))


def grouped(width: int) -> nn.Module:
    """An HQKAN of eight activations, and for that as many latent inputs as make it equally large.

    The scales of data are fixed, because the encoder can scale what shared activations see.

    "auto" would evaluate shared activations value by value, which takes longer here than expanding them.
    """
    latent, circuit = (5 * width // 4, width // 2), pz(1, scale=1)
    return HQKAN(width, width, latent, circuit, share=8, engine="spectral")


FAMILIES: Mapping[str, MakeFeedForward] = {
    MLP: lambda width: perceptron(width, 4 * width),
    GPT2: FeedForward,
    SMALL: lambda width: perceptron(width, 3 * width // 2),
    HYBRID: hybrid,
    GROUPED: grouped,
    KAN: lambda width: BSplineKAN([width, width], grid_size=4, domain=(-3.0, 3.0), scaler=False),
}
"""Name to what makes a feed-forward of a width."""


def count(model: GPT) -> tuple[int, int]:
    """Trainable scalars of the whole model, and of its feed-forwards."""
    parts = (model, *(block.get_submodule("feed_forward") for block in model.blocks))
    whole, *feed_forwards = (sizes.count(part) for part in parts)
    return whole, sum(feed_forwards)
