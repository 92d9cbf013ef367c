"""What the calibration of a Qiskit backend says: the noise of its qubits, and which of them are good."""

import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import Any
from weakref import WeakKeyDictionary

import torch

from circuits.errors import third_party
from circuits.noise import Noise, ReadoutError

_NAMES = {"sx": "SX", "x": "X", "rz": "RZ"}

Fingerprint = tuple[Any, ...]
Errors = tuple[dict[int, dict[str, Any]], dict[int, Any]]
"""Aer's errors of qubits: of gates, by Qiskit's name, and of the readout."""

_READ: "WeakKeyDictionary[Any, tuple[Fingerprint, Errors]]" = WeakKeyDictionary()


def noise_of(backend: Any, qubits: int | Sequence[int]) -> Noise:
    """The noise of one qubit of a backend, or of several, stacked along a last grid dimension.

    Gate errors and thermal relaxation of SX and X, and readout errors, are those of Aer's
    `NoiseModel.from_backend(backend)`; agreement with its density matrices is a matter of rounding. Gates of two qubits
    are not read.

    Args:
        backend: a Qiskit `BackendV2` with a calibration, real or fake.
        qubits: which.
    """
    check_backend(backend)
    if isinstance(qubits, Sequence):
        return Noise.stack([noise_of(backend, qubit) for qubit in qubits])
    check_qubits(backend, [qubits])
    gates, readout = _errors_of(backend, qubits)
    transfer = third_party("qiskit.quantum_info", "qiskit").PTM
    with torch.inference_mode(False):  # met by autograd later
        channels = {
            _NAMES[name]: torch.tensor(transfer(error.to_quantumchannel()).data.real, dtype=torch.float64)
            for name, error in gates.items()
        }
    known = None if readout is None else readout.probabilities
    return Noise(channels, None if known is None else ReadoutError(float(known[0][1]), float(known[1][0])))


def rank_qubits(backend: Any, pulses: int = 10) -> list[int]:
    """The working qubits of a backend, best first: by readout error plus `pulses` times the error of SX.

    Qubits without a calibration of their own, as those of simulators, count as perfect; one whose measurement or gate
    is missing, not a number or always wrong is dead and left out.
    """
    scores = _scores(backend, pulses)
    return sorted(scores, key=lambda qubit: (scores[qubit], qubit))


def _scores(backend: Any, pulses: int) -> dict[int, float]:
    check_backend(backend)
    scores = {}
    for qubit in range(backend.num_qubits):
        read, gate = _error(backend.target, ("measure",), qubit), _error(backend.target, ("sx", "rx", "x"), qubit)
        if read < 0.5 and gate < 0.5:  # not for NaN
            scores[qubit] = read + pulses * gate
    return scores


def fake_backend(name: str) -> Any:
    """A backend of `qiskit-ibm-runtime` with the calibration of a device and no device, such as "FakeManilaV2"."""
    provider = third_party("qiskit_ibm_runtime.fake_provider", "ibm")
    backend = getattr(provider, name, None) if isinstance(name, str) and name.startswith("Fake") else None
    if backend is None:
        known = [each for each in dir(provider) if each.startswith("Fake") and not each.startswith("FakeProvider")]
        raise ValueError(f"Argument `name` must be a fake backend such as {', '.join(known[:3])}, but is {name!r}.")
    return backend()


def best_path(backend: Any, length: int, pulses: int = 10) -> list[int]:
    """The chain of coupled qubits with the least errors, of qubits as in `rank_qubits` and of gates between them."""
    coupled: dict[tuple[int, int], float] = {}
    for name in backend.target.operation_names:
        for place, properties in backend.target[name].items():
            if place is not None and len(place) == 2:
                error = 0.0 if properties is None or properties.error is None else float(properties.error)
                coupled[place] = min(error, coupled.get(place, math.inf))
    scores = _scores(backend, pulses)

    def chains(path: list[int], score: float) -> Iterator[tuple[float, list[int]]]:
        if len(path) == length:
            yield score, path
            return
        for (first, second), error in coupled.items():
            if path[-1] in (first, second) and error < 0.5:
                qubit = second if path[-1] == first else first
                if qubit in scores and qubit not in path:
                    yield from chains([*path, qubit], score + scores[qubit] + error)

    found = min((chain for qubit, score in scores.items() for chain in chains([qubit], score)), default=None)
    if found is None:
        raise ValueError(f"Backend {backend.name} has no chain of {length} coupled, working qubits.")
    return found[1]


