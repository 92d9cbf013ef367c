r"""Kolmogorov-Arnold networks whose units select the space of their functions."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from classical.basis import Basis
from classical.chebyshev import ChebyshevKANLayer
from classical.checks import check_features, checked_size
from classical.cost import Cost, known_cost
from classical.edge import EdgeLayer
from classical.fourier import FourierKANLayer
from classical.rbf import FastKANLayer
from classical.selection import Maker, Selection
from classical.spline_layer import BSplineKANLayer
from classical.stack import Stack
from classical.stages import pruned
from classical.wavelet import WaveletKANLayer

SPACES: tuple[Maker, ...] = (
    partial(BSplineKANLayer, domain=(-2.0, 2.0), base=None, scaler=False, bias=True),
    partial(FastKANLayer, base=None, norm=None),
    ChebyshevKANLayer,
    WaveletKANLayer,
    FourierKANLayer,
)
"""The spaces of functions from which units select by default, each for inputs of variance 1."""


class SKANLayer(Selection):
    r"""$y_o = \sum_m g_{om} \sum_i \phi^{(m)}_{oi}(x_i)$, a layer in which each output selects the space m of the
    functions of its edges, from `(*batch, in)` to `(*batch, out)`.

    While it selects, all candidates are computed; see `Selection` for the gates g, the stages and the pruning.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        pool: The spaces. A `Basis` stands for an `EdgeLayer` with a copy of it, a bias and no base. Anything else makes
            a layer from numbers of inputs and outputs, such as `ChebyshevKANLayer`, a `functools.partial` of a layer,
            or a class of another package; see `Selection`.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape that the candidates take.

    Raises:
        TypeError: If a size is not an integer or a candidate not callable.
        ValueError: If a size is not positive or the pool empty, or if the last axis of an input does not have
            `in_features` entries.

    >>> layer = SKANLayer(2, 3)
    >>> layer.probabilities()[0]
    tensor([0.2000, 0.2000, 0.2000, 0.2000, 0.2000], grad_fn=<SelectBackward0>)
    >>> layer.choice().tolist()
    [0, 0, 0]

    Reference:
        Yang et al., Activation Space Selectable Kolmogorov-Arnold Networks, 2024, arXiv:2408.08338; the equations are
        our reconstruction.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        pool: Sequence[Basis | Maker] = SPACES,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        checked_size("in_features", in_features, at_least=1)
        checked_size("out_features", out_features, at_least=1)
        makers = [partial(_edges, entry) if isinstance(entry, Basis) else entry for entry in pool]
        super().__init__(makers, in_features, out_features, -1, device, dtype)
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        check_features(x, self.inputs)
        return super().forward(x)

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by formula, of all candidates and their gates.

        Raises:
            TypeError: If a candidate has no method `cost`.
        """
        gates = self.outputs * len(self.candidates)
        return sum(map(known_cost, self.candidates), start=Cost(gates, 2 * gates))


class SKAN(Stack):
    """Layers whose units select the space of their functions, one after the other, each a `SKANLayer`.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        pool: The spaces, of all layers; see `SKANLayer`.

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape that the candidates take.

    Raises:
        TypeError: If the widths are not integers, and as `SKANLayer`.
        ValueError: If there are too few widths or one is not positive, and as `SKANLayer`.

    Reference:
        Yang et al., Activation Space Selectable Kolmogorov-Arnold Networks, 2024, arXiv:2408.08338; the equations are
        our reconstruction.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        pool: Sequence[Basis | Maker] = SPACES,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(widths, lambda inputs, outputs: SKANLayer(inputs, outputs, pool, device, dtype))

    def prune(self) -> nn.Module:
        """A copy in which each unit has kept its most probable space alone."""
        return pruned(self)


class SConvKAN(Selection):
    r"""A convolution of images in which each output channel selects the space of functions of its kernels, from
    `(N, C, H, W)` to `(N, out_channels, H', W')`.

    See `Selection` for the gates, the stages and the pruning.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        pool: Makers of convolutions from numbers of input and output channels, with kernel sizes, strides and paddings
            of their own that must lead to the same shape: for instance `functools.partial(nn.Conv2d, kernel_size=3)`.

    Raises:
        TypeError: If a number is not an integer or a candidate not callable.
        ValueError: If a number is not positive or the pool empty, or if results of candidates differ in shape.

    >>> from functools import partial
    >>> pool = [partial(nn.Conv2d, kernel_size=3, padding=1), partial(nn.Conv2d, kernel_size=5, padding=2)]
    >>> SConvKAN(3, 8, pool)(torch.zeros(2, 3, 6, 6)).shape
    torch.Size([2, 8, 6, 6])

    Reference:
        Yang et al., Activation Space Selectable Kolmogorov-Arnold Networks, 2024, arXiv:2408.08338; the equations are
        our reconstruction.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        pool: Sequence[Maker],
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        checked_size("in_channels", in_channels, at_least=1)
        checked_size("out_channels", out_channels, at_least=1)
        super().__init__(pool, in_channels, out_channels, -3, device, dtype)
        self.in_channels, self.out_channels = in_channels, out_channels

    def cost(self, height: int, width: int) -> Cost:
        """Parameters, and operations for an image of that size, by formula, of all candidates and their gates.

        Raises:
            TypeError: If a candidate has no method `cost(height, width)`, as those of `KANConv2d` have.
        """
        candidates = [known_cost(candidate, height, width) for candidate in self.candidates]
        image = torch.empty(1, self.in_channels, height, width, device="meta", dtype=self.logits.dtype)
        pixels = copy.deepcopy(self.candidates[0]).to("meta")(image).shape[-2:].numel()
        gates = self.outputs * len(candidates)
        return sum(candidates, start=Cost(gates, 2 * gates * pixels))


def _edges(basis: Basis, inputs: int, outputs: int) -> EdgeLayer:
    return EdgeLayer(inputs, outputs, basis, bias=True)
