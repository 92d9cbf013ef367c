r"""The DARUAN ansätze: single-qubit data re-uploading circuits with <Z> as activation.

Every ansatz starts with H on |0> and encodes $e_l = \mathrm{scale}_l x + \mathrm{shift}_l$ once in each of `reps`
blocks. `scale` and `shift` are slots by default; a number (one for all blocks) or a sequence (one number a block)
fixes them.

Reference: Jiang et al., Quantum variational activation functions empower Kolmogorov-Arnold networks, 2025,
arXiv:2509.14026.
"""

from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Literal

from circuits.circuit import Circuit, Encode, Gate, Slot

Fixed = float | Sequence[float] | None


def pz(reps: int = 3, scale: Fixed = None, shift: Fixed = None) -> Circuit:
    r"""Blocks RZ($\theta_{2l}$) RY($\theta_{2l+1}$) RZ($e_l$), then RZ RY: `2 * (reps + 1)` thetas.

    With unit scales <Z> is a trigonometric polynomial of degree `reps` in x. The shift of a block and the RZ angle of
    the next one add up: one of them is redundant, and counted all the same.

    >>> print(pz(1))
    0: |0>──H──RZ(theta[0])──RY(theta[1])──RZ(scale[0]*x[0]+shift[0])──RZ(theta[2])──RY(theta[3])──<Z>
    """

    def around(block: int) -> tuple[Gate, Gate]:
        return Gate("RZ", 0, Slot("theta", 2 * block)), Gate("RY", 0, Slot("theta", 2 * block + 1))

    return _reuploading("pz", reps, scale, shift, lambda block, e: (*around(block), Gate("RZ", 0, e)), around)


def rpz(reps: int = 3, scale: Fixed = None, shift: Fixed = None) -> Circuit:
    r"""Blocks RY($\theta_l$) RZ($e_l$), then RY: `reps + 1` thetas; pz without the angles its shifts make redundant."""

    def around(block: int) -> tuple[Gate]:
        return (Gate("RY", 0, Slot("theta", block)),)

    return _reuploading("rpz", reps, scale, shift, lambda block, e: (*around(block), Gate("RZ", 0, e)), around)


def px(reps: int = 3, scale: Fixed = None, shift: Fixed = None) -> Circuit:
    r"""Blocks RZ($\theta_l$) RX($\arccos e_l$): `reps` thetas; x must satisfy $|e_l| \le 1$.

    With unit scales <Z> is $\sqrt{1 - x^2}$ times a polynomial of degree `reps - 1`; $\theta = (\pi/2, 0, ..., 0)$
    makes that polynomial the Chebyshev polynomial of the second kind $U_{reps-1}$. A final RZ is dead before <Z>; there
    is none.

    This is an ansatz for a first layer on data strictly inside (-1, 1). At the ends the slope of arccos, and with it
    the gradients of scale and shift, are infinite; and while scale and shift are trainable an optimiser can push
    $|e_l|$ past 1, which is an error. Fix them, `px(3, scale=1, shift=0)`, or keep the data well inside; deeper layers
    need a bounded function such as tanh before them.
    """
    return _reuploading(
        "px",
        reps,
        scale,
        shift,
        lambda block, e: (Gate("RZ", 0, Slot("theta", block)), Gate("RX", 0, e)),
        through="arccos",
    )


def real(reps: int = 3, scale: Fixed = None, shift: Fixed = None) -> Circuit:
    r"""Blocks X RY($\theta_l$) Z RY($e_l$): `reps` thetas; the state keeps real amplitudes."""
    return _reuploading(
        "real",
        reps,
        scale,
        shift,
        lambda block, e: (Gate("X", 0), Gate("RY", 0, Slot("theta", block)), Gate("Z", 0), Gate("RY", 0, e)),
    )


def mix(reps: int = 3, scale: Fixed = None, shift: Fixed = None) -> Circuit:
    r"""Blocks RZ($\theta_{2l}$) RX($\theta_{2l+1}$) RY($e_l$), then RZ RX: `2 * (reps + 1)` thetas."""

    def around(block: int) -> tuple[Gate, Gate]:
        return Gate("RZ", 0, Slot("theta", 2 * block)), Gate("RX", 0, Slot("theta", 2 * block + 1))

    return _reuploading("mix", reps, scale, shift, lambda block, e: (*around(block), Gate("RY", 0, e)), around)