def check_backend(backend: object) -> None:
    """Refuse what is not a Qiskit backend with a target."""
    if not hasattr(backend, "target") or not hasattr(backend, "num_qubits"):
        raise TypeError(f"Argument `backend` must be a Qiskit BackendV2, but is {backend!r}.")


def check_qubits(backend: Any, qubits: Sequence[int]) -> None:
    """Refuse qubits that the backend does not have, has twice, or cannot use."""
    if len(set(qubits)) < len(qubits):
        raise ValueError(f"Argument `qubits` must not repeat a qubit, but is {list(qubits)}.")
    alive = rank_qubits(backend)
    for qubit in qubits:
        if not isinstance(qubit, Integral) or isinstance(qubit, bool) or not 0 <= qubit < backend.num_qubits:
            raise ValueError(
                f"Argument `qubits` must hold ints from 0 to {backend.num_qubits - 1} for {backend.name}, but has "
                f"{qubit!r}."
            )
        if qubit not in alive:
            raise ValueError(
                f"Qubit {qubit} of {backend.name} is dead: its calibration has no usable gate or measurement; the best "
                f"qubits are {alive[:5]}."
            )


def _error(target: Any, names: Sequence[str], qubit: int) -> float:
    """The error of the first instruction in `names` that the target has; infinity if it has none on this qubit."""
    for name in names:
        if name not in target.operation_names:
            continue
        places = target[name]
        if None in places:  # everywhere, without a calibration
            return 0.0
        if (qubit,) not in places:
            return math.inf
        properties = places[qubit,]
        return 0.0 if properties is None or properties.error is None else float(properties.error)
    return math.inf


def _fingerprint(target: Any) -> Fingerprint:
    """All that channels are made of."""
    errors = tuple(
        (name, place, properties.error, properties.duration)
        for name in (*_NAMES, "measure")
        if name in target.operation_names
        for place, properties in target[name].items()
        if properties is not None
    )
    times = tuple((each.t1, each.t2) for each in target.qubit_properties or () if each is not None)
    return errors, times


def readout_slope(backend: Any, qubits: Sequence[int]) -> float:
    """What signs are multiplied by on average when they are read out on some qubits; 1 without a calibration."""
    if backend is None:
        return 1.0
    errors = [_error(backend.target, ("measure",), qubit) for qubit in qubits]
    return 1.0 - 2.0 * sum(errors) / len(errors)


def _errors_of(backend: Any, qubit: int) -> tuple[dict[str, Any], Any]:
    """Aer's errors of one qubit: of its gates by name, and of its readout or None."""
    known, now = _READ.get(backend), _fingerprint(backend.target)
    if known is None or known[0] != now:  # calibrations are renewed while a backend is in use
        known = _READ[backend] = now, _read(backend.target)
    gates, readouts = known[1]
    return gates.get(int(qubit), {}), readouts.get(int(qubit))


def _read(target: Any) -> Errors:
    device = third_party("qiskit_aer.noise.device", "qiskit")
    gates: dict[int, dict[str, Any]] = {}
    for name, qubits, error in device.basic_device_gate_errors(target=target):
        if len(qubits) == 1 and name in _NAMES:
            gates.setdefault(qubits[0], {})[name] = error
    return gates, {qubits[0]: error for qubits, error in device.basic_device_readout_errors(target=target)}


def noise_model_of(backend: Any, qubit: int, readout: bool = True) -> Any:
    """Aer's noise model of one qubit of a backend, for circuits of one wire; maybe without its readout error.

    A model of all qubits is sent along with every run, which makes Aer a hundred times slower.
    """
    check_backend(backend)
    check_qubits(backend, [qubit])
    gates, read = _errors_of(backend, qubit)
    model = third_party("qiskit_aer.noise", "qiskit").NoiseModel()
    for name, error in gates.items():
        model.add_all_qubit_quantum_error(error, name)
    if readout and read is not None:
        model.add_all_qubit_readout_error(read)
    return model


def samplers_of(backend: Any) -> Callable[[int], Any]:
    """What makes samplers with the noise of a backend of a seed, as `Sampler` takes it: Aer, by density matrices."""
    check_backend(backend)
    simulator = third_party("qiskit_aer", "qiskit").AerSimulator
    sampler = third_party("qiskit.primitives", "qiskit").BackendSamplerV2

    def make(seed: int) -> Any:
        return sampler(backend=simulator.from_backend(backend, method="density_matrix", seed_simulator=seed))

    return make
