"""Trained models on devices: test error against shots, raw and corrected."""

from collections.abc import Callable, Sequence

import torch

from benchmarks.nisq.task import Task, error
from benchmarks.report import Results
from circuits import engines, pz
from circuits.calibration import fake_backend, noise_of, rank_qubits
from circuits.engines.noisy import Noisy
from circuits.engines.sampled import Sampled
from circuits.noise import Noise
from qkan import QKAN
from qkan.survival import off_aer

BACKENDS = ("FakeManilaV2", "FakeSherbrooke")
SHOTS = (256, 1024, 4096, 16384)
REPEATS = 3


class Device:
    """A fake backend and its middling qubit: half of the others are better.

    Args:
        name: of the backend.
    """

    def __init__(self, name: str) -> None:
        self.name, self.backend = name, fake_backend(name)
        ranked = rank_qubits(self.backend)
        self.qubit = ranked[len(ranked) // 2]
        self.noise: Noise = noise_of(self.backend, self.qubit)


def evaluate(
    models: dict[str, Sequence[QKAN]],
    devices: Sequence[Device],
    data: Task,
    shots: Sequence[int],
    results: Results,
    advance: Callable[[], None],
) -> None:
    """Every model exactly, and on every device with every number of shots, raw and with its readout corrected."""
    for way, each in models.items():
        for seed, model in enumerate(each):

            def add(
                backend: str, treatment: str, shots: int | None, mse: float, way: str = way, seed: int = seed
            ) -> None:
                results.add(
                    stage="device", way=way, seed=seed, backend=backend, treatment=treatment, shots=shots, test_mse=mse
                )

            add("simulator", "exact", None, error(model, lambda seed: engines.get("auto"), data.test))
            for device in devices:
                base = Noisy(device.noise)
                for treatment, readout in (("raw", None), ("corrected", device.noise.readout)):
                    for count in (*shots, None):

                        def engine(seed: int, count: int | None = count, out=readout, base: Noisy = base) -> Sampled:
                            return Sampled(base, count, seed, readout=out)

                        mse = error(model, engine, data.test, 1 if count is None else REPEATS)
                        add(device.name, treatment, count, mse)
            advance()


def agreement(devices: Sequence[Device], results: Results) -> None:
    """Our noise against Aer's density matrices, on the middling and the best qubits."""
    circuit = pz(3)
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(50, 1, dtype=torch.float64, generator=generator) - 1
    params = {name: torch.randn(50, n, dtype=torch.float64, generator=generator) for name, n in circuit.slots.items()}
    for device in devices:
        for qubit in dict.fromkeys([device.qubit, *rank_qubits(device.backend)[:3]]):
            difference = off_aer(device.backend, qubit, circuit, x, params)
            results.add(stage="agreement", backend=device.name, qubit=qubit, difference=difference)
