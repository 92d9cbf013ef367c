"""What a model costs beside its parameters: operations, time and memory of a step, measured where nothing else runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, Self

import torch
from torch import Tensor, nn

from benchmarks.fair.families import BY_NAME as FAMILY
from benchmarks.fair.families import Choice
from benchmarks.fair.tasks import BY_NAME as TASK
from benchmarks.fair.tasks import Task
from benchmarks.fair.training import Budget, Search
from benchmarks.operations import operations

BATCH, ROUNDS = 256, 9

NAMES = ("operations", "step_seconds", "kept_bytes")
"""Columns of the rows."""


@dataclass(frozen=True)
class Costing:
    """The costs of what a search has chosen. They depend on the kind and the size of a model, not on its weights.

    Args:
        search: whose choice it is.
        choice: of the family, which was tested.
    """

    search: Search
    choice: Choice

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Of the model of a row that a search has made, in a file or not: files have lists only."""
        known = Search(row["task"], row["model"], row["size"], row["seed"], Budget.of(row))
        return cls(
            known, {key: tuple(value) if isinstance(value, list) else value for key, value in row["choice"].items()}
        )

    @property
    def row(self) -> dict[str, Any]:
        """What its row is known by."""
        return self.search.row | {"measured": "costs"}

    def run(self) -> list[dict[str, Any]]:
        """One row."""
        task = TASK[self.search.task]
        model = FAMILY[self.search.model].build(self.choice, task.inputs, task.outputs, self.search.size)
        return [self.row | {"batch_of_costs": BATCH, "threads": 1} | costs(model, task)]


def costs(model: nn.Module, task: Task) -> dict[str, Any]:
    """Operations for a sample, seconds of forward and backward and bytes kept between them, of `BATCH` samples."""
    model.train()
    x = torch.randn(BATCH, task.inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with _one_thread():
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            _step(model, x)
        seconds = median(_step(model, x) for _ in range(ROUNDS))
    return dict(zip(NAMES, (operations(model, x), seconds, sum(kept.values())), strict=True))


def _step(model: nn.Module, x: Tensor) -> float:
    start = perf_counter()
    model(x).square().mean().backward()
    return perf_counter() - start


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
