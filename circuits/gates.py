r"""The gate vocabulary: what each name means, said once, as matrices.

Rotations are $R_P(t) = \exp(-i t P / 2) = \cos(t/2)\,1 - i \sin(t/2)\,P$ about a Pauli axis $P$. In a two-wire gate the
first wire is the control (the most significant bit), the second the target.

Reference: Nielsen and Chuang, Quantum Computation and Quantum Information, 2010, section 4.2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.complex128]


def _matrix(rows: list[list[complex]]) -> Matrix:
    matrix = np.array(rows, dtype=np.complex128)
    matrix.flags.writeable = False
    return matrix


PAULI: dict[str, Matrix] = {
    "I": _matrix([[1, 0], [0, 1]]),
    "X": _matrix([[0, 1], [1, 0]]),
    "Y": _matrix([[0, -1j], [1j, 0]]),
    "Z": _matrix([[1, 0], [0, -1]]),
}


@dataclass(frozen=True, eq=False)
class GateKind:
    """What a gate name means.

    Args:
        wires: number of wires it acts on.
        axis: Pauli letter of the rotation, for gates that take an angle; None for fixed gates.
        matrix: unitary on the target wire (on both wires for SWAP), for fixed gates; None for rotations.
        controlled: whether the action on the last wire happens only where the first wire is |1>.
    """

    wires: int
    axis: str | None = None
    matrix: Matrix | None = None
    controlled: bool = False

    @property
    def unitary(self) -> Matrix:
        """The fixed gate on all of its wires, `(2**wires, 2**wires)`, first wire most significant."""
        assert self.matrix is not None, "a rotation has no fixed matrix"
        if not self.controlled:
            return self.matrix
        return np.kron(np.diag([1, 0]), PAULI["I"]) + np.kron(np.diag([0, 1]), self.matrix)


_ROOT_HALF = 0.5**0.5

GATES: dict[str, GateKind] = {
    "H": GateKind(1, matrix=_matrix([[_ROOT_HALF, _ROOT_HALF], [_ROOT_HALF, -_ROOT_HALF]])),
    "X": GateKind(1, matrix=PAULI["X"]),
    "Y": GateKind(1, matrix=PAULI["Y"]),
    "Z": GateKind(1, matrix=PAULI["Z"]),
    "S": GateKind(1, matrix=_matrix([[1, 0], [0, 1j]])),
    "T": GateKind(1, matrix=_matrix([[1, 0], [0, _ROOT_HALF * (1 + 1j)]])),
    "SX": GateKind(1, matrix=_matrix([[0.5 + 0.5j, 0.5 - 0.5j], [0.5 - 0.5j, 0.5 + 0.5j]])),
    "RX": GateKind(1, axis="X"),
    "RY": GateKind(1, axis="Y"),
    "RZ": GateKind(1, axis="Z"),
    "CNOT": GateKind(2, matrix=PAULI["X"], controlled=True),
    "CZ": GateKind(2, matrix=PAULI["Z"], controlled=True),
    "SWAP": GateKind(2, matrix=_matrix([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])),
    "CRX": GateKind(2, axis="X", controlled=True),
    "CRY": GateKind(2, axis="Y", controlled=True),
    "CRZ": GateKind(2, axis="Z", controlled=True),
}


def bloch_matrix(unitary: Matrix) -> NDArray[np.float64]:
    r"""How $U$ turns the Bloch vector: $R_{ij} = \tfrac12 \mathrm{tr}(\sigma_i U \sigma_j U^\dagger)$, `(3, 3)`."""
    paulis = np.stack([PAULI[letter] for letter in "XYZ"])
    rotation = np.einsum("iab,bc,jcd,ad->ij", paulis, unitary, paulis, unitary.conj()).real / 2
    # Entries of Clifford gates are 0 and +-1; rounding noise there would hide what commutes with what.
    return np.where(np.abs(rotation - rotation.round()) < 1e-12, rotation.round() + 0.0, rotation)
