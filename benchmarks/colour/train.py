"""One matcher and one seed: every learning rate, then the test part once, with what did best on validation."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import nn

from benchmarks.colour.matchers import BY_LEAST_SQUARES, LIGHT, Matcher
from benchmarks.colour.metrics import scores
from benchmarks.colour.task import Pairs, Task
from classical import colour_loss, fine_tune, train_colours

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """What every training may take.

    Args:
        steps: batches of a training.
        batch: pairs of a batch.
        rates: learning rates to choose among.
        tuning_steps: on few pairs of other cameras, as published.
        tuning_rates: learning rates to choose among for those.
    """

    steps: int = 200
    batch: int = 8
    rates: tuple[float, ...] = (2e-3, 6e-3, 2e-2)
    tuning_steps: int = 10
    tuning_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)


def measure(
    matcher: Matcher, task: Task, seed: int, budget: Budget, advance: Callable[[], None]
) -> tuple[list[Row], nn.Module]:
    """A row for every learning rate and one for the test part, and what did best on validation.

    Weights and batches are those of the seed, and so are the pairs that choose: nothing that is tested chooses.
    """
    trials = []
    for rate in budget.rates if matcher.trained else (None,):
        trials.append(_trained(matcher, task, seed, rate, budget) if rate else _fitted(matcher, task))
        advance()
    return _chosen(trials, task)


def measure_few(light: nn.Module, task: Task, budget: Budget) -> list[Row]:
    """The same for a second couple of cameras of which there are few pairs, with a model of the first couple.

    The model is judged as it is and after its tuning, beside least squares on the same few pairs.
    """
    as_is = [(light, _row(light, task.validation, None, 0.0))]
    tuned = [_tuned(light, task, rate, budget) for rate in budget.tuning_rates]
    rows: list[Row] = [{"model": f"{LIGHT.name}, as it is", **row} for row in _chosen(as_is, task)[0]]
    rows += [{"model": f"{LIGHT.name}, tuned", **row} for row in _chosen(tuned, task)[0]]
    for matcher in BY_LEAST_SQUARES:
        rows += [{"model": matcher.name, **row} for row in _chosen([_fitted(matcher, task)], task)[0]]
    return rows


Trial = tuple[nn.Module, dict[str, Any]]


def _trained(matcher: Matcher, task: Task, seed: int, rate: float, budget: Budget) -> Trial:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = matcher.make(task.train)
    start, batches = perf_counter(), torch.Generator().manual_seed(seed)
    train_colours(model, *task.train, steps=budget.steps, batch_size=budget.batch, lr=rate, generator=batches)
    return model, _row(model, task.validation, rate, perf_counter() - start)


def _fitted(matcher: Matcher, task: Task) -> Trial:
    start = perf_counter()
    model = matcher.make(task.train)
    return model, _row(model, task.validation, None, perf_counter() - start)


def _tuned(light: nn.Module, task: Task, rate: float, budget: Budget) -> Trial:
    start = perf_counter()
    model = fine_tune(light, *task.train, steps=budget.tuning_steps, lr=rate)
    return model, _row(model, task.validation, rate, perf_counter() - start)


@torch.no_grad()
def _row(model: nn.Module, validation: Pairs, rate: float | None, seconds: float) -> dict[str, Any]:
    return {
        "stage": "tuning",
        "lr": rate,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "validation_loss": colour_loss(model(validation[0]), validation[1]).item(),
        "seconds": seconds,
    }


def _chosen(trials: list[Trial], task: Task) -> tuple[list[Row], nn.Module]:
    best, row = min(trials, key=lambda trial: _finite(trial[1]["validation_loss"]))
    return [*(row for _, row in trials), row | {"stage": "final", **scores(best, task.test)}], best


def _finite(loss: float) -> float:
    """What compares: nothing is less than NaN, so that a training that diverged first would win."""
    return loss if math.isfinite(loss) else math.inf
