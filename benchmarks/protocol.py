"""The protocol for every forecasting model: equal trials on validation, then fresh seeds, the test part once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from statistics import mean

import torch
from torch import Tensor, nn

from benchmarks.provenance import ran_on
from benchmarks.report import Results
from benchmarks.series import Forecasting, Windows
from benchmarks.sizes import count
from qkan import fit

RATES = (3e-3, 1e-2, 3e-2, 1e-1)
PATIENCE = 60
TUNING_SEEDS = (1000, 1001)
"""Each trial is trained with both; not among the seeds that are reported."""


@dataclass(frozen=True)
class Family:
    """A kind of model, and the variants it is tuned over.

    Args:
        name: as tables show it.
        variants: label to what builds the model from the window's length, as many as every other family has; the model
            is float64 and maps `(batch, window)` to `(batch, 1)`.
    """

    name: str
    variants: Mapping[str, Callable[[int], nn.Module]]

    @property
    def trials(self) -> list[tuple[str, float]]:
        """Pairs of variant and learning rate."""
        return list(product(self.variants, RATES))


def tune(
    family: Family, data: Forecasting, epochs: int, results: Results, advance: Callable[[], None]
) -> tuple[str, float]:
    """The trial, variant and learning rate, with the smallest mean validation error."""
    errors: dict[tuple[str, float], float] = {}
    for variant, rate in family.trials:
        for seed in TUNING_SEEDS:
            _train(family, variant, rate, seed, data, epochs, results, stage="tuning")
        rows = results.where(stage="tuning", model=family.name, variant=variant, lr=rate)
        errors[variant, rate] = mean(row["validation_rmse"] for row in rows)
        advance()
    return min(errors, key=errors.__getitem__)


def train(
    family: Family, variant: str, rate: float, seed: int, data: Forecasting, epochs: int, results: Results
) -> nn.Module:
    """Train one seed of the chosen trial and look at the test part."""
    return _train(family, variant, rate, seed, data, epochs, results, stage="final")


def _train(
    family: Family, variant: str, rate: float, seed: int, data: Forecasting, epochs: int, results: Results, stage: str
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = family.variants[variant](data.train.x.shape[-1])
    outcome = fit(
        model,
        (data.train.x, data.train.y),
        (data.validation.x, data.validation.y),
        lr=rate,
        epochs=epochs,
        patience=PATIENCE,
        seed=seed,
        progress=False,
    )
    test = {"test_rmse": rmse(model, data.test, data)} if stage == "final" else {}
    results.add(
        stage=stage,
        model=family.name,
        variant=variant,
        lr=rate,
        seed=seed,
        engine=ran_on(model),
        parameters=count(model),
        validation_rmse=rmse(model, data.validation, data),
        **test,
        epochs=outcome.epochs,
        stopped=outcome.stopped,
        seconds=outcome.seconds,
    )
    return model


@torch.no_grad()
def predict(model: Callable[[Tensor], Tensor], windows: Windows, data: Forecasting) -> Tensor:
    """Forecasts in the unit of the series, `(n,)`."""
    return data.restore(model(windows.x))[:, 0]


def rmse(model: Callable[[Tensor], Tensor], windows: Windows, data: Forecasting) -> float:
    """Root mean squared error in the unit of the series."""
    truth = data.restore(windows.y)[:, 0]
    return (predict(model, windows, data) - truth).square().mean().sqrt().item()
