"""A plain training loop, for what trains a network on its way to something else."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    objective: Callable[[Tensor, Tensor], Tensor],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
) -> None:
    """Adam on shuffled batches; the model ends in evaluation mode and without gradients.

    Args:
        model: Any module with parameters.
        x: Inputs, the first axis of which is samples.
        y: Targets, as many.
        objective: From inputs and targets of a batch to what is minimised, the mean of a loss over it for example.
        epochs: Number of passes over the samples.
        batch_size: Samples a step; the last batch of a pass may have fewer.
        learning_rate: Of Adam.
        generator: Of the order of samples, on the CPU.
    """
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).to(x.device).split(batch_size):
            optimizer.zero_grad()
            objective(x[rows], y[rows]).backward()
            optimizer.step()
    optimizer.zero_grad()
    model.eval()
