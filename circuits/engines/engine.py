"""The contract every engine fulfils."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from circuits.checks import check_activation, check_inputs, check_tensor, check_weight
from circuits.circuit import Circuit
from circuits.errors import UnsupportedCircuit
from circuits.gradient import evaluate_table
from circuits.lower import simplify


class Engine(ABC):
    """Evaluates circuits.

    A subclass says what it cannot do (`unsupported`) and computes (`_evaluate`); inputs reach `_evaluate` checked.
    """

    name: ClassVar[str]

    def unsupported(self, circuit: Circuit) -> str | None:
        """Why this engine cannot evaluate `circuit`, naming the gate; None if it can."""
        return None

    @final
    def supports(self, circuit: Circuit) -> bool:
        """Whether this engine evaluates `circuit`, all of it."""
        return self.unsupported(circuit) is None

    @final
    def __call__(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        r"""The Born expectation $\langle 0|U^\dagger P U|0\rangle$ of each readout string P.

        Args:
            circuit: what to evaluate.
            x: `(*grid, features)`, real floating-point, finite.
            params: slot name to `(*grid, n)`, same device as x; all grids broadcast.

        Returns:
            `(*grid)` for one readout string, `(*grid, readouts)` for a tuple of them, in the promoted dtype of the
            inputs and on their device.

        Raises:
            UnsupportedCircuit: if the engine cannot evaluate every gate.
            TypeError, ValueError: for inputs that do not fit, naming argument, value and remedy.
        """
        grid = check_inputs(circuit, x, params)
        if (reason := self.unsupported(circuit)) is not None:
            raise UnsupportedCircuit(f"Engine {self.name!r} cannot evaluate this circuit: {reason}.")
        dtype = x.dtype
        for tensor in params.values():
            dtype = torch.promote_types(dtype, tensor.dtype)
        working = dtype if dtype in (torch.float32, torch.float64) else torch.float32
        values = self._evaluate(
            circuit,
            x.to(working),
            {name: tensor.to(working) for name, tensor in params.items()},
        )
        values = values.to(dtype=dtype, device=x.device).expand(*grid, len(circuit.strings))
        for tensor in _unseen(circuit, x, params):
            # Its derivative is zero, not missing: optimisers and distributed training count on a gradient.
            values = values + 0 * tensor.sum()
        return values[..., 0] if isinstance(circuit.readout, str) else values

    def contract(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        r"""The sum over inputs $y_o = \sum_i w_{oi} f_{oi}(x_i)$, the only thing a layer needs.

        Args:
            circuit: one feature, one readout string.
            x: `(*batch, in)`.
            params: slot name to `(out, in, n)`; 1 for out or in shares, leading batch dimensions are per-sample.
            weight: `(out, in)`, leading batch dimensions allowed.

        Returns:
            `(*batch, out)`.
        """
        check_activation(circuit)
        check_weight(x, weight)
        check_tensor("x", x)  # here, so that an error has the caller's index
        values = self(circuit, x[..., None, :, None], params)
        dtype = torch.promote_types(values.dtype, weight.dtype)
        values, weight = values.to(dtype), weight.to(dtype)
        if values.shape[-2] == 1 and weight.ndim == 2:
            return torch.nn.functional.linear(values[..., 0, :], weight)
        return torch.linalg.vecdot(values, weight)

    @final
    def __deepcopy__(self, memo: object) -> Self:
        """Itself: an engine is a handle, maybe to a device, that copies of a model share."""
        return self

    @abstractmethod
    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Values `(*grid, readouts)`, or anything that expands to it, for checked float32 or float64 inputs."""


class BlackBox(Engine):
    """An engine that maps a table of angles to values.

    A subclass implements `_run` only. Binding, the chain rule through scale * x + shift and the parameter-shift rule
    are written once, in `circuits.gradient`.
    """

    differentiable: bool = False
    """Whether torch differentiates through `_run`; otherwise gradients come from parameter shifts."""

    @final
    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        return evaluate_table(circuit, x, params, self._run, self.differentiable)

    @abstractmethod
    def _run(self, circuit: Circuit, table: Tensor) -> Tensor:
        """`circuit` with angles `Slot("angle", k)` on `table (N, angles)`, float64, CPU, N > 0: `(N, readouts)`."""


def _unseen(circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> list[Tensor]:
    """What wants a gradient, but does not reach any readout."""
    seen = simplify(circuit)
    tensors = [] if seen.encodings else [x]
    if len(seen.slots) < len(circuit.slots):
        tensors += [tensor for name, tensor in params.items() if name not in seen.slots]
    return [tensor for tensor in tensors if tensor.requires_grad]
