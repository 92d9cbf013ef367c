"""Circuits as values, and engines that evaluate them.

>>> import torch
>>> from circuits import expectation, rpz
>>> circuit = rpz(reps=2)
>>> circuit.slots
{'theta': 3, 'scale': 2, 'shift': 2}
>>> x = torch.linspace(-1, 1, 5)[:, None]
>>> params = {name: torch.ones(length) for name, length in circuit.slots.items()}
>>> expectation(circuit, x, params).shape
torch.Size([5])
"""

from circuits import engines
from circuits.ansatz import ANSATZE, entangled, mix, px, pz, real, rpz, vqc
from circuits.checks import unchecked
from circuits.circuit import Circuit, Encode, Gate, Slot, Sum
from circuits.engines import expectation
from circuits.engines.pennylane import to_pennylane
from circuits.engines.qiskit import to_qiskit
from circuits.errors import DeviceError, EngineUnavailable, UnsupportedCircuit
from circuits.extension import Extension, extended
from circuits.openqasm import to_openqasm3

__all__ = [
    "ANSATZE",
    "Circuit",
    "DeviceError",
    "Encode",
    "EngineUnavailable",
    "Extension",
    "Gate",
    "Slot",
    "Sum",
    "UnsupportedCircuit",
    "engines",
    "entangled",
    "expectation",
    "extended",
    "mix",
    "px",
    "pz",
    "real",
    "rpz",
    "to_openqasm3",
    "to_pennylane",
    "to_qiskit",
    "unchecked",
    "vqc",
]
