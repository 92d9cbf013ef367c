"""A SYNTHETIC stand-in for the traffic of a cell of a city's network, for where there are no files of a real one."""

import math

import numpy as np

from benchmarks.series.series import Series

WEEKEND, ROUGHNESS, MEMORY = 0.65, 0.08, 0.7
"""Level of Saturdays and Sundays, deviation of the noise's logarithm, and its correlation from hour to hour."""

BURSTS_A_WEEK, BURST_HOURS = 2.0, 2.0


def urban_traffic(seed: int = 0, days: int = 56, minutes: int = 60) -> Series:
    r"""Synthetic urban traffic, not measured anywhere: rhythms of day and week, noise, and bursts.

    $$y_t = 100\, d(h)\, w\, e^{\sigma n_t} + \sum_{k:\, t_k \le t} a_k e^{-(t - t_k) / \tau}$$

    - day: $d(h) = 1 + 0.6 \cos(2\pi (h - 16) / 24) + 0.15 \cos(4\pi (h - 10) / 24)$ at hour $h$;
    - week: $w$ is 1, and 0.65 on Saturdays and Sundays;
    - noise: $n$ is autoregressive of order 1 with variance 1 and correlation 0.7 between hours, $\sigma = 0.08$;
    - bursts, such as a concert: 2 a week on average at times $t_k$ that are uniform, their heights $a_k$ uniform on
      [30, 120], gone with $\tau = 2$ hours.

    Args:
        seed: of noise and bursts.
        days: from Monday, 1 January 2024.
        minutes: of a step; a divisor of 60.

    Raises:
        ValueError: if there are no days or the minutes do not divide an hour.
    """
    if days < 1:
        raise ValueError(f"Argument `days` must be positive, but is {days}.")
    if minutes < 1 or 60 % minutes:
        raise ValueError(f"Argument `minutes` must divide 60, but is {minutes}.")
    random = np.random.default_rng(seed)
    hours = np.arange(days * 24 * 60 // minutes) * (minutes / 60)
    noise = np.exp(ROUGHNESS * _noise(random, len(hours), MEMORY ** (minutes / 60)))
    values = 100 * rhythm(hours) * noise + _bursts(random, hours, 24 * days)
    times = np.datetime64("2024-01-01T00:00") + np.arange(len(hours)) * np.timedelta64(minutes, "m")
    source = f"SYNTHETIC, not measured: rhythms of day and week, noise and bursts, seed {seed}"
    return Series("synthetic urban traffic", "activity", values, times, source, season=7 * 24 * 60 // minutes)


def rhythm(hours: np.ndarray) -> np.ndarray:
    """d(h) w at hours since a Monday's midnight."""
    turn = 2 * math.pi / 24
    day = 1 + 0.6 * np.cos(turn * (hours - 16)) + 0.15 * np.cos(2 * turn * (hours - 10))
    return day * np.where(hours // 24 % 7 < 5, 1.0, WEEKEND)


def _noise(random: np.random.Generator, size: int, correlation: float) -> np.ndarray:
    """An autoregressive sequence of order 1 with variance 1."""
    noise = random.standard_normal(size)
    for t in range(1, size):
        noise[t] = correlation * noise[t - 1] + math.sqrt(1 - correlation**2) * noise[t]
    return noise


def _bursts(random: np.random.Generator, hours: np.ndarray, span: float) -> np.ndarray:
    count = random.poisson(BURSTS_A_WEEK * span / (7 * 24))
    starts, heights = random.uniform(0, span, count), random.uniform(30, 120, count)
    since = hours[:, None] - starts
    return (heights * np.where(since < 0, 0.0, np.exp(-np.maximum(since, 0) / BURST_HOURS))).sum(-1)
