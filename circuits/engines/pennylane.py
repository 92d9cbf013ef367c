r"""PennyLane: any of its devices, and circuits as quantum functions.

On `default.qubit` the whole grid is one flattened broadcast dimension and torch differentiates through the simulation;
other devices return values only and get our parameter-shift gradient. PennyLane refuses its own gradient transforms on
broadcast trainable parameters, which is why those are never used.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from circuits.angles import bind
from circuits.checks import check_sampling
from circuits.circuit import Circuit
from circuits.engines.engine import BlackBox
from circuits.errors import third_party

_NAMES = {"H": "Hadamard", "X": "PauliX", "Y": "PauliY", "Z": "PauliZ"}
"""Gates that PennyLane calls otherwise."""


class PennyLane(BlackBox):
    """A PennyLane device.

    Args:
        device: name of a PennyLane device, such as "default.qubit" or "lightning.qubit".
        shots: measurements per evaluation; None for exact expectation values.
        seed: of the device's random numbers, if it takes one; they run on, so that every call is a fresh sample.
        device_options: further keyword arguments of `qml.device`.
    """

    name: ClassVar[str] = "pennylane"

    def __init__(
        self,
        device: str = "default.qubit",
        shots: int | None = None,
        seed: int | None = None,
        device_options: Mapping[str, Any] | None = None,
    ) -> None:
        third_party("pennylane", "pennylane")
        check_sampling(shots, seed)
        self.device, self.shots = device, shots
        self._options = dict(device_options or {}) | ({} if seed is None else {"seed": seed})
        self._devices: dict[int, Any] = {}
        self.differentiable = device == "default.qubit" and shots is None
        self._device(1)

    def _device(self, wires: int) -> Any:
        if wires not in self._devices:
            qml = third_party("pennylane", "pennylane")
            try:
                self._devices[wires] = qml.device(self.device, wires=wires, **self._options)
            except qml.exceptions.DeviceError as error:
                raise ValueError(f"Argument `device` must name a PennyLane device: {error}") from error
        return self._devices[wires]

    def _run(self, circuit: Circuit, table: Tensor) -> Tensor:
        qml = third_party("pennylane", "pennylane")
        node = qml.QNode(
            to_pennylane(circuit),
            self._device(circuit.wires),
            # lightning answers the torch interface in float32, whatever the dtype it was asked in.
            interface="torch" if self.differentiable else "numpy",
            diff_method="backprop" if self.differentiable else None,
        )
        if self.shots is not None:
            node = qml.set_shots(node, shots=self.shots)
        values = node(None, {"angle": table if self.differentiable else table.detach().numpy()})
        return torch.stack([torch.as_tensor(value, dtype=torch.float64).expand(len(table)) for value in values], dim=-1)

    def __repr__(self) -> str:
        shots = "" if self.shots is None else f", shots={self.shots}"
        return f"PennyLane({self.device!r}{shots})"


def to_pennylane(circuit: Circuit) -> Callable[[Any, Mapping[str, Any]], list[Any]]:
    """A PennyLane quantum function `f(x, params)` that returns the expectation value of each readout string.

    Torch tensors: x `(features,)` or `(batch, features)`, each entry of params `(n,)` or `(batch, n)`; PennyLane
    broadcasts over one dimension. Wire k is PennyLane's wire k.

    >>> import pennylane as qml, torch
    >>> from circuits import pz
    >>> node = qml.QNode(to_pennylane(pz(1, scale=1, shift=0)), qml.device("default.qubit", wires=1))
    >>> node(torch.tensor([0.0]), {"theta": torch.tensor([0.0, 0.0, 0.0, -torch.pi / 2])})
    [tensor(1.0000, dtype=torch.float64)]
    """
    qml = third_party("pennylane", "pennylane")

    def function(x: Any, params: Mapping[str, Any]) -> list[Any]:
        for gate in circuit.gates:
            operator = getattr(qml, _NAMES.get(gate.name, gate.name))
            angle = [] if gate.angle is None else [bind(gate.angle, x, params)]
            operator(*angle, wires=list(gate.wires))
        return [
            qml.expval(qml.prod(*(getattr(qml, letter)(wire) for wire, letter in enumerate(string) if letter != "I")))
            for string in circuit.strings
        ]

    return function
