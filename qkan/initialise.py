r"""Initial values that keep the variance of a deep stack.

A branch of a layer is $\sum_i w_{oi} f_{oi}(x_i)$. For independent standard normal inputs its mean is
$\sum_i w_{oi} \mathrm{E} f_{oi}$ and its variance $\sum_i w_{oi}^2 \mathrm{Var} f_{oi}$. Both moments of every edge are
computed by quadrature, so that any circuit and any base function start right: each branch gets an equal part of the
unit variance, and the bias takes the mean away, which would otherwise pile up from layer to layer.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from circuits import Circuit, Slot, engines

FLAT = 0.01
"""An activation of less variance counts as if it had this much. Where few inputs meet, the weights of nearly constant
ones would otherwise be huge, and their outputs, too, as soon as they are trained: one pz(1) in six has less."""

_CHUNK = 2**20
"""Values of the circuit computed at once."""

_MOST_NODES = 2**14
"""Enough for frequencies up to 3,000; beyond, moments are estimates."""


def draw_slots(
    circuit: Circuit,
    grid: tuple[int, ...],
    init_scale: float = 1.0,
    init_angle: float = math.pi,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Initial slots `(*grid, n)`, float64: angles uniform up to `init_angle`, scales `init_scale`, shifts 0."""
    slots = {
        name: (2 * torch.rand(*grid, length, dtype=torch.float64, generator=generator) - 1) * init_angle
        for name, length in circuit.slots.items()
    }
    for encoding in circuit.encodings:
        for slot, start in ((encoding.scale, init_scale), (encoding.shift, 0.0)):
            if isinstance(slot, Slot):
                slots[slot.name][..., slot.index] = start
    return slots


def draw_weights(shape: Sequence[int], variance: Tensor, part: float, generator: torch.Generator | None) -> Tensor:
    r"""Weights `(out, in)` of random signs and sizes with $\sum_i w_{oi}^2 \mathrm{variance}_{oi} = \mathrm{part}$."""
    weight = 2 * torch.rand(shape, dtype=torch.float64, generator=generator) - 1
    total = (weight.square() * variance).sum(-1, keepdim=True)
    # A branch of constant functions has no variance to keep; its weights are sized as if it had.
    total = torch.where(total > 1e-12, total, weight.square().sum(-1, keepdim=True))
    return weight * (part / total).sqrt()


def circuit_moments(circuit: Circuit, slots: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance of the value for standard normal x.

    If the circuit's arccos encodings need a bounded x, it is uniform on what they allow of [-1, 1].

    Args:
        circuit: one feature, one readout string.
        slots: slot name to `(out, in, n)`; 1 in place of out or in shares.

    Returns:
        Two tensors `(out, in)`, 1 in place of out or in where shared, float64.
    """
    slots = {name: slot.detach().double().cpu()[..., None, :] for name, slot in slots.items()}
    nodes, weights = _quadrature(_frequency(circuit, slots), _domain(circuit, slots))
    engine = engines.select(circuit).engine
    rows = max((len(slot) for slot in slots.values()), default=1)
    size = max((slot[0].numel() // slot.shape[-1] for slot in slots.values()), default=1) * len(nodes)
    step = max(1, _CHUNK // size)
    moments = [
        _moments(
            engine(circuit, nodes[None, None, :, None], {n: slot[start : start + step] for n, slot in slots.items()}),
            weights,
        )
        for start in range(0, rows, step)
    ]
    means, variances = zip(*moments, strict=True)
    return torch.cat(means), torch.cat(variances)


def function_moments(function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance of `function` of a standard normal variable; a module sees its own dtype and device."""
    parameters = function.parameters() if isinstance(function, nn.Module) else ()
    like = next(iter(parameters), torch.empty(()))
    nodes, weights = _quadrature(frequency=10.0)
    return _moments(function(nodes.to(like)).double().cpu(), weights)


def _frequency(circuit: Circuit, slots: Mapping[str, Tensor]) -> float:
    """No edge oscillates faster: the sum of the sizes of all scales."""
    return sum(_value(encoding.scale, slots).abs().max().item() for encoding in circuit.encodings)


def _domain(circuit: Circuit, slots: Mapping[str, Tensor]) -> tuple[float, float] | None:
    """What of [-1, 1] lies in the domain of every arccos encoding on every edge; None without such encodings."""
    limited = [encoding for encoding in circuit.encodings if encoding.through == "arccos"]
    low, high = -1.0, 1.0
    for encoding in limited:
        scale, shift = _value(encoding.scale, slots), _value(encoding.shift, slots)
        middle, half = -shift / scale, 1 / scale.abs()
        low, high = max(low, (middle - half).max().item()), min(high, (middle + half).min().item())
    if low >= high:
        raise ValueError(
            f"Argument `circuit` has arccos encodings that no x in [-1, 1] satisfies: {', '.join(map(str, limited))}; "
            "choose other fixed scales and shifts, or another init_scale."
        )
    return (low, high) if limited else None


def _value(number: float | Slot, slots: Mapping[str, Tensor]) -> Tensor:
    if isinstance(number, Slot):
        return slots[number.name][..., number.index]
    return torch.tensor(number, dtype=torch.float64)


def _quadrature(frequency: float, domain: tuple[float, float] | None = None) -> tuple[Tensor, Tensor]:
    r"""Nodes and weights, summing to 1, of a standard normal variable, or of one uniform on `domain`.

    For functions of frequencies up to `frequency` and their squares. The trapezoidal rule of step h integrates a
    normal density times $e^{i w x}$ up to $e^{-(2 \pi / h - w)^2 / 2}$, Gauss-Hermite needs far more nodes.
    """
    if domain is None:
        size = min(math.ceil(16 * (2 * frequency + 7) / (2 * math.pi)), _MOST_NODES)
        nodes = np.linspace(-8, 8, size + 1)
        weights = np.exp(-(nodes**2) / 2)
    else:
        low, high = domain
        nodes, weights = np.polynomial.legendre.leggauss(min(32 + math.ceil(frequency), 512))
        # A hair inside, so that rounding does not push a node out of the domain of an arccos.
        nodes = (low + high) / 2 + (high - low) / 2 * (1 - 1e-12) * nodes
    return torch.as_tensor(nodes), torch.as_tensor(weights / weights.sum())


def _moments(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    mean = values @ weights
    return mean, (values - mean[..., None]).square() @ weights
