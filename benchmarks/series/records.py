"""Series that others have measured, as statsmodels ships them."""

from typing import Any

import numpy as np

from benchmarks.series.series import Series


def sunspots() -> Series:
    """Yearly sunspot numbers 1700-2008; one season is the cycle of 11 years."""
    import statsmodels.api as sm

    frame: Any = sm.datasets.sunspots.load_pandas().data
    years, values = frame["YEAR"].to_numpy().astype(int), frame["SUNACTIVITY"].to_numpy(dtype=np.float64)
    source = "SILSO data, Royal Observatory of Belgium, as shipped in statsmodels"
    return Series("yearly sunspots", "sunspot number", values, years, source, season=11)


def mauna_loa() -> Series:
    """Weekly CO2 at Mauna Loa 1958-2001, in parts per million of dry air; one season is a year of 52 weeks.

    59 weeks without a value, the last in 1985, lie on a straight line between their neighbours in time. Where a series
    is cut into six, two and two tenths there is no gap, so no bridge carries a later value into an earlier part.
    """
    import statsmodels.api as sm

    frame: Any = sm.datasets.co2.load_pandas().data
    times, values = bridged(frame.index.to_numpy().astype("datetime64[D]"), frame["co2"].to_numpy(dtype=np.float64))
    source = "Keeling and Whorf, Scripps Institution of Oceanography, as shipped in statsmodels; gaps interpolated"
    return Series("weekly CO2 at Mauna Loa", "ppm", values, times, source, season=52)


def bridged(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times and values without NaN: cut at both ends, interpolated linearly in time in between."""
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        raise ValueError("Argument `values` must have values, but all are NaN.")
    times, values = times[known[0] : known[-1] + 1], values[known[0] : known[-1] + 1]
    missing = np.isnan(values)
    elapsed = (times - times[0]).astype(np.float64)
    return times, np.where(missing, np.interp(elapsed, elapsed[~missing], values[~missing]), values)
