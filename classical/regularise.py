r"""A penalty on the number of edges that a network uses."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from classical.checks import checked_number
from classical.edge import EdgeLayer
from classical.probe import Edges, Seen, edge_layers, edge_spreads, spread


def sparsity(
    model: nn.Module,
    x: Tensor,
    *,
    l1: float = 1.0,
    entropy: float = 2.0,
    coefficients: float = 0.0,
    differences: float = 0.0,
) -> Tensor:
    r"""A penalty for edges that vary, and for weight that is spread over many of them; a number to add to a loss.

    It is a sum over layers, of $v_{oi} = \mathrm{std}(\phi_{oi}) / (\mathrm{std}(x_i) + 0.1)$, standard deviations over
    the samples of what an edge adds and of the input of the edge:

    $$R = \lambda_1 \sum_{oi} v_{oi} + \lambda_H (H_{rows} + H_{columns}) + \lambda_c \sum_{oi} \overline{|c_{oim}|} +
    \lambda_d \sum_{oi} \overline{|c_{oi,m+1} - c_{oim}|}.$$

    $H_{rows}$ is the mean over outputs o of $-\sum_i p_{oi} \log_2(p_{oi} + 10^{-4})$ with
    $p_{oi} = v_{oi} / (\sum_i v_{oi} + 1)$, and $H_{columns}$ the same with inputs and outputs exchanged. Bars are
    means over the functions of an edge. Of an `EdgeLayer` the $\phi$ are the sums of functions, without the base;
    of another layer they are its `edge_values`.

    The model runs once, and statistics of batch normalisations do not notice. Gradients reach every parameter that an
    edge depends on, and are zero, not NaN, at edges that are exactly zero.

    Args:
        model: Any module with layers that have `edge_values`; those of a `KANConv2d` do not count.
        x: Samples for it, at least 2, such as the batch at hand.
        l1: The $\lambda_1$, of the sum of the variations.
        entropy: The $\lambda_H$, of the entropies.
        coefficients: The $\lambda_c$, of the coefficients of `EdgeLayer`s.
        differences: The $\lambda_d$, of the differences of neighbouring coefficients of `EdgeLayer`s.

    Raises:
        TypeError: If a factor is not a number.
        ValueError: If a factor is not finite, the model has no edges, there are fewer than 2 samples, or if the
            coefficients of edges without any are asked for.

    Reference:
        Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, arXiv:2404.19756, section 2.5.1; Z. Liu et al., KAN 2.0,
        2024, arXiv:2408.10205.
    """
    factors = {"l1": l1, "entropy": entropy, "coefficients": coefficients, "differences": differences}
    for name, factor in factors.items():
        checked_number(name, factor, above=-math.inf)
    seen = edge_layers(model, x)
    variations = [_variation(one) for one in seen]
    total = sum(l1 * v.sum() + entropy * (_entropy(v, 1) + _entropy(v, 0)) for v in variations)
    if coefficients or differences:
        total += sum(_coefficient_terms(one.layer, coefficients, differences) for one in seen)
    return torch.as_tensor(total)


def _variation(seen: Seen) -> Tensor:
    return edge_spreads(seen.layer, seen.x, base=False) / (spread(seen.x) + 0.1)


def _entropy(variation: Tensor, axis: int) -> Tensor:
    shares = variation / (variation.sum(axis, keepdim=True) + 1)
    return -(shares * (shares + 1e-4).log2()).sum(axis).mean()


def _coefficient_terms(layer: Edges, coefficients: float, differences: float) -> Tensor:
    if not isinstance(layer, EdgeLayer):
        raise ValueError(
            f"Arguments `coefficients` and `differences` must be 0 for edges without coefficients, those of {layer!r}."
        )
    sizes = coefficients * layer.coefficients.abs().mean(-1).sum()
    if layer.basis.size == 1:
        return sizes
    return sizes + differences * layer.coefficients.diff(dim=-1).abs().mean(-1).sum()
