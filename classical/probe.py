"""What the edges of a network do on samples: the spread of what each of them adds to its output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from classical.edge import EdgeLayer
from classical.norm import unnoticed


@runtime_checkable
class Edges(Protocol):
    """A layer whose outputs are sums over edges: any module that can tell what each edge adds."""

    def edge_values(self, x: Tensor) -> Tensor:
        """`(*batch, in) -> (*batch, out, in)`; the layer is the sum over `in` and what does not depend on inputs."""
        ...


@dataclass(frozen=True)
class Seen:
    """A layer with edges, its input `x (*batch, in)` and its output `y (*batch, out)`."""

    layer: Edges
    x: Tensor
    y: Tensor


def edge_layers(model: nn.Module, x: Tensor) -> list[Seen]:
    """The layers of a network that have edges, in the order in which they run on `x`, unnoticed by its statistics.

    Raises:
        ValueError: If there is no such layer.
    """
    seen: list[Seen] = []

    def note(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, Edges):
            seen.append(Seen(module, arguments[0], output))

    hooks = [module.register_forward_hook(note) for module in model.modules() if isinstance(module, Edges)]
    try:
        with unnoticed(model):
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise ValueError(
            "Argument `model` must have a layer with edges, one with a method `edge_values`, but has none."
        )
    return seen


def edge_spreads(layer: Edges, x: Tensor, base: bool = True) -> Tensor:
    r"""The standard deviation over samples of what each edge adds, `(*batch, in) -> (out, in)`.

    Of an `EdgeLayer` it is $\sqrt{c_{oi}^T \Sigma_i c_{oi}}$ with the covariance $\Sigma_i$ of the functions of input
    i, so that nothing has an entry per sample and edge; of other layers that of `edge_values`. Where it is exactly zero
    its gradient is zero.

    Args:
        layer: The layer.
        x: At least 2 samples, of any leading shape.
        base: Whether the base branch of an `EdgeLayer` is part of its edges.

    Raises:
        ValueError: If there are fewer than 2 samples.
    """
    if not isinstance(layer, EdgeLayer):
        return spread(layer.edge_values(x), axes=2)
    with unnoticed(layer):
        features, weights = layer.features(x), layer.weights()
    if base and layer.base is not None and layer.base_weight is not None:
        features = torch.cat([features, layer.base(x)[..., None]], -1)
        weights = torch.cat([weights, layer.base_weight[..., None]], -1)
    deviations = _deviations(features, axes=2)
    covariance = torch.einsum("nim,nik->imk", deviations, deviations) / (len(deviations) - 1)
    return root(torch.einsum("oim,imk,oik->oi", weights, covariance, weights))


def spread(values: Tensor, axes: int = 1) -> Tensor:
    """The standard deviation over all but the last axes; where it is exactly zero its gradient is zero."""
    deviations = _deviations(values, axes)
    return root(deviations.square().sum(0) / (len(deviations) - 1))


def root(square: Tensor) -> Tensor:
    """The square root, and zero with gradient zero of what is zero, or negative by rounding."""
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1).sqrt(), 0)


def _deviations(values: Tensor, axes: int) -> Tensor:
    """From the means over samples, which are all but the last axes and become the first one."""
    values = values.reshape(-1, *values.shape[-axes:])
    if len(values) < 2:
        raise ValueError(f"Argument `x` must have 2 samples or more, but has {len(values)}.")
    return values - values.mean(0)
