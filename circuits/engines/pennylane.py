r"""PennyLane: any of its devices, and circuits as quantum functions.

The whole grid is one flattened broadcast dimension. Torch differentiates through devices that are simulated in it, such
as `default.qubit` and `default.mixed`; other devices return values only and get our parameter-shift gradient. PennyLane
refuses its own gradient transforms on broadcast trainable parameters, which is why those are never used.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from circuits.angles import bind
from circuits.checks import check_seed, check_shots
from circuits.circuit import Circuit
from circuits.engines.auto import Auto
from circuits.engines.engine import BlackBox
from circuits.errors import third_party
from circuits.gradient import Gradient, gradient_of
from circuits.shots import shown

_NAMES = {"H": "Hadamard", "X": "PauliX", "Y": "PauliY", "Z": "PauliZ"}
"""Gates that PennyLane calls otherwise."""


class PennyLane(BlackBox):
    """A PennyLane device.

    Args:
        device: name of a PennyLane device, such as "default.qubit" or "lightning.qubit", or a device.
        shots: measurements per evaluation, or a tensor of them that broadcasts with the grid; None for exact values.
        seed: of the device's random numbers, if it takes one; they run on, so that every call is a fresh sample.
        device_options: further keyword arguments of `qml.device`.
        gradient: "shift", "spsa", "simulator" (by "auto"), or one that is built; None for backpropagation through the
            device where it has that, and parameter shifts elsewhere.
        as_written: whether circuits run gate by gate as they are written, for devices whose gates make errors;
            otherwise they are simplified first.
    """

    name: ClassVar[str] = "pennylane"

    def __init__(
        self,
        device: Any = "default.qubit",
        shots: int | Tensor | None = None,
        seed: int | None = None,
        device_options: Mapping[str, Any] | None = None,
        gradient: str | Gradient | None = None,
        as_written: bool = False,
    ) -> None:
        qml = third_party("pennylane", "pennylane")
        check_seed(seed)
        if not isinstance(device, (str, qml.devices.Device)):
            raise TypeError(f"Argument `device` must be a PennyLane device or the name of one, but is {device!r}.")
        self.device, self.shots = device, check_shots(shots)
        self._options = dict(device_options or {}) | ({} if seed is None else {"seed": seed})
        if self._options and not isinstance(device, str):
            raise ValueError(f"Arguments `seed` and `device_options` are for devices by name: give them to {device!r}.")
        self._devices: dict[int, Any] = {}
        if own := self._device(1).shots.total_shots:
            raise ValueError(f"Argument `device` has {own} shots of its own: make it without, and pass shots={own}.")
        configured = third_party("pennylane.devices", "pennylane").ExecutionConfig(gradient_method="backprop")
        self._through = gradient is None and bool(self._device(1).supports_derivatives(configured))
        self.gradient, self.rewrites = gradient_of(gradient or "shift", seed, Auto), not as_written

    def _derivative(self) -> Gradient | None:
        """None, for torch, if values are exact and the device is simulated in torch."""
        return None if self._through and self.shots is None else self.gradient

    def _device(self, wires: int) -> Any:
        if not isinstance(self.device, str):
            return self.device
        if wires not in self._devices:
            qml = third_party("pennylane", "pennylane")
            try:
                self._devices[wires] = qml.device(self.device, wires=wires, **self._options)
            except qml.exceptions.DeviceError as error:
                raise ValueError(f"Argument `device` must name a PennyLane device: {error}") from error
        return self._devices[wires]

    def _run(self, circuit: Circuit, table: Tensor, shots: int | None) -> Tensor:
        qml, through = third_party("pennylane", "pennylane"), self._derivative() is None
        node = qml.QNode(
            to_pennylane(circuit),
            self._device(circuit.wires),
            # lightning answers the torch interface in float32, whatever the dtype it was asked in.
            interface="torch" if through else "numpy",
            diff_method="backprop" if through else None,
        )
        if shots is not None:
            node = qml.set_shots(node, shots=shots)
        values = node(None, {"angle": table if through else table.detach().numpy()})
        return torch.stack([torch.as_tensor(value, dtype=torch.float64).expand(len(table)) for value in values], dim=-1)

    def __repr__(self) -> str:
        named = repr(self.device) if isinstance(self.device, str) else self.device.name
        return f"PennyLane({named}{'' if self.shots is None else f', shots={shown(self.shots)}'})"


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
