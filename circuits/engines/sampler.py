r"""Any Qiskit `BaseSamplerV2`: Aer, fake backends, and devices behind `qiskit-ibm-runtime`, old primitives and new.

A circuit is brought to native gates once, set up side by side on the qubits of the device once, and transpiled once; a
whole table of angles then is one array of parameters. Raw bits come back; what becomes of them is arithmetic of ours.

What runs decides what is learned. With `structure="keep"` the device runs all of the data re-uploading circuit. With
`structure="fuse"` the rotation that the circuit amounts to is worked out beforehand, and the device only turns a qubit
by the resulting angle: the least noise there can be, but the device then flips a coin whose bias is known already.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from circuits.calibration import check_backend, check_qubits, noise_of, rank_qubits, readout_slope
from circuits.checks import check_int, check_seed, check_shots, is_real
from circuits.circuit import Circuit
from circuits.engines.auto import Auto
from circuits.engines.bits import sums_of
from circuits.engines.engine import BlackBox, Costs, Engine
from circuits.engines.jobs import CALIBRATIONS, Job, Planner
from circuits.engines.limits import Limits
from circuits.engines.noisy import Noisy
from circuits.engines.packing import Programs
from circuits.engines.submission import Submitter
from circuits.errors import third_party
from circuits.gradient import Gradient, gradient_of
from circuits.journal import Journal
from circuits.mitigation import FITS, SUMS, estimated, extrapolated, intercept
from circuits.native import no_native_form
from circuits.noise import Noise
from circuits.shots import shown, sign_variance


class Sampler(BlackBox):
    """A device, real or simulated, behind a sampler.

    Args:
        sampler: a `BaseSamplerV2`, or a function that makes one of a seed, called for every job with a seed of its own.
            Most simulated samplers repeat the same noise at every run, so that training needs the latter. None for
            Aer without noise.
        backend: what circuits are transpiled for; None for that of the sampler, if it has one.
        shots: measurements of every evaluation and readout string, or a tensor that broadcasts with the grid.
        qubits: how many circuits run side by side, on the best qubits by calibration; "all" that work; or which ones.
            Circuits of several wires run one at a time, on these qubits or on the best chain.
        readout_correction: whether |0> and |1> of every qubit are measured in every job, and values corrected. Each
            is measured four times as often as a row. What that leaves of an error is the same for all rows of a qubit
            in a job: standard errors have it, but sums of very many rows know it less well than they seem to.
        scales: factors of the noise by folding, for extrapolation to none; a single 1 for no extrapolation. Pulses come
            in whole pairs, and the factors that are reached are what is extrapolated from. An exponential fit is not
            linear: the parameter-shift rule is then exact only as far as the fit is.
        fit: of the extrapolation, "linear" or "exponential".
        structure: "keep" or "fuse", see above.
        gradient: "shift", "spsa", "simulator" (by the calibration of the best of the qubits, if there is one), or one
            that is built, such as `Simulator(Noisy(noise))`.
        seed: of the seeds for the samplers.
        limits: of the provider.
        row_shots: shots of every row, of which `shots` is a multiple; an evaluation with k times as many has k rows,
            side by side with all others, and their bits count together. So evaluations with shots of their own, as
            `qkan.allocate` gives them, fill a device as well as equal ones do. None for rows that have all shots of
            their evaluation, and jobs for each number of them.
        journal: where jobs are kept; a run that is repeated then pays only for what is missing. After an error an
            evaluation can be asked for again; anything longer is repeated from its start, with a journal that is new.
        service: of the provider, with `job(id)` and `jobs(job_tags=[tag])`, to find jobs of a run that was killed; None
            for that of the backend. Simulators have none: what they had not finished is submitted again.
    """

    name: ClassVar[str] = "sampler"

    def __init__(
        self,
        sampler: Any = None,
        backend: Any = None,
        shots: int | Tensor | None = 1024,
        qubits: int | str | Sequence[int] = 1,
        readout_correction: bool = True,
        scales: Sequence[float] = (1.0,),
        fit: str = "linear",
        structure: str = "keep",
        gradient: str | Gradient = "shift",
        seed: int | None = None,
        limits: Limits = Limits(),
        row_shots: int | None = None,
        journal: Journal | None = None,
        service: Any = None,
    ) -> None:
        third_party("qiskit", "qiskit")
        if sampler is None:
            sampler = partial(_seeded, third_party("qiskit_aer.primitives", "qiskit").SamplerV2)
        if isinstance(sampler, type) or not (callable(getattr(sampler, "run", None)) or callable(sampler)):
            raise TypeError(
                f"Argument `sampler` must be a BaseSamplerV2, or a function that makes one of a seed, not {sampler!r}."
            )
        self.sampler, self.shots = sampler, check_shots(shots)
        if shots is None:
            raise ValueError("Argument `shots` must be an int or a tensor of ints: a device has no exact values.")
        self.backend = _backend_of(sampler) if backend is None else backend
        if self.backend is not None:
            check_backend(self.backend)
        self.qubits = _check_qubits(qubits, self.backend)
        self.readout_correction = readout_correction
        self.scales, self.fit, self.structure = tuple(scales), fit, structure
        if not self.scales or not all(is_real(scale) and scale >= 1 for scale in self.scales):
            raise ValueError(f"Argument `scales` must be numbers of at least 1, but is {scales!r}.")
        if len(self.scales) > 1 and len(set(self.scales)) < len(self.scales):
            raise ValueError(f"Argument `scales` must be different numbers, but is {scales!r}.")
        for name, value, known in (("fit", fit, FITS), ("structure", structure, ("keep", "fuse"))):
            if value not in known:
                raise ValueError(f"Argument `{name}` must be one of {', '.join(known)}, but is {value!r}.")
        if not isinstance(readout_correction, bool):
            raise TypeError(f"Argument `readout_correction` must be True or False, but is {readout_correction!r}.")
        self.limits = limits
        self.row_shots = None if row_shots is None else check_int("row_shots", row_shots, 1)
        service = getattr(self.backend, "service", None) if service is None else service
        self.gradient = gradient_of(gradient, check_seed(seed), self._twin)
        # Copies of an engine share both: programs, and the numbers of jobs, so that they never share random numbers.
        self._programs = Programs(self.backend, self.qubits)
        self._submitter = Submitter(sampler, check_seed(seed), limits, journal, service)

    def jobs(self, circuit: Circuit, table: Tensor, shots: Tensor) -> Iterator[Job]:
        """The jobs that evaluating a table takes, whose rows have `shots (N,)`."""
        fuse = self.structure == "fuse"
        limits = self._submitter.limits
        planner = Planner(self._programs, limits, self.scales, fuse, self.readout_correction, self.row_shots)
        return planner.jobs(circuit, table, shots)

    def _twin(self) -> Engine:
        if self.backend is None:
            return Auto()
        qubit = rank_qubits(self.backend)[0] if isinstance(self.qubits, int) else self.qubits[0]
        noise = noise_of(self.backend, qubit)
        return Noisy(Noise(noise.gates) if self.readout_correction else noise)

    def unsupported(self, circuit: Circuit) -> str | None:
        if self.structure == "fuse" and circuit.wires > 1:
            return f"it has {circuit.wires} wires, and structure='fuse' takes one; use structure='keep'"
        return no_native_form(circuit)

    def _measure(self, circuit: Circuit, table: Tensor, shots: Tensor | None) -> tuple[Tensor, Tensor]:
        assert shots is not None, "the constructor refuses None"
        shape = len(circuit.strings), len(self.scales)
        sums, stretches = np.zeros((SUMS, *shape, len(table))), np.empty(shape)
        with self._submitter.rewound():
            for job, bits in self._submitter.run(self.jobs(circuit, table, shots)):
                for part, packed in zip(job.parts, bits, strict=True):
                    if part.places is not None:
                        readout, scale, rows = part.places
                        found = sums_of(part.program, packed, job, bits)[:, : len(rows)]
                        # Rows of the same evaluation may be in one part, and in several.
                        np.add.at(sums[:, readout, scale].T, rows, found.T)
                        stretches[readout, scale] = part.program.stretch
        values, errors = estimated(sums)
        results = [
            extrapolated(*each, self.fit) if len(self.scales) > 1 else (each[0][0], each[1][0])
            for each in zip(values, errors, stretches.tolist(), strict=True)
        ]
        value, error = (torch.as_tensor(np.stack(each, axis=-1)) for each in zip(*results, strict=True))
        return value, error

    def _run(self, circuit: Circuit, table: Tensor, shots: int | None) -> Tensor:
        return self._measure(circuit, table, torch.full((len(table),), shots or 1))[0]

    def expected_error(self, circuit: Circuit, values: Tensor, shots: Tensor) -> Tensor:
        """The standard error that values would have, mitigation included, by the calibration of the backend."""
        count = shots[:, None].to(values)
        slope = readout_slope(self.backend, self._programs.some_qubits()) if self.readout_correction else 1.0
        variance = sign_variance(slope * values, count) / slope**2
        if self.readout_correction:
            known = CALIBRATIONS * (count if self.row_shots is None else count.mean())
            each = sign_variance(torch.full_like(values, slope), known) / (4 * slope**2)
            variance = variance + each * ((1 + values).square() + (1 - values).square())
        growth = np.linalg.norm(intercept(self.scales)) if len(self.scales) > 1 else 1.0
        return variance.sqrt() * float(growth)

    def costs(self, circuit: Circuit, table: Tensor, shots: Tensor | None) -> Costs:
        """What evaluating a table takes, without submitting anything; calibrations are rows as well."""
        assert shots is not None, "the constructor refuses None"
        total = Costs(len(table) * len(circuit.strings))
        for job in self.jobs(circuit, table, shots):
            total += Costs(0, job.rows, job.rows * job.shots, 1, job.seconds)
        return total

    def __repr__(self) -> str:
        parts = [type(self.sampler).__name__ if hasattr(self.sampler, "run") else "fresh samplers"]
        parts += [] if self.backend is None else [str(self.backend.name)]
        parts += [f"shots={shown(self.shots)}", f"qubits={self.qubits!r}"]
        parts += [f"scales={self.scales}, fit={self.fit!r}"] * (len(self.scales) > 1)
        parts += [f"structure={self.structure!r}", f"readout_correction={self.readout_correction}"]
        parts += [f"row_shots={self.row_shots}"] * (self.row_shots is not None)
        parts.append(f"gradient={self.gradient!r}")
        return f"Sampler({', '.join(parts)})"


def _backend_of(sampler: Any) -> Any:
    backend = getattr(sampler, "backend", None)
    backend = backend() if callable(backend) and not hasattr(backend, "target") else backend
    return backend if hasattr(backend, "target") else None


def _check_qubits(qubits: object, backend: Any) -> int | tuple[int, ...]:
    if isinstance(qubits, Integral) and not isinstance(qubits, bool) and int(qubits) > 0:
        qubits = int(qubits)
        if backend is not None and qubits > (most := len(rank_qubits(backend))):
            raise ValueError(f"Argument `qubits` is {qubits}, but {backend.name} has {most} working qubits.")
        return qubits
    if backend is None:
        raise ValueError(f"Argument `qubits` must be a positive int without a backend, but is {qubits!r}.")
    if qubits == "all":
        return tuple(rank_qubits(backend))
    if isinstance(qubits, Sequence) and not isinstance(qubits, str) and qubits:
        check_qubits(backend, qubits)
        return tuple(map(int, qubits))
    raise ValueError(f"Argument `qubits` must be a positive int, 'all' or a list of qubits, but is {qubits!r}.")


def _seeded(kind: Any, seed: int) -> Any:
    return kind(seed=seed)
