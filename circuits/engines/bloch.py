r"""One wire as a real 3-vector $(\langle X\rangle, \langle Y\rangle, \langle Z\rangle)$, and gates as its rotations.

Fixed gates but T only permute the axes and their signs, so they cost nothing: they relabel the frame in which later
gates turn. What comes before the first data gate turns the start, what comes after the last one turns the readout axis
backwards; both are done once a parameter set. Only the stretch between them sees the batch.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from circuits.angles import value
from circuits.checks import check_budget
from circuits.circuit import Angle, Circuit, Encode, Slot, terms
from circuits.derivatives import by_hand, differentiated, in_parts, onto, transformed
from circuits.derived import derived
from circuits.engines.engine import Engine, edges, per_sample
from circuits.gates import GATES, bloch_matrix
from circuits.lower import simplify

Number = Tensor | float
Vector = tuple[Number, ...]
"""Components x, y, z, each over the grid it depends on; a float where it is known before any input is."""


class Bloch(Engine):
    """One wire, real arithmetic, the dtype of the inputs.

    Args:
        compile: let `torch.compile` fuse each evaluation into a few loops, forward and backward. It needs a C++
            compiler, takes some seconds for every new circuit, shape and dtype, and pays where the same is evaluated
            often.
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
        if per_sample(params, weight):
            return super()._contract(circuit, x, params, weight)
        outs, ins = weight.shape
        # Batch last: passes over memory then run along it, however small a layer is.
        slots = [tensor[..., None, :] for tensor in edges(params).values()]
        plan, names = program(circuit), tuple(params)
        if self.compile and not transformed():
            layer = _compiled(_layer, _readouts, plan, names)
        else:
            layer = partial(_layer, _evaluated, plan, names)
        kept = outs * ins * x.element_size() * (5 * len(plan.turns) + 3)
        rows = max(1, int(self.budget * 2**20 / kept))
        return in_parts(layer, rows, x.reshape(-1, ins), weight, *slots).reshape(*x.shape[:-1], outs)

    def __repr__(self) -> str:
        given = [f"compile={self.compile}"] * self.compile + [f"budget={self.budget}"] * (self.budget != 16.0)
        return f"Bloch({', '.join(given)})"


