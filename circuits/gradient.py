r"""Gradients for engines that only return values: parameter shift, simultaneous perturbation, and simulation.

For $R(\phi) = \exp(-i\phi P/2)$ the value is $a + b\cos\phi + c\sin\phi$ in each angle, so
$f'(\phi) = \tfrac12 [f(\phi + \tfrac\pi2) - f(\phi - \tfrac\pi2)]$ exactly; a controlled rotation adds the frequency
1/2 and takes four terms. Angles are shifted, never scale or x: torch differentiates scale * x + shift.

Reference: Schuld et al., Evaluating analytic gradients on quantum hardware, 2019, arXiv:1811.11184; four-term rule:
Anselmetti et al., Local, expressive, quantum-number-preserving VQE ansätze for fermionic systems, 2021,
arXiv:2104.05695.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from circuits.angles import bind, template
from circuits.checks import check_int, check_seed, is_real
from circuits.circuit import Circuit, Slot
from circuits.lower import simplify

Run = Callable[[Circuit, Tensor, Tensor | None], Tensor]
"""A circuit whose angles are `Slot("angle", k)`, angles `(N, A)`, float64 on the CPU, and the shots of each row, `(N,)`
or None, to values `(N, columns)`."""

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


Evaluate = Callable[[Tensor], Tensor]
"""Angles `(M N, A)` of a circuit, M tables of the same N rows, to values `(M N, columns)`."""


class Gradient(Protocol):
    """How values that no derivative goes through get one."""

    def __call__(self, evaluate: Evaluate, circuit: Circuit, columns: Sequence[Tensor]) -> Tensor:
        """`evaluate` on the columns of angles, `(N,)` each, connected to them."""
        ...


def evaluate_table(
    circuit: Circuit,
    x: Tensor,
    params: Mapping[str, Tensor],
    run: Run,
    gradient: Gradient | None,
    shots: Tensor | None = None,
    rewrites: bool = True,
) -> Tensor:
    """Values `(*grid, columns)` from `run`, differentiable in x and every parameter.

    The circuit is simplified first if it may be, so that angles which share a derivative are one, shifted once. All
    samples, edges and shifted angles of a gradient go to `run` as one table. Grid points that share all their angles,
    as those of a constant circuit do, share a row, and with it the shots.

    Args:
        circuit: what to evaluate.
        x: `(*grid, features)`.
        params: slot name to `(*grid, n)`.
        run: the backend.
        gradient: where derivatives come from; None if torch differentiates through `run` itself.
        shots: of every evaluation, broadcasting with the grid.
        rewrites: whether the simplified circuit has the same values there.
    """
    plain, angles = template(simplify(circuit) if rewrites else circuit)
    # Before scale * x is formed: a large angle in float32 has few digits left after the decimal point.
    x, params = x.double(), {name: tensor.double() for name, tensor in params.items()}
    bound = [torch.as_tensor(bind(angle, x, params)) for angle in angles]
    grid = torch.broadcast_shapes(*(angle.shape for angle in bound), () if shots is None else shots.shape)
    columns = [angle.expand(grid).reshape(-1).cpu() for angle in bound]
    counts = None if shots is None else shots.expand(grid).reshape(-1).cpu()

    def evaluate(table: Tensor) -> Tensor:
        repeats = len(table) // len(counts) if counts is not None and len(counts) else 0
        return run(plain, table, None if counts is None else counts.repeat(repeats))

    if not columns:
        values = evaluate(torch.zeros(math.prod(grid), 0, dtype=torch.float64))
    elif gradient is None:
        values = evaluate(torch.stack(columns, dim=-1))
    else:
        values = gradient(evaluate, plain, columns)
    return values.reshape(*grid, values.shape[-1])


class Shift:
    """The parameter-shift rule: exact, to any order, by two rows an angle, or four for controlled rotations."""

    def __call__(self, evaluate: Evaluate, circuit: Circuit, columns: Sequence[Tensor]) -> Tensor:
        """See `Gradient`."""
        rules = [
            TWO_TERM if len(gate.wires) == 1 else FOUR_TERM for gate in circuit.gates if isinstance(gate.angle, Slot)
        ]
        return _Shift.apply(evaluate, rules, *columns)

    def __repr__(self) -> str:
        return "Shift()"


class Spsa:
    r"""Simultaneous perturbation: two rows whatever the number of angles, in a direction that is drawn.

    With $\Delta_k = \pm 1$ drawn for every row, $g_k = \Delta_k [f(\phi + c\Delta) - f(\phi - c\Delta)] / 2c$ is the
    gradient on average, up to $O(c^2)$. Its noise is that of the direction: it pays where jobs are dear, not shots.

    Args:
        step: c, in radians.
        repeats: directions to average over.
        seed: of the directions, which are new ones at every step.

    Reference: Spall, Multivariate stochastic approximation using a simultaneous perturbation gradient approximation,
    IEEE Transactions on Automatic Control 37, 1992.
    """

    def __init__(self, step: float = 0.2, repeats: int = 1, seed: int | None = None) -> None:
        if not is_real(step) or not 0 < step <= math.pi / 2:
            raise ValueError(f"Argument `step` must be above 0 and at most pi/2, but is {step!r}.")
        self.step, self.repeats, self.generator = step, check_int("repeats", repeats, 1), generator(check_seed(seed))

    def __call__(self, evaluate: Evaluate, circuit: Circuit, columns: Sequence[Tensor]) -> Tensor:
        """See `Gradient`."""
        return _Spsa.apply(self, evaluate, *columns)

    def __repr__(self) -> str:
        return f"Spsa(step={self.step}, repeats={self.repeats})"


class Simulator:
    """Values from the device, derivatives from an engine that simulates it: no runs beyond those of the values.

    The derivative is as biased as the simulation is wrong; with the noise of the device's calibration that is little.

    Args:
        engine: what torch differentiates through, such as `Bloch()` or `Noisy(noise)`.
    """

    def __init__(self, engine: Any) -> None:
        if not callable(getattr(engine, "contract", None)) or isinstance(engine, type):
            raise TypeError(f"Argument `engine` must be an engine, such as engines.get('bloch'), but is {engine!r}.")
        check_ungridded("engine", engine)
        self.engine = engine

    def __call__(self, evaluate: Evaluate, circuit: Circuit, columns: Sequence[Tensor]) -> Tensor:
        """See `Gradient`."""
        table = torch.stack(list(columns), dim=-1)
        values = evaluate(table.detach())
        simulated = on_table(self.engine, circuit, table)
        # More columns, such as errors, have no derivative.
        return values + torch.nn.functional.pad(
            simulated - simulated.detach(), (0, values.shape[-1] - simulated.shape[-1])
        )

    def __repr__(self) -> str:
        return f"Simulator({self.engine!r})"


def gradient_of(gradient: str | Gradient, seed: int | None, twin: Callable[[], Any]) -> Gradient:
    """A `Gradient` for "shift", "spsa" or "simulator", or one that is built already.

    Args:
        gradient: name or gradient.
        seed: of the device's random numbers, and of directions.
        twin: makes the engine that simulates the device.
    """
    if isinstance(gradient, str):
        known = {"shift": Shift, "spsa": lambda: Spsa(seed=seed), "simulator": lambda: Simulator(twin())}
        if gradient not in known:
            raise ValueError(
                f"Argument `gradient` must be one of {', '.join(known)}, or built as Spsa(step=0.2, seed=0) or "
                f"Simulator(engine), but is {gradient!r}."
            )
        return known[gradient]()
    if isinstance(gradient, type) or not callable(gradient):
        raise TypeError(f"Argument `gradient` must be a name or a gradient such as Spsa(), but is {gradient!r}.")
    return gradient


def on_table(engine: Any, circuit: Circuit, table: Tensor) -> Tensor:
    """Values `(N, readouts)` by an engine of a circuit whose angles are `Slot("angle", k)`, on angles `(N, A)`."""
    several = Circuit(circuit.gates, circuit.strings)
    return engine(several, table.detach().new_zeros(len(table), 1), {"angle": table} if circuit.slots else {})


def check_ungridded(name: str, engine: Any) -> None:
    """Refuse noise that differs from grid point to grid point: rows of a table have forgotten which they were."""
    if getattr(engine, "gridded", False):
        raise ValueError(
            f"Argument `{name}` has noise with a grid, which tables of angles lose: use one Noise for all."
        )


def generator(seed: int | None) -> torch.Generator:
    """Random numbers of one's own: from `seed`, or, without one, from torch's global seed."""
    own = torch.Generator()
    own.manual_seed(int(torch.randint(2**62, ())) if seed is None else seed)
    return own


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


class _Spsa(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, options: Spsa, evaluate: Evaluate, *columns: Tensor) -> Tensor:
        ctx.options, ctx.evaluate = options, evaluate
        ctx.save_for_backward(*columns)
        return evaluate(torch.stack(columns, dim=-1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("SPSA has first derivatives only: use gradient='shift' where create_graph is needed.")
        (grad,), options, table = grads, ctx.options, torch.stack(ctx.saved_tensors, dim=-1)
        wanted = torch.tensor(ctx.needs_input_grad[2:], dtype=table.dtype)
        shape = (options.repeats, *table.shape)
        signs = (2 * torch.randint(2, shape, generator=options.generator, dtype=table.dtype) - 1) * wanted
        moved = options.step * signs
        values = ctx.evaluate(torch.cat([table + moved, table - moved]).flatten(0, 1))
        up, down = values.view(2, options.repeats, *grad.shape)
        slopes = (grad * (up - down)).sum(-1) / (2 * options.step * options.repeats)
        result = (slopes[..., None] * signs).sum(0).unbind(-1)
        return None, None, *(column if flag else None for column, flag in zip(result, wanted.tolist(), strict=True))
