"""The contract every engine fulfils."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, fields
from functools import reduce
from typing import ClassVar, Literal, Self, final, overload

import torch
from torch import Tensor

from circuits.checks import check_inputs, check_shots, check_sum, check_values, suspicious
from circuits.circuit import Circuit
from circuits.derived import derived
from circuits.engines.limits import Limits
from circuits.errors import UnsupportedCircuit
from circuits.gradient import Gradient, Shift, evaluate_table
from circuits.lower import simplify
from circuits.precision import autocast_dtype, full_precision
from circuits.shapes import broadcast
from circuits.shots import standard_error


class Engine(ABC):
    """Evaluates circuits.

    A subclass says what it cannot do (`unsupported`) and computes (`_evaluate`); inputs reach `_evaluate` checked.
    """

    name: ClassVar[str]
    checks_first: ClassVar[bool] = False
    """Whether values are looked at before anything runs, because runs are paid for; otherwise the result tells."""

    simplifies: bool = True
    """Whether a circuit and its simplified form have the same exact value here, as they have without noise."""

    def unsupported(self, circuit: Circuit) -> str | None:
        """Why this engine cannot evaluate `circuit`, naming the gate; None if it can."""
        return None

    @final
    def supports(self, circuit: Circuit) -> bool:
        """Whether this engine evaluates `circuit`, all of it."""
        return self.unsupported(circuit) is None

    @overload
    def __call__(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor: ...
    @overload
    def __call__(
        self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], with_error: Literal[True]
    ) -> tuple[Tensor, Tensor]: ...
    @overload
    def __call__(
        self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], with_error: bool
    ) -> Tensor | tuple[Tensor, Tensor]: ...
    @final
    def __call__(
        self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], with_error: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        r"""The Born expectation $\langle 0|U^\dagger P U|0\rangle$ of each readout string P.

        Args:
            circuit: what to evaluate.
            x: `(*grid, features)`, real floating-point, finite.
            params: slot name to `(*grid, n)`, same device as x; all grids broadcast.
            with_error: whether the standard error comes with it, which is zero for exact values and has no gradient.

        Returns:
            `(*grid)` for one readout string, `(*grid, readouts)` for a tuple of them, in the promoted dtype of the
            inputs and on their device; with its standard error, of the same shape, if that is asked for.

        Raises:
            UnsupportedCircuit: if the engine cannot evaluate every gate.
            TypeError, ValueError: for inputs that do not fit, naming argument, value and remedy.
        """
        grid = check_inputs(circuit, x, params)
        self._require(circuit)
        if self.checks_first:
            check_values(circuit, x, params)
        dtype, working = _dtypes(x, *params.values())
        evaluate = self._evaluate_with_error if with_error else lambda *inputs: (self._evaluate(*inputs),)
        results = [
            result.to(dtype=dtype, device=x.device).expand(*grid, len(circuit.strings))
            for result in evaluate(circuit, x.to(working), _to(params, working))
        ]
        if suspicious(results[0]):
            check_values(circuit, x, params)
        results[0] = anchored(results[0], ignored(circuit, x, params))
        if isinstance(circuit.readout, str):
            results = [result[..., 0] for result in results]
        return (results[0], results[1]) if with_error else results[0]

    @final
    def contract(
        self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], weight: Tensor, judged: bool = True
    ) -> Tensor:
        r"""The sum over inputs $y_o = \sum_i w_{oi} f_{oi}(x_i)$, the only thing a layer needs.

        Args:
            circuit: one feature, one readout string.
            x: `(*batch, in)`.
            params: slot name to `(out, in, n)`; 1 for out or in shares, leading batch dimensions are per-sample.
            weight: `(out, in)`, leading batch dimensions allowed.
            judged: whether the values are judged by the result; a caller that adds to it may do that with the total.

        Returns:
            `(*batch, out)`, in the promoted dtype of the inputs, or that of autocast. Sums are rounded once, at the
            end: products of the forward are neither cast by autocast nor computed in TensorFloat-32.

        Raises:
            UnsupportedCircuit: if the circuit is no activation, or the engine cannot evaluate every gate.
            TypeError, ValueError: for inputs that do not fit, naming argument, value and remedy.
        """
        check_sum(circuit, x, params, weight)
        self._require(circuit)
        if self.checks_first:
            check_values(circuit, x, params, weight)
        dtype, working = _dtypes(x, weight, *params.values())
        if dtype != torch.float64:  # which autocast leaves alone
            dtype = autocast_dtype(x.device) or dtype
        with full_precision(x.device):
            y = self._contract(circuit, x.to(working), _to(params, working), weight.to(working))
        if judged and suspicious(y):
            check_values(circuit, x, params, weight)
        return anchored(y.to(dtype=dtype, device=x.device), ignored(circuit, x, params))

    def _require(self, circuit: Circuit) -> None:
        if (reason := self.unsupported(circuit)) is not None:
            raise UnsupportedCircuit(f"Engine {self.name!r} cannot evaluate this circuit: {reason}.")

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: an engine is a handle, maybe to a device, that copies of a model share."""
        return self

    def _evaluate_with_error(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """`_evaluate` and its standard errors."""
        values = self._evaluate(circuit, x, params)
        return values, torch.zeros_like(values)

    @abstractmethod
    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Values `(*grid, readouts)`, or anything that expands to it, for checked float32 or float64 inputs."""

    def _contract(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        """`contract` for checked float32 or float64 inputs; engines that need not form every activation override it."""
        values = self._evaluate(circuit, x[..., None, :, None], params)[..., 0]
        return weighted_sum(values.to(weight), weight, x.shape)


@dataclass(frozen=True)
class Costs:
    """What evaluations take.

    Args:
        circuits: values of one readout string that are asked for.
        rows: of parameters, each of which may be several circuits side by side, calibrations included.
        executions: rows times their shots.
        jobs: submissions.
        seconds: on the device, without the queue; 0 where nothing is known.
    """

    circuits: int = 0
    rows: int = 0
    executions: int = 0
    jobs: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Costs") -> "Costs":
        return Costs(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class BlackBox(Engine):
    """An engine that maps a table of angles to values.

    A subclass implements `_run` only. Binding, the chain rule through scale * x + shift, gradients and standard errors
    are written once, here and in `circuits.gradient`.
    """

    checks_first: ClassVar[bool] = True
    simplifies: bool = False

    shots: int | Tensor | None = None
    """Measurements of every evaluation, one number or a tensor that broadcasts with the grid; None for exact values."""

    gradient: Gradient | None = Shift()
    """Where gradients come from; None if torch differentiates through `_run`."""

    limits: Limits | None = None
    """Of the provider; None for simulators that have none."""

    row_shots: int | None = None
    """What numbers of shots are multiples of; None for any."""

    rewrites: bool = True
    """Whether circuits may be simplified before they run; not where each gate as written makes errors of its own."""

    @final
    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        return self._table(circuit, x, params)

    @final
    def _evaluate_with_error(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        values, errors = self._table(circuit, x, params, with_error=True).chunk(2, dim=-1)
        return values, errors.detach()

    def _table(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], with_error: bool = False) -> Tensor:
        columns = len(circuit.strings) * (1 + with_error)

        def run(plain: Circuit, table: Tensor, shots: Tensor | None) -> Tensor:
            if not len(table):
                return table.sum(-1, keepdim=True).expand(0, columns)
            values, errors = self._measure(plain, table, shots)
            return torch.cat([values, errors], dim=-1) if with_error else values

        shots = _counts(self.shots)
        if shots is not None:
            _check_grid(shots, broadcast(x.shape[:-1], *(tensor.shape[:-1] for tensor in params.values())))
        return evaluate_table(circuit, x, params, run, self._derivative(), shots, self.rewrites)

    def _derivative(self) -> Gradient | None:
        """Where gradients come from at the present number of shots."""
        return self.gradient

    def with_shots(self, shots: int | Tensor | None) -> Self:
        """The same engine with other shots: one number, or a tensor that broadcasts with the grid."""
        other = copy(self)
        other.shots = check_shots(shots)
        return other

    def costs(self, circuit: Circuit, table: Tensor, shots: Tensor | None) -> "Costs":
        """What evaluating a table takes, without evaluating it."""
        readouts = len(circuit.strings)
        executions = readouts * (len(table) if shots is None else int(shots.sum()))
        return Costs(len(table) * readouts, len(table) * readouts, executions, 1)

    def _measure(self, circuit: Circuit, table: Tensor, shots: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values and their standard errors, `(N, readouts)` each, for rows that have their own `shots (N,)`."""
        if shots is None:
            values = self._run(circuit, table, None)
            return values, torch.zeros_like(values)
        values = table.new_empty(len(table), len(circuit.strings))
        for count in shots.unique().tolist():
            rows = shots == count
            values[rows] = self._run(circuit, table[rows], count)
        return values, self.expected_error(circuit, values, shots)

    def expected_error(self, circuit: Circuit, values: Tensor, shots: Tensor) -> Tensor:
        """The standard errors of values `(N, readouts)` that are measured with `shots (N,)`."""
        return standard_error(values, shots[:, None])

    @abstractmethod
    def _run(self, circuit: Circuit, table: Tensor, shots: int | None) -> Tensor:
        """`circuit` with angles `Slot("angle", k)` on `table (N, angles)`, float64, CPU, N > 0: `(N, readouts)`.

        `shots` is how often every row is measured; None for exact values.
        """


def _counts(shots: int | Tensor | None) -> Tensor | None:
    return None if shots is None else torch.as_tensor(shots)


def _check_grid(shots: Tensor, grid: torch.Size) -> None:
    """Refuse shots of evaluations that there are not."""
    try:
        fits = broadcast(grid, shots.shape) == grid
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"Argument `shots` must broadcast to the grid {tuple(grid)} of x and params, but has shape "
            f"{tuple(shots.shape)}: give one number for each evaluation, or one for all."
        )


