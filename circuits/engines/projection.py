r"""A layer made ready for many inputs in turn: what depends on its parameters alone is worked out once.

A recurrent network meets the same activations at every step, on values that stay within known bounds. Expanded there,
$y_o = c_o + \sum_{ki} r_k(v_i)\, C_{kio}$ with v the place of x in its interval: a step is the features of x and one
matrix product.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from circuits.bases import Basis, Interval
from circuits.checks import check_sum
from circuits.circuit import Circuit
from circuits.derivatives import transformed
from circuits.engines.auto import Auto
from circuits.engines.engine import Engine, anchored, ignored
from circuits.engines.product import coefficients_of
from circuits.engines.spectral import Spectral, expands
from circuits.lower import facts
from circuits.precision import autocast_dtype, full_precision


@dataclass(frozen=True)
class Projection:
    r"""$y = c + r(v) C$, `contract` as a function of x alone, for v the place of x in `interval`.

    Args:
        basis: of the features.
        interval: on which activations are expanded.
        constant: `(out,)`.
        coefficients: of the features, `((size - 1) * in, out)`.
    """

    basis: Basis
    interval: Interval
    constant: Tensor
    coefficients: Tensor


def projection(
    engine: Engine,
    circuit: Circuit,
    params: Mapping[str, Tensor],
    weight: Tensor,
    bounds: tuple[Tensor, Tensor],
    batch: int,
    calls: int,
) -> Projection | None:
    """What `engine` makes of a layer that is called again and again, if it expands such a layer at all.

    Args:
        engine: of the layer; "auto" weighs its choices for all calls together.
        circuit: one feature, one readout string.
        params: slot name to `(out or 1, in or 1, n)`.
        weight: `(out, in)`.
        bounds: between which all inputs are, `(in,)` each.
        batch: samples of a call.
        calls: how many there will be.
    """
    ends = torch.stack(bounds)
    check_sum(circuit, ends, params, weight)
    tensors = (ends, weight, *params.values())
    if transformed() or autocast_dtype(ends.device) is not None or any(tensor.is_meta for tensor in tensors):
        return None
    if len({tensor.dtype for tensor in tensors}) > 1 or ends.dtype not in (torch.float32, torch.float64):
        return None
    if not expands(ends.shape, [tensor.shape for tensor in params.values()], weight.shape):
        return None
    expansion = None
    if isinstance(engine, Auto):
        choice = engine.repeated(circuit, ends, params, weight, batch, calls)
        engine, expansion = choice.engine, choice.expansion
    if not isinstance(engine, Spectral) or not engine.supports(circuit) or facts(circuit).bounded_domain:
        return None
    with full_precision(ends.device):
        expansion = expansion or engine.layer(circuit, ends, params)
        constant, coefficients = coefficients_of(expansion.basis, engine.at_nodes(expansion, params), weight)
    constant = anchored(constant, ignored(circuit, ends, params))
    return Projection(expansion.basis, expansion.interval, constant, coefficients.T)
