r"""The layer of a Kolmogorov-Arnold network: one matrix product of functions of each input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from classical.basis import Basis, mean_square, rounded_once
from classical.checks import Base, check_features, checked_activation, checked_size
from classical.cost import NORM_FLOPS, Cost, activation_flops, numbers_in
from classical.norm import made_norm, normalised


class EdgeLayer(nn.Module):
    r"""$y_o = \sum_i [w_{oi} \mathrm{base}(x_i) + s_{oi} \sum_m c_{oim} f_m(x_i)] + \mathrm{bias}_o$, from
    `(*batch, in)` to `(*batch, out)`.

    The functions $f_m$ of the basis are evaluated once per input, then one matrix product sums over inputs and
    functions; nothing of shape `(batch, out, in)` exists. Functions of half precision are computed in float32 and
    rounded once. Parameters are `coefficients` of shape `(out, in, size)` for
    the $c$; `base_weight` of shape `(out, in)` for the $w$, if there is a base; `scaler` of shape `(out, in)` for the
    $s$ and `bias` of shape `(out,)`, if asked for; and those of the basis.

    **At the start** inputs for which the basis is made, see `Basis.inputs`, give outputs of mean 0 and of the variance
    of the inputs, half of it from each branch: weights are normal with the variance that this needs, scalers 1 and
    biases 0. So the scale of a signal survives many layers. Where the basis is `centred`, each sum of functions has
    mean 0 over such inputs too, so that no offset hides what differs between samples.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        basis: The functions of the edges.
        base: Name in `ACTIVATIONS`, a function of one tensor that acts on each entry, or None for no base branch; a
            module that is given is trained along.
        bias: Whether to add a bias to each output.
        scaler: Whether each edge has a factor in front of its sum of functions, as published B-spline networks have:
            it adds nothing to what the layer can express, but changes how it is trained.
        norm: "layer" or "batch" for a normalisation of what the functions see, with trained factors and shifts; the
            base sees the input itself. None for no normalisation.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If a size is not an integer or the base not callable.
        ValueError: If a size is too small, the name of the base or the normalisation unknown, or if the last axis of an
            input does not have `in_features` entries.
    """

    base_weight: nn.Parameter | None
    scaler: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        basis: Basis,
        *,
        base: Base = None,
        bias: bool = False,
        scaler: bool = False,
        norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = checked_size("in_features", in_features, at_least=1)
        self.out_features = checked_size("out_features", out_features, at_least=1)
        self.basis = basis
        self.norm = made_norm(norm, in_features, device, dtype)
        self.base = None if base is None else checked_activation(base, argument="base")

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        self.base_weight = None if base is None else parameter(out_features, in_features)
        self.coefficients = parameter(out_features, in_features, basis.size)
        self.scaler = parameter(out_features, in_features) if scaler else None
        self.bias = parameter(out_features) if bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        if self.coefficients.is_meta:
            return
        self.basis.reset_parameters(generator)
        like = self.coefficients
        nodes, weights = (part.to(like.device) for part in self.basis.inputs())
        variance = (weights * (nodes - (weights * nodes).sum()).square()).sum()
        share = variance / (self.in_features * (1 if self.base is None else 2))

        self._reset_functions(nodes, weights, share, generator)
        if self.base is not None and self.base_weight is not None:
            deviation = _deviation(share, mean_square(self.base(nodes.to(like.dtype)), weights))
            self.base_weight.normal_(generator=generator).mul_(deviation)
        if self.scaler is not None:
            self.scaler.fill_(1)
        if self.bias is not None:
            self.bias.zero_()
        if self.norm is not None:
            self.norm.reset_parameters()  # pyright: ignore[reportCallIssue]

    def _reset_functions(
        self, nodes: Tensor, weights: Tensor, share: Tensor, generator: torch.Generator | None
    ) -> None:
        wide = torch.promote_types(self.coefficients.dtype, torch.float32)
        values = self.basis(nodes.to(wide)[:, None].expand(-1, self.in_features))
        decay = self.basis.decay()
        decay = values.new_ones(self.basis.size) if decay is None else decay.to(values)
        values, drawn = values * decay, self.coefficients.normal_(generator=generator)
        if self.basis.centred:
            mean = functional.normalize(torch.tensordot(weights.to(values), values, dims=1), dim=-1)
            values, drawn = _without(mean, values), _without(mean, drawn)
        squares = mean_square(values, weights).sum(-1)
        self.coefficients.copy_(drawn * (decay * _deviation(share, squares)[:, None]))

    def forward(self, x: Tensor) -> Tensor:
        check_features(x, self.in_features)
        y = functional.linear(self.features(x).flatten(-2), self.weights().flatten(-2), self.bias)
        if self.base is None or self.base_weight is None:
            return y
        return y + functional.linear(self.base(x), self.base_weight)

    def features(self, x: Tensor) -> Tensor:
        """The functions of each input, after the normalisation: `(*batch, in) -> (*batch, in, size)`."""
        return rounded_once(self.basis, self.normalised(x))

    def normalised(self, x: Tensor) -> Tensor:
        """What the functions see."""
        return normalised(self.norm, x)

    def weights(self) -> Tensor:
        """The coefficients with their scalers, `(out, in, size)`."""
        return self.coefficients if self.scaler is None else self.coefficients * self.scaler[..., None]

    def edge_values(self, x: Tensor) -> Tensor:
        """What every edge adds to its output, `(*batch, in) -> (*batch, out, in)`: for looking at some samples.

        The layer is their sum over inputs and the bias. Memory grows with samples times edges.
        """
        check_features(x, self.in_features)
        values = torch.einsum("...im,oim->...oi", self.features(x), self.weights())
        if self.base is None or self.base_weight is None:
            return values
        return values + self.base_weight * self.base(x)[..., None, :]

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by formula; of functions that have a published cost only."""
        edges = self.in_features * self.out_features
        parameters = edges * self.basis.size + numbers_in(self.basis)
        flops = self.in_features * self.basis.flops + 2 * edges * self.basis.size
        if self.base is not None:
            parameters += edges
            flops += self.in_features * activation_flops(self.base) + 2 * edges
        if self.norm is not None:
            parameters += 2 * self.in_features
            flops += self.in_features * NORM_FLOPS
        parameters += edges * (self.scaler is not None) + self.out_features * (self.bias is not None)
        flops += edges * self.basis.size * (self.scaler is not None)
        return Cost(parameters, flops)

    def extra_repr(self) -> str:
        base = getattr(self.base, "__name__", repr(self.base))
        return (
            f"{self.in_features}, {self.out_features}, base={base}, scaler={self.scaler is not None}, "
            f"bias={self.bias is not None}"
        )


def _without(direction: Tensor, vectors: Tensor) -> Tensor:
    """What is left of vectors without their parts along a unit vector."""
    return vectors - (vectors * direction).sum(-1, keepdim=True) * direction


def _deviation(variance: Tensor, squares: Tensor) -> Tensor:
    # Functions that vanish cannot contribute: weights of zero rather than infinite ones.
    return (variance.to(squares) / squares).sqrt().nan_to_num(nan=0.0, posinf=0.0)
