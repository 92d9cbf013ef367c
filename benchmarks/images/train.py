"""One head and one seed: every learning rate, then the test part once, with what did best on validation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from benchmarks.images.heads import Head, network
from benchmarks.images.task import Data, Task
from benchmarks.provenance import ran_on
from benchmarks.sizes import count
from qkan import fit

RATES = (1e-3, 3e-3, 1e-2, 3e-2)
BATCH = 64
PATIENCE = 10
DECAY = 0.01


@dataclass(frozen=True)
class Budget:
    """What every training may take.

    Args:
        epochs: at most.
        rates: learning rates to choose among.
    """

    epochs: int = 40
    rates: tuple[float, ...] = RATES


def measure(
    head: Head, task: Task, classes: int, seed: int, budget: Budget, advance: Callable[[], None]
) -> list[Mapping[str, Any]]:
    """A row for every learning rate, and one for the test part with the weights whose validation loss is least.

    Split and weights are those of the seed, and so are the images that choose: nothing that is tested chooses.
    """
    rows, models = [], []
    for rate in budget.rates:
        model, row = _train(head, task, classes, seed, rate, budget.epochs)
        models.append(model)
        rows.append(row)
        advance()
    best = min(range(len(rows)), key=lambda index: rows[index]["validation_loss"])
    final = rows[best] | {"stage": "final", "test_accuracy": accuracy(models[best], task.test)}
    return [*rows, final]


def _train(
    head: Head, task: Task, classes: int, seed: int, rate: float, epochs: int
) -> tuple[nn.Module, dict[str, Any]]:
    model = network(head, task.train[0].shape[1], classes, seed)
    outcome = fit(
        model,
        task.train,
        task.validation,
        optimizer=lambda parameters: AdamW(parameters, lr=rate, weight_decay=DECAY),
        loss=cross_entropy,
        epochs=epochs,
        batch_size=BATCH,
        patience=PATIENCE,
        seed=seed,
        progress=False,
    )
    row = {
        "stage": "tuning",
        "lr": rate,
        "engine": ran_on(model),
        "head_parameters": count(model[1]),
        "parameters": count(model),
        "validation_loss": outcome.best_validation_loss,
        "validation_accuracy": accuracy(model, task.validation),
        "epochs": outcome.epochs,
        "stopped": outcome.stopped,
        "seconds": outcome.seconds,
    }
    return model, row


@torch.no_grad()
def accuracy(model: nn.Module, data: Data, batch: int = 1000) -> float:
    """The fraction of images whose highest score is that of their class."""
    training = model.training
    model.eval()
    right = sum(
        (model(x).argmax(-1) == y).sum().item() for x, y in zip(*(part.split(batch) for part in data), strict=True)
    )
    model.train(training)
    return right / len(data[1])
