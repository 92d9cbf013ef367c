"""Nonlinear autoregressive moving averages: what recurrent networks have been tried on since 2000."""

import numpy as np

from benchmarks.series.series import Series

WASHOUT = 200
"""Steps from rest before the series begins."""

RUNAWAY = 1.5
"""Outputs stay below 1.2 (of a million steps that did not diverge); beyond they grow without bound."""

ATTEMPTS = 100


def narma(order: int = 10, size: int = 1000, seed: int = 0) -> Series:
    r"""The output y of NARMA of order 5 or 10, beside the input u that drives it: features (y, u).

    $$y_{t+1} = 0.3 y_t + 0.05 y_t \sum_{i=0}^{n-1} y_{t-i} + 1.5 u_{t-n+1} u_t + 0.1$$

    with u uniform on [0, 0.5] and `order` n. A window of n steps that ends at t determines $y_{t+1}$. Order 10 diverges
    for some inputs; then they are drawn anew, so a seed stands for the first inputs of its generator that do not.

    Args:
        order: 5 or 10.
        size: of the series, after 200 steps from rest that are dropped.
        seed: of the input.

    Raises:
        ValueError: if the order is another one or the size is not positive.
        FloatingPointError: if 100 inputs in a row diverge, as long ones may.

    Reference: A. F. Atiya and A. G. Parlos, New results on recurrent network training, IEEE Transactions on Neural
    Networks 11, 697 (2000).
    """
    if order not in (5, 10):
        raise ValueError(f"Argument `order` must be 5 or 10, but is {order!r}.")
    if size < 1:
        raise ValueError(f"Argument `size` must be positive, but is {size}.")
    random = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        u = random.uniform(0, 0.5, WASHOUT + size)
        y = narma_output(u, order)
        if np.abs(y).max() < RUNAWAY:
            source = f"NARMA-{order}, inputs uniform on [0, 0.5], seed {seed}"
            return Series(f"NARMA-{order}", "y", np.stack([y, u], axis=-1)[WASHOUT:], np.arange(size), source)
    raise FloatingPointError(
        f"NARMA-{order} diverged for {ATTEMPTS} inputs of {size} steps in a row, seed {seed}: ask for fewer steps."
    )


def narma_output(u: np.ndarray, order: int) -> np.ndarray:
    """The output of the recurrence for the input `u (n,)`, from rest; infinite from where it passes `RUNAWAY`."""
    y = np.zeros(len(u))
    for t in range(order - 1, len(u) - 1):
        past = y[t - order + 1 : t + 1].sum()
        y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * past + 1.5 * u[t - order + 1] * u[t] + 0.1
        if y[t + 1] > RUNAWAY:
            y[t + 1 :] = np.inf
            break
    return y
