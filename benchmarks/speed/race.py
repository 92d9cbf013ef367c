"""One case: every contestant in a process of its own, all alive, one computing at a time, round after round."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.peers.serve import load, save
from benchmarks.speed.cases import Case
from benchmarks.speed.judge import Answers, WrongJudge, compare, truth
from benchmarks.speed.process import Limits, Worker, WorkerFailed

SLOW, FEW = 5.0, 2
"""Who needs more seconds for a step takes part in so many rounds only; who needs thrice that, in one."""

NOT_RUN = "not run: "
"""What the reason of a row begins with if nothing was tried."""


@dataclass(frozen=True)
class Contestant:
    """Who takes part.

    Args:
        name: as tables show it.
        command: the program of its worker.
        options: what its worker is told.
        dtype: of everything it computes.
        judged: whether it computes the function of the case, so that its numbers must be right to be timed.
        refuse: why it does not take part in a case; None if it does.
    """

    name: str
    command: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    judged: bool = True
    refuse: Callable[[Case], str | None] = lambda case: None


@dataclass
class _Racer:
    contestant: Contestant
    row: dict[str, Any]
    worker: Worker | None = None
    most: int = 0
    """Rounds that it takes part in; 0 after a failure."""

    def fail(self, reason: str) -> None:
        self.row |= {"reason": reason} | _untimed()
        self.most = 0
        if self.worker is not None:
            self.worker.close()


def race(
    case: Case, contestants: Sequence[Contestant], rounds: int, seconds: float, limits: Limits
) -> list[dict[str, Any]]:
    """A row for every contestant: errors, peak memory and the times of all rounds, or the reason why there are none.

    Args:
        case: what is computed.
        contestants: by whom.
        rounds: in each of which everybody is timed once.
        seconds: that a timing lasts at least.
        limits: of every worker.
    """
    with TemporaryDirectory() as folder, ExitStack() as stack:
        arrays = case.draw()
        save(Path(folder) / "inputs", arrays)
        racers = [_start(contestant, case, limits, Path(folder), stack) for contestant in contestants]
        try:
            right = truth(case, arrays)
        except (WrongJudge, RuntimeError, MemoryError) as error:  # torch has RuntimeErrors for want of memory
            right = f"nobody can judge: {error}"
        for racer in _running(racers, rounds=1):
            _prepare(racer, case, Path(folder), right, rounds)
        for number in range(rounds):
            for racer in _running(racers, number + 1):
                _time(racer, seconds)
        return [racer.row for racer in racers]


def _start(contestant: Contestant, case: Case, limits: Limits, folder: Path, stack: ExitStack) -> _Racer:
    row = {"contestant": contestant.name, "dtype": contestant.dtype, "engine": None, "reason": None}
    racer = _Racer(contestant, row | {"peak_mib": None} | _untimed())
    if (reason := contestant.refuse(case)) is not None:
        racer.fail(f"{NOT_RUN}{reason}")
        return racer
    try:
        racer.worker = stack.enter_context(Worker(contestant.command, limits, folder / f"{contestant.name}.txt"))
        racer.most = 1
    except OSError as error:
        racer.fail(f"its process did not start: {error}")
    return racer


def _untimed() -> dict[str, list[float]]:
    """What every round adds to: milliseconds, and how many cores others kept busy while they were taken."""
    return {"forward_ms": [], "step_ms": [], "others_busy": []}


def _running(racers: Sequence[_Racer], rounds: int) -> Iterator[_Racer]:
    return (racer for racer in racers if racer.most >= rounds)


def _prepare(racer: _Racer, case: Case, folder: Path, right: Answers | str, rounds: int) -> None:
    """Build, take the first step, and compare with what is right."""
    contestant, worker = racer.contestant, racer.worker
    assert worker is not None
    answers = folder / contestant.name if contestant.judged else None
    try:
        if contestant.judged and isinstance(right, str):
            raise WorkerFailed(right)
        spec = {"case": case.spec(), "options": dict(contestant.options), "dtype": contestant.dtype}
        racer.row |= worker.ask("build", **spec, arrays=str(folder / "inputs"))
        racer.row |= worker.ask("first", answers=None if answers is None else str(answers))
        if answers is not None and isinstance(right, Answers):
            errors = compare(Answers.of(load(answers)), right)
            racer.row |= errors.row()
            if (failure := errors.failure(contestant.dtype)) is not None:
                raise WorkerFailed(failure)
        racer.most = rounds
    except WorkerFailed as error:
        racer.fail(str(error))


def _time(racer: _Racer, seconds: float) -> None:
    assert racer.worker is not None
    try:
        times, busy = racer.worker.ask_timed("time", seconds=seconds)
    except WorkerFailed as error:
        return racer.fail(str(error))
    racer.row["forward_ms"].append(1e3 * times["forward"])
    racer.row["step_ms"].append(1e3 * times["step"])
    racer.row["others_busy"].append(busy)
    if times["step"] > SLOW:
        racer.most = min(racer.most, FEW if times["step"] < 3 * SLOW else 1)
    return None
