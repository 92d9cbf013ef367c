r"""Circuits as values: frozen, hashable, self-checking, free of tensors, devices and backends.

An angle is a number, a trainable `Slot`, data through `Encode`, or a `Sum` of these. The readout, one Pauli string or
several, is part of the circuit: the value of a circuit is the Born expectation $\langle 0|U^\dagger P U|0\rangle$.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from numbers import Integral, Real
from typing import Any, Literal

from circuits.gates import GATES, PAULI


@dataclass(frozen=True)
class Slot:
    """A trainable number: entry `index` of the parameter family `name`."""

    name: str
    index: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ValueError(f"Argument `name` of Slot must be an identifier such as 'theta', but is {self.name!r}.")
        if self.name == "x":
            raise ValueError("Argument `name` of Slot must not be 'x', which stands for the data: use Encode.")
        object.__setattr__(self, "index", _count(self.index, "Argument `index` of Slot"))

    def __str__(self) -> str:
        return f"{self.name}[{self.index}]"


@dataclass(frozen=True)
class Encode:
    r"""Data as an angle: $\mathrm{through}(\mathrm{scale} \cdot x_\mathrm{feature} + \mathrm{shift})$.

    Args:
        scale: number or slot.
        shift: number or slot.
        feature: which entry of the last dimension of x.
        through: "identity", or "arccos", which needs $|\mathrm{scale} \cdot x + \mathrm{shift}| \le 1$ and has an
            infinite slope at the ends of that interval.
    """

    scale: "float | Slot" = 1.0
    shift: "float | Slot" = 0.0
    feature: int = 0
    through: Literal["identity", "arccos"] = "identity"

    def __post_init__(self) -> None:
        for name in ("scale", "shift"):
            value = getattr(self, name)
            if not isinstance(value, Slot):
                object.__setattr__(self, name, _number(value, f"Argument `{name}` of Encode", "a number or a Slot"))
        object.__setattr__(self, "feature", _count(self.feature, "Argument `feature` of Encode"))
        if self.through not in ("identity", "arccos"):
            raise ValueError(f"Argument `through` of Encode must be 'identity' or 'arccos', but is {self.through!r}.")

    @property
    def argument(self) -> "Encode":
        """What `through` is taken of."""
        return Encode(self.scale, self.shift, self.feature)

    def __str__(self) -> str:
        scaled = f"x[{self.feature}]" if self.scale == 1.0 else f"{_text(self.scale)}*x[{self.feature}]"
        affine = scaled if self.shift == 0.0 else _plus(scaled, _text(self.shift))
        return affine if self.through == "identity" else f"{self.through}({affine})"


@dataclass(frozen=True)
class Sum:
    """The sum of two or more angles, as neighbouring rotations about one axis make it."""

    terms: "tuple[float | Slot | Encode, ...]"

    def __post_init__(self) -> None:
        if not isinstance(self.terms, Sequence) or len(self.terms) < 2:
            raise ValueError(
                f"Argument `terms` of Sum must be two or more numbers, Slots or Encodes, but is {self.terms!r}."
            )
        numbers = (
            term
            if isinstance(term, (Slot, Encode))
            else _number(term, "Argument `terms` of Sum", "numbers, Slots or Encodes")
            for term in self.terms
        )
        object.__setattr__(self, "terms", tuple(numbers))

    def __str__(self) -> str:
        return reduce(_plus, map(_text, self.terms))


Angle = float | Slot | Encode | Sum


def terms(angle: Angle) -> tuple[float | Slot | Encode, ...]:
    """The summands of an angle; one for everything but a `Sum`."""
    return angle.terms if isinstance(angle, Sum) else (angle,)


def encodes(angle: Angle | None) -> bool:
    """Whether data enter an angle."""
    return angle is not None and any(isinstance(term, Encode) for term in terms(angle))


def add(first: Angle, second: Angle) -> Angle:
    """The sum of two angles with all numbers folded into one, which stands last and is left out if it is zero."""
    parts = terms(first) + terms(second)
    number = sum(part for part in parts if isinstance(part, float))
    symbols = tuple(part for part in parts if not isinstance(part, float))
    parts = (*symbols, number) if number or not symbols else symbols
    return parts[0] if len(parts) == 1 else Sum(parts)


@dataclass(frozen=True)
class Gate:
    """One gate: a name of the vocabulary `circuits.gates.GATES`, its wires, and its angle if it is a rotation.

    `Gate("RY", 0, Slot("theta"))`, `Gate("CNOT", (0, 1))`; control before target.
    """

    name: str
    wires: "tuple[int, ...]"
    angle: Angle | None = None

    def __init__(self, name: str, wires: int | Sequence[int], angle: Angle | int | None = None) -> None:
        if not isinstance(name, str) or name not in GATES:
            raise ValueError(f"Argument `name` of Gate must be one of {', '.join(GATES)}, but is {name!r}.")
        wires = tuple(wires) if isinstance(wires, Sequence) else (wires,)
        kind = GATES[name]
        wires = tuple(_count(wire, f"Argument `wires` of gate {name}") for wire in wires)
        if len(wires) != kind.wires or len(set(wires)) != len(wires):
            raise ValueError(
                f"Argument `wires` of gate {name} must be {kind.wires} distinct wire(s), but is {wires!r}."
            )
        if kind.axis is None and angle is not None:
            raise ValueError(f"Gate {name} takes no angle, but has {angle!r}.")
        if kind.axis is not None and not isinstance(angle, (Slot, Encode, Sum)):
            angle = _number(angle, f"Argument `angle` of gate {name}", "a number, Slot, Encode or Sum")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "wires", wires)
        object.__setattr__(self, "angle", angle)

    @property
    def encodes(self) -> bool:
        """Whether data enter here."""
        return encodes(self.angle)

    def __str__(self) -> str:
        return self.name if self.angle is None else f"{self.name}({_text(self.angle)})"


@dataclass(frozen=True)
class Circuit:
    """A circuit: gates in the order in which they act on |0...0>, and the Pauli strings that are read out.

    Args:
        gates: the gates; wire 0 is the most significant bit.
        readout: one Pauli string with a letter of I, X, Y, Z per wire, such as "Z" or "ZI", or a tuple of several. Its
            length is the number of wires. A tuple gives the value a trailing dimension, one entry a string.
        label: how `repr` of a layer names the circuit; it takes no part in comparison.
    """

    gates: tuple[Gate, ...]
    readout: str | tuple[str, ...] = "Z"
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for name in ("gates", "readout"):
            if not isinstance(getattr(self, name), Iterable):
                raise TypeError(f"Argument `{name}` must be a tuple, but is {getattr(self, name)!r}.")
        object.__setattr__(self, "gates", tuple(self.gates))
        if not isinstance(self.readout, str):
            object.__setattr__(self, "readout", tuple(self.readout))
        if not self.strings:
            raise ValueError("Argument `readout` must hold at least one Pauli string, but is empty.")
        for string in self.strings:
            if not isinstance(string, str) or not string or set(string) - set(PAULI) or set(string) == {"I"}:
                raise ValueError(
                    "Argument `readout` must be Pauli strings over I, X, Y, Z that measure at least one wire, "
                    f"but has {string!r}."
                )
            if len(string) != len(self.strings[0]):
                raise ValueError(
                    f"Argument `readout` must name every wire in every string, but {string!r} and "
                    f"{self.strings[0]!r} differ in length."
                )
        for position, gate in enumerate(self.gates):
            if not isinstance(gate, Gate):
                raise TypeError(f"Argument `gates` must hold Gates, but position {position} is {gate!r}.")
            if max(gate.wires) >= self.wires:
                raise ValueError(
                    f"Gate {gate} at position {position} acts on wire {max(gate.wires)}, but readout "
                    f"{self.readout!r} has {self.wires} wire(s): lengthen the readout, with I for unmeasured wires."
                )

    @property
    def strings(self) -> tuple[str, ...]:
        """The readout as a tuple, whether one string was given or several."""
        return (self.readout,) if isinstance(self.readout, str) else self.readout

    @property
    def wires(self) -> int:
        """Number of wires."""
        return len(self.strings[0])

    @cached_property
    def angles(self) -> tuple[Angle, ...]:
        """The angles of all rotations, in order."""
        return tuple(gate.angle for gate in self.gates if gate.angle is not None)

    @cached_property
    def encodings(self) -> tuple[Encode, ...]:
        """Every entry of data, in order."""
        return tuple(term for angle in self.angles for term in terms(angle) if isinstance(term, Encode))

    @cached_property
    def features(self) -> int:
        """Size of the last dimension of x; at least 1, so that a circuit without data is a constant function of x."""
        return max((encoding.feature + 1 for encoding in self.encodings), default=1)

    @property
    def slots(self) -> dict[str, int]:
        """The parameters the circuit asks for: slot name to length, in order of appearance."""
        return dict(self._slots)  # a copy, because a value cannot be changed

    @cached_property
    def _slots(self) -> dict[str, int]:
        lengths: dict[str, int] = {}
        for angle in self.angles:
            for term in terms(angle):
                parts = (term.scale, term.shift) if isinstance(term, Encode) else (term,)
                for slot in parts:
                    if isinstance(slot, Slot):
                        lengths[slot.name] = max(lengths.get(slot.name, 0), slot.index + 1)
        return lengths

    @cached_property
    def _hash(self) -> int:
        return hash((self.gates, self.readout))

    def __reduce__(self) -> tuple[Any, ...]:
        # Built anew where it is loaded: strings have other hashes in another process.
        return Circuit, (self.gates, self.readout, self.label)

    def __hash__(self) -> int:
        # Circuits are keys of every cache in the hot path; hashing sixty nested gates each time would show.
        return self._hash

    def __str__(self) -> str:
        from circuits.draw import draw

        return draw(self)


def _number(value: object, what: str, wanted: str) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{what} must be {wanted}, but is {value!r}.")
    if not math.isfinite(value):
        raise ValueError(f"{what} must be finite, but is {value!r}.")
    return float(value)


def _count(value: object, what: str) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{what} must be a non-negative int, but is {value!r}.")
    return int(value)


def _plus(first: str, second: str) -> str:
    return first + second if second.startswith("-") else f"{first}+{second}"


def _text(angle: Angle) -> str:
    return f"{angle:.4g}" if isinstance(angle, float) else str(angle)
