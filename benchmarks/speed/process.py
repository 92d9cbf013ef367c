"""Worker processes: started, asked one thing at a time, watched, and gone when the case is."""

import json
import os
import select
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Self

ROOT = Path(__file__).parents[2]


class WorkerFailed(Exception):
    """A worker died, was stopped or could not do what it was asked; the message is the reason a row gives."""


@dataclass(frozen=True)
class Limits:
    """What a worker may take before it is stopped.

    Args:
        seconds: for one answer, compilation included.
        gib: of resident memory.
    """

    seconds: float = 900.0
    gib: float = float("inf")

    @classmethod
    def of_this_machine(cls) -> Self:
        """Four fifths of the memory that is available now."""
        try:
            lines = Path("/proc/meminfo").read_text().splitlines()
        except OSError:
            return cls()
        available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
        return cls(gib=0.8 * available / 2**20)


class Worker:
    """A process that answers requests; leaving the context ends it.

    Args:
        command: the program, which serves on its standard input and output.
        limits: what it may take.
        errors: file for what it has to say beside its replies.
    """

    def __init__(self, command: Sequence[str], limits: Limits, errors: Path) -> None:
        self.limits, self._errors = limits, errors
        # Peers must not see our packages, some of which have the names of theirs.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        pipe = subprocess.PIPE
        with errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=stderr, bufsize=0, cwd=ROOT, env=environment
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The reply.

        Raises:
            WorkerFailed: if there is none, or the worker says that it cannot.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        except OSError:
            raise WorkerFailed(self._last_words()) from None
        reply = json.loads(self._line())
        if "error" in reply:
            raise WorkerFailed(reply["error"])
        return reply

    def ask_timed(self, do: str, **arguments: Any) -> tuple[dict[str, Any], float | None]:
        """The reply, and how many cores others kept busy meanwhile, this process included; None where nobody can say.

        Times taken on a machine that has other work can be anything; then rows should at least say so.
        """
        start, busy, own = monotonic(), _busy_seconds(), self._own_seconds()
        reply = self.ask(do, **arguments)
        elapsed, busy_then, own_then = monotonic() - start, _busy_seconds(), self._own_seconds()
        if busy is None or busy_then is None or own is None or own_then is None:
            return reply, None
        return reply, max(0.0, (busy_then - busy - own_then + own) / elapsed)

    def _own_seconds(self) -> float | None:
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        line, deadline = b"", monotonic() + self.limits.seconds
        while not line.endswith(b"\n"):
            if select.select([self.process.stdout], [], [], 0.05)[0]:
                if not (part := os.read(self.process.stdout.fileno(), 2**16)):
                    raise WorkerFailed(self._last_words())
                line += part
            if monotonic() > deadline:
                raise WorkerFailed(f"stopped: no answer within {self.limits.seconds:g} s")
            if self._gib() > self.limits.gib:
                raise WorkerFailed(f"stopped: it took more than {self.limits.gib:.1f} GiB of memory")
        return line

    def _gib(self) -> float:
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0.0  # not Linux, or gone already
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**30

    def _last_words(self) -> str:
        code = self.process.wait()
        lines = [line for line in self._errors.read_text(errors="replace").splitlines() if line.strip()]
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        return f"its process {how}" + (f": {lines[-1].strip()}" if lines else "")


def _busy_seconds() -> float | None:
    """Seconds that the cores of this machine have worked, all together."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    except OSError:
        return None
    user, nice, system, _, _, *interrupts_and_stolen = fields[:8]
    return (user + nice + system + sum(interrupts_and_stolen)) / os.sysconf("SC_CLK_TCK")
