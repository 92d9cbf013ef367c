"""The trials of one seed and the test of the best of them."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import torch
from scipy.stats import loguniform
from sklearn.model_selection import ParameterSampler
from torch import nn
from torch.optim import AdamW

from benchmarks.fair.families import BY_NAME as FAMILY
from benchmarks.fair.tasks import BY_NAME as TASK
from benchmarks.fair.tasks import Part, Parts, Task
from benchmarks.provenance import ran_on
from benchmarks.sizes import count
from qkan import fit

RATES = loguniform(1e-3, 1e-1)
DECAYS = (0.0, 1e-3, 1e-1)


@dataclass(frozen=True)
class Budget:
    """What every family may take for a size of a task.

    Args:
        trials: of each seed.
        epochs: of a trial, at most.
        batch: samples of a step.
        patience: epochs without a smaller validation loss after which a trial ends.
    """

    trials: int = 5
    epochs: int = 150
    batch: int = 128
    patience: int = 40

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """That of a row."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class Search:
    """All that a seed does for one family, size and task: trials on its own split, and one look at its test part.

    Args:
        task: key of the task.
        model: name of the family.
        size: parameters at most.
        seed: of the split, the trials, the weights and the batches.
        budget: what it may take.
        folder: of files, where the task needs some.
    """

    task: str
    model: str
    size: int
    seed: int
    budget: Budget
    folder: Path | None = None

    @property
    def row(self) -> dict[str, Any]:
        """What its row is known by."""
        known = {"measured": "errors", "task": self.task, "model": self.model, "size": self.size, "seed": self.seed}
        return known | asdict(self.budget)

    def run(self) -> list[dict[str, Any]]:
        """One row: the trial with the smallest validation loss, and all that is known of it."""
        task, family = TASK[self.task], FAMILY[self.model]
        parts = task.parts(self.seed, self.folder)
        outcomes = []
        for number, trial in enumerate(self.trials()):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self._number(number))
                model = family.build(trial["choice"], task.inputs, task.outputs, self.size)
            outcomes.append((*_trained(model, task, parts, trial, self.budget, self._number(number)), trial, model))
        loss, seconds, best, model = min(outcomes, key=lambda outcome: outcome[0])
        if not math.isfinite(loss):
            known: dict[str, Any] = {"validation_loss": math.inf, "test_error": math.inf}
        else:
            known = {"validation_loss": loss, "test_error": parts.unit * _error(model, task, parts.test)}
        known |= {"choice": dict(best["choice"]), "rate": best["rate"], "decay": best["decay"]}
        known |= {"parameters": count(model), "engine": ran_on(model), "threads": torch.get_num_threads()}
        known |= {"seconds": seconds, "search_seconds": sum(outcome[1] for outcome in outcomes)}
        tried = [outcome[2] | {"validation_loss": outcome[0]} for outcome in outcomes]
        return [self.row | known | {"tried": tried}]

    def trials(self) -> list[dict[str, Any]]:
        """The same number for every family, drawn at random from what has a model so small."""
        task, family = TASK[self.task], FAMILY[self.model]
        candidates = family.candidates(task.inputs, task.outputs, self.size)
        space = {"choice": candidates, "rate": RATES, "decay": DECAYS}
        return [dict(trial) for trial in ParameterSampler(space, self.budget.trials, random_state=self._number(0))]

    def _number(self, trial: int) -> int:
        """A seed that is another one for every search and trial, and the same whenever it is run again."""
        return zlib.crc32(f"{self.task}, {self.model}, {self.size}, {self.seed}, {trial}".encode())


def _trained(
    model: nn.Module, task: Task, parts: Parts, trial: dict[str, Any], budget: Budget, seed: int
) -> tuple[float, float]:
    """The smallest validation loss, with whose weights the model is left, and the seconds that it took."""
    start = perf_counter()
    try:
        outcome = fit(
            model,
            parts.train,
            parts.validation,
            optimizer=lambda parameters: AdamW(parameters, lr=trial["rate"], weight_decay=trial["decay"]),
            loss=task.loss,
            epochs=budget.epochs,
            batch_size=budget.batch,
            patience=budget.patience,
            seed=seed,
            progress=False,
        )
    except FloatingPointError:
        return math.inf, perf_counter() - start
    return outcome.best_validation_loss, perf_counter() - start


@torch.no_grad()
def _error(model: nn.Module, task: Task, part: Part) -> float:
    model.eval()
    return task.error(model(part[0]), part[1]).item()
