"""What is timed: a case is a value, from which every process draws the same numbers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from circuits import Circuit, Encode, Gate, Slot, pz
from circuits.engines import Engine


@dataclass(frozen=True)
class Case(ABC):
    """A function, its inputs and its parameters; a subclass has at least a batch and a seed.

    The function is that of a `circuit`, which every engine evaluates; a case without one computes it itself.
    """

    kind: ClassVar[str]
    judge: ClassVar[str | None]
    """Name of the engine that judges the others, in float64; None where `output` needs none and is right itself."""

    @property
    @abstractmethod
    def label(self) -> str:
        """As tables show it."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers of a row that an engine keeps at a time, roughly: it bounds chunks of the batch."""

    @abstractmethod
    def draw(self) -> dict[str, np.ndarray]:
        """Inputs and parameters, float32 so that all dtypes start from the same numbers."""

    @abstractmethod
    def output(self, engine: Engine | None, tensors: Mapping[str, Tensor]) -> Tensor:
        """What contestants compute, written plainly, `(*rows)` first."""

    def spec(self) -> dict[str, Any]:
        """For other processes."""
        return asdict(self) | {"kind": self.kind}


@dataclass(frozen=True)
class LayerCase(Case):
    r"""A QKAN layer $y_o = \sum_i w_{oi} f_{oi}(x_i) + b_{oi} \mathrm{SiLU}(x_i)$ of pz circuits.

    Args:
        batch: rows of x.
        in_features: inputs.
        out_features: outputs.
        reps: of the circuits.
        trainable: whether scales and shifts of the data are trained too; otherwise they are 1 and 0.
        inputs: uniform on [-1, 1], or standard normal.
        seed: of everything drawn.
    """

    kind: ClassVar[str] = "layer"
    judge: ClassVar[str] = "bloch"

    batch: int
    in_features: int
    out_features: int
    reps: int
    trainable: bool = False
    inputs: Literal["uniform", "normal"] = "uniform"
    seed: int = 0

    @property
    def label(self) -> str:
        return f"{self.batch}, {self.in_features}→{self.out_features}, {self.reps}"

    @cached_property
    def circuit(self) -> Circuit:
        return pz(self.reps) if self.trainable else pz(self.reps, scale=1, shift=0)

    @property
    def size(self) -> int:
        return self.in_features * self.out_features

    @property
    def names(self) -> tuple[str, ...]:
        """Of the arrays but x."""
        return ("weight", "base_weight", *self.circuit.slots)

    @property
    def circuits(self) -> int:
        """Evaluations of the circuit in a forward pass, if each is evaluated."""
        return self.batch * self.size

    @property
    def work(self) -> int:
        """Blocks of circuits, the final one included: what time and memory of a plain engine grow with."""
        return self.circuits * (self.reps + 1)

    def draw(self) -> dict[str, np.ndarray]:
        random = np.random.default_rng(self.seed)
        grid = (self.out_features, self.in_features)
        rows = (self.batch, self.in_features)
        arrays = {
            "x": random.uniform(-1, 1, rows) if self.inputs == "uniform" else random.standard_normal(rows),
            "weight": random.standard_normal(grid) / self.in_features**0.5,
            "base_weight": random.standard_normal(grid) / self.in_features**0.5,
            "theta": random.uniform(-np.pi, np.pi, (*grid, 2 * (self.reps + 1))),
        }
        if self.trainable:
            # Near 1, where training starts, but nowhere special.
            arrays["scale"] = random.uniform(0.8, 1.2, (*grid, self.reps))
            arrays["shift"] = random.uniform(-np.pi, np.pi, (*grid, self.reps))
        return {name: array.astype(np.float32) for name, array in arrays.items()}

    def output(self, engine: Engine | None, tensors: Mapping[str, Tensor]) -> Tensor:
        assert engine is not None
        x, slots = tensors["x"], {name: tensors[name] for name in self.circuit.slots}
        values = engine(self.circuit, x[:, None, :, None], slots)
        quantum = torch.einsum("boi,oi->bo", values, tensors["weight"])
        return quantum + torch.nn.functional.silu(x) @ tensors["base_weight"].T


