"""Every gate means what PennyLane and Qiskit mean by its name, wire order and signs included."""

from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import library
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector
from scipy.linalg import expm
from scipy.spatial.transform import Rotation
from scipy.stats import unitary_group

from circuits import Circuit, Gate, expectation
from circuits.gates import GATES, PAULI, bloch_matrix
from tolerances import EXACT

VOCABULARY = {
    "H": (qml.Hadamard, library.HGate),
    "X": (qml.PauliX, library.XGate),
    "Y": (qml.PauliY, library.YGate),
    "Z": (qml.PauliZ, library.ZGate),
    "S": (qml.S, library.SGate),
    "T": (qml.T, library.TGate),
    "SX": (qml.SX, library.SXGate),
    "RX": (qml.RX, library.RXGate),
    "RY": (qml.RY, library.RYGate),
    "RZ": (qml.RZ, library.RZGate),
    "CNOT": (qml.CNOT, library.CXGate),
    "CZ": (qml.CZ, library.CZGate),
    "SWAP": (qml.SWAP, library.SwapGate),
    "CRX": (qml.CRX, library.CRXGate),
    "CRY": (qml.CRY, library.CRYGate),
    "CRZ": (qml.CRZ, library.CRZGate),
}
"""What PennyLane and Qiskit call each gate; a gate without a line here fails."""

ANGLES = (0.7, -2.3)

PREPARATIONS = [((), [1, 0]), (("X",), [0, 1]), (("H",), [0.5**0.5, 0.5**0.5]), (("H", "S"), [0.5**0.5, 0.5**0.5 * 1j])]
"""Gates and the states they make of |0>: four whose projectors span all one-wire operators."""


def matrices(name, angle):
    """The unitary according to PennyLane and Qiskit, first wire most significant."""
    pennylane, qiskit = VOCABULARY[name]
    arguments = [] if angle is None else [angle]
    wires = range(GATES[name].wires)
    # Qiskit's most significant bit is the last qubit.
    theirs = qml.matrix(pennylane(*arguments, wires=wires)), Operator(qiskit(*arguments)).reverse_qargs().data
    return [np.asarray(matrix, dtype=np.complex128) for matrix in theirs]


CASES = [
    (engine, name, angle)
    for engine in ("reference", "statevector", "bloch")
    for name, kind in GATES.items()
    if engine != "bloch" or kind.wires == 1
    for angle in (ANGLES if kind.axis else (None,))
]


@pytest.mark.parametrize("name", [name for name, kind in GATES.items() if kind.axis is None])
def test_fixed_gates_have_the_matrices_of_pennylane_and_qiskit(name):
    for matrix in matrices(name, None):
        np.testing.assert_allclose(GATES[name].unitary, matrix, rtol=0, atol=EXACT["atol"])


@pytest.mark.parametrize(("engine", "name", "angle"), CASES)
def test_gates_transform_states_as_in_pennylane_and_qiskit(engine, name, angle):
    """Process tomography: all Pauli expectations after the gate, on states that span the operators."""
    wires = GATES[name].wires
    strings = tuple("".join(letters) for letters in product("IXYZ", repeat=wires))[1:]
    gate = Gate(name, range(wires), angle)
    paulis = [reduce(np.kron, [PAULI[letter] for letter in string]) for string in strings]
    for prepared in product(PREPARATIONS, repeat=wires):
        before = tuple(Gate(name, wire) for wire, (names, _) in enumerate(prepared) for name in names)
        actual = expectation(Circuit((*before, gate), strings), torch.zeros(1, dtype=torch.float64), {}, engine)
        for matrix in matrices(name, angle):
            after = matrix @ reduce(np.kron, [np.array(vector) for _, vector in prepared])
            expected = [(after.conj() @ pauli @ after).real for pauli in paulis]
            np.testing.assert_allclose(actual, expected, rtol=0, atol=EXACT["atol"])


@pytest.mark.parametrize("letter", "XYZ")
@pytest.mark.parametrize("angle", ANGLES)
def test_rotation_gates_turn_the_bloch_vector_by_their_angle(letter, angle):
    unitary = np.asarray(expm(-0.5j * angle * PAULI[letter]), dtype=np.complex128)
    expected = Rotation.from_rotvec(angle * np.eye(3)["XYZ".index(letter)]).as_matrix()
    np.testing.assert_allclose(bloch_matrix(unitary), expected, rtol=0, atol=EXACT["atol"])


@pytest.mark.parametrize("seed", range(3))
def test_bloch_matrix_turns_the_bloch_vector_of_any_state(seed):
    first, second = unitary_group.rvs(2, size=2, random_state=seed)
    paulis = np.stack([PAULI[letter] for letter in "XYZ"])

    def bloch(state):
        return np.einsum("a,iab,b->i", state.conj(), paulis, state).real

    turned = bloch_matrix(second) @ bloch(first[:, 0])
    np.testing.assert_allclose(turned, bloch(second @ first[:, 0]), rtol=0, atol=EXACT["atol"])
    product_of_both = bloch_matrix(second @ first)
    np.testing.assert_allclose(product_of_both, bloch_matrix(second) @ bloch_matrix(first), rtol=0, atol=EXACT["atol"])


@pytest.mark.parametrize("name", ["H", "X", "Y", "Z", "S", "SX"])
def test_clifford_gates_permute_the_axes_without_rounding(name):
    assert set(np.abs(bloch_matrix(GATES[name].unitary)).ravel()) == {0.0, 1.0}


# A state and observables without any symmetry between the wires.

STRINGS = ("ZII", "IZI", "IIZ", "XYI", "IXY", "YIX", "XYZ")


@pytest.mark.parametrize("engine", ["reference", "statevector", "pennylane", "qiskit"])
def test_wire_0_is_the_first_wire_of_pennylane_and_the_first_qubit_of_qiskit(engine):
    circuit = Circuit(
        (Gate("RY", 0, 0.3), Gate("RX", 1, 0.7), Gate("RY", 2, 1.9), Gate("CNOT", (0, 2)), Gate("CRY", (2, 1), 0.8)),
        STRINGS,
    )
    actual = expectation(circuit, torch.zeros(1, dtype=torch.float64), {}, engine)

    observables: list[Any] = [qml.pauli.string_to_pauli_word(string) for string in STRINGS]

    @qml.qnode(qml.device("default.qubit", wires=3))
    def node():
        qml.RY(0.3, 0)
        qml.RX(0.7, 1)
        qml.RY(1.9, 2)
        qml.CNOT([0, 2])
        qml.CRY(0.8, [2, 1])
        return [qml.expval(observable) for observable in observables]

    program = QuantumCircuit(3)
    program.ry(0.3, 0)
    program.rx(0.7, 1)
    program.ry(1.9, 2)
    program.cx(0, 2)
    program.cry(0.8, 2, 1)
    state = Statevector(program)
    qiskit = [state.expectation_value(SparsePauliOp(string[::-1])).real for string in STRINGS]
    np.testing.assert_allclose(actual, node(), rtol=0, atol=EXACT["atol"])
    np.testing.assert_allclose(actual, qiskit, rtol=0, atol=EXACT["atol"])
