"""What was submitted and what came back, on disk: a run that is killed goes on where it was.

A run is repeatable, so that a journal needs no state of its own: the k-th job asks for the same circuits again, and
gets what the journal has of it. Of every job there are two files, `000012-<digest>.json` from just before it is
submitted, and `000012-<digest>.npz` with its parameters and bits as soon as these are there. Each is written whole or
not at all.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self
from uuid import uuid4
from zipfile import BadZipFile

import numpy as np

from circuits.errors import DeviceError, third_party

Bits = list[np.ndarray]
"""Of each part of a job, `(rows, shots, bytes)`, as Qiskit's `BitArray` packs them."""


class JournalError(RuntimeError):
    """A journal cannot be used; the message says why, and what to do."""


class JobNotFound(Exception):
    """The provider does not know a job any more."""


class JobFailed(DeviceError):
    """A job is over, and will never have a result that can be used."""


class Journal:
    """A folder of jobs, which one process at a time may use.

    Args:
        folder: made if it is not there. Remove it to start over.

    Attributes:
        place: the number of the next job.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.place = 0
        locks = third_party("filelock", "qiskit")
        # The system lets go of it when the process ends, however it ends.
        self._lock = locks.FileLock(self.folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except locks.Timeout:
            raise JournalError(
                f"Journal {self.folder} is in use, by another process or another Journal of this one: wait for it or "
                "close it, or take another folder."
            ) from None
        for left in self.folder.glob("*.part"):  # of a process that was killed while it wrote
            left.unlink()
        about = self.folder / "run.json"
        if not about.exists():
            # Part of every tag, so that a provider's jobs for other folders are never taken for ours.
            _write(about, json.dumps({"run": uuid4().hex[:8]}).encode())
        self._run = _read(about, "run", "later jobs have tags of another run; those in the folder keep theirs")["run"]

    def close(self) -> None:
        """Let another process use the folder."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def rewound(self) -> Iterator[None]:
        """A context after whose failure the jobs that were asked for in it are asked for again."""
        place = self.place
        try:
            yield
        except BaseException:
            self.place = place
            raise

    def ask(
        self,
        content: Sequence[bytes],
        about: Any,
        values: Sequence[np.ndarray],
        submit: Callable[[str, Sequence[str]], str],
        fetch: Callable[[str], Bits],
        find: Callable[[str, Sequence[str]], str | None],
    ) -> Callable[[], Bits]:
        """Ask for the next job: it is submitted, unless it was before; several may be open at a time.

        Args:
            content: what the job asks for, byte for byte.
            about: what the record says of it, for a reader.
            values: the parameters of each part, which are kept beside the bits.
            submit: submits under a tag, under which jobs that failed may be known; returns the id of the new job.
            fetch: waits for a job; raises `JobNotFound` if the provider does not know it any more, and `JobFailed` if
                it is over for good, which the record keeps: it is submitted anew when it is asked for again.
            find: the id of a job that was submitted under a tag, but for some that failed; None if there is none.

        Returns:
            What waits for its bits: from the journal, or from the provider.
        """
        digest = hashlib.sha256()
        for piece in content:
            digest.update(len(piece).to_bytes(8) + piece)
        name = f"{self.place:06d}-{digest.hexdigest()[:20]}"
        self._check_order(name)
        path, result = self.folder / f"{name}.json", self.folder / f"{name}.npz"
        if result.exists():
            self.place += 1
            return partial(_load, result)
        if path.exists():
            record = _read(path, "job_id", "its job is submitted again")
            # Killed while submitting: it may have arrived.
            record["job_id"] = record["job_id"] or find(record["tag"], record["failed"])
        else:
            record = {"tag": f"{name}-{self._run}", "job_id": None, "failed": [], "about": about}
            _write(path, json.dumps(record, indent=1).encode())
        known = record["job_id"] is not None
        if not known:
            _submitted(path, record, submit, record["failed"])
        self.place += 1  # not before: whoever asks again after an error asks for the same job

        def wait() -> Bits:
            found = _fetched(path, record, fetch)
            if found is None and known:
                _submitted(path, record, submit, [*record["failed"], record["job_id"]])
                found = _fetched(path, record, fetch)
            if found is None:
                raise DeviceError(
                    f"Job {record['job_id']} is gone: its provider does not know it, though it was just submitted."
                )
            _write(result, _dump(found, values))
            return found

        return wait

    def _check_order(self, name: str) -> None:
        others = [path.name for path in self.folder.glob(f"{name[:6]}-*") if not path.name.startswith(name)]
        if others:
            raise JournalError(
                f"Journal {self.folder} belongs to another run: its job {int(name[:6])} is {others[0]}, and this run "
                f"asks for {name}. Repeat the run exactly, seeds included, or take an empty folder."
            )

    def __repr__(self) -> str:
        return f"Journal({str(self.folder)!r})"


def _submitted(
    path: Path, record: dict[str, Any], submit: Callable[[str, Sequence[str]], str], over: Sequence[str]
) -> None:
    record["job_id"] = submit(record["tag"], over)
    _write(path, json.dumps(record, indent=1).encode())


def _fetched(path: Path, record: dict[str, Any], fetch: Callable[[str], Bits]) -> Bits | None:
    identity = record["job_id"]
    try:
        return fetch(identity)
    except JobNotFound:
        return None
    except JobFailed:
        record |= {"job_id": None, "failed": [*record["failed"], identity]}
        _write(path, json.dumps(record, indent=1).encode())
        raise


def _dump(bits: Bits, values: Sequence[np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    parts: dict[str, Any] = {f"part{k}": part for k, part in enumerate(bits)}
    parts |= {f"values{k}": part for k, part in enumerate(values)}
    np.savez_compressed(buffer, **parts)
    return buffer.getvalue()


def _load(path: Path) -> Bits:
    try:
        with np.load(path, allow_pickle=False) as parts:
            return [parts[f"part{k}"] for k in range(sum(name.startswith("part") for name in parts.files))]
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise JournalError(f"File {path} is damaged ({error}): remove it, and its job is fetched again.") from error


def _read(path: Path, wanted: str, then: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict) or wanted not in found:
            raise ValueError(f"it has no {wanted}")
    except (ValueError, OSError) as error:
        raise JournalError(f"File {path} is damaged ({error}): remove it, and {then}.") from error
    return found


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, even if the machine stops."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
