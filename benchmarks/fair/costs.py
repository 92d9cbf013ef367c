"""What a model costs beside its parameters: operations, time and memory of a step."""

from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.fair.tasks import Task
from benchmarks.operations import operations

BATCH, ROUNDS = 256, 9


def costs(model: nn.Module, task: Task) -> dict[str, Any]:
    """Operations for a sample, seconds of a training step and bytes that it keeps for the backward, of 256 samples."""
    model.train()
    x = torch.randn(BATCH, task.inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _step(model, x)
    seconds = median(_step(model, x) for _ in range(ROUNDS))
    return {"operations": operations(model, x), "step_seconds": seconds, "kept_bytes": sum(kept.values())}


def _step(model: nn.Module, x: Tensor) -> float:
    start = perf_counter()
    model(x).square().mean().backward()
    return perf_counter() - start