def entangled(reps: int = 3, wires: int = 2, scale: Fixed = None, shift: Fixed = None) -> Circuit:
    r"""Re-uploading on several wires: blocks RZ RY RZ($e_l$) on each and a ring of CNOTs, then RZ RY, read by Z on all.

    There are `2 * wires * (reps + 1)` thetas; the encodings of a block share scale and shift. With unit scales the
    value is a trigonometric polynomial of degree `wires * reps` in x; one wire reaches `reps` with as many blocks.

    An activation like those of one wire, which `ANSATZE` lists.

    >>> entangled(2, wires=3).slots
    {'theta': 18, 'scale': 2, 'shift': 2}
    """
    if not isinstance(wires, Integral) or isinstance(wires, bool) or wires < 2:
        raise ValueError(f"Argument `wires` must be an int of at least 2, but is {wires!r}; for one wire use pz.")

    def around(block: int) -> list[Gate]:
        return [
            Gate(name, wire, Slot("theta", 2 * (block * wires + wire) + k))
            for wire in range(wires)
            for k, name in enumerate(("RZ", "RY"))
        ]

    def inside(block: int, e: Encode) -> list[Gate]:
        ring = [(wire, (wire + 1) % wires) for wire in range(wires if wires > 2 else 1)]
        encodings = [Gate("RZ", wire, e) for wire in range(wires)]
        return [*around(block), *encodings, *(Gate("CNOT", pair) for pair in ring)]

    return _reuploading("entangled", reps, scale, shift, inside, around, wires=wires)


def vqc(wires: int, depth: int = 2) -> Circuit:
    r"""The variational circuit of a QLSTM: a product state of data, entangled and rotated `depth` times, each <Z>.

    Wire j starts as RZ($x_{n+j}$) RY($x_j$) H |0> of 2n features. A layer is CNOTs from every wire to its next
    neighbour and then to its next but one, around the ring, and RZ RY RZ on each wire: `3 * wires * depth` thetas. The
    last RZ of every wire is dead before <Z>, and counts all the same.

    No activation of a `QKANLayer`: it reads several features and has several values.

    >>> vqc(4).slots, vqc(4).features
    ({'theta': 24}, 8)

    Reference: Chen, Yoo and Fang, Quantum long short-term memory, 2020, arXiv:2009.01783.
    """
    for name, value in (("wires", wires), ("depth", depth)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"Argument `{name}` must be a positive int, but is {value!r}.")
    gates = [Gate("H", wire) for wire in range(wires)]
    gates += [Gate("RY", wire, Encode(feature=wire)) for wire in range(wires)]
    gates += [Gate("RZ", wire, Encode(feature=wires + wire)) for wire in range(wires)]
    for layer in range(depth):
        distances = [distance for distance in (1, 2) if distance % wires]
        gates += [Gate("CNOT", (wire, (wire + distance) % wires)) for distance in distances for wire in range(wires)]
        gates += [
            Gate(name, wire, Slot("theta", 3 * (layer * wires + wire) + k))
            for wire in range(wires)
            for k, name in enumerate(("RZ", "RY", "RZ"))
        ]
    readout = tuple("I" * wire + "Z" + "I" * (wires - 1 - wire) for wire in range(wires))
    return Circuit(tuple(gates), readout, label=f"vqc({wires}, {depth})")


class _Ansatze(dict[str, Callable[..., Circuit]]):
    def __missing__(self, name: object) -> Callable[..., Circuit]:
        raise KeyError(f"There is no ansatz {name!r}; the known ones are {', '.join(self)}.")


ANSATZE = _Ansatze(pz=pz, rpz=rpz, px=px, real=real, mix=mix)
"""The shipped ansätze by name; a new one is a function above and an entry here."""


def _reuploading(
    name: str,
    reps: int,
    scale: Fixed,
    shift: Fixed,
    block: Callable[[int, Encode], Iterable[Gate]],
    final: Callable[[int], Iterable[Gate]] = lambda block: (),
    through: Literal["identity", "arccos"] = "identity",
    wires: int = 1,
) -> Circuit:
    """H on every wire, then `block(l, e_l)` for l = 0 ... reps-1, then `final(reps)`."""
    if not isinstance(reps, Integral) or isinstance(reps, bool):
        raise TypeError(f"Argument `reps` must be an int, but is {reps!r}.")
    if reps < 0:
        raise ValueError(f"Argument `reps` must not be negative, but is {reps}.")
    scales, shifts = _per_block("scale", scale, reps), _per_block("shift", shift, reps)
    gates = [Gate("H", wire) for wire in range(wires)]
    for index, (factor, offset) in enumerate(zip(scales, shifts, strict=True)):
        gates += block(index, Encode(factor, offset, through=through))
    fixed = "".join(f", {key}={value}" for key, value in (("scale", scale), ("shift", shift)) if value is not None)
    several = f", {wires}" if wires > 1 else ""
    return Circuit((*gates, *final(reps)), "Z" * wires, label=f"{name}({reps}{several}{fixed})")


def _per_block(name: str, value: Fixed, reps: int) -> Sequence[float | Slot]:
    if value is None:
        return [Slot(name, index) for index in range(reps)]
    if isinstance(value, Real):
        return [float(value)] * reps
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != reps:
        raise ValueError(f"Argument `{name}` must be one number or {reps} (one a repetition), but is {value!r}.")
    return list(value)
