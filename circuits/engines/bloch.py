r"""One wire as a real 3-vector $(\langle X\rangle, \langle Y\rangle, \langle Z\rangle)$, and gates as its rotations."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, partial, reduce
from typing import Any, ClassVar

import torch
from torch import Tensor

from circuits.angles import affine, joined, parts, value
from circuits.checks import batched, check_budget
from circuits.circuit import Angle, Circuit, Encode, Slot, terms
from circuits.derivatives import by_hand, differentiated, in_parts, onto, rows_within, transformed
from circuits.derived import derived
from circuits.engines.engine import Engine, edges, per_sample
from circuits.engines.turns import Program, Turn, program
from circuits.shapes import broadcast

Component = Tensor | float | None
"""Of a vector, over the grid it depends on; None for a 0 and 1.0 or -1.0 for a 1 that are known before any input is."""


class Bloch(Engine):
    """One wire, real arithmetic, the dtype of the inputs.

    Args:
        compile: let `torch.compile` fuse each evaluation into a few loops, forward and backward. It needs a C++
            compiler, takes some seconds for every new circuit, shape and dtype, and pays where the same is evaluated
            often. Derivatives of derivatives need the plain path, and torch's limit of recompilations holds.
        budget: MiB that a part of a layer's batch may keep for its backward; larger batches are done in parts, each of
            them evaluated once more in the backward.
    """

    name: ClassVar[str] = "bloch"

    def __init__(self, compile: bool = False, budget: float = 16.0) -> None:
        self.compile, self.budget = compile, check_budget(budget)

    def unsupported(self, circuit: Circuit) -> str | None:
        return _unsupported(circuit)

    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        plan, slots = program(circuit), tuple(params.values())
        if self.compile and not transformed():
            return _compiled(_readouts, plan, tuple(params))(x, *slots)
        return _evaluated(plan, tuple(params), x, *slots)

    def _contract(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        if per_sample([tensor.shape for tensor in params.values()], weight.shape):
            return super()._contract(circuit, x, params, weight)
        outs, ins = weight.shape
        # Batch last: passes over memory then run along it, however small a layer is.
        slots = [tensor[..., None, :] for tensor in edges(params).values()]
        plan, names = program(circuit), tuple(params)
        if self.compile and not transformed():
            layer = _compiled(_layer, _readouts, plan, names)
        else:
            layer = partial(_layer, _evaluated, plan, names)
        rows = rows_within(self.budget, outs * ins * x.element_size() * (5 * len(plan.turns) + 3))
        return in_parts(layer, rows, x.reshape(-1, ins), weight, *slots).reshape(*x.shape[:-1], outs)

    def __repr__(self) -> str:
        given = [f"compile={self.compile}"] * self.compile + [f"budget={self.budget}"] * (self.budget != 16.0)
        return f"Bloch({', '.join(given)})"


def _layer(
    evaluate: Callable[..., Tensor],
    plan: Program,
    names: tuple[str, ...],
    x: Tensor,
    weight: Tensor,
    *slots: Tensor,
) -> Tensor:
    """`x (rows, in)` and slots `(out or 1, in or 1, 1, n)` to `(rows, out)`."""
    values = evaluate(plan, names, x.T.contiguous()[..., None], *slots)[..., 0]
    if values.ndim < 3 or values.shape[0] == 1:
        return values.expand(1, *x.T.shape)[0].T @ weight.T
    return (weight[..., None] * values).sum(1).T.expand(len(x), -1)


@lru_cache(maxsize=64)
def _compiled(function: Callable[..., Tensor], *fixed: Any) -> Callable[..., Tensor]:
    return torch.compile(partial(function, *fixed), fullgraph=True, dynamic=False)


def _evaluated(plan: Program, names: tuple[str, ...], x: Tensor, *slots: Tensor) -> Tensor:
    function = _Readouts.apply if by_hand(x, *slots) else _readouts
    return function(plan, names, x, *slots)


@derived
def _unsupported(circuit: Circuit) -> str | None:
    gate = next((gate for gate in circuit.gates if len(gate.wires) > 1), None)
    if gate is not None:
        return f"gate {gate} acts on {len(gate.wires)} wires, and bloch has one; use 'statevector'"
    return None if circuit.wires == 1 else f"it has {circuit.wires} wires, and bloch has one; use 'statevector'"


class _Inputs:
    """x and slots with their last dimension taken apart."""

    def __init__(self, names: Sequence[str], x: Tensor, slots: Sequence[Tensor]) -> None:
        self.like = x
        self.features = x.unbind(-1)
        # Entries that lie n apart in memory would slow down every pass over them by a factor of four.
        self._families = {name: slot.movedim(-1, 0).contiguous() for name, slot in zip(names, slots, strict=True)}
        self.slots = {name: family.unbind(0) for name, family in self._families.items()}
        self._waves: dict[int | str | tuple[int, float], tuple[Any, Any]] = {}

    def wave(self, turn: Turn) -> tuple[Any, Any]:
        """Cosine and sine of an angle; tensors even for a number, whose 0 by rounding is not one by structure."""
        if isinstance(turn.angle, Slot):
            name = turn.angle.name
            cos, sin = self._wave(name, self._families[name])  # of the whole family at once
            return cos[turn.angle.index], sin[turn.angle.index]
        if (found := self._waves.get(turn.number)) is None:
            found = self._waves[turn.number] = self._new(turn.angle)
        return found

    def _new(self, angle: Angle) -> tuple[Any, Any]:
        offset, slopes, bent = parts(angle, self.slots)
        if isinstance(offset, Tensor) and len(slopes) == 1 and not bent:
            ((feature, slope),) = slopes.items()
            x = self.features[feature]
            if isinstance(slope, float) and 4 * (x.numel() + offset.numel()) < _entries(x.shape, offset.shape):
                # By the addition theorem: four products cost less than a cosine and a sine of their own.
                cos, sin = self._wave((feature, slope), x if slope == 1.0 else slope * x)
                return _rotate(torch.cos(offset), torch.sin(offset), cos, sin)
        bound = joined(offset, slopes, bent, self.features, self.slots)
        bound = torch.as_tensor(bound, dtype=self.like.dtype, device=self.like.device)
        return torch.cos(bound), torch.sin(bound)

    def _wave(self, key: str | tuple[int, float], angle: Tensor) -> tuple[Any, Any]:
        if key not in self._waves:
            self._waves[key] = torch.cos(angle), torch.sin(angle)
        return self._waves[key]


def _entries(first: torch.Size, second: torch.Size) -> int:
    return math.prod(broadcast(first, second))


def _walk(turns: Sequence[Turn], start: Sequence[float], inputs: _Inputs) -> tuple[list[Component], list[Component]]:
    """Turn `start`: the vector after all turns, and for each of them the turned plane, the cosine and the sine."""
    vector: list[Component] = [entry or None for entry in start]
    kept: list[Component] = []
    for turn in turns:
        cos, sin = inputs.wave(turn)
        vector[turn.i], vector[turn.j] = p, q = _rotate(vector[turn.i], vector[turn.j], cos, sin)
        kept += p, q, cos, sin
    return vector, kept


def _readouts(plan: Program, names: tuple[str, ...], x: Tensor, *slots: Tensor) -> Tensor:
    """The plain twin of `_Readouts`: every operation in the open, for torch to differentiate or to trace."""
    return _walked(plan, _Inputs(names, x, slots))[0]


def _walked(plan: Program, inputs: _Inputs) -> tuple[Tensor, list[Component]]:
    """Values `(*grid, readouts)`; the last state and axes, and what was kept of each walk, for the way back."""
    state, kept = _walk(plan.turns, plan.start, inputs)
    ends, values = [*state], []
    for start in plan.axes:
        axis, more = _walk(plan.backward, start, inputs)
        ends += axis
        kept += more
        terms = [_times(a, s) for a, s in zip(axis, state, strict=True) if a is not None and s is not None]
        total = reduce(torch.add, terms) if terms else 0.0
        values.append(torch.as_tensor(total, dtype=inputs.like.dtype, device=inputs.like.device))
    stacked = values[0][..., None] if len(values) == 1 else torch.stack(torch.broadcast_tensors(*values), dim=-1)
    return stacked, ends + kept


class _Readouts(torch.autograd.Function):
    r"""Values `(*grid, readouts)`, differentiated by walking the gradient $\lambda$ of the state back.

    With $r'$ the state after a turn of the plane (i, j), and $\lambda$ its gradient, the gradient of the angle is
    $\lambda_j r'_i - \lambda_i r'_j$, and that of the state before is $\lambda$ turned back.
    """

    @staticmethod
    def forward(ctx: Any, plan: Program, names: tuple[str, ...], x: Tensor, *slots: Tensor) -> Tensor:
        values, kept = _walked(plan, _Inputs(names, x, slots))
        ctx.plan, ctx.names, ctx.count = plan, names, 1 + len(slots)
        ctx.numbers = {k: entry for k, entry in enumerate(kept) if isinstance(entry, float)}
        ctx.save_for_backward(x, *slots, *(None if isinstance(entry, float) else entry for entry in kept))
        return values

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (grad,), saved, wanted, plan = grads, ctx.saved_tensors, ctx.needs_input_grad[2:], ctx.plan
        (x, *slots), kept = saved[: ctx.count], list(saved[ctx.count :])
        if torch.is_grad_enabled() or batched(grad):
            twin = partial(_readouts, plan, ctx.names)
            return None, None, *differentiated(twin, (x, *slots), wanted, grad)
        for k, number in ctx.numbers.items():
            kept[k] = number
        credits = _Credits(ctx.names, x, slots, wanted)
        ends, kept = kept[: 3 + 3 * len(plan.axes)], kept[3 + 3 * len(plan.axes) :]
        state, length = ends[:3], 4 * len(plan.turns)
        pull: list[Component] = [None, None, None]
        for k, share in enumerate(grad.unbind(-1)):
            axis = ends[3 * k + 3 : 3 * k + 6]
            pull = [_plus(p, _fitted(_times(share, a), s)) for p, a, s in zip(pull, axis, state, strict=True)]
            if plan.backward:
                later = [_fitted(_times(share, s), a) for s, a in zip(state, axis, strict=True)]
                credits.walk(plan.backward, kept[length:], later)
                length += 4 * len(plan.backward)
        credits.walk(plan.turns, kept, pull)
        return None, None, *credits.gradients()


class _Credits:
    """Gradients of x and slots, collected from gradients of angles."""

    def __init__(self, names: Sequence[str], x: Tensor, slots: Sequence[Tensor], wanted: Sequence[bool]) -> None:
        self._names, self._slots = names, slots
        self._tensors = dict(zip(("x", *names), (x, *slots), strict=True))  # no slot is called x
        self._wanted = dict(zip(self._tensors, wanted, strict=True))
        self._grids = {name: tensor.shape[:-1] for name, tensor in self._tensors.items()}
        self._sums: dict[tuple[str, int], Tensor] = {}
        self._by_x: dict[tuple[int, torch.Size], Tensor] = {}

    @cached_property
    def _inputs(self) -> _Inputs:
        return _Inputs(self._names, self._tensors["x"], self._slots)

    def walk(self, turns: Sequence[Turn], kept: Sequence[Any], pull: list[Component]) -> None:
        """Walk the gradient `pull` of the last vector back to the start."""
        pull = list(pull)
        for k in reversed(range(len(turns))):
            turn = turns[k]
            (i, j), (p, q, cos, sin) = (turn.i, turn.j), kept[4 * k : 4 * k + 4]
            a, b = pull[i], pull[j]
            if (slope := _minus(_times(b, p), a, q)) is not None:
                self._angle(turn.angle, slope)
            if k:
                b, a = _rotate(b, a, cos, sin)
                pull[i], pull[j] = _fitted(a, _before(turn.since_i, kept)), _fitted(b, _before(turn.since_j, kept))

    def _angle(self, angle: Angle, gradient: Tensor) -> None:
        sums: dict[torch.Size, Tensor] = {}  # a slot and a shift of the same grid share their sum
        for term in terms(angle):
            if isinstance(term, Slot):
                self._add(term.name, term.index, gradient, sums)
            elif isinstance(term, Encode):
                self._encoding(term, gradient, sums)

    def _encoding(self, term: Encode, gradient: Tensor, sums: dict[torch.Size, Tensor]) -> None:
        if term.through == "arccos":
            inner = value(term.argument, self._inputs.features, self._inputs.slots)
            gradient, sums = -gradient * torch.rsqrt(1 - inner.square()), {}
        if isinstance(term.shift, Slot):
            self._add(term.shift.name, term.shift.index, gradient, sums)
        if isinstance(term.scale, Slot) and self._wanted[term.scale.name]:
            x = self._tensors["x"][..., term.feature]
            self._add(term.scale.name, term.scale.index, gradient * x, {})
        if self._wanted["x"]:
            scale, place = term.scale, (term.feature, gradient.shape)
            if isinstance(scale, Slot):
                scale = self._inputs.slots[scale.name][scale.index]
            before = self._by_x.get(place)
            # Added up before anything is summed over edges.
            self._by_x[place] = _times(gradient, scale) if before is None else affine(before, scale, gradient)

    def _add(self, name: str, index: int, gradient: Tensor, sums: dict[torch.Size, Tensor]) -> None:
        if self._wanted[name]:
            grid, place = self._grids[name], (name, index)
            if grid not in sums:
                sums[grid] = onto(gradient, grid)
            self._sums[place] = self._sums[place] + sums[grid] if place in self._sums else sums[grid]

    def gradients(self) -> Iterator[Tensor | None]:
        """Of x, then of every slot; None where none is wanted."""
        for (feature, _), gradient in self._by_x.items():
            self._add("x", feature, gradient, {})
        for name, tensor in self._tensors.items():
            if not self._wanted[name]:
                yield None
                continue
            places = [(name, k) for k in range(tensor.shape[-1])]
            if any(place not in self._sums for place in places):
                zero = tensor.new_zeros(self._grids[name])
                yield torch.stack([self._sums.get(place, zero) for place in places], dim=-1)
            else:
                yield torch.stack([self._sums[place] for place in places], dim=-1)


def _before(since: int | None, kept: Sequence[Component]) -> Component:
    return None if since is None else kept[since]


def _fitted(gradient: Component, entry: Component) -> Component:
    """The gradient of an entry, summed over what broadcasting had repeated of it; nothing for what is known."""
    return onto(gradient, entry.shape) if isinstance(entry, Tensor) and isinstance(gradient, Tensor) else None


def _rotate(p: Component, q: Component, cos: Tensor, sin: Tensor) -> tuple[Any, Any]:
    r"""$(\cos p - \sin q, \sin p + \cos q)$, in two passes over memory each."""
    if isinstance(p, Tensor) and isinstance(q, Tensor):
        return torch.addcmul(cos * p, sin, q, value=-1), torch.addcmul(sin * p, cos, q)
    if q is None:
        return _times(cos, p), _times(sin, p)
    if p is None:
        return _times(_times(sin, q), -1.0), _times(cos, q)
    return cos * p - sin * q, sin * p + cos * q


def _minus(first: Component, a: Component, b: Component) -> Any:
    """`first - a b`."""
    if isinstance(first, Tensor) and isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.addcmul(first, a, b, value=-1)
    return _plus(first, _times(_times(a, b), -1.0))


def _times(a: Component, b: Component) -> Any:
    """The product, without touching a tensor for a factor that is known to be 0 or +-1."""
    if a is None or b is None:
        return None
    if isinstance(a, float):
        a, b = b, a
    if isinstance(b, float) and b in (1.0, -1.0):
        return a if b == 1.0 else -a
    return a * b


def _plus(a: Component, b: Component) -> Any:
    return b if a is None else a if b is None else a + b
