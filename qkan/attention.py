r"""Causal attention with rotary positions, and the memory that lets it read a sequence part by part."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_SLOWEST = 10_000.0
"""Pairs of a head turn by 1 down to 1 / 10000 radian a position."""


class Memory:
    """The keys and values that an attention has computed, `(*batch, heads, time, size)`; its length is the time."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def __len__(self) -> int:
        return 0 if self.keys is None else self.keys.shape[-2]

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, these included."""
        if self.keys is not None and self.values is not None:
            if self.keys.shape[:-2] != keys.shape[:-2]:
                batches = tuple(self.keys.shape[:-3]), tuple(keys.shape[:-3])
                raise ValueError(f"The cache is of a batch {batches[0]}, the tokens of {batches[1]}: use a new cache.")
            keys, values = torch.cat([self.keys, keys], -2), torch.cat([self.values, values], -2)
        self.keys, self.values = keys, values
        return keys, values


class Attention(nn.Module):
    r"""$\mathrm{softmax}(q k^T / \sqrt{d}) v$ of every head over what is not later, `(*batch, time, width)` to itself.

    Queries and keys are rotated by their positions, so that products depend on the difference of positions only.

    Args:
        width: of input and output.
        heads: number of heads; twice it divides the width.
        dropout: probability of leaving out a weight in training.

    Reference: Vaswani et al., Attention is all you need, 2017, arXiv:1706.03762; Su et al., RoFormer, 2021,
    arXiv:2104.09864.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], memory: Memory | None = None) -> Tensor:
        """Attention of `x (*batch, time, width)` to itself, and to the memory if there is one, which it extends."""
        parts = self.inputs(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        queries, keys, values = (part.transpose(-3, -2) for part in parts)
        queries, keys = rotated(queries, turn), rotated(keys, turn)
        if memory is not None:
            keys, values = memory.extend(keys, values)
        time, seen = queries.shape[-2], keys.shape[-2]
        y = functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=_earlier(time, seen, x.device) if 1 < time < seen else None,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=time == seen,
        )
        return self.output(y.transpose(-3, -2).flatten(-2))


def rotation(start: int, time: int, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines `(time, size / 2)` of the positions from `start`, for heads of that size, like `like`."""
    exact = torch.promote_types(like.dtype, torch.float32)
    frequency = _SLOWEST ** (-torch.arange(0, size, 2, device=like.device, dtype=exact) / size)
    angle = torch.outer(torch.arange(start, start + time, device=like.device, dtype=exact), frequency)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotated(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """`x (*batch, time, size)` with entry j of its first half and of its second turned as a pair by the angle j."""
    (cos, sin), (first, second) = turn, x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def _earlier(time: int, seen: int, device: torch.device) -> Tensor:
    """Which of the `seen` keys are not later than each of the last `time` of them."""
    return torch.ones(time, seen, dtype=torch.bool, device=device).tril(seen - time)
