r"""Low-rank adapters: a linear map that is frozen, and beside it a small trained one, which starts at exactly zero."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from classical.checks import check_features, checked_number, checked_size
from classical.cost import Cost, Costed
from classical.edge import EdgeLayer
from classical.hats import Hats
from classical.recompute import recomputed

FEATURES = 2**20
"""How many numbers of features a `NeRA` has in memory at a time."""


class Adapter(nn.Module, ABC):
    r"""$y = W_0 x + b_0 + s\, U z(x)$ with frozen $W_0, b_0$ and trained $U$, which starts at 0, from `(*batch, in)` to
    `(*batch, out)`.

    A subclass says what $z$ is, from `in` numbers to `rank`. Since $U = 0$ at the start, outputs are those of the
    linear map alone, bit for bit. The linear map is `base`, the same module that was given, with `requires_grad` off;
    `up` of shape `(out, rank)` is the $U$. Parameters have the dtype and the device of its weight.

    Args:
        linear: What is adapted; its parameters are frozen.
        rank: Number of entries of $z$.
        scale: The $s$.
    """

    scale: float | nn.Parameter

    def __init__(self, linear: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        if not isinstance(linear, nn.Linear):
            raise TypeError(f"Argument `linear` must be a torch.nn.Linear, but is a {type(linear).__name__}.")
        self.rank = checked_size("rank", rank, at_least=1)
        self.scale = checked_number("scale", scale, above=-math.inf)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.base = linear.requires_grad_(False)
        self.up = self._parameter(self.out_features, rank)

    @abstractmethod
    def latent(self, x: Tensor) -> Tensor:
        """The $z$, `(*batch, in) -> (*batch, rank)`."""

    @abstractmethod
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw what is trained anew, from `generator` or torch's global one; outputs are the linear map's again."""

    @abstractmethod
    def cost(self) -> Cost:
        """Parameters that are trained, and operations for one sample beside those of the linear map, by formula."""

    def merge(self) -> nn.Linear:
        """One linear map that does the same.

        Raises:
            TypeError: If there is none, since the adapter is not linear.
        """
        raise TypeError(
            f"A {type(self).__name__} is not linear in its input, so no weight does what it does: keep it, or take "
            "LoRA."
        )

    def forward(self, x: Tensor) -> Tensor:
        check_features(x, self.in_features)
        return self.base(x) + functional.linear(self.scale * self.latent(x), self.up)

    def extra_repr(self) -> str:
        scale = self.scale if isinstance(self.scale, float) else "trained"
        return f"{self.in_features}, {self.out_features}, rank={self.rank}, scale={scale}"

    def _parameter(self, *shape: int) -> nn.Parameter:
        like = self.base.weight
        return nn.Parameter(torch.zeros(shape, device=like.device, dtype=like.dtype))

    def _up_cost(self) -> Cost:
        """Of the scale, of the product with $U$, and of adding the result."""
        return Cost(self.up.numel(), self.rank + 2 * self.up.numel() + self.out_features)


class LoRA(Adapter):
    r"""$y = W_0 x + b_0 + s\, U A x$: a linear map whose weight is changed by a matrix of low rank.

    Beside `up` there is `down` of shape `(rank, in)`, the $A$, normal with variance `1 / in` at the start. Both have
    `rank (in + out)` parameters.

    Args:
        linear: What is adapted; its parameters are frozen.
        rank: Rank of the change.
        scale: The $s$, published as $\alpha / \mathrm{rank}$.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If `linear` is no linear map, the rank not an integer, or the scale not a number.
        ValueError: If the rank is too small or the scale not finite.

    >>> LoRA(nn.Linear(3, 4), rank=2)
    LoRA(
      3, 4, rank=2, scale=1.0
      (base): Linear(in_features=3, out_features=4, bias=True)
    )

    Reference:
        E. Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, arXiv:2106.09685.
    """

    def __init__(self, linear: nn.Linear, rank: int = 8, scale: float = 1.0) -> None:
        super().__init__(linear, rank, scale)
        self.down = self._parameter(rank, self.in_features)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        self.down.normal_(0, self.in_features**-0.5, generator=generator)
        self.up.zero_()

    def latent(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.down)

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        """One linear map of weight $W_0 + s U A$, rounded once; it shares no memory with the adapter, and is frozen."""
        linear, weight = self.base, self.base.weight
        exact = torch.promote_types(weight.dtype, torch.float32)
        change = self.scale * (self.up.to(exact) @ self.down.to(exact))
        merged = nn.Linear(
            self.in_features, self.out_features, linear.bias is not None, device="meta", dtype=weight.dtype
        ).to_empty(device=weight.device)
        merged.weight.copy_(weight.to(exact) + change)
        if linear.bias is not None:
            merged.bias.copy_(linear.bias)
        return merged.requires_grad_(False).train(self.training)

    def cost(self) -> Cost:
        return self._up_cost() + Cost(self.down.numel(), 2 * self.down.numel())


