"""Will a trained model survive on a device? Its metric there, from calibrations, before a single job is submitted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from circuits import Circuit, engines
from circuits.calibration import fake_backend, noise_model_of, noise_of, rank_qubits
from circuits.checks import check_int
from circuits.engines import Engine
from circuits.engines.noisy import Noisy
from circuits.engines.probe import Probe
from circuits.engines.sampled import Sampled
from circuits.errors import UnsupportedCircuit, third_party
from circuits.native import native
from circuits.noise import Noise
from qkan.daruan import DARUAN
from qkan.errors import engines_of

Metric = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Check:
    """One line of a report.

    Args:
        backend: the device; "simulator" for none.
        treatment: "exact", "shots", "raw" or "corrected".
        metric: of the model there, over `repeats` of the shots.
        spread: the standard deviation over them.
        qubit: of the device.
        deviation: the largest difference from Aer's density matrices in a sample of the model's own circuits.
    """

    backend: str
    treatment: str
    metric: float
    spread: float = 0.0
    qubit: int | None = None
    deviation: float | None = None


@dataclass(frozen=True)
class Report:
    """What `deploy_check` found.

    Args:
        checks: its lines.
        name: of the metric.
    """

    checks: tuple[Check, ...]
    name: str

    def __str__(self) -> str:
        lines = [f"{'backend':20}{'qubit':>6}  {'values':10}{self.name:>12}{'+-':>10}{'off Aer by':>12}"]
        for check in self.checks:
            off = "" if check.deviation is None else f"{check.deviation:.1e}"
            qubit = "" if check.qubit is None else str(check.qubit)
            lines.append(
                f"{check.backend:20}{qubit:>6}  {check.treatment:10}{check.metric:12.4g}{check.spread:10.2g}{off:>12}"
            )
        return "\n".join(lines)

    def plot(self, path: Any) -> None:
        """A picture of it, written to `path`."""
        figure_class = third_party("matplotlib.figure", "benchmarks").Figure
        figure = figure_class(figsize=(1.2 * len(self.checks) + 1, 3.6), layout="constrained")
        axes = figure.subplots()
        colours = {"exact": "0.3", "shots": "tab:blue", "raw": "tab:red", "corrected": "tab:green"}
        for place, check in enumerate(self.checks):
            axes.bar(place, check.metric, yerr=check.spread or None, capsize=3, color=colours[check.treatment])
        axes.axhline(self.checks[0].metric, color="0.3", linewidth=0.8, linestyle="--")
        axes.set_xticks(range(len(self.checks)), [f"{check.backend}\n{check.treatment}" for check in self.checks])
        axes.set_ylabel(self.name)
        axes.tick_params(axis="x", labelsize=8)
        figure.savefig(path, dpi=150)


def mean_squared_error(output: Tensor, target: Tensor) -> Tensor:
    """The mean of squared differences."""
    return (output - target).square().mean()


def deploy_check(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    backends: Sequence[Any],
    shots: int = 4096,
    metric: Metric = mean_squared_error,
    repeats: int = 5,
    seed: int = 0,
) -> Report:
    """The metric of a trained model exactly, with shots, and on every backend, raw and with corrected readout.

    Backends are simulated by their calibration, in torch, one qubit each: the best one, with a readout correction that
    is perfectly known. Many qubits side by side are as good as the worst of them. Some circuits of every layer are
    simulated by Aer as well, whose density matrices must say the same.

    Args:
        model: with DARUAN activations of one wire.
        x: inputs.
        y: targets.
        backends: Qiskit backends with a calibration, or names of fake ones such as "FakeManilaV2".
        shots: of every evaluation.
        metric: of outputs and targets.
        repeats: of everything with shots.
        seed: of the shots.

    Raises:
        UnsupportedCircuit: for activations of several wires.
        AssertionError: if Aer says something else.
    """
    if isinstance(backends, str):
        raise TypeError(f"Argument `backends` must be a sequence of backends or names, but is {backends!r}.")
    check_int("repeats", repeats, 1)
    for name, module in model.named_modules():
        if isinstance(module, DARUAN) and module.circuit.wires > 1:
            raise UnsupportedCircuit(
                f"Activation {name!r} has {module.circuit.wires} wires, and calibrations are read for one: run it on "
                "'sampler' instead."
            )
    training = model.training
    model.eval()
    try:
        return _checked(model, x, y, backends, shots, metric, repeats, seed)
    finally:
        model.train(training)


@torch.no_grad()
def _checked(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    backends: Sequence[Any],
    shots: int,
    metric: Metric,
    repeats: int,
    seed: int,
) -> Report:
    chosen = [fake_backend(backend) if isinstance(backend, str) else backend for backend in backends]

    def measured(engine: Callable[[int], Engine], times: int) -> tuple[float, float]:
        found = []
        for repeat in range(times):
            one = engine(seed + repeat)
            with engines_of(model, lambda module, one=one: one):
                found.append(metric(model(x), y).item())
        values = torch.tensor(found, dtype=torch.float64)
        return values.mean().item(), values.std(unbiased=True).item() if times > 1 else 0.0

    checks = [
        Check("simulator", "exact", *measured(lambda seed: engines.get("auto"), 1)),
        Check("simulator", "shots", *measured(lambda seed: Sampled("auto", shots, seed), repeats)),
    ]
    for backend in chosen:
        qubit = rank_qubits(backend)[0]
        noise = noise_of(backend, qubit)
        base = Noisy(noise)
        deviation = _deviation(model, x, backend, qubit)
        for treatment, readout in (("raw", None), ("corrected", noise.readout)):
            result = measured(lambda seed, base=base, out=readout: Sampled(base, shots, seed, readout=out), repeats)
            checks.append(Check(str(backend.name), treatment, *result, qubit, deviation))
    return Report(tuple(checks), getattr(metric, "__name__", "metric"))


def off_aer(backend: Any, qubit: int, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> float:
    """How far our noise of a qubit is at most from Aer's density matrices, but for readout: Aer has its error in shots.

    Args:
        backend: a Qiskit backend with a calibration.
        qubit: of it.
        circuit: of one wire.
        x: `(*grid, features)`.
        params: slot name to `(*grid, n)`.
    """
    x, params = x.double(), {name: slot.double() for name, slot in params.items()}
    ours = Noisy(Noise(noise_of(backend, qubit).gates))(circuit, x, params)
    lowered = native(circuit)
    wanted = {name: params[name][..., :length] for name, length in lowered.slots.items()}
    aer = engines.get("qiskit", noise_model=noise_model_of(backend, qubit, readout=False))
    return (ours - aer(lowered, x, wanted)).abs().max().item()


def _deviation(model: nn.Module, x: Tensor, backend: Any, qubit: int, rows: int = 16) -> float:
    """How far our noise is from Aer's on some rows of every layer."""
    with engines_of(model, lambda module: Probe(Noisy(noise_of(backend, qubit)))) as probes:
        model(x.reshape(-1, x.shape[-1])[:rows])
    found = max(off_aer(backend, qubit, *asked) for probe in probes.values() for asked in probe.asked)
    if not found <= 1e-9:
        raise AssertionError(f"Our noise of qubit {qubit} of {backend.name} is off Aer's by {found:.3g}.")
    return found
