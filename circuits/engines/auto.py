"""The engine that picks an engine, and can be asked what it picks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from circuits.circuit import Circuit
from circuits.derivatives import transformed
from circuits.derived import derived
from circuits.engines.bloch import Bloch
from circuits.engines.costs import Layer, milliseconds
from circuits.engines.engine import Engine
from circuits.engines.spectral import Expansion, Spectral, TooWide, direct, expands
from circuits.lower import facts
from circuits.shapes import broadcast


@dataclass(frozen=True)
class Choice:
    """An engine and why it was taken.

    Args:
        engine: what was chosen.
        reason: why.
        expansion: what was worked out on the way, for the spectral engine to go on with.
    """

    engine: Engine
    reason: str
    expansion: Expansion | None = None

    def __str__(self) -> str:
        return f"{self.engine.name}: {self.reason}"


_SPECTRAL = Spectral(most=512)

_LEAST = 10
"""Features that an expansion of trainable scales has at least, so that small layers need not ask how many it takes."""


def select(
    circuit: Circuit,
    x: Tensor | None = None,
    params: Mapping[str, Tensor] | None = None,
    weight: Tensor | None = None,
) -> Choice:
    """The engine "auto" takes for these inputs, and why.

    Activations themselves are evaluated directly: by "bloch" on one wire, by "statevector" on more. A layer, which only
    needs their weighted sum, is expanded by "spectral" where the cost model of `circuits.engines.costs` says so.

    Args:
        circuit: what is evaluated.
        x: `(*batch, in)`, inputs of a layer.
        params: its slots, `(out or 1, in or 1, n)`.
        weight: `(out, in)`.

    >>> from circuits import pz
    >>> print(select(pz(3)))
    bloch: one wire, so a real 3-vector does
    >>> circuit, x, weight = pz(3, scale=1, shift=0), torch.zeros(1000, 100), torch.zeros(100, 100)
    >>> choice = select(circuit, x, {"theta": torch.zeros(100, 100, 8)}, weight)
    >>> choice.engine
    Spectral()
    """
    engine = direct(circuit)
    one = isinstance(engine, Bloch)
    plain = Choice(engine, "one wire, so a real 3-vector does" if one else f"{circuit.wires} wires")
    if x is None or params is None or weight is None or transformed() or x.is_meta:
        return plain
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, weight, *params.values()))
    shapes = tuple(tensor.shape for tensor in params.values())
    layer = _layer(circuit, x.shape, shapes, weight.shape, x.dtype, x.device.type, wanted)
    if layer is None:
        return plain
    try:
        expansion = _SPECTRAL.layer(circuit, x, params)
    except TooWide as error:
        return Choice(engine, str(error))
    return _weighed(circuit, engine, expansion, layer.direct(circuit), layer)


def _weighed(
    circuit: Circuit, engine: Engine, expansion: Expansion, walked: float, layer: Layer, what: str = ""
) -> Choice:
    """The expansion of a layer, or `engine`, which takes `walked` nanoseconds."""
    size = expansion.basis.size
    expanded = layer.expanded(circuit, size)
    reason = f"{what}{size} features an input in about {milliseconds(expanded)}, {engine.name} in "
    reason += milliseconds(walked)
    return Choice(_SPECTRAL, reason, expansion) if expanded < walked else Choice(engine, reason)


@derived
def _layer(
    circuit: Circuit,
    x: torch.Size,
    params: tuple[torch.Size, ...],
    weight: torch.Size,
    dtype: torch.dtype,
    device: str,
    gradient: bool,
) -> Layer | None:
    """The layer of these shapes; None if it is no product, or too small for an expansion whatever its inputs are."""
    if not _SPECTRAL.supports(circuit) or not expands(x, params, weight):
        return None
    layer = _described(x, params, weight, dtype, device, gradient)
    least = 2 * known + 1 if (known := facts(circuit).degree) is not None else _LEAST
    return None if layer.direct(circuit) <= layer.expanded(circuit, least) else layer


def _described(
    x: Sequence[int],
    params: Iterable[torch.Size],
    weight: Sequence[int],
    dtype: torch.dtype,
    device: str,
    gradient: bool,
) -> Layer:
    outs, ins = weight
    circuits = broadcast((1, 1), *(shape[-3:-1] for shape in params))
    return Layer(math.prod(x) // ins, ins, outs, circuits, dtype, device, gradient)


class Auto(Engine):
    """Passes every call on to what `select` chooses, and remembers the last choice for a layer as `last`."""

    name: ClassVar[str] = "auto"

    def __init__(self) -> None:
        self.last: Choice | None = None

    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        return select(circuit).engine._evaluate(circuit, x, params)

    def _contract(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        choice = select(circuit, x, params, weight)
        if not torch.compiler.is_compiling():
            self.last = Choice(choice.engine, choice.reason)
        if choice.expansion is not None:
            return _SPECTRAL.expanded(choice.expansion, x, params, weight)
        return choice.engine._contract(circuit, x, params, weight)

    def repeated(
        self, circuit: Circuit, ends: Tensor, params: Mapping[str, Tensor], weight: Tensor, batch: int, calls: int
    ) -> Choice:
        """What is taken for a layer that is called `calls` times, on `batch` samples between `ends (2, in)` each.

        Its slots must not be per sample.
        """
        engine = direct(circuit)
        if (reason := _SPECTRAL.unsupported(circuit)) is not None:
            return Choice(engine, reason)
        shapes = [tensor.shape for tensor in params.values()]
        wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (weight, *params.values()))
        once, everything = (
            _described((rows, ends.shape[-1]), shapes, weight.shape, ends.dtype, ends.device.type, wanted)
            for rows in (batch, batch * calls)
        )
        try:
            expansion = _SPECTRAL.layer(circuit, ends, params)
            walked = calls * once.direct(circuit)
            choice = _weighed(circuit, engine, expansion, walked, everything, f"{calls} calls with ")
        except TooWide as error:
            choice = Choice(engine, str(error))
        self.last = Choice(choice.engine, choice.reason)
        return choice

    def __deepcopy__(self, memo: object) -> "Auto":
        """Another one: a copy of a model makes its own choices."""
        return Auto()

    def __repr__(self) -> str:
        return "Auto()"