@dataclass(frozen=True)
class VectorCase(Case):
    """A hardware-efficient circuit of many wires, one parameter set for all rows; <Z> of wire 0 is read out.

    Each layer has RY of a feature on every wire, trainable RY and RZ on every wire, and a ring of CNOTs.

    Args:
        wires: and features.
        depth: layers.
        batch: rows of x.
        seed: of everything drawn.
    """

    kind: ClassVar[str] = "vector"
    judge: ClassVar[str] = "statevector"

    wires: int
    depth: int
    batch: int
    seed: int = 0

    @property
    def label(self) -> str:
        return f"{self.wires} wires, depth {self.depth}, batch {self.batch}"

    @cached_property
    def circuit(self) -> Circuit:
        wires, gates = range(self.wires), []
        for layer in range(self.depth):
            gates += [Gate("RY", wire, Encode(feature=wire)) for wire in wires]
            for wire in wires:
                angle = 2 * (layer * self.wires + wire)
                gates += [Gate("RY", wire, Slot("theta", angle)), Gate("RZ", wire, Slot("theta", angle + 1))]
            gates += [Gate("CNOT", (wire, (wire + 1) % self.wires)) for wire in wires]
        return Circuit(tuple(gates), readout="Z" + "I" * (self.wires - 1))

    @property
    def size(self) -> int:
        return 2**self.wires * self.depth

    def draw(self) -> dict[str, np.ndarray]:
        random = np.random.default_rng(self.seed)
        x = random.uniform(-1, 1, (self.batch, self.wires))
        theta = random.uniform(-np.pi, np.pi, 2 * self.wires * self.depth)
        return {"x": x.astype(np.float32), "theta": theta.astype(np.float32)}

    def output(self, engine: Engine | None, tensors: Mapping[str, Tensor]) -> Tensor:
        assert engine is not None
        return engine(self.circuit, tensors["x"], {"theta": tensors["theta"]})


@dataclass(frozen=True)
class CellCase(Case):
    r"""An LSTM whose gates are QKAN layers of pz circuits, one of x and one of h, both with a SiLU base and no bias.

    Args:
        batch: sequences.
        length: their steps.
        in_features: of x.
        hidden: of h.
        reps: of the circuits.
        trainable: whether scales and shifts of the data are trained too; otherwise they are 1 and 0.
        seed: of everything drawn.
    """

    kind: ClassVar[str] = "cell"
    judge: ClassVar[str] = "bloch"

    batch: int
    length: int
    in_features: int
    hidden: int
    reps: int
    trainable: bool = False
    seed: int = 0

    @property
    def label(self) -> str:
        scales = "trainable" if self.trainable else "unit"
        return f"{self.batch}, {self.length} steps, {self.in_features}→{self.hidden}, {self.reps}, {scales}"

    @property
    def parts(self) -> dict[str, LayerCase]:
        """The layers of x and of h, as cases of their own."""
        return {
            name: LayerCase(self.batch, inputs, 4 * self.hidden, self.reps, self.trainable, seed=self.seed + k)
            for k, (name, inputs) in enumerate((("input", self.in_features), ("hidden", self.hidden)))
        }

    @cached_property
    def circuit(self) -> Circuit:
        return self.parts["hidden"].circuit

    @property
    def size(self) -> int:
        return 4 * self.hidden * (self.in_features + self.hidden) * self.length

    def draw(self) -> dict[str, np.ndarray]:
        rows = (self.batch, self.length, self.in_features)
        arrays = {"x": np.random.default_rng(self.seed).standard_normal(rows).astype(np.float32)}
        for name, part in self.parts.items():
            arrays |= {f"{name}_{key}": array for key, array in part.draw().items() if key != "x"}
        return arrays

    def output(self, engine: Engine | None, tensors: Mapping[str, Tensor]) -> Tensor:
        x, steps = tensors["x"], []
        h = c = x.new_zeros(len(x), self.hidden)
        for step in x.unbind(1):
            gates = sum(
                part.output(engine, {"x": u} | {key: tensors[f"{name}_{key}"] for key in part.names})
                for u, (name, part) in zip((step, h), self.parts.items(), strict=True)
            )
            assert isinstance(gates, Tensor)
            i, f, g, o = gates.chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            steps.append(h)
        return torch.stack(steps, 1)


