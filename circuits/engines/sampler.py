r"""Any Qiskit `BaseSamplerV2`: Aer, fake backends, and devices behind `qiskit-ibm-runtime`, old primitives and new.

A circuit is brought to native gates once, set up side by side on the qubits of the device once, and transpiled once; a
whole table of angles then is one array of parameters. Raw bits come back; what becomes of them is arithmetic of ours.

What runs decides what is learned. With `structure="keep"` the device runs all of the data re-uploading circuit. With
`structure="fuse"` the rotation that the circuit amounts to is worked out beforehand, and the device only turns a qubit
by the resulting angle: the least noise there can be, but the device then flips a coin whose bias is known already.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuits.calibration import best_path, check_backend, check_qubits, rank_qubits
from circuits.checks import check_seed, check_shots, is_real
from circuits.circuit import Circuit
from circuits.engines.bloch import Bloch
from circuits.engines.engine import BlackBox, Costs
from circuits.engines.qiskit import to_qiskit
from circuits.errors import DeviceError, third_party
from circuits.gradient import Gradient, gradient_of
from circuits.journal import Bits, Journal
from circuits.mitigation import FITS, corrected, extrapolated
from circuits.native import coin, folded, measured, native, side_by_side
from circuits.shots import shown

T = TypeVar("T")

Array = NDArray[Any]


@dataclass(frozen=True)
class Limits:
    """What a provider takes at a time.

    Args:
        executions: rows times shots of a job.
        rows: of parameters in one part of a job.
        retries: of a submission or a result that failed for a reason that may pass.
        wait: seconds before the first of them, doubled each time.

    Reference: https://quantum.cloud.ibm.com/docs/guides/job-limits
    """

    executions: int = 10_000_000
    rows: int = 1_000
    retries: int = 4
    wait: float = 2.0

    def __post_init__(self) -> None:
        for name, least in (("executions", 1), ("rows", 1), ("retries", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"Argument `{name}` of Limits must be an int of at least {least}, but is {value!r}.")
        if not is_real(self.wait) or self.wait < 0:
            raise ValueError(f"Argument `wait` of Limits must be a number of at least 0, but is {self.wait!r}.")


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one program, all with the same shots.

    Args:
        program: a transpiled circuit with measurements of register c.
        about: the circuit of ours that it was made of; None for a calibration.
        values: of its parameters, `(rows, parameters)`.
        shots: of each row.
        width: circuits side by side in a row.
        wires: of each of them, all of which are measured.
        string: the readout, of I and Z.
        places: where its values belong: readout, scale, and rows of the table.
    """

    program: Any
    about: Circuit | None
    values: Array
    shots: int
    width: int
    wires: int
    string: str = ""
    places: tuple[int, int, Array] = field(default=(0, 0, np.zeros(0, dtype=np.int64)))

    @property
    def executions(self) -> int:
        """Rows times shots."""
        return len(self.values) * self.shots

    @property
    def content(self) -> bytes:
        """What is asked for, whatever object asks for it."""
        return repr((self.about, self.shots, self.width, self.values.shape)).encode() + self.values.tobytes()


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
        readout_correction: whether |0> and |1> of every qubit are measured in every job, and values corrected.
        calibration_shots: of each of them; None for four times the shots of the rows.
        scales: factors of the noise by folding, for extrapolation to none; a single 1 for no extrapolation.
        fit: of the extrapolation, "linear" or "exponential".
        structure: "keep" or "fuse", see above.
        gradient: "shift", "spsa", or one that is built, such as `Simulator(Noisy(noise_of(backend, qubit)))`.
        seed: of the seeds for the samplers.
        limits: of the provider.
        journal: where jobs are kept; a run that is repeated then pays only for what is missing.
        service: of the provider, with `job(id)` and `jobs(job_tags=[tag])`, to find jobs of a run that was killed.
    """

    name: ClassVar[str] = "sampler"

    def __init__(
        self,
        sampler: Any = None,
        backend: Any = None,
        shots: int | Tensor | None = 1024,
        qubits: int | str | Sequence[int] = 1,
        readout_correction: bool = True,
        calibration_shots: int | None = None,
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
        if not callable(getattr(sampler, "run", None)) and not callable(sampler):
            raise TypeError(f"Argument `sampler` must be a BaseSamplerV2 or make one of a seed, but is {sampler!r}.")
        self.sampler, self.shots, self.gradient = sampler, check_shots(shots), gradient_of(gradient)
        if shots is None:
            raise ValueError("Argument `shots` must be an int or a tensor of ints: a device has no exact values.")
        self.backend = _backend_of(sampler) if backend is None else backend
        if self.backend is not None:
            check_backend(self.backend)
        self.qubits = _check_qubits(qubits, self.backend)
        self.readout_correction = readout_correction
        self.calibration_shots = check_shots(calibration_shots)
        self.scales, self.fit, self.structure = tuple(scales), fit, structure
        if not self.scales or not all(is_real(scale) and scale >= 1 for scale in self.scales):
            raise ValueError(f"Argument `scales` must be numbers of at least 1, but is {scales!r}.")
        if len(self.scales) > 1 and len(set(self.scales)) < len(self.scales):
            raise ValueError(f"Argument `scales` must be different numbers, but is {scales!r}.")
        for name, value, known in (("fit", fit, FITS), ("structure", structure, ("keep", "fuse"))):
            if value not in known:
                raise ValueError(f"Argument `{name}` must be one of {', '.join(known)}, but is {value!r}.")
        self.limits, self.journal, self.service = limits, journal, service
        self._seed, self._number = check_seed(seed), 0
        self._programs: dict[Any, Any] = {}
        self._jobs: dict[str, Any] = {}

    def unsupported(self, circuit: Circuit) -> str | None:
        if self.structure == "fuse" and circuit.wires > 1:
            return f"it has {circuit.wires} wires, and structure='fuse' takes one; use structure='keep'"
        gate = next((gate for gate in circuit.gates if len(gate.wires) > 1 and gate.angle is not None), None)
        return gate and f"gate {gate} has no native form: write it with CNOT and rotations of the target"

    def _measure(self, circuit: Circuit, table: Tensor, shots: Tensor | None) -> tuple[Tensor, Tensor]:
        assert shots is not None, "the constructor refuses None"
        shape = len(circuit.strings), len(self.scales), len(table)
        values, errors = np.empty(shape), np.empty(shape)
        for job in self.jobs(circuit, table, shots):
            bits = self._run_job(job)
            calibration = bits[-2:] if self.readout_correction else None
            for part, packed in zip(job, bits, strict=True):
                if part.about is not None:
                    readout, scale, rows = part.places
                    found = _values(part, packed, calibration)
                    values[readout, scale, rows], errors[readout, scale, rows] = (each[: len(rows)] for each in found)
        if len(self.scales) > 1:
            results = extrapolated(values.swapaxes(0, 1), errors.swapaxes(0, 1), self.scales, self.fit)
        else:
            results = values[:, 0], errors[:, 0]
        value, error = (torch.as_tensor(each.T.copy()) for each in results)
        return value, error

    def _run(self, circuit: Circuit, table: Tensor, shots: int | None) -> Tensor:
        return self._measure(circuit, table, torch.full((len(table),), shots or 1))[0]

    def costs(self, circuit: Circuit, table: Tensor, shots: Tensor | None) -> Costs:
        """What evaluating a table takes, without submitting anything; calibrations are rows as well."""
        assert shots is not None, "the constructor refuses None"
        total = Costs(len(table) * len(circuit.strings))
        for job in self.jobs(circuit, table, shots):
            rows = sum(len(part.values) for part in job)
            seconds = sum(part.executions * self._duration(part.program) for part in job)
            total += Costs(0, rows, sum(part.executions for part in job), 1, seconds)
        return total

    def _duration(self, program: Any) -> float:
        """Seconds of one execution: the gates and measurements of the busiest qubit, and the wait for the next one."""
        if self.backend is None:
            return 0.0
        busy: dict[Any, float] = {}
        for instruction in program.data:
            qubits = tuple(program.find_bit(qubit).index for qubit in instruction.qubits)
            name = instruction.operation.name
            places = self.backend.target[name] if name in self.backend.target.operation_names else {}
            properties = places.get(qubits) if places else None
            for qubit in qubits:
                busy[qubit] = busy.get(qubit, 0.0) + ((properties and properties.duration) or 0.0)
        return max(busy.values(), default=0.0) + _repetition_delay(self.backend)

    # What runs.

    def jobs(self, circuit: Circuit, table: Tensor, shots: Tensor) -> Iterator[list[Part]]:
        """The jobs that evaluating a table takes, calibrations last."""
        job: list[Part] = []
        for part in self._parts(circuit, table, shots):
            if job and sum(each.executions for each in self._calibrated([*job, part])) > self.limits.executions:
                yield self._calibrated(job)
                job = []
            job.append(part)
        if job:
            yield self._calibrated(job)

    def _parts(self, circuit: Circuit, table: Tensor, shots: Tensor) -> Iterator[Part]:
        for readout, string in enumerate(circuit.strings):
            one = Circuit(circuit.gates, string)
            angles = table.numpy()
            if self.structure == "fuse":
                one, angles = coin(), _turned(one, table)
            for scale, factor in enumerate(self.scales):
                plain = folded(measured(native(one), one.strings[0]), factor)
                for each in np.unique(shots.numpy()):
                    places = np.flatnonzero(shots.numpy() == each)
                    width = self._width(plain.wires, len(places))
                    program = self._program(plain, width)
                    step = max(1, min(self.limits.rows, self._most_rows(int(each)))) * width
                    for start in range(0, len(places), step):
                        rows = places[start : start + step]
                        values = _side_by_side(angles[rows], width)[:, _columns(program)]
                        where = readout, scale, rows
                        yield Part(program, plain, values, int(each), width, plain.wires, plain.strings[0], where)

    def _most_rows(self, shots: int) -> int:
        calibrations = 2 * (self.calibration_shots or 4 * shots) if self.readout_correction else 0
        return (self.limits.executions - int(calibrations)) // shots

    def _calibrated(self, job: list[Part]) -> list[Part]:
        if not self.readout_correction:
            return job
        widest = max(job, key=lambda part: part.width * part.wires)
        shots = self.calibration_shots or 4 * max(part.shots for part in job)
        assert widest.about is not None
        return job + [
            Part(
                self._calibration(widest.about, widest.width, up),
                None,
                np.zeros((1, 0)),
                int(shots),
                widest.width,
                widest.wires,
            )
            for up in (False, True)
        ]

    def _width(self, wires: int, rows: int) -> int:
        if wires > 1:
            return 1
        return min(rows, self.qubits if isinstance(self.qubits, int) else len(self.qubits))

    def _layout(self, wires: int, width: int) -> list[int] | None:
        if self.backend is None:
            return None
        if not isinstance(self.qubits, int):
            if len(self.qubits) < wires * width:
                raise ValueError(f"Argument `qubits` names {len(self.qubits)} qubits, but a circuit has {wires} wires.")
            return list(self.qubits[: wires * width])
        return rank_qubits(self.backend)[:width] if wires == 1 else best_path(self.backend, wires)

    def _program(self, plain: Circuit, width: int) -> Any:
        key = plain, width
        if key not in self._programs:
            self._programs[key] = self._transpiled(to_qiskit(side_by_side(plain, width)), plain, width)
        return self._programs[key]

    def _calibration(self, plain: Circuit, width: int, up: bool) -> Any:
        key = plain.wires, width, up
        if key not in self._programs:
            program = third_party("qiskit", "qiskit").QuantumCircuit(plain.wires * width)
            if up:
                program.x(range(plain.wires * width))
            self._programs[key] = self._transpiled(program, plain, width)
        return self._programs[key]

    def _transpiled(self, program: Any, plain: Circuit, width: int) -> Any:
        qiskit = third_party("qiskit", "qiskit")
        wires = range(plain.wires * width)
        program.add_register(qiskit.ClassicalRegister(len(wires), "c"))
        program.measure(wires, wires)
        if self.backend is None:
            return program
        transpiler = third_party("qiskit.transpiler", "qiskit")
        layout = self._layout(plain.wires, width)
        # Level 0 leaves native gates as they are; any other would undo the folding.
        manager = transpiler.generate_preset_pass_manager(0, backend=self.backend, initial_layout=layout)
        return manager.run(program)

    # How it runs.

    def _run_job(self, job: Sequence[Part]) -> Bits:
        number = self._number
        seed = None if self._seed is None else [self._seed, number]
        seed = int(np.random.default_rng(seed).integers(2**31))
        sampler: Any = self.sampler if callable(getattr(self.sampler, "run", None)) else self.sampler(seed)

        def submit(tag: str) -> str:
            def attempt() -> str:
                if (known := self._find(tag)) is not None:  # of an attempt that failed after it had arrived
                    return known
                _tag(sampler, tag)
                handle = sampler.run([(part.program, part.values, part.shots) for part in job])
                self._jobs[handle.job_id()] = handle
                return handle.job_id()

            return self._persistently(attempt, f"submission of job {number}")

        def fetch(identity: str) -> Bits:
            def attempt() -> Any:
                handle = self._jobs.get(identity)
                if handle is None:
                    if self.service is None:
                        raise LookupError(f"Job {identity} is not known here: pass service= to find it.")
                    handle = self.service.job(identity)
                return handle.result()

            bits = _bits(self._persistently(attempt, f"job {identity}"), job, identity)
            self._jobs.pop(identity, None)
            return bits

        if self.journal is None:
            bits = fetch(submit(f"{number:06d}"))
        else:
            about = {"parts": len(job), "executions": sum(part.executions for part in job)}
            bits = self.journal.job([part.content for part in job], about, submit, fetch, self._find)
        self._number += 1  # not before: what failed is asked for again, with the same seed
        return bits

    def _find(self, tag: str) -> str | None:
        if self.service is None or self.journal is None:
            return None
        found = self.service.jobs(job_tags=[tag], limit=1)
        return found[0].job_id() if found else None

    def _persistently(self, attempt: Callable[[], T], what: str) -> T:
        for retry in range(self.limits.retries + 1):
            try:
                return attempt()
            except LookupError:
                raise
            except Exception as error:
                if retry < self.limits.retries and _may_pass(error):
                    time.sleep(self.limits.wait * 2**retry)
                    continue
                tried = f" after {retry + 1} attempts" if retry else ""
                kept = (
                    ""
                    if self.journal is None
                    else f" Finished jobs are in {self.journal}: run the same again to go on."
                )
                raise DeviceError(f"The {what} failed{tried}: {type(error).__name__}: {error}.{kept}") from error
        raise AssertionError("returned or raised")

    def __repr__(self) -> str:
        parts = [type(self.sampler).__name__ if hasattr(self.sampler, "run") else "fresh samplers"]
        parts += [] if self.backend is None else [str(self.backend.name)]
        parts += [f"shots={shown(self.shots)}", f"qubits={self.qubits!r}"]
        parts += [f"scales={self.scales}, fit={self.fit!r}"] * (len(self.scales) > 1)
        parts += [f"structure={self.structure!r}", f"readout_correction={self.readout_correction}"]
        parts.append(f"gradient={self.gradient!r}")
        return f"Sampler({', '.join(parts)})"


def _values(part: Part, bits: Array, calibration: Sequence[Array] | None) -> tuple[Array, Array]:
    """Values and errors of the circuits of a part, row after row."""
    values, errors = np.empty((2, len(bits), part.width))
    wires = [wire for wire, letter in enumerate(part.string) if letter != "I"]
    for copy in range(part.width):
        # One copy at a time: the signs of a hundred of them would be a gigabyte.
        places = [copy * part.wires + wire for wire in wires]
        signs = _signs(bits, places)
        if calibration is None:
            values[:, copy] = mean = signs.prod(-1).mean(-1)
            errors[:, copy] = np.sqrt((1 - (mean * part.shots / (part.shots + 2)) ** 2) / part.shots)
        else:
            zero, one = (_signs(each, places)[0] for each in calibration)
            values[:, copy], errors[:, copy] = corrected(signs, zero, one)
    return values.reshape(-1), errors.reshape(-1)


def _signs(bits: Array, places: Sequence[int]) -> Array:
    """The signs of some bits, `(rows, shots, places)`. Bit 0 is the rightmost one of the last byte."""
    found = [bits[..., -1 - place // 8] >> (place % 8) & 1 for place in places]
    return 1.0 - 2.0 * np.stack(found, axis=-1)


def _bits(result: Any, job: Sequence[Part], identity: str) -> Bits:
    """The raw bits of a result, `(rows, shots, bytes)` a part, if it is what was asked for."""
    try:
        found = [np.asarray(each.data["c"].array) for each in result]
    except (KeyError, AttributeError, TypeError) as error:
        raise DeviceError(f"Job {identity} came back without the bits of register c: {error!r}.") from error
    if len(found) != len(job):
        raise DeviceError(
            f"Job {identity} came back with {len(found)} of {len(job)} parts: it was cut short; run again."
        )
    bits = []
    for k, (part, array) in enumerate(zip(job, found, strict=True)):
        bytes_each = -(-part.width * part.wires // 8)
        shape = len(part.values), part.shots, bytes_each
        if array.dtype != np.uint8 or array.size != np.prod(shape) or array.shape[-2:] != shape[1:]:
            raise DeviceError(
                f"Job {identity} came back with bits of shape {array.shape} in part {k}, where {shape} (rows, shots, "
                "bytes) were asked for: run again."
            )
        bits.append(array.reshape(shape))
    return bits


def _seeded(kind: Any, seed: int) -> Any:
    return kind(seed=seed)


def _may_pass(error: Exception) -> bool:
    """Whether trying again makes sense: the network and an overloaded provider, not what was asked."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status == 429 or status >= 500
    return isinstance(error, OSError)  # time-outs and lost connections are of this kind, in every library


