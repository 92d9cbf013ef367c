r"""How well a language model predicts: nats per token, perplexity, bits per character."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def next_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    r"""$-\frac{1}{N} \sum_t \ln p(\mathrm{token}_{t+1} | \mathrm{logits}_t)$, the mean over $N$ predictions, in nats.

    The shift happens here: `tokens` are what the logits were computed from. The logits of the last position predict a
    token that nobody has seen, and the first token is predicted by nobody, so T tokens make T - 1 predictions.

    Args:
        logits: `(*batch, time, vocabulary)`.
        tokens: `(*batch, time)`, ints of any kind, at least two along time.

    >>> tokens = torch.tensor([2, 0, 1])
    >>> sure = 100.0 * functional.one_hot(torch.tensor([0, 1, 2]), 3)
    >>> next_token_loss(sure, tokens)
    tensor(0.)
    """
    if logits.shape[:-1] != tokens.shape or tokens.shape[-1:] < (2,):
        raise ValueError(
            "Arguments `logits` and `tokens` must have shapes (*batch, time, vocabulary) and (*batch, time) with "
            f"time >= 2, but have {tuple(logits.shape)} and {tuple(tokens.shape)}."
        )
    if tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool:
        raise TypeError(f"Argument `tokens` must be a tensor of ints, but is {tokens.dtype}: call .long() on it.")
    return functional.cross_entropy(logits[..., :-1, :].flatten(0, -2), tokens[..., 1:].flatten().long())


def perplexity(nats: float) -> float:
    r"""$e^{\mathrm{nats}}$ of a mean loss in nats per token: as uncertain as among so many equally likely tokens.

    >>> perplexity(0.0)
    1.0
    """
    return math.exp(nats)


def bits_per_character(nats: float, tokens: int = 1, characters: int = 1) -> float:
    r"""$\frac{\mathrm{nats}}{\ln 2} \cdot \frac{\mathrm{tokens}}{\mathrm{characters}}$, which compares tokenisations.

    Args:
        nats: mean loss in nats per token.
        tokens: number of tokens of a text.
        characters: number of characters of the same text.

    >>> bits_per_character(math.log(2), tokens=1, characters=4)
    0.25
    """
    return nats / math.log(2) * tokens / characters
