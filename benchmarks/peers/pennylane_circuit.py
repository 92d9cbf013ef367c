"""PennyLane devices on the circuits of the benchmark: a QKAN layer of pz circuits, or a state vector of many wires."""

from importlib import import_module
from typing import Any

import numpy as np
import torch
from serve import Work, serve, training
from torch import Tensor
from torch.nn import functional

qml: Any = import_module("pennylane")  # untyped

DIFFERENTIATION = {"default.qubit": "backprop", "lightning.qubit": "adjoint"}
"""For each device the method that suits it best."""


def build(case: dict[str, Any], options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """`options` has the device; the kind of the case says which circuit."""
    name, wires = options["device"], case.get("wires", 1)
    single = {"c_dtype": np.complex64} if name == "lightning.qubit" and arrays["x"].dtype == torch.float32 else {}
    device = qml.device(name, wires=wires, **single)
    bind = _layer if case["kind"] == "layer" else _vector
    function = bind(case, arrays, lambda circuit: qml.QNode(circuit, device, diff_method=DIFFERENTIATION[name]))
    return training(function, arrays, f"PennyLane {qml.version()}, {name}, {DIFFERENTIATION[name]}")


def _layer(case: dict[str, Any], arrays: dict[str, Tensor], node: Any) -> Any:
    """All circuits of the layer, one for each row, output and input, as one broadcast batch."""
    reps = case["reps"]

    @node
    def circuits(theta: Tensor, angles: list[Tensor]) -> Any:
        qml.Hadamard(0)
        for block in range(reps):
            qml.RZ(theta[2 * block], 0)
            qml.RY(theta[2 * block + 1], 0)
            qml.RZ(angles[block], 0)
        qml.RZ(theta[2 * reps], 0)
        qml.RY(theta[2 * reps + 1], 0)
        return qml.expval(qml.PauliZ(0))

    def function(x: Tensor) -> Tensor:
        grid = (len(x), *arrays["weight"].shape)
        theta = arrays["theta"].expand(*grid, -1).flatten(0, 2).T
        data = x[:, None, :].expand(grid)
        if case["trainable"]:
            angles = [arrays["scale"][..., block] * data + arrays["shift"][..., block] for block in range(reps)]
        else:
            angles = [data] * reps
        values = circuits(theta, [angle.reshape(-1) for angle in angles]).reshape(grid).to(x.dtype)
        return torch.linalg.vecdot(values, arrays["weight"]) + functional.linear(
            functional.silu(x), arrays["base_weight"]
        )

    return function


def _vector(case: dict[str, Any], arrays: dict[str, Tensor], node: Any) -> Any:
    """The hardware-efficient circuit; rows of x are a broadcast batch."""
    wires = range(case["wires"])

    @node
    def circuit(x: Tensor, theta: Tensor) -> Any:
        angles = iter(theta)
        for _ in range(case["depth"]):
            for wire in wires:
                qml.RY(x[:, wire], wire)
            for wire in wires:
                qml.RY(next(angles), wire)
                qml.RZ(next(angles), wire)
            for wire in wires:
                qml.CNOT([wire, (wire + 1) % len(wires)])
        return qml.expval(qml.PauliZ(0))

    return lambda x: circuit(x, arrays["theta"])


if __name__ == "__main__":
    serve(build)
