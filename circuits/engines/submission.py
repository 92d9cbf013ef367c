"""Jobs and their results: submitted once, tried again where that makes sense, and kept."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from circuits.engines.limits import Limits
from circuits.errors import DeviceError
from circuits.journal import Bits, JobFailed, JobNotFound, Journal

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Request:
    """One part of a job.

    Args:
        program: a transpiled circuit.
        values: of its parameters, `(rows, parameters)`.
        shots: of each row.
        bits: of register c.
        about: what distinguishes the program, in words.
    """

    program: Any
    values: NDArray[np.float64]
    shots: int
    bits: int
    about: str

    @property
    def content(self) -> bytes:
        """What is asked for, whatever object asks for it."""
        return f"{self.about}, {self.shots} shots, {self.values.shape}".encode() + self.values.tobytes()


class Work(Protocol):
    """A job."""

    @property
    def requests(self) -> Sequence[Request]:
        """Its parts."""
        ...


W = TypeVar("W", bound=Work)


class Submitter:
    """Runs jobs of a sampler, some of them at a time.

    Args:
        sampler: a `BaseSamplerV2`, or what makes one of a seed.
        seed: of the seeds.
        limits: of the provider.
        journal: where jobs are kept.
        service: that finds jobs of other processes; None if jobs die with their process, as those of simulators do.
    """

    def __init__(self, sampler: Any, seed: int | None, limits: Limits, journal: Journal | None, service: Any) -> None:
        self.sampler, self.seed, self.limits = sampler, seed, limits
        self.journal, self.service = journal, service
        self.number = 0
        self._handles: dict[str, Any] = {}

    def run(self, jobs: Iterable[W]) -> Iterator[tuple[W, Bits]]:
        """Jobs with the bits of their parts, `(rows, shots, bytes)`, in order.

        As many as may be open are submitted before the first is waited for, and then one more for each that is done.
        """
        most = 1 if self.service is None else self.limits.pending
        waiting: deque[tuple[W, Callable[[], Bits]]] = deque()
        for job in jobs:
            if len(waiting) == most:
                done, wait = waiting.popleft()
                yield done, wait()
            waiting.append((job, self._open(job.requests)))
        for job, wait in waiting:
            yield job, wait()

    def _open(self, job: Sequence[Request]) -> Callable[[], Bits]:
        """Submit a job, unless that is done; returns what waits for its bits."""
        number = self.number

        def submit(tag: str, over: Sequence[str]) -> str:
            sampler = self._sampler(number)

            def attempt(retried: bool) -> str:
                if retried and (known := self._find(tag, over)) is not None:  # it had arrived after all
                    return known
                with _tagged(sampler, tag if self.service is not None else None):
                    handle = sampler.run([(part.program, part.values, part.shots) for part in job])
                self._handles[handle.job_id()] = handle
                return handle.job_id()

            return self._persistently(attempt, f"submission of job {number}", DeviceError)

        def fetch(identity: str) -> Bits:
            handle = self._handle(identity)
            result = self._persistently(lambda retried: handle.result(), f"job {identity}", JobFailed)
            bits = _bits(result, job, identity)
            self._handles.pop(identity, None)
            return bits

        if self.journal is None:
            wait = partial(fetch, submit(uuid4().hex, ()))
        else:
            about = [{"about": part.about, "shots": part.shots, "rows": len(part.values)} for part in job]
            values = [part.values for part in job]
            wait = self.journal.ask([part.content for part in job], about, values, submit, fetch, self._find)
        self.number += 1
        return wait

    @contextmanager
    def rewound(self) -> Iterator[None]:
        """A context after whose failure the jobs of an evaluation are asked for again from its first one on.

        With the same seeds, and with a journal nothing is submitted again; without one what is open is lost.
        """
        number = self.number
        try:
            with self.journal.rewound() if self.journal else nullcontext():
                yield
        except BaseException:
            self.number = number
            if self.journal is None:
                self._handles.clear()
            raise

    def _sampler(self, number: int) -> Any:
        if callable(getattr(self.sampler, "run", None)):
            return self.sampler
        seed = None if self.seed is None else [self.seed, number]
        return self.sampler(int(np.random.default_rng(seed).integers(2**31)))

    def _handle(self, identity: str) -> Any:
        if identity in self._handles:
            return self._handles[identity]
        if self.service is None:
            raise JobNotFound(identity)
        try:
            return self.service.job(identity)
        except Exception as error:  # of whatever kind the provider has
            if isinstance(error, LookupError) or type(error).__name__ == "RuntimeJobNotFound":
                raise JobNotFound(identity) from error
            raise DeviceError(f"Job {identity} could not be looked up: {type(error).__name__}: {error}.") from error

    def _find(self, tag: str, failed: Sequence[str]) -> str | None:
        """The id of a job that was submitted under a tag, but for those that failed."""
        if self.service is None:
            return None
        found = [handle.job_id() for handle in self.service.jobs(job_tags=[tag], limit=len(failed) + 1)]
        return next((identity for identity in found if identity not in failed), None)

    def _persistently(self, attempt: Callable[[bool], T], what: str, final: type[DeviceError]) -> T:
        for retry in range(self.limits.retries + 1):
            try:
                return attempt(retry > 0)
            except Exception as error:  # of whatever kind the provider has
                passing = _may_pass(error)
                if retry < self.limits.retries and passing:
                    time.sleep(self.limits.wait * 2**retry)
                    continue
                tried = f" after {retry + 1} attempts" if retry else ""
                kept = f" Finished jobs are in {self.journal}: run the same again to go on." if self.journal else ""
                kind = DeviceError if passing else final
                raise kind(f"The {what} failed{tried}: {type(error).__name__}: {error}.{kept}") from error
        raise AssertionError("returned or raised")


@contextmanager
def _tagged(sampler: Any, tag: str | None) -> Iterator[None]:
    """The sampler's jobs carry one more tag within this context, if its options know tags."""
    environment: Any = getattr(getattr(sampler, "options", None), "environment", None)
    if tag is None or not hasattr(environment, "job_tags"):
        yield
        return
    before = list(environment.job_tags) if isinstance(environment.job_tags, (list, tuple)) else []
    environment.job_tags = [*before, tag]
    try:
        yield
    finally:
        environment.job_tags = before


