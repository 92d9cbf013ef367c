"""Training of colour matching: supervised by many pairs of images, or further by a few."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from classical.checks import checked_number, checked_size
from classical.colour.loss import colour_loss

Loss = Callable[[Tensor, Tensor], Tensor]


def train_colours(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    steps: int,
    batch_size: int = 16,
    lr: float = 1e-3,
    loss: Loss = colour_loss,
    generator: torch.Generator | None = None,
) -> list[float]:
    """Train `model` in place on pairs of images, by Adam with a learning rate that falls to 0 along a cosine.

    Args:
        model: From `(n, 3, H, W)` to the same, such as a `CmKAN`.
        x: Images of one camera, `(n, 3, H, W)`.
        y: The same scenes by the other one.
        steps: Number of batches.
        batch_size: Pairs of a batch, drawn with replacement.
        lr: The learning rate at the start.
        loss: From a batch of results and one of `y` to a number.
        generator: What batches are drawn by, or torch's global one.

    Returns:
        The loss at every step.

    Raises:
        TypeError: If a number is none.
        ValueError: If the shapes differ, there are no pairs, or a number is not positive.
    """
    _check_pairs(x, y)
    checked_size("steps", steps, at_least=1)
    checked_size("batch_size", batch_size, at_least=1)
    optimizer = Adam(model.parameters(), lr=checked_number("lr", lr, above=0.0))
    schedule = CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        rows = torch.randint(len(x), (batch_size,), generator=generator).to(x.device)
        losses.append(_step(model, optimizer, loss, x[rows], y[rows]))
        schedule.step()
    return losses


def fine_tune(model: nn.Module, x: Tensor, y: Tensor, *, steps: int = 10, lr: float = 1e-3) -> nn.Module:
    """A copy of `model` that has taken some steps of Adam on a few pairs, all at once, by their absolute differences.

    `model` stays as it is. The copy has seen these pairs: judge it by others, whose `y` this function was not given.
    The published procedure takes its steps on the very pair that it is then judged by.

    Args:
        model: From `(n, 3, H, W)` to the same, trained before, such as a `CmKAN.light()`.
        x: Images of one camera, `(n, 3, H, W)`.
        y: The same scenes by the other one.
        steps: Of Adam; 10 as published.
        lr: The learning rate.

    Raises:
        TypeError: If a number is none.
        ValueError: If the shapes differ, there are no pairs, or a number is not positive.
    """
    _check_pairs(x, y)
    checked_size("steps", steps, at_least=1)
    tuned = copy.deepcopy(model)
    optimizer = Adam(tuned.parameters(), lr=checked_number("lr", lr, above=0.0))
    for _ in range(steps):
        _step(tuned, optimizer, functional.l1_loss, x, y)
    return tuned


def _step(model: nn.Module, optimizer: Adam, loss: Loss, x: Tensor, y: Tensor) -> float:
    optimizer.zero_grad()
    value = loss(model(x), y)
    value.backward()
    optimizer.step()
    return value.item()


def _check_pairs(x: Tensor, y: Tensor) -> None:
    if x.shape != y.shape or x.ndim != 4 or not len(x):
        raise ValueError(
            f"Arguments `x` and `y` must have one shape (n, 3, H, W) with n > 0, but have {tuple(x.shape)} and "
            f"{tuple(y.shape)}."
        )
