r"""Measuring S times: values become means of S signs, with the standard error $\sqrt{(1-z^2)/S}$."""

from typing import Any

import torch
from torch import Tensor


def sample(values: Tensor, shots: Tensor | int, generator: torch.Generator | None = None) -> Tensor:
    """The mean of `shots` measurements of +1 and -1 whose expectation values are `values`.

    Args:
        values: anywhere from -1 to 1, up to rounding.
        shots: how many, a number or a tensor that broadcasts.
        generator: of the random numbers; None for torch's global one.
    """
    count = torch.as_tensor(shots, dtype=values.dtype, device=values.device).expand(values.shape)
    ups = torch.binomial(count, ((1 + values) / 2).clamp(0, 1), generator=generator)
    return 2 * ups / count - 1


def standard_error(values: Tensor, shots: Tensor | int) -> Tensor:
    r"""The standard error of means of S signs, $\sqrt{(1 - \tilde z^2) / S}$ with $\tilde z = z S / (S + 2)$.

    That is the rule of succession: S equal outcomes say that z is near 1, not that it is known without an error.
    """
    return sign_variance(values, torch.as_tensor(shots, dtype=values.dtype, device=values.device)).sqrt()


def sign_variance(mean: Any, shots: Any) -> Any:
    """The square of `standard_error`, for numbers and arrays of any kind."""
    return (1 - (mean * shots / (shots + 2)) ** 2) / shots


def shown(shots: Tensor | int | None) -> str:
    """For `repr`."""
    return f"tensor of shape {tuple(shots.shape)}" if isinstance(shots, Tensor) else str(shots)
