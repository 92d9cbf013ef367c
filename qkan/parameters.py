"""Counting parameters, by one rule for every model."""

from torch import nn


def parameter_count(model: nn.Module) -> dict[str, int]:
    """Trainable scalars by family: the last part of each parameter's name. The total is the sum of the values.

    Frozen parameters and buffers do not count; a parameter that several modules share counts once.

    >>> parameter_count(nn.Linear(3, 2))
    {'weight': 6, 'bias': 2}
    """
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            family = name.rpartition(".")[2]
            counts[family] = counts.get(family, 0) + parameter.numel()
    return counts
