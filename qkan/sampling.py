"""Drawing tokens from logits."""

import torch
from torch import Tensor

from circuits.checks import is_real


def sample(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Tokens `(*batch)` drawn from `logits (*batch, vocabulary)`.

    Args:
        logits: of all tokens.
        temperature: divides the logits; 0 takes the likeliest token, the first of equal ones.
        top_k: only so many of the likeliest tokens can be drawn; None for all.
        generator: on the device of the logits; None for torch's global one.
    """
    check_sampling(logits.shape[-1], temperature, top_k)
    if temperature == 0:
        return logits.argmax(-1)
    if top_k is None:
        top_k = logits.shape[-1]
    values, tokens = logits.topk(top_k, -1)  # exactly so many, also among equal ones
    # The largest becomes 0 before the division, which overflows for a small temperature.
    exact = torch.promote_types(values.dtype, torch.float32)
    weights = ((values - values[..., :1]).to(exact) / temperature).softmax(-1)
    drawn = torch.multinomial(weights.reshape(-1, top_k), 1, generator=generator)
    return tokens.gather(-1, drawn.reshape(*weights.shape[:-1], 1))[..., 0]


def check_sampling(vocabulary: int, temperature: float, top_k: int | None) -> None:
    """Refuse temperatures that are negative and numbers of tokens that there are not."""
    if not is_real(temperature) or temperature < 0:
        raise ValueError(f"Argument `temperature` must be a number of 0 or more, but is {temperature!r}.")
    if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= vocabulary):
        raise ValueError(
            f"Argument `top_k` must be None or an int from 1 to vocabulary={vocabulary}, but is {top_k!r}."
        )