@dataclass(frozen=True)
class SplineCase(Case):
    r"""A layer $y_o = \sum_i [w_{oi} \mathrm{SiLU}(x_i) + s_{oi} \sum_j c_{oij} B_j(x_i)]$ on uniform knots of [-1, 1].

    The formula judges, each function by its definition.

    Args:
        batch: rows of x.
        in_features: inputs.
        out_features: outputs.
        grid_size: cells of the domain.
        degree: of the splines.
        seed: of everything drawn.
    """

    kind: ClassVar[str] = "spline"
    judge: ClassVar[str | None] = None

    batch: int
    in_features: int
    out_features: int
    grid_size: int = 5
    degree: int = 3
    seed: int = 0

    @property
    def label(self) -> str:
        return f"{self.batch}, {self.in_features}→{self.out_features}, {self.grid_size}, {self.degree}"

    @property
    def size(self) -> int:
        return self.in_features * (self.grid_size + 2 * self.degree)

    @property
    def knots(self) -> np.ndarray:
        """Shared by all inputs, `degree` of them beyond each end of the domain; float64."""
        return -1 + np.arange(-self.degree, self.grid_size + self.degree + 1) * (2 / self.grid_size)

    def draw(self) -> dict[str, np.ndarray]:
        random = np.random.default_rng(self.seed)
        grid = (self.out_features, self.in_features)
        arrays = {
            "x": random.uniform(-1, 1, (self.batch, self.in_features)),
            "base_weight": random.standard_normal(grid) / self.in_features**0.5,
            "coefficients": random.standard_normal((*grid, self.grid_size + self.degree)) / self.in_features**0.5,
            "scaler": random.uniform(0.5, 1.5, grid),
        }
        return {name: array.astype(np.float32) for name, array in arrays.items()}

    def output(self, engine: Engine | None, tensors: Mapping[str, Tensor]) -> Tensor:
        x, t = tensors["x"], self.knots.tolist()
        functions = [((start <= x) & (x < stop)).to(x.dtype) for start, stop in pairwise(t)]
        for p in range(1, self.degree + 1):
            functions = [
                (x - t[j]) / (t[j + p] - t[j]) * left + (t[j + p + 1] - x) / (t[j + p + 1] - t[j + 1]) * right
                for j, (left, right) in enumerate(pairwise(functions))
            ]
        weights = tensors["coefficients"] * tensors["scaler"][..., None]
        splines = torch.einsum("bij,oij->bo", torch.stack(functions, -1), weights)
        return splines + torch.nn.functional.silu(x) @ tensors["base_weight"].T


@dataclass(frozen=True)
class RationalCase(Case):
    r"""Rational functions $P(x) / (1 + \sum_{j \le 4} |b_j| |x|^j)$, P of degree 5, with one P and 8 denominators.

    Args:
        batch: sequences.
        tokens: their length.
        features: channels, a multiple of 8.
        seed: of everything drawn.
    """

    kind: ClassVar[str] = "rational"
    judge: ClassVar[str | None] = None

    batch: int
    tokens: int
    features: int
    seed: int = 0

    @property
    def label(self) -> str:
        return f"{self.batch}, {self.tokens}, {self.features}"

    @property
    def size(self) -> int:
        return 20 * self.tokens * self.features

    def draw(self) -> dict[str, np.ndarray]:
        random = np.random.default_rng(self.seed)
        shapes = {"x": (self.batch, self.tokens, self.features), "numerator": (1, 6), "denominator": (8, 4)}
        return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}

    def output(self, engine: Engine | None, tensors: Mapping[str, Tensor]) -> Tensor:
        x = tensors["x"].unflatten(-1, (8, -1))
        a, b = tensors["numerator"][..., None], tensors["denominator"].abs()[..., None]
        numerator = torch.stack([a[:, i] * x**i for i in range(6)]).sum(0)
        denominator = torch.stack([b[:, j - 1] * x.abs() ** j for j in range(1, 5)]).sum(0)
        return (numerator / (1 + denominator)).flatten(-2)


KINDS: Mapping[str, Callable[[Mapping[str, Any]], Case]] = {
    cls.kind: lambda spec, cls=cls: cls(**{key: value for key, value in spec.items() if key != "kind"})
    for cls in (LayerCase, VectorCase, CellCase, SplineCase, RationalCase)
}
"""From `spec` back to the case, by its kind."""