def _tag(sampler: Any, tag: str) -> None:
    environment = getattr(getattr(sampler, "options", None), "environment", None)
    if environment is not None and hasattr(environment, "job_tags"):
        environment.job_tags = [tag]


def _repetition_delay(backend: Any) -> float:
    """Seconds between executions, in which qubits relax; 250 microseconds where the backend does not say."""
    configuration = getattr(backend, "configuration", None)
    known = getattr(configuration() if callable(configuration) else None, "default_rep_delay", None)
    return 250e-6 if known is None else float(known)


def _backend_of(sampler: Any) -> Any:
    backend = getattr(sampler, "backend", None)
    backend = backend() if callable(backend) and not hasattr(backend, "target") else backend
    return backend if hasattr(backend, "target") else None


def _check_qubits(qubits: object, backend: Any) -> int | tuple[int, ...]:
    if isinstance(qubits, int) and not isinstance(qubits, bool) and qubits > 0:
        if backend is not None and qubits > (most := len(rank_qubits(backend))):
            raise ValueError(f"Argument `qubits` is {qubits}, but {backend.name} has {most} working qubits.")
        return qubits
    if backend is None:
        raise ValueError(f"Argument `qubits` must be a positive int without a backend, but is {qubits!r}.")
    if qubits == "all":
        return tuple(rank_qubits(backend))
    if isinstance(qubits, Sequence) and not isinstance(qubits, str) and qubits:
        check_qubits(backend, qubits)
        return tuple(qubits)
    raise ValueError(f"Argument `qubits` must be a positive int, 'all' or a list of qubits, but is {qubits!r}.")


def _side_by_side(angles: Array, width: int) -> Array:
    """Rows of `width` circuits each, the last one filled up with zeros."""
    rows = -(-len(angles) // width)
    filled = np.zeros((rows * width, angles.shape[1]))
    filled[: len(angles)] = angles
    return filled.reshape(rows, -1)


def _columns(program: Any) -> list[int]:
    return [parameter.index for parameter in program.parameters]


def _turned(circuit: Circuit, table: Tensor) -> Array:
    """The angle of the one rotation that a circuit amounts to."""
    params: Mapping[str, Tensor] = {"angle": table} if circuit.slots else {}
    values = Bloch()(circuit, table.new_zeros(len(table), 1), params)
    return torch.arccos(values.clamp(-1, 1)).numpy()[:, None]
