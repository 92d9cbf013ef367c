"""From a series to windows of it, split in time and scaled by what is known when training ends."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.series.series import Series


@dataclass(frozen=True)
class Windows:
    """Windows of a series and the value that follows each, both scaled.

    Args:
        times: time of each target.
        x: windows `(n, window)`, oldest value first; `(n, window, features)` for a series of several features.
        y: targets `(n, 1)`.
    """

    times: np.ndarray
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Scale:
    r"""The map $(v - \mathrm{centre}) / \mathrm{spread}$ of a feature, and back.

    Args:
        centre: what becomes 0.
        spread: what one unit of scaled values is.
    """

    centre: float
    spread: float

    def restore(self, values: Tensor) -> Tensor:
        """From scaled values to the unit of the series."""
        return values * self.spread + self.centre


def standardise(values: np.ndarray) -> Scale:
    """Mean 0 and standard deviation 1."""
    return Scale(values.mean().item(), values.std().item())


def min_max(values: np.ndarray, low: float = -1.0, high: float = 1.0) -> Scale:
    """Values that fill the interval from `low` to `high`; later values may leave it."""
    spread = (values.max() - values.min()).item() / (high - low)
    return Scale(values.min().item() - low * spread, spread)


@dataclass(frozen=True)
class Forecasting:
    """Train, validation and test windows in chronological order, and the scale of the targets to undo."""

    name: str
    unit: str
    train: Windows
    validation: Windows
    test: Windows
    scale: Scale

    def restore(self, values: Tensor) -> Tensor:
        """From scaled values to the unit of the series."""
        return self.scale.restore(values)


def forecasting(
    series: Series,
    window: int,
    parts: tuple[float, float] = (0.6, 0.2),
    scaler: Callable[[np.ndarray], Scale] = standardise,
) -> Forecasting:
    """Forecast the next value of a series from its last `window` ones.

    The targets are split in time into train, validation and the rest, test. A window of a later part may reach back
    into an earlier one, as it would in use. The scale of each feature is that of its values up to the last training
    target.

    Args:
        series: of any number of features; the first one is forecast.
        window: steps that a forecast sees.
        parts: fractions of the targets for training and for validation.
        scaler: from the training values of a feature `(n,)` to its scale: `standardise`, `min_max`, or another one.

    Raises:
        ValueError: if the window or the parts leave a part empty, or a feature is constant while training.
    """
    ends = _ends(len(series), window, parts)
    scales = [_scale(series, feature, ends[0], scaler) for feature in range(series.table.shape[1])]
    scaled = np.stack([(series.table[:, i] - scale.centre) / scale.spread for i, scale in enumerate(scales)], axis=-1)
    table = torch.as_tensor(scaled)
    x, y = table.unfold(0, window, 1)[:-1].mT, table[window:, :1]
    if series.values.ndim == 1:
        x = x[..., 0]

    def part(start: int, end: int) -> Windows:
        chosen = slice(start - window, end - window)
        return Windows(series.times[start:end], x[chosen].contiguous(), y[chosen].contiguous())

    train, validation, test = (part(start, end) for start, end in zip([window, *ends], ends, strict=False))
    return Forecasting(series.name, series.unit, train, validation, test, scales[0])


def _ends(length: int, window: int, parts: tuple[float, float]) -> list[int]:
    """Where the three parts end."""
    if not 1 <= window < length:
        raise ValueError(f"Argument `window` must be from 1 to {length - 1}, less than the series, but is {window}.")
    targets = length - window
    ends = [window + round(targets * parts[0]), window + round(targets * (parts[0] + parts[1])), length]
    if not window < ends[0] < ends[1] < ends[2]:
        raise ValueError(
            f"Argument `parts` must leave targets for training, validation and test, but is {parts} of {targets}."
        )
    return ends


def _scale(series: Series, feature: int, end: int, scaler: Callable[[np.ndarray], Scale]) -> Scale:
    scale = scaler(series.table[:end, feature])
    if not scale.spread > 0:
        raise ValueError(f"Feature {feature} of {series.name} must vary in the training part, but is constant there.")
    return scale
