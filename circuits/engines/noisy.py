r"""Circuits under noise, as real vectors of Pauli expectations: batched, differentiable, exact.

The state of n wires is $r_P = \mathrm{tr}(\rho P)$ over all Pauli strings P, `(4,) * n + grid`. Gates and channels are
matrices on the axes of their wires, rotations turn two of the four components there. Noise-aware training is ordinary
training through this engine.

A value under noise has no more frequencies in x than without: `engines.get("spectral", nodes=noisy)` trains whole
layers under noise by one matrix product.

Reference: Greenbaum, Introduction to quantum gate set tomography, 2015, arXiv:1509.02921, section 2.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from circuits.angles import bind
from circuits.circuit import Circuit, Gate
from circuits.derived import derived
from circuits.engines.engine import Engine, anchored
from circuits.gates import GATES
from circuits.native import check_stretch, folded, measured, native, no_native_form
from circuits.noise import Noise, ReadoutError, transfer_matrix
from circuits.precision import full_precision

_MOST_WIRES = 8


class Noisy(Engine):
    """Exact expectation values under noise, in the dtype of the inputs.

    Channels with a grid, `(*grid, 4, 4)`, broadcast with that of the evaluation: `(out, in)` puts every edge of a layer
    on a qubit of its own.

    Args:
        noise: of every wire; or one `Noise` for each wire, of the same kind.
        scale: how often each pulse runs, with its noise, as in zero-noise extrapolation; see `circuits.native.folded`.
    """

    name: ClassVar[str] = "noisy"

    def __init__(self, noise: Noise | Sequence[Noise] = Noise(), scale: float = 1.0) -> None:
        noises = [noise] if isinstance(noise, Noise) else list(noise) if isinstance(noise, Sequence) else []
        if not noises or not all(isinstance(each, Noise) for each in noises):
            raise TypeError(f"Argument `noise` must be a Noise or a sequence of them, one a wire, but is {noise!r}.")
        if len({each.native for each in noises}) > 1:
            raise ValueError("Argument `noise` must be native for all wires or for none.")
        check_stretch(scale)
        if scale != 1.0 and not noises[0].native:
            raise ValueError(f"Argument `scale` is {scale!r}, but only native circuits are folded: use native noise.")
        self.noise, self.scale = tuple(noises), scale
        self._each = isinstance(noise, Noise)
        self.simplifies = self.noise[0].native
        self.gridded = max(self._dims(), default=0) > 0
        """Whether channels differ from grid point to grid point."""

    def unsupported(self, circuit: Circuit) -> str | None:
        if circuit.wires > _MOST_WIRES:
            return f"it has {circuit.wires} wires, and noisy takes up to {_MOST_WIRES}"
        if not self._each and len(self.noise) != circuit.wires:
            return f"it has {circuit.wires} wire(s), but noise is given for {len(self.noise)}"
        return _unsupported(circuit, self.noise[0].native)

    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        programs = _programs(circuit, self.noise[0].native, self.scale)
        with full_precision(x.device):
            values = torch.stack(torch.broadcast_tensors(*(self._value(each, x, params) for each in programs)), dim=-1)
        asked = {name for each in programs for name in each.slots} | {"x" for each in programs if each.encodings}
        return anchored(values, [tensor for name, tensor in {"x": x, **params}.items() if name not in asked])

    def _value(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        dims = max([x.ndim - 1, *(tensor.ndim - 1 for tensor in params.values()), *self._dims()])
        state = x.new_zeros((4,) * circuit.wires)
        state[tuple(slice(None, None, 3) for _ in range(circuit.wires))] = 1  # 1 and Z of |0>
        state = state.reshape(*state.shape, *[1] * dims)
        for gate in circuit.gates:
            state = self._gate(state, gate, x, params)
        for wire, letter in enumerate(circuit.strings[0]):
            state = self._read(state, wire, letter)
        return state

    def _dims(self) -> list[int]:
        """Dimensions of the grids of channels."""
        channels = [channel.ndim - 2 for noise in self.noise for channel in noise.gates.values()]
        return channels + [noise.readout.slope.ndim for noise in self.noise if noise.readout is not None]

    def _of(self, wire: int) -> Noise:
        return self.noise[0 if self._each else wire]

    def _gate(self, state: Tensor, gate: Gate, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        kind = GATES[gate.name]
        if gate.angle is None:
            state = _apply(state, gate.wires, _fixed(gate.name).to(x))
        else:
            angle = torch.as_tensor(bind(gate.angle, x, params), dtype=x.dtype, device=x.device)
            state = _rotate(state, gate.wires[0], "IXYZ".index(kind.axis or ""), torch.cos(angle), torch.sin(angle))
        for wire in gate.wires:
            if (channel := self._of(wire).gates.get(gate.name)) is not None:
                state = _apply(state, (wire,), channel.to(x))
        return state

    def _read(self, state: Tensor, wire: int, letter: str) -> Tensor:
        """Contract the first axis, that of `wire`."""
        if letter == "I":
            return state[0]
        error = self._of(wire).readout
        return state[3] if error is None else error.offset.to(state) * state[0] + error.slope.to(state) * state[3]

    def __repr__(self) -> str:
        noise = repr(self.noise[0]) if self._each else repr(list(self.noise))
        return f"Noisy({noise}{'' if self.scale == 1.0 else f', scale={self.scale}'})"


def corrected(values: Tensor, error: ReadoutError) -> Tensor:
    r"""Values of one measured qubit without its readout error, $(z - \mathrm{offset}) / \mathrm{slope}$.

    Linear, so that it commutes with derivatives; values may leave [-1, 1], and are not clipped.
    """
    return (values - error.offset.to(values)) / error.slope.to(values)


@derived
def _unsupported(circuit: Circuit, is_native: bool) -> str | None:
    if (reason := no_native_form(circuit)) is not None:
        return reason
    letters = "".join(circuit.strings)
    if not is_native and set(letters) - set("IZ"):
        return f"readout {circuit.readout!r} takes more gates to measure: end with them and read Z, or use native noise"
    return None


@derived
def _programs(circuit: Circuit, is_native: bool, scale: float) -> tuple[Circuit, ...]:
    """What runs for each readout string, which then reads Z only."""
    if not is_native:
        return tuple(Circuit(circuit.gates, string) for string in circuit.strings)
    plain = native(circuit)
    return tuple(folded(measured(plain, string), scale) for string in plain.strings)


@derived
def _fixed(name: str) -> Tensor:
    with torch.inference_mode(False):  # kept, and met by autograd later
        return transfer_matrix(GATES[name].unitary)


def _rotate(state: Tensor, wire: int, axis: int, cos: Tensor, sin: Tensor) -> Tensor:
    i, j = 1 + axis % 3, 1 + (axis + 1) % 3
    parts = list(state.unbind(wire))
    p, q = parts[i], parts[j]
    parts[i], parts[j] = cos * p - sin * q, sin * p + cos * q
    return torch.stack(torch.broadcast_tensors(*parts), dim=wire)


def _apply(state: Tensor, wires: Sequence[int], matrix: Tensor) -> Tensor:
    """Multiply the axes of `wires` by a matrix `(*grid, 4**k, 4**k)`, first wire most significant."""
    count = len(wires)
    moved = state.movedim(tuple(wires), tuple(range(count)))
    rest = moved.shape[count:]
    flat = moved.reshape(4**count, -1)
    if matrix.ndim == 2:
        turned = (matrix @ flat).reshape(*[4] * count, *rest)
    else:
        assert count == 1, "channels with a grid act on one wire"
        entries = matrix.movedim((-2, -1), (0, 1))
        turned = torch.stack([sum(entries[i, k] * moved[k] for k in range(4)) for i in range(4)])  # pyright: ignore
    return turned.movedim(tuple(range(count)), tuple(wires))