def weighted_sum(values: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
    """The sum over inputs of `weight (*batch, out, in)` times `values`, for x of `shape` `(*batch, in)`.

    Args:
        values: anything that broadcasts to `(*batch, out, in)`.
        weight: the weights.
        shape: of x.
    """
    if values.ndim < 2 or values.shape[-2] == 1:
        values = values.expand(*values.shape[:-2], 1, shape[-1]) if values.ndim > 1 else values.expand(1, shape[-1])
        if weight.ndim == 2:
            return torch.nn.functional.linear(values[..., 0, :], weight).expand(*shape[:-1], -1)
    y = torch.linalg.vecdot(values, weight)
    return y.expand(broadcast(y.shape, (*shape[:-1], weight.shape[-2])))


def edges(params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The slots of a layer with their grid spelled out, `(out or 1, in or 1, n)`."""
    return {name: tensor.reshape(torch.Size((1, 1, *tensor.shape))[-3:]) for name, tensor in params.items()}


def per_sample(params: Iterable[torch.Size], weight: torch.Size) -> bool:
    """Whether slots or weights of these shapes have batch dimensions of their own."""
    return len(weight) > 2 or any(len(shape) > 3 for shape in params)


def anchored(values: Tensor, tensors: Iterable[Tensor]) -> Tensor:
    """`values`, connected to those `tensors` that want a gradient, but do not reach any readout.

    The derivative is zero there, not missing: optimisers and distributed training count on a gradient.
    """
    for tensor in tensors:
        if tensor.requires_grad:
            values = values + tensor.reshape(-1)[:0].sum()  # of nothing: NaN in what has no say does no harm
    return values


def _dtypes(*tensors: Tensor) -> tuple[torch.dtype, torch.dtype]:
    """The promoted dtype of the inputs, and the one to compute in: at least float32."""
    dtype = reduce(torch.promote_types, [tensor.dtype for tensor in tensors])
    return dtype, dtype if dtype in (torch.float32, torch.float64) else torch.float32


def _to(params: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: tensor.to(dtype) for name, tensor in params.items()}


def ignored(circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> list[Tensor]:
    """What the circuit asks for and no readout sees."""
    data, slots = _unseen(circuit)
    return [x] * data + [params[name] for name in slots]


@derived
def _unseen(circuit: Circuit) -> tuple[bool, tuple[str, ...]]:
    """Whether data reach no readout, and the families of slots that do not."""
    seen = simplify(circuit)
    return not seen.encodings, tuple(name for name in circuit.slots if name not in seen.slots)
