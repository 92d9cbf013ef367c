r"""Kolmogorov-Arnold networks of pairs of activations, reduced to one number for each input."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

from classical.checks import Activation, check_features, checked_choice, checked_size
from classical.cost import NORM_FLOPS, Cost, activation_flops, numbers_in
from classical.norm import made_norm, normalised
from classical.pairs import ActivationPairs
from classical.reductions import REDUCTIONS
from classical.stack import Stack

PROBES = 256
"""Samples on which a layer measures, at its start, how large the weights have to be."""


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, parts)


def _product(parts: Sequence[Tensor]) -> Tensor:
    return reduce(torch.mul, parts)


@dataclass(frozen=True)
class Merge:
    """One tensor of several, and its operations at one number from how many there are."""

    function: Callable[[Sequence[Tensor]], Tensor]
    flops: Callable[[int], int]


MERGES = {
    "sum": Merge(_sum, lambda parts: parts - 1),
    "product": Merge(_product, lambda parts: parts - 1),
    "sum_product": Merge(lambda parts: _sum(parts) + _product(parts), lambda parts: 2 * parts - 1),
    "quadratic": Merge(
        lambda parts: _sum([a * b for i, a in enumerate(parts) for b in parts[i:]]),
        lambda parts: parts * (parts + 1) - 1,
    ),
}
"""How the results of several reductions become one: "quadratic" sums all products of two, squares included."""


def _stretched(functions: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Moved and scaled such that the least is 0 and the largest 1 over `axes`; 0 where all are equal."""
    if functions.numel() == 0:
        return functions
    low, high = functions.amin(axes, keepdim=True), functions.amax(axes, keepdim=True)
    return (functions - low) / torch.where(high > low, high - low, 1)


FUNCTION_NORMS: dict[str | None, Callable[[Tensor], Tensor]] = {
    None: lambda functions: functions,
    "sample": lambda functions: _stretched(functions, (-2, -1)),
    "batch": lambda functions: _stretched(functions, tuple(range(functions.ndim))),
}
"""Normalisations of `(*batch, in, size)` functions: none, over each sample, over everything."""


