r"""Noise of one qubit as Pauli-transfer matrices, differentiable in its strengths.

A channel is the real matrix $R_{ij} = \tfrac12 \mathrm{tr}(P_i\, \Lambda(P_j))$ over $P = (1, X, Y, Z)$, which acts on
$(1, \langle X\rangle, \langle Y\rangle, \langle Z\rangle)$. Strengths may be tensors: their grid becomes leading
dimensions of the channel, `(*grid, 4, 4)`, one entry a sample, an edge or a qubit.

Reference: Nielsen and Chuang, Quantum Computation and Quantum Information, 2010, section 8.3.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from circuits.checks import check_tensor, is_real, values_visible
from circuits.gates import GATES, PAULI, Matrix
from circuits.native import NATIVE

Strength = float | Tensor


def depolarising(p: Strength) -> Tensor:
    r"""Forget everything with probability p: $\rho \to (1-p)\rho + p\,1/2$.

    Qiskit Aer's `depolarizing_error(p, 1)`; PennyLane's `DepolarizingChannel` takes 3p/4.
    """
    kept = 1 - _strength("p", p)
    return _diagonal(kept, kept, kept)


def pauli_errors(x: Strength, y: Strength, z: Strength) -> Tensor:
    """X, Y or Z with these probabilities."""
    x, y, z = (_strength(name, value) for name, value in (("x", x), ("y", y), ("z", z)))
    if (total := (x + y + z).max().item()) > 1 + 1e-12:
        raise ValueError(f"Arguments `x`, `y` and `z` must add up to at most 1, but add up to {total:.6g}.")
    return _diagonal(1 - 2 * (y + z), 1 - 2 * (x + z), 1 - 2 * (x + y))


def amplitude_damping(gamma: Strength) -> Tensor:
    r"""Decay from |1> to |0> with probability $\gamma$."""
    gamma = _strength("gamma", gamma)
    root = (1 - gamma).sqrt()
    return _diagonal(root, root, 1 - gamma, gamma)


def phase_damping(lam: Strength) -> Tensor:
    r"""Coherences shrink by $\sqrt{1-\lambda}$."""
    root = (1 - _strength("lam", lam)).sqrt()
    return _diagonal(root, root, torch.ones_like(root))


def thermal_relaxation(t1: Strength, t2: Strength, time: Strength, excited: Strength = 0.0) -> Tensor:
    r"""Relaxation: coherences shrink by $e^{-t/T_2}$, populations go to their equilibrium by $e^{-t/T_1}$.

    Args:
        t1: relaxation time, in the unit of `time`; infinity for none.
        t2: dephasing time, at most 2 `t1`.
        time: how long.
        excited: population of |1> in equilibrium.
    """
    excited = _strength("excited", excited)
    t1, t2 = (_tensor(name, value, math.inf) for name, value in (("t1", t1), ("t2", t2)))
    time = _tensor("time", time, sys.float_info.max)
    for name, value in (("t1", t1), ("t2", t2)):
        if (value <= 0).any():
            raise ValueError(f"Argument `{name}` must be positive, but is {value.min().item():.6g}.")
    if (t2 > 2 * t1 * (1 + 1e-12)).any():
        raise ValueError(
            f"Argument `t2` must be at most 2 t1, but is {t2.max().item():.6g} for t1 {t1.min().item():.6g}."
        )
    one, two = torch.exp(-time / t1), torch.exp(-time / t2)
    return _diagonal(two, two, one, (1 - one) * (1 - 2 * excited))


def over_rotation(axis: str, angle: Strength) -> Tensor:
    """A coherent error: a rotation about X, Y or Z by an angle in radians, as pulses that are too long make it."""
    if axis not in ("X", "Y", "Z"):
        raise ValueError(f"Argument `axis` must be 'X', 'Y' or 'Z', but is {axis!r}.")
    angle = _tensor("angle", angle, math.inf, -math.inf)
    cos, sin, one, zero = torch.cos(angle), torch.sin(angle), torch.ones_like(angle), torch.zeros_like(angle)
    k = "XYZ".index(axis)
    i, j = 1 + (k + 1) % 3, 1 + (k + 2) % 3
    rows = [[one if row == column else zero for column in range(4)] for row in range(4)]
    rows[i][i], rows[i][j], rows[j][i], rows[j][j] = cos, -sin, sin, cos
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def transfer_matrix(unitary: Matrix) -> Tensor:
    """The channel of a gate on k wires, `(4**k, 4**k)` over Pauli strings, first wire most significant."""
    strings = [torch.tensor(matrix) for matrix in PAULI.values()]
    wires = round(math.log2(len(unitary)))
    basis = torch.stack([reduce(torch.kron, [strings[digit] for digit in _digits(k, wires)]) for k in range(4**wires)])
    u = torch.tensor(unitary)
    turned = u @ basis @ u.mH
    return torch.einsum("iab,jba->ij", basis, turned).real / len(unitary)


def _digits(number: int, length: int) -> list[int]:
    return [number // 4 ** (length - 1 - place) % 4 for place in range(length)]


@dataclass(frozen=True)
class ReadoutError:
    """Measured bits that are wrong.

    Args:
        p01: probability of reading 1 for a 0.
        p10: probability of reading 0 for a 1.
    """

    p01: Strength = 0.0
    p10: Strength = 0.0

    def __post_init__(self) -> None:
        for name in ("p01", "p10"):
            object.__setattr__(self, name, _strength(name, getattr(self, name)))

    @property
    def slope(self) -> Tensor:
        r"""What a bit's $\pm 1$ is multiplied by on average, $1 - p_{01} - p_{10}$."""
        return torch.as_tensor(1 - self.p01 - self.p10)

    @property
    def offset(self) -> Tensor:
        r"""What is added to it, $p_{10} - p_{01}$."""
        return torch.as_tensor(self.p10 - self.p01)


