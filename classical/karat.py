r"""Attention whose weights are a learned function of the scores, in place of the softmax."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from classical.basis import Basis, mean_square
from classical.checks import checked_size
from classical.cost import Cost, numbers_in
from classical.fourier import Fourier


class KArAt(nn.Module):
    r"""$\sigma(A)_{kp} = \sum_{s \le r} w_{ps} \sum_q \varphi_{sq}(A_{kq})$ for each head, from scores
    `(*batch, heads, tokens, tokens)` to weights of the same shape.

    $\varphi_{sq} = \sum_m c_{sqm} f_m$ are functions of one number, one for each of the `rank` r and each token q that
    is attended to. The functions of the basis are evaluated once for each score, then one matrix product sums over
    tokens and functions and another one over the rank. The weights may be negative and need not sum to 1.

    Parameters are `coefficients` of shape `(heads, rank, tokens * size)` for the c, and `weight` of shape
    `(heads, tokens, rank)` for the w: with a Fourier basis of degree G heads * tokens * rank * (2 G + 1) numbers.
    (Counts that the publication reports are with 2 G + 3, of which it does not explain the last 2.)

    **At the start** weights have mean 0 and variance 1 / tokens for scores as the basis expects them, so that what the
    attention returns has the variance of the values.

    Args:
        tokens: Length of the sequences, which is fixed because every token has functions of its own.
        heads: Number of heads, each with its own functions.
        rank: The r.
        basis: The functions f; None for `Fourier(3, smoothness=0.0)`.

    Shapes:
        `(*batch, heads, tokens, tokens)` to itself, for any leading shape, none and empty included.

    Raises:
        TypeError: If a size is not an integer.
        ValueError: If a size is not positive, or if scores do not have the shape above.

    Reference:
        S. Maity et al., Kolmogorov-Arnold Attention: Is Learnable Attention Better For Vision Transformers?, 2025,
        arXiv:2503.10632.
    """

    def __init__(
        self,
        tokens: int,
        heads: int,
        rank: int = 12,
        basis: Basis | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.tokens = checked_size("tokens", tokens, at_least=1)
        self.heads = checked_size("heads", heads, at_least=1)
        self.rank = checked_size("rank", rank, at_least=1)
        self.basis = Fourier(3, smoothness=0.0) if basis is None else basis
        shape = (heads, rank, tokens * self.basis.size)
        self.coefficients = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.weight = nn.Parameter(torch.empty(heads, tokens, rank, device=device, dtype=dtype))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        self.basis.reset_parameters(generator)
        like = self.coefficients
        nodes, weights = (part.to(like.device) for part in self.basis.inputs())
        values = self.basis(nodes.to(like.dtype)[:, None].expand(-1, self.tokens))
        decay = self.basis.decay()
        decay = values.new_ones(self.basis.size) if decay is None else decay.to(values)
        squares = mean_square(values * decay, weights).sum(-1, keepdim=True)
        self.coefficients.normal_(generator=generator).mul_((decay * (self.tokens * squares).rsqrt()).flatten())
        self.weight.normal_(generator=generator).mul_((self.rank * self.tokens) ** -0.5)

    def forward(self, scores: Tensor) -> Tensor:
        if scores.shape[-3:] != (self.heads, self.tokens, self.tokens):
            raise ValueError(
                f"Argument `scores` must have shape (*batch, {self.heads}, {self.tokens}, {self.tokens}), because "
                f"every token has functions of its own, but has {tuple(scores.shape)}: keep the sequence length."
            )
        mixed = self.basis(scores).flatten(-2) @ self.coefficients.mT
        return mixed @ self.weight.mT

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by formula."""
        functions, scores = self.tokens * self.basis.size, self.heads * self.tokens**2
        parameters = self.heads * self.rank * (functions + self.tokens)
        parameters += numbers_in(self.basis)
        return Cost(parameters, scores * (self.basis.flops + 2 * self.rank * (self.basis.size + 1)))

    def extra_repr(self) -> str:
        return f"tokens={self.tokens}, heads={self.heads}, rank={self.rank}"
