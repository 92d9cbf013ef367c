r"""A layer as one matrix product: circuits of one feature are band-limited, so a few nodes an edge say everything.

With features $r_k$ of a `Basis` and coefficients $c_{koi}$ from the values of the circuits at its nodes,
$y_{bo} = \sum_{ki} r_k(v_{bi})\, w_{oi} c_{koi}$: the batch never meets a circuit, and no tensor is (batch, out, in).

- Fixed integer scales: $f$ is a trigonometric polynomial of x (of arccos of x, for circuits that encode through it),
  and 2D + 1 nodes make it exact.
- Other scales: Chebyshev polynomials on the range of x, of the degree that `chebyshev_error` asks for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from circuits.angles import bind
from circuits.bandwidth import bandwidth, chebyshev_degree, chebyshev_error
from circuits.bases import Basis, Chebyshev, Fourier, Interval, constants
from circuits.checks import check_budget, concrete, is_real, values_visible
from circuits.circuit import Circuit, Encode
from circuits.derivatives import rows_within, transformed
from circuits.derived import derived
from circuits.engines.bloch import Bloch
from circuits.engines.engine import Engine, edges, per_sample
from circuits.engines.product import Product, product
from circuits.engines.statevector import Statevector
from circuits.lower import facts, in_phase
from circuits.precision import full_precision
from circuits.shapes import broadcast

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
"""How far an expansion may be from an activation, whose values are within [-1, 1], by default."""

_MOST = 2048
"""The highest degree: matrices of its square, and activations nobody has yet trained."""


class TooWide(ValueError):
    """The data span more waves of the activations than an expansion has room for."""


_BLOCH, _STATEVECTOR = Bloch(), Statevector()


@dataclass(frozen=True)
class Expansion:
    """How a call is expanded.

    Args:
        basis: the features.
        circuit: the circuit whose value at the nodes is asked for.
        nodes: what the circuit is given for its feature, `(size, 1)`, or `(size, in)` if every input has its own.
        phase: what the features are functions of, but for the interval.
        interval: on which they are from -1 to 1; all numbers, for waves.
    """

    basis: Basis
    circuit: Circuit
    nodes: Tensor
    phase: Encode
    interval: Interval

    def variable(self, x: Tensor) -> Tensor:
        """The argument of the features, over the grid of `x (*grid, features)`."""
        return self.interval(torch.as_tensor(bind(self.phase, x, {})))


class Spectral(Engine):
    """Any circuit whose data enter through one feature, by expansion in features of it.

    Args:
        domain: the interval on which activations with scales that are trainable or not integer are expanded; None for
            the range of x at each call. Fixing it makes predictions independent of the rest of the batch, and is
            needed, with `degree`, for static graphs.
        degree: of the polynomials in that case; None for what `tolerance` needs. If fixed, a call whose error may
            exceed the tolerance is refused.
        tolerance: how far an activation may be from its expansion; None for 1e-6 in float32, 1e-12 in float64.
        budget: MiB of features in memory at a time; larger batches are done in parts. The backward has two such pieces,
            which are kept between calls; the circuits at the nodes, and all features where derivatives are themselves
            differentiated, come on top.
        most: the highest degree that is tried.
        nodes: the exact engine that evaluates circuits at the nodes, such as `Noisy(noise)`; None for the fastest. What
            has a grid of its own there, as channels have that differ from edge to edge, must have that of the slots.
    """

    name: ClassVar[str] = "spectral"

    def __init__(
        self,
        domain: tuple[float, float] | None = None,
        degree: int | None = None,
        tolerance: float | None = None,
        budget: float = 16.0,
        most: int = _MOST,
        nodes: Engine | None = None,
    ) -> None:
        if nodes is not None and not (isinstance(nodes, Engine) and nodes.simplifies):
            raise ValueError(
                f"Argument `nodes` must be an exact engine for which simplified circuits have the same values, but is "
                f"{nodes!r}."
            )
        self.nodes = nodes
        self._most = most
        self.domain, self.degree, self.tolerance = _interval(domain), degree, tolerance
        self.budget = check_budget(budget)
        if degree is not None and (not isinstance(degree, int) or isinstance(degree, bool) or not 1 <= degree <= _MOST):
            raise ValueError(f"Argument `degree` must be an int from 1 to {_MOST} or None, but is {degree!r}.")
        if tolerance is not None and not (is_real(tolerance) and 0 < tolerance < 1):
            raise ValueError(f"Argument `tolerance` must be a number between 0 and 1 or None, but is {tolerance!r}.")

    def unsupported(self, circuit: Circuit) -> str | None:
        return _unsupported(circuit) or (self.nodes and self.nodes.unsupported(circuit))

    def _at_nodes(self, circuit: Circuit, nodes: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        return (self.nodes or direct(circuit))._evaluate(circuit, nodes, params)

    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        expansion = self.expand(circuit, x, params)
        grids = max(tensor.ndim - 1 for tensor in (*params.values(), x))
        nodes = expansion.nodes.reshape(-1, *[1] * grids, 1).expand(*[-1] * (grids + 1), expansion.circuit.features)
        values = self._at_nodes(expansion.circuit, nodes, params)
        values = _at_least(values, (expansion.basis.size, *[1] * (grids + 1)))
        return _sum(expansion.basis, expansion.variable(x)[..., None], values)

    def _contract(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        if not expands(x.shape, [tensor.shape for tensor in params.values()], weight.shape):
            return super()._contract(circuit, x, params, weight)
        return self.expanded(self.layer(circuit, x, params), x, params, weight)

    def layer(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Expansion:
        """The expansion of a layer's activations on `x (*batch, in)`, each input on a range of its own."""
        params = edges(params)
        return self.expand(circuit, x[..., None], params, any(tensor.shape[1] > 1 for tensor in params.values()))

    def expanded(self, expansion: Expansion, x: Tensor, params: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        """The weighted sum over inputs by an expansion of `layer`."""
        basis, v, values = expansion.basis, expansion.variable(x[..., None]), self.at_nodes(expansion, params)
        outs, ins = weight.shape
        if values.shape[1] == 1 < outs:  # activations that all outputs share: the features meet one of them, not all
            return torch.nn.functional.linear(_sum(basis, v, values[:, 0]), weight)
        rows = v.reshape(-1, ins)
        if transformed():
            y = product(basis, rows, values, weight)
        else:
            size = rows_within(self.budget, basis.size * ins * v.element_size())
            y = Product.apply(basis, size, rows, values, weight)
        return y.reshape(*v.shape[:-1], outs)

    def at_nodes(self, expansion: Expansion, params: Mapping[str, Tensor]) -> Tensor:
        """The values of a layer's activations at the nodes of its expansion, `(size, out or 1, in or 1)`."""
        values = self._at_nodes(expansion.circuit, expansion.nodes[:, None, :, None], edges(params))[..., 0]
        return _at_least(values, (expansion.basis.size, 1, 1))

    def expand(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], by_column: bool = False) -> Expansion:
        """The expansion of the activations on `x (*grid, features)`.

        Args:
            circuit: what is expanded.
            x: inputs.
            params: slots.
            by_column: whether each entry of the last dimension of the grid has its own range, `(in,)`.
        """
        if (degree := facts(circuit).degree) is not None:
            plain, phase = in_phase(circuit)
            basis = Fourier(degree)
            nodes, *_ = constants(basis, x.dtype, x.device)
            return Expansion(basis, plain, nodes[:, None], phase, Interval())
        phase = Encode(feature=facts(circuit).encodings[0].feature)
        x = x[..., phase.feature]
        with torch.no_grad():
            rate = bandwidth(circuit, params)
            if isinstance(rate, Tensor):
                rate = rate.amax(-2) if by_column else rate.max()
            middle, half = self._interval(x, rate, by_column)
            width = rate * half
            basis = Chebyshev(self._degree(width if isinstance(width, float) else width.amax(), x.dtype))
            nodes, *_ = constants(basis, x.dtype, x.device)
        return Expansion(basis, circuit, middle + half * nodes[:, None], phase, Interval(middle, half))

    def _interval(self, x: Tensor, rate: Tensor | float, by_column: bool) -> tuple[Any, Any]:
        """Middle and half length of the interval, `(in,)` if there is one for each input."""
        if self.domain is not None:
            low, high = self.domain
            if values_visible(x) and x.numel() and (x.min() < low or x.max() > high):
                raise ValueError(
                    f"Argument `x` must lie in the domain [{low}, {high}] of engine 'spectral', but reaches "
                    f"[{x.min().item():.6g}, {x.max().item():.6g}]: rescale x, or widen or leave out `domain`."
                )
            return (low + high) / 2, (high - low) / 2
        if not x.numel():
            return 0.0, 1.0
        grid = tuple(range(x.ndim - 1)) if by_column else tuple(range(x.ndim))
        low, high = (x.amin(grid), x.amax(grid)) if grid else (x, x)
        # Not much narrower than a wave: an interval without length would leave nothing of the slope to rounding.
        least = 0.03 / torch.as_tensor(rate, dtype=x.dtype, device=x.device).clamp(min=1e-3)
        return (low + high) / 2, torch.maximum((high - low) / 2, least)

    def _degree(self, width: Tensor | float, dtype: torch.dtype) -> int:
        tolerance = self.tolerance or TOLERANCE.get(dtype, 1e-6)
        if isinstance(width, Tensor) and not (self.degree and not values_visible(width)):
            width = 1.0 if width.is_meta else concrete(width).max().item()
            if not math.isfinite(width):
                return self.degree or 1  # the result is NaN, and says what is to blame
        if self.degree is None:
            # On an interval much shorter than a wave slopes are small differences: they need as many digits more. The
            # width is taken up to the next eighth, so that one look-up serves many steps of a training.
            rounded = math.ceil(width * 8) / 8
            degree = chebyshev_degree(rounded, tolerance * min(1.0, max(width, 1e-3)) if rounded <= 1 else tolerance)
            if degree > self._most:
                raise TooWide(
                    f"Argument `x` spans {width:.6g} radians of the fastest encoding to either side, for which engine "
                    f"'spectral' needs degree {degree} > {self._most}: rescale x or the scales, or use 'bloch'."
                )
            return degree if degree <= 64 else min(self._most, -(-degree // 16) * 16)
        if isinstance(width, float) and values_visible() and (error := chebyshev_error(width, self.degree)) > tolerance:
            raise ValueError(
                f"Argument `degree` of engine 'spectral' is {self.degree}, for which the error of an activation may "
                f"reach {error:.2g} > {tolerance:.2g} (bandwidth times half the range of x is {width:.4g}): take "
                f"{chebyshev_degree(width, tolerance)}, a narrower domain, or a larger tolerance."
            )
        return self.degree

    def __repr__(self) -> str:
        given = {"domain": (self.domain, None), "degree": (self.degree, None), "tolerance": (self.tolerance, None)}
        given |= {"budget": (self.budget, 16.0), "nodes": (self.nodes, None)}
        shown = ", ".join(f"{name}={value!r}" for name, (value, default) in given.items() if value != default)
        return f"Spectral({shown})"


def expands(x: torch.Size, params: Sequence[torch.Size], weight: torch.Size) -> bool:
    """Whether a layer of these shapes has features of its inputs: its slots are not per sample."""
    return bool(x.numel()) and not per_sample(params, weight)


def _sum(basis: Basis, v: Tensor, values: Tensor) -> Tensor:
    """The activations at v, `(*grid, n)`, that have `values (size, *grid, n)` at the nodes; the grids broadcast."""
    _, analysis, _ = constants(basis, v.dtype, v.device)
    with full_precision(v.device):
        coefficients = torch.tensordot(analysis, values, 1)
    constant, *others = coefficients.unbind(0)
    features = basis.features(v).unbind(-2)
    result = constant if features else constant + 0 * v  # connected to x all the same
    for feature, coefficient in zip(features, others, strict=True):
        result = torch.addcmul(result, feature, coefficient)
    return result


@derived
def _unsupported(circuit: Circuit) -> str | None:
    known = facts(circuit)
    if not known.single_feature:
        return "its data enter through several features, and spectral expands in one; use 'statevector'"
    if known.bounded_domain:
        encoding = next(encoding for encoding in known.encodings if encoding.through == "arccos")
        phase = (encoding.scale, encoding.shift)
        if known.degree is None or not all(isinstance(number, float) for number in phase):
            return (
                f"its data enter through {encoding}, so that edges have no phase in common to expand in; use "
                f"'{direct(circuit).name}', or fix scale and shift, as in px(3, scale=1, shift=0)"
            )
    if known.degree is not None and known.degree > _MOST:
        return f"its degree {known.degree} is above {_MOST}; use '{direct(circuit).name}'"
    return None


def direct(circuit: Circuit) -> Engine:
    """The engine that evaluates a circuit as it stands, with no expansion: at the nodes, and where none is worth it."""
    return _BLOCH if _BLOCH.supports(circuit) else _STATEVECTOR


def _at_least(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`values` with its grid spelled out: that of a circuit without data has no nodes."""
    return values.expand(broadcast(values.shape, shape))


def _interval(domain: object) -> tuple[float, float] | None:
    if domain is None:
        return None
    if not isinstance(domain, Sequence) or len(domain) != 2 or not all(map(is_real, domain)) or domain[0] >= domain[1]:
        raise ValueError(f"Argument `domain` must be (low, high) with low < high, or None, but is {domain!r}.")
    return float(domain[0]), float(domain[1])
