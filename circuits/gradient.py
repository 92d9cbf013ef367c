r"""Parameter shift: exact gradients for engines that only return values.

For $R(\phi) = \exp(-i\phi P/2)$ the value is $a + b\cos\phi + c\sin\phi$ in each angle, so
$f'(\phi) = \tfrac12 [f(\phi + \tfrac\pi2) - f(\phi - \tfrac\pi2)]$ exactly; a controlled rotation adds the frequency
1/2 and takes four terms. Angles are shifted, never scale or x: torch differentiates scale * x + shift.

Reference: Schuld et al., Evaluating analytic gradients on quantum hardware, 2019, arXiv:1811.11184; four-term rule:
Anselmetti et al., Local, expressive, quantum-number-preserving VQE ansätze for fermionic systems, 2021,
arXiv:2104.05695.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from circuits.angles import bind, template
from circuits.circuit import Circuit, Slot
from circuits.lower import simplify

Run = Callable[[Circuit, Tensor], Tensor]
"""A circuit whose angles are `Slot("angle", k)` and angles `(N, A)`, float64 on the CPU, to values `(N, readouts)`."""

Rule = tuple[tuple[float, float], ...]
r"""Pairs (coefficient c, shift s) with $f'(\phi) = \sum c f(\phi + s)$."""

TWO_TERM: Rule = ((0.5, math.pi / 2), (-0.5, -math.pi / 2))

_NEAR, _FAR = (math.sqrt(2) + 1) / math.sqrt(32), (math.sqrt(2) - 1) / math.sqrt(32)
FOUR_TERM: Rule = (
    (_NEAR, math.pi / 2),
    (-_NEAR, -math.pi / 2),
    (-_FAR, 3 * math.pi / 2),
    (_FAR, -3 * math.pi / 2),
)


def evaluate_table(
    circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], run: Run, differentiable: bool = False
) -> Tensor:
    """Values `(*grid, readouts)` from `run`, differentiable (in reverse) to any order in x and every parameter.

    The circuit is simplified first, so that angles which share a derivative are one angle and are shifted once. All
    samples, edges and shifted angles of a gradient go to `run` as one table. Grid points that share all their angles,
    as those of a constant circuit do, share a row, and with it the shots.

    Args:
        circuit: what to evaluate.
        x: `(*grid, features)`.
        params: slot name to `(*grid, n)`.
        run: the backend.
        differentiable: whether torch differentiates through `run` itself, so that nothing needs to be shifted.
    """
    plain, angles = template(simplify(circuit))
    readouts = len(circuit.strings)
    if not angles:
        return run(plain, torch.zeros(1, 0, dtype=torch.float64))[0]

    def evaluate(table: Tensor) -> Tensor:
        return run(plain, table) if len(table) else table.sum(-1, keepdim=True).expand(0, readouts)

    # Before scale * x is formed: a large angle in float32 has few digits left after the decimal point.
    x, params = x.double(), {name: tensor.double() for name, tensor in params.items()}
    bound = [torch.as_tensor(bind(angle, x, params)) for angle in angles]
    grid = torch.broadcast_shapes(*(angle.shape for angle in bound))
    columns = [angle.expand(grid).reshape(-1).cpu() for angle in bound]
    if differentiable:
        return evaluate(torch.stack(columns, dim=-1)).reshape(*grid, readouts)
    rules = [TWO_TERM if len(gate.wires) == 1 else FOUR_TERM for gate in plain.gates if isinstance(gate.angle, Slot)]
    return _Shift.apply(evaluate, rules, *columns).reshape(*grid, readouts)


class _Shift(torch.autograd.Function):
    """Columns of angles, each `(N,)`, to values `(N, readouts)`."""

    @staticmethod
    def forward(evaluate: Callable[[Tensor], Tensor], rules: list[Rule], *columns: Tensor) -> Tensor:
        return evaluate(torch.stack(columns, dim=-1))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.evaluate, ctx.rules, *columns = inputs
        ctx.save_for_backward(*columns)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        columns = ctx.saved_tensors
        wanted = [k for k in range(len(columns)) if ctx.needs_input_grad[2 + k]]
        shifts = [(k, coefficient, shift) for k in wanted for coefficient, shift in ctx.rules[k]]
        shifted = [
            torch.cat([column + shift if k == position else column for k, _, shift in shifts])
            for position, column in enumerate(columns)
        ]
        # Through apply, not evaluate: with create_graph a derivative is itself made of circuits, to any order.
        values = _Shift.apply(ctx.evaluate, ctx.rules, *shifted).reshape(len(shifts), *grad.shape)
        result: list[Any] = [None] * len(columns)
        for (k, coefficient, _), value in zip(shifts, values, strict=True):
            term = coefficient * (grad * value).sum(-1)
            result[k] = term if result[k] is None else result[k] + term
        return None, None, *result

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        """A batch of tables is one longer table."""
        evaluate, rules, *columns = inputs
        batched = [
            column.expand(info.batch_size, -1) if dim is None else column.movedim(dim, 0)
            for column, dim in zip(columns, in_dims[2:], strict=True)
        ]
        values = _Shift.apply(evaluate, rules, *(column.reshape(-1) for column in batched))
        return values.reshape(info.batch_size, -1, values.shape[-1]), 0
