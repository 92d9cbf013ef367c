"""What training a vision transformer needs: weights of another one to start from, and who is to decay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from classical.rational import Rational
from classical.vit import ViT

TOKENS = ("cls_token", "pos_embed")
"""Parameters that are added to the stream, and so do not decay."""


@torch.no_grad()
def warm_start(model: ViT, weights: Mapping[str, Tensor]) -> None:
    """Give a model all weights of a trained vision transformer, with the names and shapes that they have in timm.

    The rational functions of a `KAT` go back to their start: the identity before the first map of a feed-forward, and
    `start` before the second. So `KAT(config, start="gelu")` then computes what a ViT with GELU does, up to the error
    of that fit, which is 3e-3 at most on [-3, 3], see `Rational`; with `start="identity"` exactly what a ViT without
    activation does.

    Args:
        model: Changed in place, and not at all if the weights do not fit.
        weights: Names to tensors; from a file by `safetensors` or by `torch.load(file, weights_only=True)`.

    Raises:
        TypeError: If a weight is not a tensor.
        ValueError: If names or shapes are not those of the model, but for rational functions and learned attention.
    """
    own, operators = model.state_dict(), tuple(f"blocks.{k}.attn.operator." for k in range(len(model.blocks)))
    wanted = {name for name in own if ".rational." not in name and not name.startswith(operators)}
    for name, weight in weights.items():
        if not isinstance(weight, Tensor):
            raise TypeError(f"Argument `weights` must have tensors only, but has {weight!r} for {name!r}.")
    if differing := sorted(wanted ^ weights.keys()):
        kind = "lacks" if differing[0] in wanted else "has"
        raise ValueError(
            f"Argument `weights` must have the names of the model, but {kind} {differing[0]!r}, and "
            f"{len(differing) - 1} more differ: rename or drop them."
        )
    for name in wanted:
        if own[name].shape != weights[name].shape:
            raise ValueError(
                f"Argument `weights` must have shape {tuple(own[name].shape)} for {name!r}, but has "
                f"{tuple(weights[name].shape)}: build the model with the same sizes, or replace that weight."
            )
    for name in wanted:
        own[name].copy_(weights[name])
    for module in model.modules():
        if isinstance(module, Rational):
            module.reset_parameters()


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimizer of torch: parameters that decay, and those that do not.

    Biases, normalisations, the class token and positions do not, nor do coefficients of `Rational`, which have two axes
    as matrices do but would decay to another function.
    """
    kept = {id(p) for module in model.modules() if isinstance(module, Rational) for p in module.parameters()}
    groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for name, parameter in model.named_parameters():
        stays = id(parameter) in kept or parameter.ndim < 2 or name.rpartition(".")[2] in TOKENS
        groups[stays].append(parameter)
    return [{"params": groups[0], "weight_decay": weight_decay}, {"params": groups[1], "weight_decay": 0.0}]
