"""Random circuits, and random inputs for any circuit."""

import math

import torch
from hypothesis import strategies as st
from torch import Tensor

from circuits import Circuit, Encode, Gate, Slot, Sum
from circuits.gates import GATES

SMALL = 0.45
"""Bound on scale and shift inside an arccos: |scale * x + shift| stays below 0.9, where its slope is below 2.3."""

seeds = st.integers(0, 2**32 - 1)

numbers = st.sampled_from([0.0, math.pi / 2, -math.pi]) | st.floats(-3, 3)
slots = st.builds(Slot, st.sampled_from(["theta", "phi"]), st.integers(0, 2))
small = st.floats(-SMALL, SMALL) | st.builds(Slot, st.just("small"), st.integers(0, 1))


features = st.integers(0, 1)
encodings = st.builds(Encode, st.just(1.0) | numbers | slots, st.just(0.0) | numbers | slots, features)
arccosines = st.builds(Encode, small, small, features, st.just("arccos"))
singles = numbers | slots | encodings | arccosines
angles = singles | st.builds(Sum, st.lists(singles, min_size=2, max_size=3).map(tuple))


plain = st.builds(Encode, st.just(1.0) | numbers | slots, st.just(0.0) | numbers | slots)
bent = st.just(Encode(0.5, 0.2, through="arccos"))
"""One feature, and no arccos that differs from edge to edge: what can be expanded in features of x."""


def expandable(encoding: st.SearchStrategy) -> st.SearchStrategy:
    """Angles whose data enter through one kind of `encoding`."""
    single = numbers | slots | encoding
    return single | st.builds(Sum, st.lists(single, min_size=2, max_size=3).map(tuple))


@st.composite
def gates(draw, wires: int, angles: st.SearchStrategy = angles):
    name = draw(st.sampled_from([name for name, kind in GATES.items() if kind.wires <= wires]))
    kind = GATES[name]
    where = draw(st.permutations(range(wires)))[: kind.wires]
    return Gate(name, where, draw(angles) if kind.axis else None)


def readouts(wires: int):
    strings = st.text("IXYZ", min_size=wires, max_size=wires).filter(lambda string: set(string) != {"I"})
    return strings | st.lists(strings, min_size=1, max_size=3).map(tuple)


@st.composite
def circuits(draw, max_wires: int = 4, max_gates: int = 12, angles: st.SearchStrategy = angles):
    """Any circuit: every gate on any wires, every kind of angle, one readout string or several."""
    wires = draw(st.integers(1, max_wires))
    listed = draw(st.lists(gates(wires, angles), min_size=1, max_size=max_gates))
    return Circuit(tuple(listed), draw(readouts(wires)))


def inputs(
    circuit: Circuit,
    x_grid: tuple[int, ...] = (),
    params_grid: tuple[int, ...] = (),
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, dict[str, Tensor]]:
    """X in [-0.9, 0.9] and angles in [-pi, pi]; scale and shift inside an arccos are small enough for its domain."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(shape: tuple[int, ...], bound: float) -> Tensor:
        return ((2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1) * bound).to(dtype)

    inside = [encoding for encoding in circuit.encodings if encoding.through == "arccos"]
    bounded = {part.name for e in inside for part in (e.scale, e.shift) if isinstance(part, Slot)}
    x = uniform((*x_grid, circuit.features), 0.9)
    params = {
        name: uniform((*params_grid, length), SMALL if name in bounded else math.pi)
        for name, length in circuit.slots.items()
    }
    return x, params
