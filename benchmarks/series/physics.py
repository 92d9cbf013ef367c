"""Series that a formula gives."""

import math

import numpy as np

from benchmarks.series.series import Series

DAMPING, GRAVITY, LENGTH, MASS = 0.15, 9.81, 1.0, 1.0
"""Of the pendulum: kg/s, m/s^2, m, kg."""


def damped_pendulum() -> Series:
    r"""Angular velocity of a damped pendulum, $\ddot\theta = -(b/m) \dot\theta - (g/l) \sin\theta$.

    b = 0.15 kg/s, g = 9.81 m/s^2, l = 1 m, m = 1 kg; it starts at the bottom with 3 rad/s; 240 times from 0 to 20 s.
    One season is a period of the small oscillations it ends with.
    """
    times = np.linspace(0, 20, 240)
    _, velocity = pendulum_motion(times, (0.0, 3.0))
    season = round(2 * math.pi / (math.sqrt(GRAVITY / LENGTH) * times[1]))
    formula = "theta'' = -0.15 theta' - 9.81 sin(theta), theta(0) = 0, theta'(0) = 3"
    return Series("damped pendulum", "rad/s", velocity, times, formula, season)


def pendulum_motion(times: np.ndarray, start: tuple[float, float]) -> np.ndarray:
    """Angle and angular velocity `(2, n)` of the damped pendulum at `times` after the first, where they are `start`."""
    from scipy.integrate import solve_ivp

    def rate(time: float, state: np.ndarray) -> tuple[float, float]:
        angle, velocity = state
        return velocity, -DAMPING / MASS * velocity - GRAVITY / LENGTH * math.sin(angle)

    span = (times[0], times[-1])
    return solve_ivp(rate, span, start, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12 * max(map(abs, start))).y


def bessel_j2() -> Series:
    """The Bessel function J2 at 256 points from 2 to 100; one season is its period far out, 2 pi."""
    from scipy.special import jv

    x = np.linspace(2, 100, 256)
    return Series("Bessel function J2", "J2(x)", jv(2, x), x, "J2(x)", round(2 * math.pi / (x[1] - x[0])))
