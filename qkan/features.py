"""Features of the hidden state, for gates that are expansions in it: written quickly, and differentiated by hand."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from circuits.bases import Basis, Interval, constants, signs

Base = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Features:
    """What is made of u.

    Args:
        basis: of the features r.
        interval: that the basis is for.
        base: an elementwise function beside it, or None.
    """

    basis: Basis
    interval: Interval
    base: Base | None

    def __call__(self, u: Tensor) -> Tensor:
        """All features and the base function of `u (*batch, u)`, `(*batch, size * u)`: the plain twin of `quick`."""
        features = self.basis.features(self.interval(u))
        if self.base is not None:
            features = torch.cat([features, self.base(u)[..., None, :]], -2)
        return features.flatten(-2)

    def quick(self, out: Tensor) -> Callable[[Tensor], None]:
        """What writes to `out (rows, size, u)` the features without their signs, for the same rows over and over."""
        known = self.basis.size - 1
        orders = torch.arange(1, self.basis.degree + 1, dtype=out.dtype, device=out.device)[:, None]
        waves, last = out[:, :known], out[:, -1]

        def fill(u: Tensor) -> None:
            self.basis.fill_quickly(waves, self.interval(u), orders)
            if self.base is not None:
                last.copy_(self.base(u))

        return fill

    def signed(self, weights: Tensor, inputs: int) -> Tensor:
        """The weights of what `quick` writes."""
        parts = weights.view(-1, inputs, weights.shape[1])
        known = parts[: self.basis.size - 1] * signs(self.basis, weights.dtype, weights.device)[:, None, None]
        return torch.cat([known, parts[self.basis.size - 1 :]]).flatten(0, 1)

    def fill_slopes(self, out: Tensor, u: Tensor) -> None:
        """Write to `out (rows, size of slopes, u)` what the slopes of all features are made of, by `slopes`."""
        known = self.basis.size - 1
        self.basis.fill(out[:, :known], self.basis.waves(self.interval(u)))
        if self.base is not None:
            with torch.enable_grad():
                leaf = u.detach().requires_grad_()
                (out[:, known],) = torch.autograd.grad(self.base(leaf).sum(), leaf)
        if self.basis.constant_slopes:
            out[:, -1] = 1.0

    def slopes(self, weights: Tensor, inputs: int) -> Tensor:
        """The weights of what `fill_slopes` writes: those of the derivative, `(size of slopes * u, gates)`."""
        known = self.basis.size - 1
        *_, derivative = constants(self.basis, weights.dtype, weights.device)
        parts = weights.view(-1, inputs, weights.shape[1])
        half = self.interval.half
        half = half[:, None] if isinstance(half, Tensor) and half.ndim else half
        sloped = torch.tensordot(derivative[:, 1:], parts[:known], 1) / half
        ends = sloped[:1] if self.basis.constant_slopes else sloped[:0]
        return torch.cat([sloped[1:], parts[known:], ends]).flatten(0, 1)

    def pull(self, by_weights: Tensor, held: Tensor, u: Tensor, by_gates: Tensor) -> None:
        """Add to the gradients of the weights what features `held` by `fill_slopes` contribute at `u (rows, u)`."""
        known = (self.basis.size - 1) * u.shape[1]
        by_weights[:known].addmm_(held.flatten(1)[:, :known].T, by_gates)
        if self.base is not None:
            by_weights[known:].addmm_(self.base(u).T, by_gates)