@dataclass(frozen=True, eq=False)
class Noise:
    r"""What goes wrong on one qubit.

    Args:
        gates: gate name to the channel after it, `(*grid, 4, 4)`; after a gate of two wires the channel of this qubit.
            Gates that are not named are perfect.
        readout: of the measured bit.
        native: whether the names are those of `circuits.native`, RZ, SX, X, CNOT and CZ, to which circuits are brought
            first; otherwise the gates of a circuit run as they are written.

    >>> noise = Noise({"SX": depolarising(1e-3)}, ReadoutError(0.01, 0.02))
    >>> noise
    Noise(SX, readout)
    """

    gates: Mapping[str, Tensor] = field(default_factory=dict)
    readout: ReadoutError | None = None
    native: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.gates, Mapping):
            raise TypeError(f"Argument `gates` must map gate names to channels, but is {self.gates!r}.")
        object.__setattr__(self, "gates", dict(self.gates))
        if self.readout is not None and not isinstance(self.readout, ReadoutError):
            raise TypeError(f"Argument `readout` must be a ReadoutError or None, but is {self.readout!r}.")
        known = NATIVE if self.native else tuple(GATES)
        for name, channel in self.gates.items():
            if name not in known:
                hint = "; pass native=False for noise on the gates as circuits write them" if name in GATES else ""
                raise ValueError(f"Argument `gates` must name gates among {', '.join(known)}, but has {name!r}{hint}.")
            check_channel(f"gates[{name!r}]", channel)

    @classmethod
    def stack(cls, noises: "Sequence[Noise]") -> "Noise":
        """Noise of many qubits at once: channels `(qubits, 4, 4)`, to be spread over the last dimension of a grid."""
        if not noises or len({noise.native for noise in noises}) > 1:
            raise ValueError(f"Argument `noises` must be Noises of one kind, at least one, but is {noises!r}.")
        perfect = torch.eye(4, dtype=torch.float64)
        names = dict.fromkeys(name for noise in noises for name in noise.gates)
        gates = {name: torch.stack([noise.gates.get(name, perfect) for noise in noises]) for name in names}
        readouts = [noise.readout or ReadoutError() for noise in noises]
        parts = [torch.stack([torch.as_tensor(getattr(r, name)) for r in readouts]) for name in ("p01", "p10")]
        return cls(gates, ReadoutError(*parts), noises[0].native)

    def __repr__(self) -> str:
        parts = [*self.gates, *["readout"] * (self.readout is not None), *["native=False"] * (not self.native)]
        return f"Noise({', '.join(parts)})"


def check_channel(name: str, channel: object) -> None:
    """Refuse what is not a trace-preserving channel of one qubit."""
    check_tensor(name, channel)
    assert isinstance(channel, Tensor)
    if channel.shape[-2:] != (4, 4):
        raise ValueError(f"Argument `{name}` must have shape (*grid, 4, 4), but has shape {tuple(channel.shape)}.")
    if not values_visible(channel):
        return
    first = channel.detach()[..., 0, :]
    if not torch.allclose(first, torch.eye(4, dtype=first.dtype, device=first.device)[0].expand_as(first), atol=1e-5):
        raise ValueError(
            f"Argument `{name}` must preserve the trace, its first row being (1, 0, 0, 0), but has {first.tolist()}."
        )
    # A map is a channel if what it makes of half of an entangled pair, its Choi matrix, is a state.
    paulis = torch.stack([torch.tensor(matrix) for matrix in PAULI.values()])
    pairs = torch.einsum("iab,jdc->ijacbd", paulis, paulis).reshape(4, 4, 4, 4) / 4
    choi = torch.einsum("...ij,ijkl->...kl", channel.detach().cpu().to(torch.complex128), pairs)
    if (least := torch.linalg.eigvalsh(choi).min().item()) < -1e-5:
        raise ValueError(
            f"Argument `{name}` is no channel: it makes probabilities of {least:.3g} out of entangled states."
        )


def _diagonal(x: Tensor, y: Tensor, z: Tensor, shift: Tensor | None = None) -> Tensor:
    """The channel that multiplies X, Y and Z, and adds `shift` to Z."""
    x, y, z = torch.broadcast_tensors(x, y, z)
    channel = torch.diag_embed(torch.stack([torch.ones_like(x), x, y, z], -1))
    if shift is None:
        return channel
    corner = channel.new_zeros(4, 4)
    corner[3, 0] = 1
    return channel + shift[..., None, None] * corner


def _strength(name: str, value: Strength) -> Tensor:
    return _tensor(name, value, 1.0)


def _tensor(name: str, value: Any, high: float, low: float = 0.0) -> Tensor:
    if not isinstance(value, Tensor):
        if not (is_real(value) or (value == math.inf and high == math.inf)):
            raise TypeError(f"Argument `{name}` must be a real number or a tensor of them, but is {value!r}.")
        value = torch.tensor(float(value), dtype=torch.float64)
    seen = value.detach()
    if values_visible(value) and (seen.isnan().any() or (seen < low).any() or (seen > high).any()):
        raise ValueError(f"Argument `{name}` must be between {low} and {high}, but is {value.tolist()!r}.")
    return value if value.is_floating_point() else value.double()
