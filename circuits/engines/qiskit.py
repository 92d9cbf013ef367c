"""Qiskit Aer: exact expectation values and shots, and circuits as Qiskit circuits.

A circuit is built and transpiled once with its angles as parameters; a whole table of angles is one run, bound by Aer
itself, which is an order of magnitude faster than one bound circuit per evaluation.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from circuits.checks import check_seed, check_shots
from circuits.circuit import Angle, Circuit, Encode, Slot, terms
from circuits.engines.auto import Auto
from circuits.engines.engine import BlackBox
from circuits.errors import third_party
from circuits.gradient import Gradient, gradient_of
from circuits.openqasm import TO_Z, qasm_name
from circuits.shots import shown

_ROWS = 10_000
"""Evaluations per Aer run: bounds the memory of the results, about 15 kB each."""


class Qiskit(BlackBox):
    """Aer's simulators.

    Args:
        shots: measurements per evaluation and readout string, or a tensor of them that broadcasts with the grid; None
            for exact expectation values.
        seed: of the shots. Every call draws fresh ones; the same sequence of calls gives the same values.
        gradient: "shift", "spsa", "simulator" (by "auto"), or one that is built.
        noise_model: a `qiskit_aer.noise.NoiseModel`, for which density matrices are simulated. It acts on gates by
            name, and circuits run as they are written: `circuits.native.native` writes them as devices have them.
    """

    name: ClassVar[str] = "qiskit"

    def __init__(
        self,
        shots: int | Tensor | None = None,
        seed: int | None = None,
        gradient: str | Gradient = "shift",
        noise_model: Any = None,
    ) -> None:
        third_party("qiskit", "qiskit")  # before Aer, which fails without it in an error of its own
        aer = third_party("qiskit_aer", "qiskit")
        self.shots, self.gradient, self.noise_model = (
            check_shots(shots),
            gradient_of(gradient, check_seed(seed), Auto),
            noise_model,
        )
        self.rewrites = noise_model is None
        self._seeds = np.random.default_rng(seed)
        self._simulator = aer.AerSimulator(
            method="statevector" if noise_model is None else "density_matrix",
            runtime_parameter_bind_enable=True,
            noise_model=noise_model,
        )
        # Without the noise model, whose basis gates circuits would be brought to.
        self._plain = aer.AerSimulator(method="statevector")
        self._transpiled: dict[tuple[Circuit, bool], list[Any]] = {}

    def _run(self, circuit: Circuit, table: Tensor, shots: int | None) -> Tensor:
        if shots is None and self.noise_model is not None and _has_readout_error(self.noise_model):
            raise ValueError(
                "Argument `noise_model` has readout errors, which exact values of Aer do not show: pass shots, or a "
                "model without them."
            )
        rows = table.detach().numpy()
        chunks = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
        programs = self._programs(circuit, shots is None)
        values = [np.concatenate([self._execute(program, chunk, shots) for chunk in chunks]) for program in programs]
        return torch.as_tensor(np.concatenate(values, axis=1))

    def _programs(self, circuit: Circuit, exact: bool) -> list[Any]:
        if (circuit, exact) not in self._transpiled:
            programs = [_exact(circuit)] if exact else [_sampled(circuit, string) for string in circuit.strings]
            transpile = third_party("qiskit", "qiskit").transpile
            # Aer leaves the parameters of controlled rotations unbound (Qiskit/qiskit-aer issues 2323 and 2391).
            plain = [program.decompose(["crx", "cry", "crz"]) for program in programs]
            self._transpiled[circuit, exact] = transpile(plain, self._plain, optimization_level=0)
        return self._transpiled[circuit, exact]

    def _execute(self, program: Any, rows: np.ndarray, shots: int | None) -> np.ndarray:
        binds = {parameter: rows[:, parameter.index] for parameter in program.parameters}
        sampling = {} if shots is None else {"shots": shots, "seed_simulator": int(self._seeds.integers(2**31))}
        job = self._simulator.run(program, parameter_binds=[binds] if binds else None, **sampling)
        result = job.result()
        if not result.success:
            raise RuntimeError(f"Aer failed on {len(rows)} evaluations: {result.status}.")
        read = _read_exact if shots is None else _read_counts
        return np.array([read(experiment.data) for experiment in result.results], dtype=np.float64)

    def __repr__(self) -> str:
        noise = "" if self.noise_model is None else ", noise_model=..."
        return f"Qiskit(shots={shown(self.shots)}{noise})"


def to_qiskit(circuit: Circuit) -> Any:
    """A Qiskit `QuantumCircuit` without measurements; wire k is qubit k.

    Parameters are one `ParameterVector` a slot name, and `x` for the features.

    >>> from circuits import pz
    >>> sorted(parameter.name for parameter in to_qiskit(pz(1)).parameters)
    ['scale[0]', 'shift[0]', 'theta[0]', 'theta[1]', 'theta[2]', 'theta[3]', 'x[0]']
    """
    qiskit = third_party("qiskit", "qiskit")
    vector = third_party("qiskit.circuit", "qiskit").ParameterVector
    symbols = {name: vector(name, length) for name, length in circuit.slots.items()} | {
        "x": vector("x", circuit.features)
    }
    program = qiskit.QuantumCircuit(circuit.wires)
    for gate in circuit.gates:
        angle = [] if gate.angle is None else [_expression(gate.angle, symbols)]
        getattr(program, qasm_name(gate))(*angle, *gate.wires)
    return program


def _expression(angle: Angle, symbols: Mapping[str, Any]) -> Any:
    def of(term: float | Slot | Encode) -> Any:
        if isinstance(term, (int, float)):
            return term
        if isinstance(term, Slot):
            return symbols[term.name][term.index]
        affine = of(term.scale) * symbols["x"][term.feature] + of(term.shift)
        return affine if term.through == "identity" else affine.arccos()

    first, *others = map(of, terms(angle))
    return sum(others, first)


def _has_readout_error(noise_model: Any) -> bool:
    return any(error["type"] == "roerror" for error in noise_model.to_dict()["errors"])


def _exact(circuit: Circuit) -> Any:
    third_party("qiskit_aer.library", "qiskit")  # gives QuantumCircuit its save methods
    operator = third_party("qiskit.quantum_info", "qiskit").SparsePauliOp
    program = to_qiskit(circuit)
    for k, string in enumerate(circuit.strings):
        # Qiskit writes qubit 0 rightmost.
        program.save_expectation_value(operator(string[::-1]), range(circuit.wires), label=f"value{k}")
    return program


def _sampled(circuit: Circuit, string: str) -> Any:
    program = to_qiskit(circuit)
    wires = [wire for wire, letter in enumerate(string) if letter != "I"]
    for wire in wires:
        for name in TO_Z.get(string[wire], ()):
            getattr(program, name)(wire)
    program.add_register(third_party("qiskit", "qiskit").ClassicalRegister(len(wires)))
    program.measure(wires, range(len(wires)))
    return program


def _read_exact(data: Any) -> list[float]:
    values = data.to_dict()
    return [values[f"value{k}"] for k in range(len(values))]


def _read_counts(data: Any) -> list[float]:
    """The mean parity of the measured bits; counts are keyed by hexadecimal numbers."""
    signed = [count * (-1) ** int(bits, 16).bit_count() for bits, count in data.counts.items()]
    return [sum(signed) / sum(data.counts.values())]