class AFKANLayer(nn.Module):
    r"""$y = W \sigma(\mathrm{norm}(z))$ with $z$ the reduction of $F_m(\sigma(x_i - l_m), \sigma(h_m - x_i))$ over m,
    from `(*batch, in)` to `(*batch, out)`.

    All inputs and outputs share the functions, whose phases $l$ and $h$ are trained, see `ActivationPairs`; a
    reduction, see `classical.reductions`, makes one number $z_i$ of those of each input. So W is one matrix, like that
    of a perceptron, and there are no functions of edges.

    Parameters are `basis.low` and `basis.high`, those of `reductions` and of `norm`, and `weight` of shape `(out, in)`:
    with g + k functions and "global_attn" `in * out + 2 in + 3 (g + k) + 2` numbers, of which one, the bias of the
    scores, is without effect (so are biases of reductions in front of the normalisation "layer").

    **Independent samples.** By default no sample sees another. With `norm="batch"` they do in training, and with
    `function_norm="batch"`, the published normalisation, always: then results depend on what else is in the batch.

    **At the start** standard normal inputs give outputs of mean square 1 for any choice of arguments: weights are
    normal with the variance that this needs, which is measured on `PROBES` random inputs.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        grid_size: See `ActivationPairs`.
        degree: See `ActivationPairs`; there are `grid_size + degree` functions.
        activation: The $\sigma$; a name in `ACTIVATIONS` or a function of one tensor; a module is trained along.
        combination: Of the two activations, a name in `COMBINATIONS`.
        reductions: A name in `REDUCTIONS`, or several, which see the same functions.
        merge: How several reductions become one, a name in `MERGES`.
        norm: "layer" or "batch" for a normalisation of z, or None. "layer" leaves of two inputs nothing but a sign:
            take another one for few inputs.
        function_norm: "sample" for functions that are scaled to [0, 1] over each sample, "batch" over all samples,
            None for no scaling. What is published divides by the norm before, which the scaling undoes.

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If a size is not an integer or the activation not callable.
        ValueError: If a size is too small, a name unknown, or if the last axis of an input does not have `in_features`
            entries.

    Reference:
        H.-T. Ta and A. Tran, AF-KAN: Activation Function-Based Kolmogorov-Arnold Networks, 2025, arXiv:2503.06112.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        grid_size: int = 3,
        degree: int = 3,
        activation: Activation = "silu",
        combination: str = "quad1",
        reductions: str | Sequence[str] = "global_attn",
        merge: str = "sum",
        norm: str | None = "layer",
        function_norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = checked_size("in_features", in_features, at_least=1)
        self.out_features = checked_size("out_features", out_features, at_least=1)
        self.basis = ActivationPairs(grid_size, degree, activation, combination, device, dtype)
        names = _checked_reductions(reductions)
        self.reductions = nn.ModuleList(
            REDUCTIONS[name](in_features, self.basis.size, device=device, dtype=dtype) for name in names
        )
        self.merge = checked_choice("merge", merge, tuple(MERGES))
        self.norm = made_norm(norm, in_features, device, dtype)
        if function_norm is not None:
            checked_choice("function_norm", function_norm, ("sample", "batch"))
        self.function_norm = function_norm
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device=device, dtype=dtype))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        for part in (self.basis, *self.reductions):
            part.reset_parameters(generator)  # pyright: ignore[reportCallIssue]
        self._reset_norm()
        like = self.weight
        probes = torch.randn(PROBES, self.in_features, dtype=like.dtype, device=like.device, generator=generator)
        squares = self.hidden(probes).to(torch.promote_types(like.dtype, torch.float32)).square().mean(0).sum()
        self._reset_norm()  # forgets the probes
        deviation = squares.rsqrt().nan_to_num(posinf=1 / math.sqrt(self.in_features))
        self.weight.normal_(generator=generator).mul_(deviation)

    def _reset_norm(self) -> None:
        if self.norm is not None:
            self.norm.reset_parameters()  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor) -> Tensor:
        check_features(x, self.in_features)
        return functional.linear(self.hidden(x), self.weight)

    def hidden(self, x: Tensor) -> Tensor:
        """What the matrix sees, one number for each input: `(*batch, in) -> (*batch, in)`."""
        functions = FUNCTION_NORMS[self.function_norm](self.basis(x))
        merged = MERGES[self.merge].function([reduction(functions) for reduction in self.reductions])
        return self.basis.activation(normalised(self.norm, merged))

    def cost(self) -> Cost:
        """Parameters and operations for one sample, by formula; of functions that have a published cost only."""
        inputs, outputs, parts = self.in_features, self.out_features, len(self.reductions)
        merge = MERGES[self.merge].flops(parts)
        flops = inputs * (self.basis.flops + merge + activation_flops(self.basis.activation))
        flops += 2 * inputs * self.basis.size * (self.function_norm is not None) + 2 * inputs * outputs
        cost = Cost(inputs * outputs + numbers_in(self.basis), flops)
        if self.norm is not None:
            cost += Cost(2 * inputs, inputs * NORM_FLOPS)
        return sum((part.cost() for part in self.reductions), start=cost)  # pyright: ignore[reportCallIssue]

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, merge={self.merge!r}, function_norm={self.function_norm!r}"


class AFKAN(Stack):
    """Layers of pairs of activations one after the other, each an `AFKANLayer`.

    `AFKAN([784, 64, 10])` has 784 * 64 + 64 * 10 weights, 2 * (784 + 64) numbers in normalisations and 20 in the
    functions and the attention of each layer, together 52,552 parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        grid_size: Of the functions; see `ActivationPairs`.
        degree: Of the functions; see `ActivationPairs`.
        activation: One for all layers, a name in `ACTIVATIONS` or a function of one tensor.
        combination: Of the two activations, a name in `COMBINATIONS`.
        reductions: A name in `REDUCTIONS`, or several.
        merge: How several reductions become one, a name in `MERGES`.
        norm: Of what each matrix sees, "layer", "batch" or None; see `AFKANLayer`.
        function_norm: "sample", "batch" or None; see `AFKANLayer`.

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers, and as `AFKANLayer`.
        ValueError: If there are too few widths or one is not positive, and as `AFKANLayer`.

    Reference:
        H.-T. Ta and A. Tran, AF-KAN: Activation Function-Based Kolmogorov-Arnold Networks, 2025, arXiv:2503.06112.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        grid_size: int = 3,
        degree: int = 3,
        activation: Activation = "silu",
        combination: str = "quad1",
        reductions: str | Sequence[str] = "global_attn",
        merge: str = "sum",
        norm: str | None = "layer",
        function_norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        def made(inputs: int, outputs: int) -> AFKANLayer:
            functions = (grid_size, degree, activation, combination)
            return AFKANLayer(inputs, outputs, *functions, reductions, merge, norm, function_norm, device, dtype)

        super().__init__(widths, made)


def _checked_reductions(reductions: str | Sequence[str]) -> tuple[str, ...]:
    names = (reductions,) if isinstance(reductions, str) else tuple(reductions)
    if not names:
        raise ValueError(f"Argument `reductions` must have one name or more, but is {reductions!r}.")
    for name in names:
        checked_choice("reductions", name, tuple(REDUCTIONS))
    return names
