r"""Circuits with more repetitions and the same function: where their slots start.

A block may be added where it cannot be seen: after the last rotations, where the value of the old circuit is the
expectation of some Pauli string that the block leaves alone, or before the first, where the start is an eigenstate of
it. $R_a(t) = e^{-i t \sigma_a / 2}$ leaves $\langle \sigma_a \rangle$ as it is, so

- pz, rpz: $\langle Z \rangle$ does not see RZ(e); rotations by 0 follow. Any scale will do.
- mix: the last RX turns by $-\pi/2$ more, which makes what was $\langle Z \rangle$ an expectation of Y; that does not
  see RY(e), and a final RX($\pi/2$) makes it $\langle Z \rangle$ again. Any scale will do.
- px: the start $|+\rangle$ does not feel RX(arccos e). A block with $\theta = 0$ in front does nothing, and all slots
  move up by one. Any scale and shift will do with $|e| \le 1$, the domain of arccos.
- real: $Z\,\mathrm{RY}(t)\,X = \mathrm{RY}(-t-\pi)$, all blocks turn about Y, and
  $f = -\sin \sum_l (e_l - \theta_l - \pi)$ whatever `reps` is: an added block does nothing if e = 0 and
  $\theta = \pi$. More blocks bring parameters, but no new functions.
- entangled: $Z_0 Z_1 \cdots$ turned to $X_0 Z_1 \cdots$ becomes $Z_0 X_1 X_2 \cdots$ in the ring of CNOTs (with two
  wires $Z_0 X_1$ stays as it is), and final RYs make it $Z_0 Z_1 \cdots$ again. Wires with X see data: e = 0 at first.

Derivatives in the angles, or scales, of an added block are not all zero, so that training goes on from there.

Reference: Jiang et al., Quantum variational activation functions empower Kolmogorov-Arnold networks, 2025,
arXiv:2509.14026, where layers are extended in this sense.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from numbers import Real
from typing import TypeVar

import torch
from torch import Tensor

from circuits.ansatz import ANSATZE, Fixed, entangled
from circuits.checks import is_real
from circuits.circuit import Circuit, Slot
from circuits.errors import UnsupportedCircuit

Entry = TypeVar("Entry")

Start = tuple[int | None, float]
"""An old index, or None, and the number that is added to its value, or stands alone."""


@dataclass(frozen=True)
class Rule:
    """How a block is added to an ansatz.

    Args:
        new: where the angles of the block start.
        bend: what is added to the last angles before it.
        first: whether it is added in front, where no angle is before it.
        still: whether its data must not turn anything at first: scale and shift are 0.
    """

    new: tuple[float, ...]
    bend: tuple[float, ...] = ()
    first: bool = False
    still: bool = False

    def joined(self, old: list[Entry], new: list[Entry]) -> list[Entry]:
        """Entries of the present blocks and of added ones, in order."""
        return [*new, *old] if self.first else [*old, *new]

    def added(self, angles: tuple[Start, ...]) -> tuple[Start, ...]:
        """Where the angles start with one block more."""
        new = tuple((None, number) for number in self.new)
        if self.first:
            return new + angles
        at = len(angles) - len(self.bend)
        bent = ((source, number + bend) for (source, number), bend in zip(angles[at:], self.bend, strict=True))
        return (*angles[:at], *bent, *new)


QUARTER = math.pi / 2
RULES = {
    "pz": Rule(new=(0.0, 0.0)),
    "rpz": Rule(new=(0.0,)),
    "px": Rule(new=(0.0,), first=True),
    "real": Rule(new=(math.pi,), still=True),
    "mix": Rule(new=(0.0, QUARTER), bend=(-QUARTER,)),
}
"""The rules of `ANSATZE`; an ansatz without one cannot be extended."""


def _ring(wires: int) -> Rule:
    """The rule of `entangled`: which wires turn from Z to X before the ring, and which turn back after it."""
    before, after = ({1}, {1}) if wires == 2 else ({0}, set(range(1, wires)))
    new = (angle for wire in range(wires) for angle in (0.0, -QUARTER * (wire in after)))
    bend = (angle for wire in range(wires) for angle in (0.0, QUARTER * (wire in before)))
    return Rule(tuple(new), tuple(bend), still=True)


@dataclass(frozen=True)
class Extension:
    """A circuit with more repetitions, and where its slots start.

    Args:
        circuit: the longer circuit.
        starts: slot name to a start for each index.
    """

    circuit: Circuit
    starts: Mapping[str, tuple[Start, ...]]

    def carried(self, name: str, old: Tensor) -> Tensor:
        """The slots called `name` of the longer circuit, `(*grid, more)`, from those of the old one, `(*grid, n)`."""
        sources, numbers = zip(*self.starts[name], strict=True)
        taken = old[..., [source or 0 for source in sources]]
        kept = torch.tensor([source is not None for source in sources], device=old.device)
        return torch.where(kept, taken, 0.0) + torch.tensor(numbers, dtype=old.dtype, device=old.device)


def extended(
    circuit: Circuit, reps: int, scale: Fixed = None, shift: Fixed = None, init_scale: float = 1.0
) -> Extension:
    """`circuit` with `reps` repetitions and the same function.

    Args:
        circuit: one of `ANSATZE`, or `entangled`, with at least one repetition.
        reps: the new number of repetitions, not less than the present one.
        scale: of the added blocks, one number or one a block: where trainable ones start, or at what they are fixed if
            those of `circuit` are. By default `init_scale`, or the number at which all present ones are fixed.
        shift: likewise; trainable ones start from 0 by default.
        init_scale: where trainable scales start by default, but where they must be 0.

    Raises:
        UnsupportedCircuit: if the circuit is none of these, or no such block leaves its function as it is.
        ValueError: if there are more repetitions already, numbers for the added blocks are missing, or fixed ones
            leave the domain of arccos for an x in [-1, 1] that the present blocks admit.

    >>> from circuits import pz
    >>> longer = extended(pz(1, shift=0), 2, scale=3.0)
    >>> longer.circuit.label, longer.starts["scale"]
    ('pz(2, shift=0.0)', ((0, 0.0), (None, 3.0)))
    """
    build, rule, fixed = _recognised(circuit)
    present = len(circuit.encodings) // circuit.wires
    if reps < present:
        raise ValueError(f"Argument `reps` must be at least the present {present}, but is {reps}.")
    blocks = reps - present
    angles = tuple((index, 0.0) for index in range(circuit.slots["theta"]))
    starts: dict[str, tuple[Start, ...]] = {
        "theta": reduce(lambda angles, _: rule.added(angles), range(blocks), angles)
    }
    numbers: dict[str, Fixed] = {}
    added: dict[str, list[float]] = {}
    usual = {"scale": 0.0 if rule.still else init_scale, "shift": 0.0}
    for name, given in (("scale", scale), ("shift", shift)):
        old, new = fixed[name], _added(name, fixed[name], given, usual[name], blocks)
        added[name] = new
        if rule.still and any(new):
            raise UnsupportedCircuit(
                f"Circuit {circuit.label or circuit} keeps its function only if data do not turn an added block: leave "
                f"scale and shift trainable, which then start from 0, or pass {name}=0, for {name} would be {new}."
            )
        numbers[name] = None if old is None else _one(rule.joined(old, new))
        starts[name] = tuple(
            rule.joined([(index, 0.0) for index in range(present)], [(None, number) for number in new])
        )
    if circuit.encodings[0].through == "arccos" and fixed["scale"] is not None and fixed["shift"] is not None:
        _check_domain(zip(fixed["scale"], fixed["shift"], strict=True), zip(*added.values(), strict=True))
    return Extension(build(reps, **numbers), {name: starts[name] for name in circuit.slots})


def _recognised(circuit: Circuit) -> tuple[Callable[..., Circuit], Rule, dict[str, list[float] | None]]:
    """What builds the circuit, its rule, and the scales and shifts that are fixed; by comparing values, not labels."""
    blocks = circuit.encodings[:: circuit.wires]
    fixed = {name: _fixed(getattr(encoding, name) for encoding in blocks) for name in ("scale", "shift")}
    known = [(ANSATZE[name], rule) for name, rule in RULES.items()]
    if circuit.wires > 1:
        known = [(partial(entangled, wires=circuit.wires), _ring(circuit.wires))]
    for build, rule in known:
        if blocks and build(len(blocks), scale=fixed["scale"], shift=fixed["shift"]) == circuit:
            return build, rule, fixed
    raise UnsupportedCircuit(
        f"Only {', '.join(RULES)} and entangled, of at least one repetition, can be extended, but this circuit is "
        f"{circuit.label or circuit}: fit a longer one anew."
    )


def _fixed(values: Iterable[float | Slot]) -> list[float] | None:
    """The numbers; None if there are slots among them."""
    numbers: list[float] = []
    for value in values:
        if isinstance(value, Slot):
            return None
        numbers.append(value)
    return numbers


def _added(name: str, fixed: list[float] | None, given: Fixed, usual: float, blocks: int) -> list[float]:
    """What the added blocks have."""
    if given is not None:
        numbers = [given] * blocks if isinstance(given, Real) else given
        if not isinstance(numbers, Sequence) or len(numbers) != blocks or not all(map(is_real, numbers)):
            raise ValueError(
                f"Argument `{name}` must be one number or {blocks} (one an added repetition), but is {given!r}."
            )
        return [float(number) for number in numbers]
    if fixed is None:
        return [usual] * blocks
    if blocks and len(set(fixed)) > 1:
        raise ValueError(
            f"Argument `{name}` must be given, one number or {blocks} (one an added repetition), because the present "
            f"ones are fixed at {fixed}."
        )
    return fixed[:1] * blocks


def _check_domain(present: Iterable[tuple[float, float]], added: Iterable[tuple[float, float]]) -> None:
    """Refuse scales and shifts that leave the domain of arccos somewhere in [-1, 1] where the present ones do not."""
    ends = [sorted(((-1 - shift) / scale, (1 - shift) / scale)) for scale, shift in present if scale]
    low, high = max([-1.0, *(end for end, _ in ends)]), min([1.0, *(end for _, end in ends)])
    for scale, shift in added:
        if max(abs(scale * x + shift) for x in (low, high)) > 1 + 1e-9:  # rounding of the ends
            raise ValueError(
                "Arguments `scale` and `shift` must keep |scale*x+shift| <= 1, the domain of arccos, for x from "
                f"{low + 0:.6g} to {high + 0:.6g} as the present blocks do, but are {scale} and {shift}: take smaller "
                "ones."
            )


def _one(numbers: list[float]) -> float | list[float]:
    """One number if all are the same."""
    return numbers[0] if len(set(numbers)) == 1 else numbers
