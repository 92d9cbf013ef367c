"""A circuit means the same in PennyLane, in Qiskit and as an OpenQASM 3 program."""

import pennylane as qml
import pytest
import torch
from hypothesis import given, settings
from qiskit import QuantumCircuit, qasm3, transpile
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_aer import AerSimulator

from circuits import (
    ANSATZE,
    Circuit,
    Encode,
    Gate,
    Slot,
    expectation,
    px,
    pz,
    to_openqasm3,
    to_pennylane,
    to_qiskit,
)
from random_circuits import circuits, inputs, seeds
from tolerances import FOREIGN, bernstein

few = settings(max_examples=50)


def qiskit_values(program, circuit):
    state = Statevector(program)
    values = [state.expectation_value(SparsePauliOp(string[::-1])).real for string in circuit.strings]
    return torch.tensor(values, dtype=torch.float64)


def assert_values(actual, circuit, x, params):
    expected = expectation(Circuit(circuit.gates, circuit.strings), x, params, "reference")
    torch.testing.assert_close(actual, expected, **FOREIGN)


# PennyLane.

BATCHES = {"one evaluation": ((), ()), "batch of x": ((3,), ()), "batch of params": ((), (3,)), "both": ((3,), (3,))}


@pytest.mark.parametrize("case", BATCHES)
@few
@given(circuit=circuits(), seed=seeds)
def test_to_pennylane_is_a_quantum_function_with_the_same_values(case, circuit, seed):
    x, params = inputs(circuit, *BATCHES[case], seed=seed)
    node = qml.QNode(to_pennylane(circuit), qml.device("default.qubit", wires=circuit.wires))
    grid = torch.broadcast_shapes(*(tensor.shape[:-1] for tensor in (x, *params.values())))
    values = torch.stack([torch.as_tensor(value).expand(grid) for value in node(x, params)], dim=-1)
    assert_values(values, circuit, x, params)


def test_pennylane_differentiates_what_to_pennylane_makes():
    x, params = inputs(pz(2))
    node = qml.QNode(to_pennylane(pz(2)), qml.device("default.qubit", wires=1))
    gradient = torch.func.grad(lambda params: node(x, params)[0])(params)
    expected = torch.func.grad(lambda params: expectation(pz(2), x, params))(params)
    for name in params:
        torch.testing.assert_close(gradient[name], expected[name], **FOREIGN)


# Qiskit.


def assigned(circuit, x, params):
    values = {f"{name}[{k}]": v for name, entries in {"x": x, **params}.items() for k, v in enumerate(entries.tolist())}
    program = to_qiskit(circuit)
    return program.assign_parameters({p.name: values[p.name] for p in program.parameters})


@few
@given(circuits(), seeds)
def test_to_qiskit_is_a_circuit_with_the_same_values(circuit, seed):
    x, params = inputs(circuit, seed=seed)
    assert_values(qiskit_values(assigned(circuit, x, params), circuit), circuit, x, params)


def test_to_qiskit_has_one_parameter_a_slot_entry_and_feature():
    program = to_qiskit(Circuit((Gate("RX", 0, Encode(Slot("scale", 1), Slot("shift"), 2)), Gate("RZ", 0, 0.5))))
    assert isinstance(program, QuantumCircuit)
    assert {parameter.name for parameter in program.parameters} == {"scale[1]", "shift[0]", "x[2]"}
    assert program.num_clbits == 0


# OpenQASM 3.


@few
@given(circuits(), seeds)
def test_to_openqasm3_is_read_back_as_the_same_circuit(circuit, seed):
    x, params = inputs(circuit, seed=seed)
    program = qasm3.loads(to_openqasm3(circuit, params, x, measure=False))
    assert program.num_qubits == circuit.wires
    assert program.num_clbits == 0
    assert_values(qiskit_values(program, circuit), circuit, x, params)


MEASURED = {
    "pz": pz(2),
    "px": px(2),
    "several letters": Circuit(
        (
            Gate("RY", 0, Slot("theta")),
            Gate("RX", 1, Encode()),
            Gate("CNOT", (0, 1)),
            Gate("CRZ", (1, 2), 0.7),
            Gate("CRX", (0, 2), Slot("theta", 1)),
            Gate("SWAP", (1, 2)),
        ),
        ("XYI", "XII", "IYI"),
    ),
    "one unread wire": Circuit((Gate("RX", 2, Encode()), Gate("CRY", (2, 0), 1.2), Gate("RY", 1, 0.4)), "ZIY"),
}


@pytest.mark.parametrize("case", MEASURED)
def test_mean_parity_of_the_measured_program_is_the_value(case):
    circuit, shots = MEASURED[case], 4000
    x, params = inputs(circuit)
    simulator = AerSimulator(seed_simulator=7)
    program = transpile(qasm3.loads(to_openqasm3(circuit, params, x)), simulator, optimization_level=0)
    counts = simulator.run(program, shots=shots).result().get_counts()
    exact = expectation(Circuit(circuit.gates, circuit.strings), x, params)
    for string, value in zip(circuit.strings, exact, strict=True):
        # Qiskit writes c[0] rightmost.
        parities = [
            count * (-1) ** sum(bit == "1" for bit, letter in zip(bits[::-1], string, strict=True) if letter != "I")
            for bits, count in counts.items()
        ]
        assert abs(sum(parities) / shots - value) <= bernstein(exact, shots).max()


def test_only_wires_of_the_readout_are_measured():
    text = to_openqasm3(MEASURED["one unread wire"], {}, torch.zeros(1))
    assert [line for line in text.splitlines() if "measure" in line] == [
        "c[0] = measure q[0];",
        "c[2] = measure q[2];",
    ]


@pytest.mark.parametrize("name", ANSATZE)
def test_program_of_an_ansatz_names_every_gate_in_order(name):
    circuit = ANSATZE[name](2)
    x, params = inputs(circuit)
    program = qasm3.loads(to_openqasm3(circuit, params, x, measure=False))
    assert [step.operation.name for step in program.data] == [gate.name.lower() for gate in circuit.gates]


def test_angles_are_computed_and_written_in_double_precision_whatever_the_dtype():
    x = torch.tensor([0.1], dtype=torch.float32)
    text = to_openqasm3(Circuit((Gate("RX", 0, Encode(1 / 3, 0.7)),)), {}, x)
    assert f"rx({x.item() * (1 / 3) + 0.7!r}) q[0];" in text


def test_letters_that_disagree_on_a_wire_cannot_be_measured_together():
    circuit = Circuit((Gate("H", 0),), ("ZI", "XI"))
    with pytest.raises(ValueError, match=r"measures both Z and X on wire 0.* measure=False"):
        to_openqasm3(circuit, {}, torch.zeros(1))
    assert "measure" not in to_openqasm3(circuit, {}, torch.zeros(1), measure=False)


@pytest.mark.parametrize(("x_grid", "params_grid"), [((3,), ()), ((), (3,)), ((1,), ())])
def test_a_program_is_one_evaluation(x_grid, params_grid):
    x, params = inputs(pz(1), x_grid, params_grid)
    with pytest.raises(ValueError, match=r"one evaluation, .* grid \((1|3),\): index it"):
        to_openqasm3(pz(1), params, x)


def test_a_program_of_bad_inputs_is_refused():
    x, params = inputs(pz(1))
    with pytest.raises(ValueError, match="`x` must be finite"):
        to_openqasm3(pz(1), params, x * float("nan"))