def _layer(
    evaluate: Callable[..., Tensor],
    plan: "Program",
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


def _evaluated(plan: "Program", names: tuple[str, ...], x: Tensor, *slots: Tensor) -> Tensor:
    function = _Readouts.apply if by_hand(x, *slots) else _readouts
    return function(plan, names, x, *slots)


@dataclass(frozen=True)
class Turn:
    """A rotation of the plane (i, j) by an angle, from axis i towards axis j."""

    i: int
    j: int
    angle: Angle


@dataclass(frozen=True)
class Program:
    """A circuit as turns.

    Args:
        turns: of the state, in order, up to the last one that encodes data.
        start: the state before them.
        backward: for each readout, turns of its axis, in order: what comes after the last data gate, undone.
        axes: the axis of each readout before them.
    """

    turns: tuple[Turn, ...]
    start: Vector
    backward: tuple[Turn, ...]
    axes: tuple[Vector, ...]


@derived
def program(circuit: Circuit) -> Program:
    """The turns of a circuit of one wire.

    The state is $F q$ with a frame $F$ of signed axes. A fixed gate $C$ makes it $C F$, and a rotation about the axis a
    turns q about $F^T a$.
    """
    frame = np.eye(3)
    turns: list[Turn] = []
    for gate in simplify(circuit).gates:
        axis, angle = GATES[gate.name].axis, gate.angle
        if gate.name == "T":
            axis, angle = "Z", math.pi / 4
        if axis is None or angle is None:
            frame = bloch_matrix(GATES[gate.name].unitary).round() @ frame
            continue
        turned = frame["XYZ".index(axis)]
        along = int(np.abs(turned).argmax())
        i, j = (along + 1) % 3, (along + 2) % 3
        turns.append(Turn(i, j, angle) if turned[along] > 0 else Turn(j, i, angle))
    last = max((k + 1 for k, turn in enumerate(turns) if _encodes(turn.angle)), default=len(turns))
    axes = tuple(tuple((frame["XYZ".index(letter)] + 0.0).tolist()) for letter in circuit.strings)
    undone = tuple(Turn(turn.j, turn.i, turn.angle) for turn in reversed(turns[last:]))
    return Program(tuple(turns[:last]), (0.0, 0.0, 1.0), undone, axes)


def _encodes(angle: Angle) -> bool:
    return any(isinstance(term, Encode) for term in terms(angle))


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
        columns = [slot.movedim(-1, 0).contiguous().unbind(0) for slot in slots]
        self.slots = dict(zip(names, columns, strict=True))

    def wave(self, angle: Angle) -> tuple[Tensor, Tensor]:
        """Cosine and sine of an angle; tensors even for a number, whose 0 by rounding is not one by structure."""
        bound = value(angle, self.features, self.slots)
        bound = torch.as_tensor(bound, dtype=self.like.dtype, device=self.like.device)
        return torch.cos(bound), torch.sin(bound)


@dataclass(frozen=True)
class _Walk:
    """A vector on its way: before each turn and after the last, and the cosine and sine of each angle."""

    vectors: list[Vector]
    waves: list[tuple[Tensor, Tensor]]


def _walk(turns: Sequence[Turn], start: Vector, waves: list[tuple[Tensor, Tensor]]) -> _Walk:
    vectors = [start]
    for turn, (cos, sin) in zip(turns, waves, strict=True):
        vectors.append(_rotate(vectors[-1], turn.i, turn.j, cos, sin))
    return _Walk(vectors, waves)


def _walks(plan: Program, inputs: _Inputs) -> tuple[_Walk, list[_Walk]]:
    """The state and the axis of each readout."""
    state = _walk(plan.turns, plan.start, [inputs.wave(turn.angle) for turn in plan.turns])
    waves = [inputs.wave(turn.angle) for turn in plan.backward]
    return state, [_walk(plan.backward, axis, waves) for axis in plan.axes]


def _readouts(plan: Program, names: tuple[str, ...], x: Tensor, *slots: Tensor) -> Tensor:
    """The plain twin of `_Readouts`: every operation in the open, for torch to differentiate or to trace."""
    state, axes = _walks(plan, _Inputs(names, x, slots))
    return _stacked([_dot(axis.vectors[-1], state.vectors[-1]) for axis in axes], x)


class _Readouts(torch.autograd.Function):
    r"""Values `(*grid, readouts)`, differentiated by walking the gradient $\lambda$ of the state back.

    With $r$ before a turn of the plane (i, j), $r'$ after it, and $\lambda$ the gradient of $r'$, the gradient of the
    angle is $\lambda_j r'_i - \lambda_i r'_j$, and that of $r$ is $\lambda$ turned back.
    """

    @staticmethod
    def forward(ctx: Any, plan: Program, names: tuple[str, ...], x: Tensor, *slots: Tensor) -> Tensor:
        state, axes = _walks(plan, _Inputs(names, x, slots))
        kept = _Kept([x, *slots])
        ctx.state, ctx.axes = kept.walk(state), [kept.walk(axis) for axis in axes]
        ctx.plan, ctx.names, ctx.inputs = plan, names, 1 + len(slots)
        ctx.save_for_backward(*kept.tensors)
        return _stacked([_dot(axis.vectors[-1], state.vectors[-1]) for axis in axes], x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (grad,), saved, wanted = grads, ctx.saved_tensors, ctx.needs_input_grad[2:]
        x, *slots = saved[: ctx.inputs]
        if torch.is_grad_enabled():
            return (
                None,
                None,
                *differentiated(lambda *tensors: _readouts(ctx.plan, ctx.names, *tensors), [x, *slots], wanted, grad),
            )
        plan: Program = ctx.plan
        credits = _Credits(ctx.names, x, slots, wanted)
        state = _restored(ctx.state, saved)
        pull: Vector = (0.0, 0.0, 0.0)
        for walk, share in zip(ctx.axes, grad.unbind(-1), strict=True):
            axis = _restored(walk, saved)
            last = axis.vectors[-1]
            pull = tuple(_plus(p, _times(share, a)) for p, a in zip(pull, last, strict=True))
            if plan.backward:
                ends = tuple(_fitted(_times(share, s), a) for s, a in zip(state.vectors[-1], last, strict=True))
                credits.walk(plan.backward, axis, ends)
        credits.walk(plan.turns, state, pull)
        return None, None, *credits.gradients()


class _Credits:
    """Gradients of x and slots, collected from gradients of angles."""

    def __init__(self, names: Sequence[str], x: Tensor, slots: Sequence[Tensor], wanted: Sequence[bool]) -> None:
        self._inputs = _Inputs(names, x, slots)
        self._tensors = dict(zip(("x", *names), (x, *slots), strict=True))  # no slot is called x
        self._wanted = dict(zip(self._tensors, wanted, strict=True))
        self._sums: dict[tuple[str, int], Tensor] = {}

    def walk(self, turns: Sequence[Turn], walk: _Walk, pull: Vector) -> None:
        """Walk the gradient `pull` of the last vector back to the start."""
        for k in reversed(range(len(turns))):
            turn, (cos, sin), before, after = turns[k], walk.waves[k], walk.vectors[k], walk.vectors[k + 1]
            slope = _join(pull[turn.j], after[turn.i], pull[turn.i], after[turn.j], -1)
            if isinstance(slope, Tensor):
                self._angle(turn.angle, slope)
            if k:
                pull = tuple(map(_fitted, _rotate(pull, turn.j, turn.i, cos, sin), before))

    def _angle(self, angle: Angle, gradient: Tensor) -> None:
        sums: dict[torch.Size, Tensor] = {}  # a slot and a shift of the same grid share their sum
        for term in terms(angle):
            if isinstance(term, Slot):
                self._add(term, gradient, sums)
            elif isinstance(term, Encode):
                self._encoding(term, gradient, sums)

    def _encoding(self, term: Encode, gradient: Tensor, sums: dict[torch.Size, Tensor]) -> None:
        features, slots = self._inputs.features, self._inputs.slots
        if term.through == "arccos":
            inner = value(Encode(term.scale, term.shift, term.feature), features, slots)
            gradient, sums = -gradient * torch.rsqrt(1 - inner.square()), {}
        if isinstance(term.shift, Slot):
            self._add(term.shift, gradient, sums)
        if isinstance(term.scale, Slot) and self._wanted[term.scale.name]:
            self._add(term.scale, gradient * features[term.feature], {})
        if self._wanted["x"]:
            scale = slots[term.scale.name][term.scale.index] if isinstance(term.scale, Slot) else term.scale
            self._add(term.feature, gradient * scale, {})

    def _add(self, entry: Slot | int, gradient: Tensor, sums: dict[torch.Size, Tensor]) -> None:
        name, index = (entry.name, entry.index) if isinstance(entry, Slot) else ("x", entry)
        if self._wanted[name]:
            grid, place = self._tensors[name].shape[:-1], (name, index)
            if grid not in sums:
                sums[grid] = onto(gradient, grid)
            self._sums[place] = self._sums[place] + sums[grid] if place in self._sums else sums[grid]

    def gradients(self) -> Iterator[Tensor | None]:
        """Of x, then of every slot; None where none is wanted."""
        for name, tensor in self._tensors.items():
            if not self._wanted[name]:
                yield None
                continue
            zero = tensor.new_zeros(())
            columns = [self._sums.get((name, k), zero).expand(tensor.shape[:-1]) for k in range(tensor.shape[-1])]
            yield torch.stack(columns, dim=-1)


class _Kept:
    """Tensors in a list, and walks with numbers in their place: the form in which autograd keeps them."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors

    def walk(self, walk: _Walk) -> tuple[list[Any], list[Any]]:
        vectors = [tuple(map(self._number, vector)) for vector in walk.vectors]
        return vectors, [tuple(map(self._number, wave)) for wave in walk.waves]

    def _number(self, entry: Number) -> float | int:
        if isinstance(entry, Tensor):
            self.tensors.append(entry)
            return len(self.tensors) - 1
        return entry


def _restored(walk: tuple[list[Any], list[Any]], tensors: Sequence[Tensor]) -> _Walk:
    def entries(numbers: Sequence[float | int]) -> Any:
        return tuple(number if isinstance(number, float) else tensors[number] for number in numbers)

    vectors, waves = walk
    return _Walk([entries(vector) for vector in vectors], [entries(wave) for wave in waves])


def _stacked(values: Sequence[Number], like: Tensor) -> Tensor:
    tensors = [torch.as_tensor(number, dtype=like.dtype, device=like.device) for number in values]
    return tensors[0][..., None] if len(tensors) == 1 else torch.stack(torch.broadcast_tensors(*tensors), dim=-1)


def _fitted(gradient: Number, entry: Number) -> Number:
    """The gradient of an entry, summed over what broadcasting had repeated of it; nothing for what is known."""
    return onto(gradient, entry.shape) if isinstance(entry, Tensor) and isinstance(gradient, Tensor) else 0.0


def _rotate(vector: Vector, i: int, j: int, cos: Tensor, sin: Tensor) -> Vector:
    turned = list(vector)
    turned[i] = _join(cos, vector[i], sin, vector[j], -1)
    turned[j] = _join(sin, vector[i], cos, vector[j])
    return tuple(turned)


def _join(a: Number, p: Number, b: Number, q: Number, sign: int = 1) -> Number:
    r"""$a p \pm b q$, in two passes over memory."""
    if isinstance(b, Tensor) and isinstance(q, Tensor) and isinstance(first := _times(a, p), Tensor):
        return torch.addcmul(first, b, q, value=sign)
    return _plus(_times(a, p), _times(_times(b, q), float(sign)))


def _dot(a: Vector, b: Vector) -> Number:
    return _plus(_join(a[0], b[0], a[1], b[1]), _times(a[2], b[2]))


def _times(a: Number, b: Number) -> Number:
    """The product, without touching a tensor for a factor that is known to be 0 or +-1."""
    if isinstance(a, float) and isinstance(b, Tensor):
        a, b = b, a
    if isinstance(b, float) and b in (0.0, 1.0, -1.0):
        return 0.0 if b == 0.0 else a if b == 1.0 else -a
    return a * b


def _plus(a: Number, b: Number) -> Number:
    return a if isinstance(b, float) and b == 0.0 else b if isinstance(a, float) and a == 0.0 else a + b
