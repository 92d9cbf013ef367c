r"""Any Qiskit `BaseSamplerV2`: Aer, fake backends, and devices behind `qiskit-ibm-runtime`, old primitives and new.

A circuit is brought to native gates once, set up side by side on the qubits of the device once, and transpiled once; a
whole table of angles then is one array of parameters. Raw bits come back; what becomes of them is arithmetic of ours.

What runs decides what is learned. With `structure="keep"` the device runs all of the data re-uploading circuit. With
`structure="fuse"` the rotation that the circuit amounts to is worked out beforehand, and the device only turns a qubit
by the resulting angle: the least noise there can be, but the device then flips a coin whose bias is known already.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuits.calibration import check_backend, check_qubits, noise_of, rank_qubits, readout_slope
from circuits.checks import check_seed, check_shots, is_real
from circuits.circuit import Circuit
from circuits.engines.auto import Auto
from circuits.engines.bloch import Bloch
from circuits.engines.engine import BlackBox, Costs, Engine
from circuits.engines.noisy import Noisy
from circuits.engines.packing import Program, Programs
from circuits.engines.submission import Limits, Request, Submitter
from circuits.errors import third_party
from circuits.gradient import Gradient, gradient_of, on_table
from circuits.journal import Bits, Journal
from circuits.mitigation import FITS, corrected_signs, extrapolated, intercept
from circuits.native import coin, measured, native, no_native_form
from circuits.noise import Noise
from circuits.shots import shown, sign_variance

Array = NDArray[Any]

CALIBRATIONS = 4
"""How often |0> and |1> are measured for every time that a row is."""


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one program.

    Args:
        program: what runs.
        values: of its parameters, `(rows, parameters)`.
        places: where its values belong: readout, scale, and rows of the table; None for a calibration.
    """

    program: Program
    values: Array
    places: tuple[int, int, Array] | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """Parts that are submitted together, calibrations last; all with the same shots, as providers want them.

    Args:
        parts: the parts.
        shots: of every row.
        qubits: that are calibrated, twice `CALIBRATIONS` parts, first in |0>, then in |1>; none for no correction.
    """

    parts: list[Part]
    shots: int
    qubits: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Of all parts."""
        return sum(len(part.values) for part in self.parts)

    @property
    def requests(self) -> list[Request]:
        """What is asked for."""
        return [
            Request(
                part.program.circuit,
                part.values,
                self.shots,
                part.program.width * part.program.wires,
                part.program.about,
            )
            for part in self.parts
        ]


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
        service = getattr(self.backend, "service", None) if service is None else service
        self.gradient = gradient_of(gradient, check_seed(seed), self._twin)
        # Copies of an engine share both: programs, and the numbers of jobs, so that they never share random numbers.
        self._programs = Programs(self.backend, self.qubits)
        self._submitter = Submitter(sampler, check_seed(seed), limits, journal, service)

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
        shape = len(circuit.strings), len(self.scales), len(table)
        values, errors = np.empty(shape), np.empty(shape)
        stretches = np.empty(shape[:2])
        with self._submitter.rewound():
            for job in self.jobs(circuit, table, shots):
                bits = self._submitter.run(job.requests)
                for part, packed in zip(job.parts, bits, strict=True):
                    if part.places is not None:
                        readout, scale, rows = part.places
                        found = _values(part.program, packed, job, bits)
                        values[readout, scale, rows], errors[readout, scale, rows] = (
                            each[: len(rows)] for each in found
                        )
                        stretches[readout, scale] = part.program.stretch
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
            each = sign_variance(torch.full_like(values, slope), CALIBRATIONS * count) / (4 * slope**2)
            variance = variance + each * ((1 + values).square() + (1 - values).square())
        growth = np.linalg.norm(intercept(self.scales)) if len(self.scales) > 1 else 1.0
        return variance.sqrt() * float(growth)

    def costs(self, circuit: Circuit, table: Tensor, shots: Tensor | None) -> Costs:
        """What evaluating a table takes, without submitting anything; calibrations are rows as well."""
        assert shots is not None, "the constructor refuses None"
        total = Costs(len(table) * len(circuit.strings))
        for job in self.jobs(circuit, table, shots):
            seconds = sum(len(part.values) * job.shots * part.program.duration for part in job.parts)
            total += Costs(0, job.rows, job.rows * job.shots, 1, seconds)
        return total

    def jobs(self, circuit: Circuit, table: Tensor, shots: Tensor) -> Iterator[Job]:
        """The jobs that evaluating a table takes."""
        for count in np.unique(shots.numpy()).tolist():
            parts: list[Part] = []
            most = self._most_rows(count)
            for part in self._parts(circuit, table, np.flatnonzero(shots.numpy() == count), most):
                if parts and sum(len(each.values) for each in (*parts, part)) > most:
                    yield self._calibrated(parts, count)
                    parts = []
                parts.append(part)
            yield self._calibrated(parts, count)

    def _parts(self, circuit: Circuit, table: Tensor, rows: Array, most: int) -> Iterator[Part]:
        """Of the rows of a table, each with at most `most` rows of parameters."""
        for readout, string in enumerate(circuit.strings):
            one = Circuit(circuit.gates, string)
            angles = table.numpy()
            if self.structure == "fuse":
                one, angles = coin(), _turned(one, table)
            plain = measured(native(one), one.strings[0])
            # Of the angles that this readout sees: copies side by side have no room for others.
            angles = angles[:, : plain.slots.get("angle", 0)]
            width = self._programs.width(plain.wires, len(rows))
            programs = [self._programs.of(plain, width, scale) for scale in self.scales]
            _check_stretches(self.scales, [program.stretch for program in programs])
            step = min(self._submitter.limits.rows, most) * width
            for scale, program in enumerate(programs):
                for start in range(0, len(rows), step):
                    places = rows[start : start + step]
                    yield Part(program, _filled(angles[places], width)[:, program.columns], (readout, scale, places))

    def _most_rows(self, shots: int) -> int:
        calibrations = 2 * CALIBRATIONS * self.readout_correction
        most = self._submitter.limits.executions // shots - calibrations
        if most < 1:
            raise ValueError(
                f"Argument `shots` is {shots}, but a job has {self._submitter.limits.executions} executions at most, "
                f"which must do for a row and {calibrations} calibrations: take fewer shots, or other `limits`."
            )
        return most

    def _calibrated(self, parts: list[Part], shots: int) -> Job:
        if not self.readout_correction:
            return Job(parts, shots, ())
        qubits = tuple(dict.fromkeys(qubit for part in parts for qubit in part.program.qubits))
        programs = [self._programs.calibration(qubits, up) for up in (False, True)]
        more = [Part(program, np.zeros((1, 0))) for program in programs for _ in range(CALIBRATIONS)]
        return Job([*parts, *more], shots, qubits)

    def __repr__(self) -> str:
        parts = [type(self.sampler).__name__ if hasattr(self.sampler, "run") else "fresh samplers"]
        parts += [] if self.backend is None else [str(self.backend.name)]
        parts += [f"shots={shown(self.shots)}", f"qubits={self.qubits!r}"]
        parts += [f"scales={self.scales}, fit={self.fit!r}"] * (len(self.scales) > 1)
        parts += [f"structure={self.structure!r}", f"readout_correction={self.readout_correction}"]
        parts.append(f"gradient={self.gradient!r}")
        return f"Sampler({', '.join(parts)})"


def _values(program: Program, bits: Array, job: Job, everything: Bits) -> tuple[Array, Array]:
    """Values and errors of the circuits of a part, row after row."""
    values, errors = np.empty((2, len(bits), program.width))
    wires = [wire for wire, letter in enumerate(program.string) if letter != "I"]
    for copy in range(program.width):
        # One copy at a time: the signs of a hundred of them would be a gigabyte.
        places = [copy * program.wires + wire for wire in wires]
        signs = _signs(bits, places)
        if not job.qubits:
            values[:, copy] = mean = signs.prod(-1).mean(-1)
            errors[:, copy] = np.sqrt(sign_variance(mean, signs.shape[-2]))
        else:
            known = [job.qubits.index(program.qubits[place]) for place in places]
            zero, one = (
                np.concatenate([_signs(each, known)[0] for each in part])
                for part in (everything[-2 * CALIBRATIONS : -CALIBRATIONS], everything[-CALIBRATIONS:])
            )
            values[:, copy], errors[:, copy] = corrected_signs(signs, zero, one)
    return values.reshape(-1), errors.reshape(-1)


def _signs(bits: Array, places: Sequence[int]) -> Array:
    """The signs of some bits, `(rows, shots, places)`. Bit 0 is the rightmost one of the last byte."""
    found = [bits[..., -1 - place // 8] >> (place % 8) & 1 for place in places]
    return 1.0 - 2.0 * np.stack(found, axis=-1)


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


def _check_stretches(scales: Sequence[float], stretches: Sequence[float]) -> None:
    if len(set(stretches)) < len(stretches):
        raise ValueError(
            f"Argument `scales` is {tuple(scales)}, but circuits with so few pulses reach {tuple(stretches)}: take odd "
            "numbers, which are always reached."
        )


def _filled(angles: Array, width: int) -> Array:
    """Rows of `width` circuits each, the last one filled up with zeros."""
    rows = -(-len(angles) // width)
    filled = np.zeros((rows * width, angles.shape[1]))
    filled[: len(angles)] = angles
    return filled.reshape(rows, -1)


def _turned(circuit: Circuit, table: Tensor) -> Array:
    """The angle of the one rotation that a circuit amounts to."""
    return torch.arccos(on_table(Bloch(), circuit, table).clamp(-1, 1)).numpy()
