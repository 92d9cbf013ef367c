r"""Learnable activations, one on each node of a perceptron."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from classical.basis import Basis, rounded_once
from classical.checks import Activation, Base, check_features, checked_activation, checked_size
from classical.cost import Cost, activation_flops, numbers_in
from classical.published import spline_node_flops
from classical.spline_basis import BSpline


class Nodewise(nn.Module):
    r"""$y_i = \sum_m c_{im} f_m(x_i) + w_i \mathrm{base}(x_i)$, from `(*batch, features)` to the same: a learnable
    function on each node.

    It is the middle between a perceptron, whose nodes share a fixed function, and a Kolmogorov-Arnold network, which
    has a learnable one on each edge. `MLP(widths, nodewise=lambda width: Nodewise(width, BSpline()))` has it after each
    hidden layer, instead of the activation.

    Parameters are `coefficients` of shape `(features, size)` for the $c$, `base_weight` of shape `(features,)` for the
    $w$ if there is a base, and those of the basis.

    **At the start** each function is `start`, as closely as functions of the basis can be to it: by least squares over
    the inputs for which the basis is made, see `Basis.inputs`. With a base it has the weight 1, and the basis makes up
    for the difference; so with `base` equal to `start` it starts exactly there, and all coefficients at 0.

    Args:
        features: Number of nodes.
        basis: The functions. What a module of this kind does not span, a constant in `Fourier` for example, can come
            from the affine layer behind it.
        start: Name in `ACTIVATIONS`, or a function of one tensor: what the nodes compute at the start.
        base: Name in `ACTIVATIONS`, a function of one tensor, or None for no base branch.

    Shapes:
        `(*batch, features) -> (*batch, features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If `features` is not an integer, or `start` or the base is not callable.
        ValueError: If `features` is too small, a name unknown, or if the last axis of an input does not have `features`
            entries.

    Reference:
        R. Yu, W. Yu and X. Wang, KAN or MLP: A Fairer Comparison, 2024, arXiv:2407.16674.
    """

    base_weight: nn.Parameter | None

    def __init__(
        self,
        features: int,
        basis: Basis,
        *,
        start: Activation = "silu",
        base: Base = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.features = checked_size("features", features, at_least=1)
        self.basis = basis
        self.start = checked_activation(start, argument="start")
        self.base = None if base is None else checked_activation(base, argument="base")
        self.coefficients = nn.Parameter(torch.empty(features, basis.size, device=device, dtype=dtype))
        weight = None if base is None else nn.Parameter(torch.empty(features, device=device, dtype=dtype))
        self.register_parameter("base_weight", weight)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Put the functions back to `start`; only a basis may draw numbers for that."""
        self.basis.reset_parameters(generator)
        if self.base_weight is not None:
            self.base_weight.fill_(1)
        if self.coefficients.is_meta:
            return
        nodes, weights = (part.to(self.coefficients.device) for part in self.basis.inputs())
        target = _double(self.start)(nodes)
        if self.base is not None:
            target = target - _double(self.base)(nodes)
        functions = self.basis(nodes[:, None].expand(-1, self.features))
        self.coefficients.copy_(_fitted(functions, target, weights))

    def forward(self, x: Tensor) -> Tensor:
        check_features(x, self.features)
        y = (rounded_once(self.basis, x) * self.coefficients).sum(-1)
        if self.base is None or self.base_weight is None:
            return y
        return y + self.base_weight * self.base(x)

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by formula; the published ones are those of B-splines."""
        parameters = self.features * self.basis.size + numbers_in(self.basis)
        operations, published = self.basis.flops + 2 * self.basis.size, None
        if isinstance(self.basis, BSpline) and self.base is None:
            published = round(self.features * spline_node_flops(self.basis.grid_size, self.basis.degree))
        if self.base is not None:
            parameters += self.features
            operations += activation_flops(self.base) + 2
        return Cost(parameters, self.features * operations, published)

    def extra_repr(self) -> str:
        shown = [getattr(function, "__name__", repr(function)) for function in (self.start, self.base)]
        return f"{self.features}, start={shown[0]}, base={shown[1]}"


def _double(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Modules with parameters admit numbers of one dtype only."""
    return copy.deepcopy(function).double() if isinstance(function, nn.Module) else function


def _fitted(functions: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Coefficients of the least squares, `(n, features, size)` and `(n,)` to `(features, size)`, the shortest ones."""
    gram = torch.einsum("nim,n,nik->imk", functions, weights, functions)
    right = torch.einsum("nim,n,n->im", functions, weights, target)
    # Functions that are almost sums of others would have huge coefficients, and a base that is exact not zeros.
    inverse = torch.linalg.pinv(gram, rtol=1e-10, hermitian=True)
    return (inverse @ right[..., None])[..., 0]