def _bits(result: Any, job: Sequence[Request], identity: str) -> Bits:
    """The raw bits of a result, if it is what was asked for."""
    try:
        found = [np.asarray(each.data["c"].array) for each in result]
    except (KeyError, AttributeError, TypeError) as error:
        raise JobFailed(f"Job {identity} came back without the bits of register c: {error!r}.") from error
    if len(found) != len(job):
        raise JobFailed(
            f"Job {identity} was cut short, and came back with {len(found)} of {len(job)} parts: run again."
        )
    bits = []
    for k, (part, array) in enumerate(zip(job, found, strict=True)):
        rows, width = len(part.values), -(-part.bits // 8)
        fits = (
            array.dtype == np.uint8 and array.ndim >= 2 and array.shape[-1] == width and array.shape[-2] >= part.shots
        )
        if not fits or array.size != rows * array.shape[-2] * width:
            raise JobFailed(
                f"Job {identity} came back with bits of shape {array.shape} in part {k}, where {rows} rows of "
                f"{part.shots} shots of {width} bytes were asked for: run again."
            )
        bits.append(array.reshape(rows, -1, width))
    return bits


def _may_pass(error: BaseException) -> bool:
    """Whether trying again makes sense: the network and an overloaded provider, not what was asked."""
    for each in _causes(error):
        status = getattr(each, "status_code", None)
        if isinstance(status, int):
            return status in (-1, 408, 429) or status >= 500
        # Those of requests are OSErrors, but do not derive from ConnectionError and TimeoutError.
        network = type(each).__module__.startswith("requests") and isinstance(each, OSError)
        if isinstance(each, (ConnectionError, TimeoutError)) or network:
            return True
    return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
