"""A real series as windows for forecasting, split in time, scaled by what the training part knows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Windows of a series and the value that follows each, standardised.

    Args:
        years: year of each target.
        x: windows `(n, window)`, oldest value first, in units of the scale.
        y: targets `(n, 1)`.
    """

    years: np.ndarray
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Forecasting:
    """Train, validation and test windows in chronological order, and the scale to undo."""

    name: str
    unit: str
    train: Windows
    validation: Windows
    test: Windows
    mean: float
    deviation: float

    def restore(self, values: Tensor) -> Tensor:
        """From standardised values to the unit of the series."""
        return values * self.deviation + self.mean


def sunspots(window: int = 12, parts: tuple[float, float] = (0.6, 0.2)) -> Forecasting:
    """Yearly sunspot numbers 1700-2008: forecast the next year from the last `window` ones.

    The targets are split in time into train, validation and the rest, test. A window of a later part may reach back
    into an earlier one, as it would in use; the scale is the mean and standard deviation of the years up to the last
    training target.

    Source: SILSO data, Royal Observatory of Belgium, as shipped in statsmodels.
    """
    import statsmodels.api as sm

    frame: Any = sm.datasets.sunspots.load_pandas().data
    years, values = frame["YEAR"].to_numpy().astype(int), frame["SUNACTIVITY"].to_numpy(dtype=np.float64)
    targets = len(values) - window
    ends = [window + round(targets * parts[0]), window + round(targets * (parts[0] + parts[1])), len(values)]
    known = values[: ends[0]]
    mean, deviation = known.mean().item(), known.std().item()
    scaled = torch.as_tensor((values - mean) / deviation)
    x, y = scaled.unfold(0, window, 1)[:-1], scaled[window:, None]

    def part(start: int, end: int) -> Windows:
        chosen = slice(start - window, end - window)
        return Windows(years[start:end], x[chosen].contiguous(), y[chosen].contiguous())

    train, validation, test = (part(start, end) for start, end in zip([window, *ends], ends, strict=False))
    return Forecasting("yearly sunspots", "sunspot number", train, validation, test, mean, deviation)
