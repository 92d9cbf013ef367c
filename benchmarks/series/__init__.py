"""Time series as values, and the one way from a series to what models are trained and tested on.

>>> data = forecasting(sunspots(), window=12)
>>> data.train.x.shape, data.test.times[-1].item()
(torch.Size([178, 12]), 2008)
"""

from benchmarks.series.forecasting import Forecasting, Scale, Windows, forecasting, min_max, standardise
from benchmarks.series.milan import milan
from benchmarks.series.narma import narma
from benchmarks.series.physics import bessel_j2, damped_pendulum
from benchmarks.series.records import mauna_loa, sunspots
from benchmarks.series.series import Series, one_season_before
from benchmarks.series.traffic import urban_traffic

__all__ = [
    "Forecasting",
    "Scale",
    "Series",
    "Windows",
    "bessel_j2",
    "damped_pendulum",
    "forecasting",
    "mauna_loa",
    "milan",
    "min_max",
    "narma",
    "one_season_before",
    "standardise",
    "sunspots",
    "urban_traffic",
]
