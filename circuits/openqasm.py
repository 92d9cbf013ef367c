"""Circuits with numbers put in, as OpenQASM 3 programs that any toolchain reads."""

from collections.abc import Mapping

from torch import Tensor

from circuits.angles import bind
from circuits.checks import check_inputs, check_values
from circuits.circuit import Circuit, Gate

TO_Z = {"X": ("h",), "Y": ("sdg", "h")}
"""Gates after which measuring Z measures the letter, by their names in OpenQASM and Qiskit."""


def qasm_name(gate: Gate) -> str:
    """What OpenQASM's stdgates.inc and Qiskit call a gate."""
    return "cx" if gate.name == "CNOT" else gate.name.lower()


def to_openqasm3(circuit: Circuit, params: Mapping[str, Tensor], x: Tensor, measure: bool = True) -> str:
    """One evaluation of `circuit` as an OpenQASM 3 program; wire k is `q[k]`.

    Args:
        circuit: the circuit.
        params: slot name to `(n,)`.
        x: `(features,)`.
        measure: whether to measure what the readout needs, turning X and Y into Z first: wire k into `c[k]`. The value
            of a readout string is the mean parity of the bits of its letters.

    Raises:
        ValueError: if `params` or `x` have a batch dimension, or if readout strings ask for different letters on one
            wire, which one program cannot measure; pass `measure=False` then.

    >>> import torch
    >>> from circuits import Circuit, Encode, Gate
    >>> print(to_openqasm3(Circuit((Gate("RY", 0, Encode()),)), {}, torch.tensor([0.5])))
    OPENQASM 3.0;
    include "stdgates.inc";
    // readout: Z
    qubit[1] q;
    bit[1] c;
    ry(0.5) q[0];
    c[0] = measure q[0];
    <BLANKLINE>
    """
    grid = check_inputs(circuit, x, params)
    check_values(circuit, x, params)
    if grid:
        raise ValueError(
            f"An OpenQASM program is one evaluation, but x and params have the grid {tuple(grid)}: index it."
        )
    x, params = x.double(), {name: tensor.double() for name, tensor in params.items()}
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', f"// readout: {', '.join(circuit.strings)}"]
    lines += [f"qubit[{circuit.wires}] q;", *([f"bit[{circuit.wires}] c;"] if measure else [])]
    for gate in circuit.gates:
        # repr of a Python float is the shortest decimal that reads back as the same number.
        angle = "" if gate.angle is None else f"({float(bind(gate.angle, x, params))!r})"
        lines.append(f"{qasm_name(gate)}{angle} {', '.join(f'q[{wire}]' for wire in gate.wires)};")
    if measure:
        for wire, letter in _measured(circuit).items():
            lines += [f"{name} q[{wire}];" for name in TO_Z.get(letter, ())]
            lines.append(f"c[{wire}] = measure q[{wire}];")
    return "\n".join(lines) + "\n"


def _measured(circuit: Circuit) -> dict[int, str]:
    letters: dict[int, str] = {}
    for string in circuit.strings:
        for wire, letter in enumerate(string):
            if letter != "I" and letters.setdefault(wire, letter) != letter:
                raise ValueError(
                    f"Readout {circuit.readout!r} measures both {letters[wire]} and {letter} on wire {wire}, which one "
                    "program cannot: pass measure=False and append your own measurements."
                )
    return dict(sorted(letters.items()))
