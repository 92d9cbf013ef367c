"""Circuits a second, every engine beside one bound circuit per evaluation, in turn within one run."""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import torch

from benchmarks.nisq.devices import Device
from benchmarks.report import Results
from circuits import engines, pz, to_qiskit
from circuits.engines import Engine
from circuits.engines.noisy import Noisy
from circuits.engines.sampler import Sampler
from circuits.native import native

SHOTS = 1000
ONE, ONE_SHOTS = "Aer, one bound circuit per evaluation", f"Aer, one bound circuit per evaluation, {SHOTS} shots"
EXACT, COUNTS = "qiskit, exact", f"qiskit, {SHOTS} shots"


def contestants(devices: Sequence[Device], scale: int) -> dict[str, tuple[Callable[[int], None], int]]:
    """What evaluates a number of pz(3) circuits, and how many at a time; `scale` divides the numbers for a test."""
    circuit = pz(3)

    def ours(engine: Engine) -> Callable[[int], None]:
        def evaluate(count: int) -> None:
            x, params = _inputs(count)
            with torch.no_grad():
                engine(circuit, x, params)

        return evaluate

    def sampler(qubits: int) -> Callable[[int], None]:
        engine = Sampler(shots=SHOTS, qubits=qubits, readout_correction=False, seed=0)
        return ours(engine)

    found = {
        "bloch": (ours(engines.get("bloch")), 100_000),
        "noisy, one qubit of " + devices[-1].name: (ours(Noisy(devices[-1].noise)), 100_000),
        f"sampled, {SHOTS} shots": (ours(engines.get("sampled", shots=SHOTS, seed=0)), 100_000),
        "pennylane, default.qubit": (ours(engines.get("pennylane")), 20_000),
        f"pennylane, default.qubit, {SHOTS} shots": (ours(engines.get("pennylane", shots=SHOTS, seed=0)), 5_000),
        EXACT: (ours(engines.get("qiskit")), 5_000),
        COUNTS: (ours(engines.get("qiskit", shots=SHOTS, seed=0)), 1_000),
        f"sampler on Aer, {SHOTS} shots": (sampler(1), 500),
        f"sampler on Aer, 8 side by side, {SHOTS} shots": (sampler(8), 2_000),
        ONE: (_one_by_one(None), 300),
        ONE_SHOTS: (_one_by_one(SHOTS), 300),
        f"Aer, all noise of {devices[-1].name}": (_full_model(devices[-1]), 60),
    }
    return {name: (evaluate, max(2, count // scale)) for name, (evaluate, count) in found.items()}


def race(devices: Sequence[Device], rounds: int, scale: int, results: Results, advance: Callable[[], None]) -> None:
    """Everybody once to warm up, then in turn."""
    field = contestants(devices, scale)
    rates: dict[str, list[float]] = {name: [] for name in field}
    for turn in range(rounds + 1):
        for name, (evaluate, count) in field.items():
            start = perf_counter()
            evaluate(count)
            if turn:
                rates[name].append(count / (perf_counter() - start))
        advance()
    for name, each in rates.items():
        results.add(stage="rate", contestant=name, circuits=field[name][1], rates=each, rate=median(each))


def _inputs(count: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 1, dtype=torch.float64, generator=generator)
    slots = pz(3).slots.items()
    return x, {name: torch.rand(count, n, dtype=torch.float64, generator=generator) for name, n in slots}


def _bound(count: int, circuit: Any) -> Any:
    """Programs with numbers in them, one an evaluation, as a loop over evaluations makes them."""
    x, params = _inputs(count)
    columns = {name: tensor.numpy() for name, tensor in {"x": x, **params}.items()}
    program = to_qiskit(circuit)
    for row in range(count):
        yield program.assign_parameters(
            {each: float(columns[each.vector.name][row, each.index]) for each in program.parameters}
        )


def _one_by_one(shots: int | None) -> Callable[[int], None]:
    """A program with numbers in it and a request of its own for every value, all in one job of Aer's primitives."""
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_aer.primitives import EstimatorV2, SamplerV2

    estimator, sampler = EstimatorV2(), SamplerV2(seed=0)

    def evaluate(count: int) -> None:
        programs = _bound(count, pz(3))
        if shots is None:
            estimator.run([(program, SparsePauliOp("Z")) for program in programs], precision=0.0).result()
            return
        programs = list(programs)
        for program in programs:
            program.measure_all()
        sampler.run([(program,) for program in programs], shots=shots).result()

    return evaluate


def _full_model(device: Device) -> Callable[[int], None]:
    """Aer's noise model of the whole device, for circuits on one of its qubits, as devices are usually simulated."""
    from qiskit import transpile
    from qiskit_aer import AerSimulator

    simulator = AerSimulator.from_backend(device.backend, method="density_matrix")
    programs: dict[int, list[Any]] = {}

    def evaluate(count: int) -> None:
        if count not in programs:  # transpiled beforehand, in its favour
            bound = [
                transpile(program, device.backend, initial_layout=[device.qubit], optimization_level=0)
                for program in _bound(count, native(pz(3)))
            ]
            for program in bound:
                program.save_density_matrix([device.qubit])
            programs[count] = bound
        simulator.run(programs[count]).result()

    return evaluate
