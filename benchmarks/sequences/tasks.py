"""What is forecast: the next value of a series from a window of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from torch import Tensor

from benchmarks.series import (
    Forecasting,
    Series,
    Windows,
    bessel_j2,
    damped_pendulum,
    forecasting,
    mauna_loa,
    milan,
    min_max,
    narma,
    one_season_before,
    sunspots,
    urban_traffic,
)

SQUARE = 5060
"""A square of Milan's grid in the middle of the town."""


@dataclass(frozen=True)
class Task:
    """A series and how it is cut.

    Args:
        key: its name in rows.
        title: as tables show it.
        series: makes it.
        window: steps that a forecast sees.
    """

    key: str
    title: str
    series: Callable[[], Series]
    window: int


PARTS = (0.54, 0.13)
"""Training and validation, together the first 67 %, as in the papers; what follows is for the test."""

TASKS = {
    task.key: task
    for task in (
        Task("pendulum", "damped pendulum", damped_pendulum, 4),
        Task("bessel", "Bessel J2", bessel_j2, 4),
        Task("sunspots", "yearly sunspots", sunspots, 12),
        Task("co2", "weekly CO2", mauna_loa, 8),
        Task("narma5", "NARMA-5", lambda: narma(5, 600), 5),
        Task("narma10", "NARMA-10", lambda: narma(10, 600), 10),
        Task("traffic", "synthetic urban traffic", urban_traffic, 24),
    )
}


def task(key: str, folder: Path | None) -> Task:
    """The task of that key; "milan" is the calls and messages of a square, from files in `folder`."""
    if key != "milan":
        return TASKS[key]
    assert folder is not None
    return Task("milan", f"Milan, internet in square {SQUARE}", lambda: milan(folder, [SQUARE])[SQUARE], 24)


@cache
def data(key: str, folder: Path | None = None) -> tuple[Series, Forecasting]:
    """Series and windows of a task, `x (n, window, features)`; the training part fills [-1, 1]."""
    chosen = task(key, folder)
    series = chosen.series()
    return series, forecasting(series, chosen.window, PARTS, min_max)


def inputs(windows: Windows) -> Tensor:
    """Windows as `(n, window, features)`."""
    return windows.x if windows.x.ndim == 3 else windows.x[..., None]


def errors(forecast: Tensor, windows: Windows, known: Forecasting) -> dict[str, float]:
    """Mean squared error of scaled values, mean absolute error in the unit of the series, and R2."""
    residual = forecast - windows.y
    return {
        "mse": residual.square().mean().item(),
        "mae": residual.abs().mean().item() * known.scale.spread,
        "r2": 1 - (residual.square().mean() / windows.y.var(unbiased=False)).item(),
    }


def naive(key: str, folder: Path | None = None) -> dict[str, dict[str, float]]:
    """Errors on the test part of what needs no training: the last value again, and the value one season before."""
    series, known = data(key, folder)
    last = inputs(known.test)[:, -1, :1]
    before = one_season_before(series, known.test.times)
    scaled = (np.asarray(before)[:, None] - known.scale.centre) / known.scale.spread
    forecasts = {"last value": last, "season before": last.new_tensor(scaled)}
    return {name: errors(forecast, known.test, known) for name, forecast in forecasts.items()}