class NeRA(Adapter):
    r"""$y = W_0 x + b_0 + s\, U z(x)$ with $z_r(x) = \sum_i \sum_k c_{rik} f_{ik}(x_i)$: a Kolmogorov-Arnold layer of
    piecewise linear functions in the place of LoRA's first matrix.

    The functions are `Hats`: `size` knots for every input, which are trained, and so is $s$. There are
    `in * size * (rank + 1) + in + rank * out + 1` parameters, as many as published. What is different from the
    published form, $\mathrm{relu}(1 - |s_i x_i - t_{ik}|)$:

    - Hats reach from knot to knot, so that they sum to 1. The published ones are 1 wide on each side while knots start
      6/7 apart, so that even a constant is not among the functions, and nothing keeps the knots in order.
    - Beyond the outer knots functions go on as constants. The published ones are 0 there: an input that is far away
      loses the adapter.
    - $U$ is 0 at the start, so that outputs do not change at all; published is a small number in front of a random one.

    **Memory.** The functions of a sample are `size` times as many numbers as its inputs. They are computed for some
    samples at a time, `FEATURES` numbers in all, and again in the backward, so that only the input is kept. That takes
    `torch.utils.checkpoint`, which `torch.func.grad` does not know: batches of fewer numbers go without.

    Args:
        linear: What is adapted; its parameters are frozen.
        rank: Number of outputs of the Kolmogorov-Arnold layer.
        size: Number of knots of each input.
        domain: Where the first and the last knot start.
        scale: Where the $s$ starts.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If `linear` is no linear map, a size not an integer, or a number not a number.
        ValueError: If a size is too small, the domain empty, or a number not finite.

    Reference:
        NeRA, WACV 2026, first of 2024, arXiv:2411.13901.
    """

    def __init__(
        self,
        linear: nn.Linear,
        rank: int = 16,
        size: int = 8,
        domain: tuple[float, float] = (-3.0, 3.0),
        scale: float = 1.0,
    ) -> None:
        super().__init__(linear, rank, scale)
        device, dtype = linear.weight.device, linear.weight.dtype
        hats = Hats(self.in_features, size, domain, device, dtype)
        self.edges = EdgeLayer(self.in_features, rank, hats, device=device, dtype=dtype)
        self._start = float(scale)
        self.scale = self._parameter()
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        self.edges.reset_parameters(generator)
        self.get_parameter("scale").fill_(self._start)
        self.up.zero_()

    def latent(self, x: Tensor) -> Tensor:
        return recomputed(self.edges, x, max(1, FEATURES // (self.in_features * self.edges.basis.size)))

    def cost(self) -> Cost:
        return self._up_cost() + self.edges.cost() + Cost(1, 0)


class KANAdapter(Adapter):
    r"""$y = W_0 x + b_0 + s\, U \psi(A x)$: LoRA with a function between its matrices, of `rank` numbers to as many.

    The function sees `rank` numbers, of variance 1 for inputs of variance 1, where `NeRA` sees all of the inputs: it is
    cheap. $\psi$ may be any module, one number at a time or a Kolmogorov-Arnold layer, a quantum one included.

    Args:
        linear: What is adapted; its parameters are frozen.
        rank: Number of entries of $A x$.
        make: From the rank to $\psi$, a module from `(*batch, rank)` to `(*batch, rank)`; it is brought to the dtype
            and the device of the linear map.
        scale: The $s$.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If `linear` is no linear map, the rank not an integer, the scale not a number, or what is made not a
            module.
        ValueError: If the rank is too small or the scale not finite.

    >>> from classical import FourierKANLayer
    >>> KANAdapter(nn.Linear(64, 64), 4, lambda rank: FourierKANLayer(rank, rank, degree=3)).cost().parameters
    612
    """

    def __init__(self, linear: nn.Linear, rank: int, make: Callable[[int], nn.Module], scale: float = 1.0) -> None:
        super().__init__(linear, rank, scale)
        self.down = self._parameter(rank, self.in_features)
        psi = make(rank)
        if not isinstance(psi, nn.Module):
            raise TypeError(f"Argument `make` must make a torch.nn.Module, but makes {psi!r}.")
        self.psi = psi.to(linear.weight.device, linear.weight.dtype)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        r"""Draw $A$ anew and put $U$ to 0; $\psi$, which others made, stays as it is."""
        self.down.normal_(0, self.in_features**-0.5, generator=generator)
        self.up.zero_()

    def latent(self, x: Tensor) -> Tensor:
        return self.psi(functional.linear(x, self.down))

    def cost(self) -> Cost:
        r"""As `Adapter.cost`.

        Raises:
            TypeError: If $\psi$ does not know its own cost.
        """
        if not isinstance(self.psi, Costed):
            raise TypeError(f"The cost of a {type(self.psi).__name__} is not known: it has no method `cost`.")
        return self._up_cost() + self.psi.cost() + Cost(self.down.numel(), 2 * self.down.numel())
