"""Models of scikit-learn on tables, with as many trials: linear ones and boosted trees, whose size nobody limits."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import loguniform
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import ParameterSampler
from torch import Tensor

from benchmarks.fair.tasks import BY_NAME as TASK
from benchmarks.fair.tasks import Part, Task
from benchmarks.fair.training import Budget

LINEAR, BOOSTED = "linear", "gradient boosting"

TREES: Mapping[str, Any] = {
    "learning_rate": loguniform(0.02, 0.3),
    "n_estimators": (50, 100, 200, 400),
    "max_depth": (1, 2, 3, 4),
    "subsample": (0.7, 1.0),
}

LOSSES = {"loss": ("squared_error", "absolute_error")}
"""Of boosted trees for numbers: networks, too, learn by the error that is told."""

Make = Callable[..., Any]

MODELS: Mapping[tuple[str, bool], tuple[Make, Mapping[str, Any]]] = {
    (LINEAR, False): (lambda alpha, seed: Ridge(alpha), {"alpha": loguniform(1e-3, 1e3)}),
    (LINEAR, True): (lambda C, seed: LogisticRegression(C=C, max_iter=5000), {"C": loguniform(1e-3, 1e3)}),
    (BOOSTED, False): (
        lambda seed, **chosen: GradientBoostingRegressor(**chosen, random_state=seed),
        {**TREES, **LOSSES},
    ),
    (BOOSTED, True): (lambda seed, **chosen: GradientBoostingClassifier(**chosen, random_state=seed), TREES),
}
"""By name, and whether it tells classes: how a model is made, and what may be chosen."""

NAMES = (LINEAR, BOOSTED)


@dataclass(frozen=True)
class Yardstick:
    """All that a seed does with a model of scikit-learn: trials on its own split, and one look at its test part.

    Args:
        task: key of the task.
        model: its name.
        seed: of the split and the trials.
        budget: whose number of trials it has.
        folder: of files, where the task needs some.
    """

    task: str
    model: str
    seed: int
    budget: Budget
    folder: Path | None = None

    @property
    def row(self) -> dict[str, Any]:
        """What its row is known by."""
        known = {"measured": "errors", "task": self.task, "model": self.model, "size": None, "seed": self.seed}
        return known | asdict(self.budget)

    def run(self) -> list[dict[str, Any]]:
        """One row: the trial with the smallest validation loss."""
        task = TASK[self.task]
        make, space = MODELS[self.model, task.outputs > 1]
        parts, number = task.parts(self.seed, self.folder), zlib.crc32(f"{self.task}, {self.seed}".encode())
        outcomes = []
        for choice in ParameterSampler(space, self.budget.trials, random_state=number):
            model = make(seed=number % 2**31, **choice)
            model.fit(parts.train[0].numpy(), parts.train[1].ravel().numpy())
            outcomes.append((task.loss(*_answered(model, task, parts.validation)).item(), choice, model))
        loss, choice, model = min(outcomes, key=lambda outcome: outcome[0])
        error = parts.unit * task.error(*_answered(model, task, parts.test)).item()
        chosen = {name: float(value) if isinstance(value, float) else value for name, value in choice.items()}
        return [self.row | {"choice": chosen, "validation_loss": loss, "test_error": error, "engine": "scikit-learn"}]


def _answered(model: Any, task: Task, part: Part) -> tuple[Tensor, Tensor]:
    x, targets = part
    if task.outputs == 1:
        return torch.as_tensor(model.predict(x.numpy()))[:, None], targets
    # Classes that are missing in training cannot occur: every part has a fraction of each.
    return torch.as_tensor(np.clip(model.predict_log_proba(x.numpy()), -700, None)), targets
