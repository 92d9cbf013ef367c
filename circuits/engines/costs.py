"""What an evaluation costs: the small model by which "auto" chooses between engines.

A direct engine makes some passes over memory a turn, for every sample of every edge; an expansion makes them at its
nodes only, and then a few passes and multiplications a feature. The constants are nanoseconds, fitted to measurements
of layers from (1000, 2, 5) to (4096, 256, 256), batch, in and out. `python -m benchmarks speed` measures how far the
choice is from the best. On GPUs nothing has been measured: constants there only say that calls are dear, products
cheap, and passes in between.
"""

import math
from dataclasses import dataclass

import torch

from circuits.circuit import Circuit
from circuits.derived import derived
from circuits.lower import facts, simplify


@dataclass(frozen=True)
class Costs:
    """Nanoseconds, in float32, without and with gradients.

    Args:
        direct: a direct evaluation at all.
        expanded: an expansion at all.
        range: finding the range of the data and the degree it takes, for scales that are not fixed integers.
        gate: the calls that one gate between the first and the last that encode data takes.
        turn: such a gate, for one sample of one edge.
        feature: one feature of one sample of one input.
        product: one multiplication and addition.
    """

    direct: tuple[float, float]
    expanded: tuple[float, float]
    range: tuple[float, float]
    gate: tuple[float, float]
    turn: tuple[float, float]
    feature: tuple[float, float]
    product: tuple[float, float]


SHARED_TURN, SHARED_FEATURE, SHARED_CALL = 10.0, 3.0, (6e3, 3e4)
"""Activations that all outputs share are computed themselves, in passes over fresh memory, before they meet weights:
how many times dearer turns and features then are, and nanoseconds of the calls that a feature takes."""


COSTS = {
    "cpu": Costs((12e4, 35e4), (26e4, 7e5), (12e4, 25e4), (3e4, 9e4), (2.0, 4.2), (0.25, 1.0), (0.012, 0.036)),
    "cuda": Costs((12e4, 35e4), (26e4, 7e5), (2e5, 3e5), (3e4, 9e4), (0.01, 0.03), (3e-3, 12e-3), (2e-5, 6e-5)),
}
"""By device type; others are taken to be like "cuda"."""


@dataclass(frozen=True)
class Layer:
    """What is evaluated: `batch` samples of `inputs`, summed to `outputs`, by `circuits` (out or 1, in or 1)."""

    batch: int
    inputs: int
    outputs: int
    circuits: tuple[int, ...]
    dtype: torch.dtype
    device: str
    gradient: bool

    def direct(self, circuit: Circuit) -> float:
        """Nanoseconds of a direct evaluation."""
        costs, evaluations = self._costs(), self.batch * self.inputs * self.circuits[0]
        turn = SHARED_TURN if self._shared() else 1.0
        return costs.direct[self.gradient] + self._walk(circuit, evaluations, turn)

    def expanded(self, circuit: Circuit, size: int) -> float:
        """Nanoseconds of an expansion in `size` features."""
        costs, features = self._costs(), self.batch * self.inputs * size
        calls = costs.expanded[self.gradient]
        if facts(circuit).degree is None:
            calls += costs.range[self.gradient]
        each = costs.feature[self.gradient] + self.outputs * costs.product[self.gradient]
        if self._shared():
            calls, each = calls + size * SHARED_CALL[self.gradient], SHARED_FEATURE * costs.feature[self.gradient]
        return calls + self._walk(circuit, size * math.prod(self.circuits)) + self._width() * features * each

    def _shared(self) -> bool:
        return self.circuits[0] == 1 and self.outputs > 1

    def _walk(self, circuit: Circuit, evaluations: int, turn: float = 1.0) -> float:
        costs, (gates, size) = self._costs(), _gates(circuit)
        each = self._width() * size * turn * costs.turn[self.gradient]
        return gates * (costs.gate[self.gradient] + evaluations * each)

    def _width(self) -> int:
        return 2 if self.dtype == torch.float64 else 1

    def _costs(self) -> Costs:
        return COSTS.get(self.device, COSTS["cuda"])


@derived
def _gates(circuit: Circuit) -> tuple[int, int]:
    """Gates from the first data gate to the last, and how much larger the state is than that of one wire."""
    data = [k for k, gate in enumerate(simplify(circuit).gates) if gate.encodes]
    return 1 + data[-1] - data[0] if data else 1, 1 if circuit.wires == 1 else 2**circuit.wires


def milliseconds(nanoseconds: float) -> str:
    """For a reader."""
    return f"{nanoseconds / 1e6:.{max(0, 1 - math.floor(math.log10(max(nanoseconds, 1.0) / 1e6)))}f} ms"
