"""A series is a value: numbers at times, what they are, and where they come from."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Series:
    """Numbers at successive times.

    Args:
        name: as titles show it.
        unit: of the values; of the first feature, if there are several.
        values: `(n,)`; or `(n, features)`, of which the first is to be forecast and the others are only known, each at
            the same time as the first.
        times: `(n,)`, increasing: numbers or `datetime64`.
        source: whose numbers these are, or the formula.
        season: steps after which the series roughly repeats; 1 if it does not.

    Raises:
        ValueError: if shapes do not fit, values are not finite, times do not increase, or the season is not positive.
    """

    name: str
    unit: str
    values: np.ndarray
    times: np.ndarray
    source: str
    season: int = 1

    def __post_init__(self) -> None:
        values, times = np.array(self.values, dtype=np.float64), np.array(self.times)
        if values.ndim not in (1, 2) or 0 in values.shape:
            raise ValueError(f"Argument `values` must have shape (n,) or (n, features), but has shape {values.shape}.")
        if times.shape != values.shape[:1]:
            raise ValueError(f"Argument `times` must have shape {values.shape[:1]}, but has shape {times.shape}.")
        if (strange := ~np.isfinite(values)).any():
            position = tuple(np.argwhere(strange)[0].tolist())
            raise ValueError(
                f"Argument `values` must be finite, but is {values[position]} at index {position}: bridge or cut gaps."
            )
        if not (times[1:] > times[:-1]).all():
            raise ValueError("Argument `times` must increase from each value to the next, but does not: sort them.")
        if self.season < 1:
            raise ValueError(f"Argument `season` must be positive, but is {self.season}.")
        for name, array in (("values", values), ("times", times)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def table(self) -> np.ndarray:
        """The values as `(n, features)`."""
        return self.values.reshape(len(self), -1)


def one_season_before(series: Series, times: np.ndarray) -> np.ndarray:
    """The seasonal-naive forecast of what comes at `times`: the value `season` steps earlier, in the series' unit.

    Args:
        series: where times and values come from.
        times: `(n,)`, all in the series, none in its first season.

    Raises:
        ValueError: if a time is not in the series, or has nothing one season before it.
    """
    positions = np.searchsorted(series.times, times)
    if (positions == len(series)).any() or (series.times[positions] != times).any():
        raise ValueError("Argument `times` must be times of the series, but has others.")
    if (positions < series.season).any():
        raise ValueError(f"Argument `times` must leave out the first season, the first {series.season} times.")
    return series.table[positions - series.season, 0]
