"""One training of one model, and what is known of it afterwards."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from benchmarks.provenance import ran_on
from benchmarks.sequences.families import families
from benchmarks.sequences.tasks import data, errors, inputs, task
from benchmarks.sizes import build, count, fitting
from qkan import fit


@dataclass(frozen=True)
class Setting:
    """How a model is trained.

    Args:
        epochs: of Adam, or steps of L-BFGS of up to 20 iterations each.
        rate: where the learning rate of Adam starts, falling to 0 along a cosine; None for L-BFGS on the full batch.
        batch: windows of a step of Adam.
    """

    epochs: int
    rate: float | None = None
    batch: int = 16

    @property
    def label(self) -> str:
        """As tables show it."""
        if self.rate is None:
            return f"L-BFGS, {self.epochs} steps"
        batches = "" if self.batch == 16 else f" in batches of {self.batch}"
        return f"Adam {self.rate:g}{batches}, {self.epochs} epochs"


@dataclass(frozen=True)
class Training:
    """What makes one row.

    Args:
        stage: "tuning" or "final", of which only the latter looks at the test part.
        study: what it is a part of.
        task: key of the series.
        model: name of the family.
        size: parameters at most.
        variant: of the family.
        setting: how it is trained.
        seed: of weights and batches.
        folder: of files, where the task needs some.
        forecast: whether the row has the forecasts of the test part.
    """

    stage: str
    study: str
    task: str
    model: str
    size: int
    variant: str
    setting: Setting
    seed: int
    folder: Path | None = None
    forecast: bool = False

    @property
    def row(self) -> dict[str, Any]:
        """What a row is known by."""
        known = {key: value for key, value in asdict(self).items() if key not in ("setting", "folder", "forecast")}
        return known | {"setting": self.setting.label}

    def run(self) -> list[dict[str, Any]]:
        """Train, and say what came of it in one row."""
        return [self._trained()]

    def _trained(self) -> dict[str, Any]:
        _, known = data(self.task, self.folder)
        train, validation = ((inputs(part), part.y) for part in (known.train, known.validation))
        model = self._build(train[0].shape[-1])
        row = self.row | {"engine": ran_on(model), "parameters": count(model)}
        try:
            row |= {"seconds": self._fitted(model, train, validation)}
        except FloatingPointError:
            diverged = {"seconds": None, "validation_mse": math.inf, "test_mse": math.inf, "test_mae": math.inf}
            return row | diverged | {"test_r2": -math.inf}
        with torch.no_grad():
            row |= {"validation_mse": errors(model(validation[0]), known.validation, known)["mse"]}
            if self.stage == "final":
                forecast = model(inputs(known.test))
                row |= {f"test_{name}": value for name, value in errors(forecast, known.test, known).items()}
                row |= {"forecast": known.restore(forecast)[:, 0].tolist()} if self.forecast else {}
        return row | {"engine": ran_on(model)}

    def _build(self, features: int) -> nn.Module:
        family = families(task(self.task, self.folder).window)[self.model]
        # Before the seed is set: it tries sizes, which draws weights.
        make = fitting(family, features, self.size)[self.variant]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return build(make, features, self.size)

    def _fitted(self, model: nn.Module, train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor]) -> float:
        """The seconds that it took."""
        if self.setting.rate is None:
            options: dict[str, Any] = {"optimizer": "lbfgs"}
        else:
            steps = self.setting.epochs * math.ceil(len(train[0]) / self.setting.batch)
            options = {"optimizer": falling(self.setting.rate, steps), "batch_size": self.setting.batch}
        return fit(
            model, train, validation, epochs=self.setting.epochs, seed=self.seed, progress=False, **options
        ).seconds


def falling(rate: float, steps: int) -> Callable[[list[nn.Parameter]], Optimizer]:
    """Adam whose rate falls from `rate` to 0 within so many steps, along a cosine."""

    def make(parameters: list[nn.Parameter]) -> Optimizer:
        optimizer = Adam(parameters, lr=rate)
        schedule = CosineAnnealingLR(optimizer, steps)
        optimizer.register_step_post_hook(lambda *_: schedule.step())
        return optimizer

    return make
