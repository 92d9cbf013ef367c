"""What was submitted and what came back, on disk: a run that is killed goes on where it was.

A run is repeatable, so that a journal needs no state of its own: the k-th job asks for the same circuits again, and
gets what the journal has of it. Of every job there are two files, `000012-<digest>.json` from just before it is
submitted, and `000012-<digest>.npz` with its bits as soon as they are there. Each is written whole or not at all.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from circuits.errors import third_party

Bits = list[np.ndarray]
"""Of each part of a job, `(rows, shots, bytes)`, as Qiskit's `BitArray` packs them."""


class JournalError(RuntimeError):
    """A journal cannot be used; the message says why, and what to do."""


class Journal:
    """A folder of jobs, which one process at a time may use.

    Args:
        folder: made if it is not there. Remove it to start over.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._next = 0
        locks = third_party("filelock", "qiskit")
        # The system lets go of it when the process ends, however it ends.
        self._lock = locks.FileLock(self.folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except locks.Timeout:
            raise JournalError(
                f"Journal {self.folder} is in use by another process: wait for it, or take another folder."
            ) from None
        for left in self.folder.glob("*.part"):  # of a process that was killed while it wrote
            left.unlink()

    def close(self) -> None:
        """Let another process use the folder."""
        self._lock.release()

    def job(
        self,
        content: Sequence[bytes],
        about: Mapping[str, Any],
        submit: Callable[[str], str],
        fetch: Callable[[str], Bits],
        find: Callable[[str], str | None],
    ) -> Bits:
        """The bits of the next job: from the journal, from the provider if it was submitted, or by submitting it.

        Args:
            content: what the job asks for, byte for byte.
            about: what the record says of it, for a reader.
            submit: submits under a tag; returns the id of the job.
            fetch: waits for a job; raises `LookupError` if the provider does not know it any more.
            find: the id of a job that was submitted under a tag; None if there is none.
        """
        digest = hashlib.sha256()
        for piece in content:
            digest.update(len(piece).to_bytes(8) + piece)
        tag = f"{self._next:06d}-{digest.hexdigest()[:20]}"
        self._check_order(tag)
        record, result = self.folder / f"{tag}.json", self.folder / f"{tag}.npz"
        if result.exists():
            self._next += 1
            return _load(result)
        known = _read(record) if record.exists() else None
        identity = known["job_id"] if known else None
        if known is None:
            known = {"tag": tag, "job_id": None, **about}
            _write(record, json.dumps(known, indent=1).encode())
        elif identity is None:  # killed while submitting: it may have arrived
            identity = find(tag)
        for attempt in range(2):
            if identity is None:
                identity = submit(tag)
                _write(record, json.dumps(known | {"job_id": identity}, indent=1).encode())
            try:
                bits = fetch(identity)
                break
            except LookupError:
                if attempt:
                    raise
                identity = None
        else:
            raise AssertionError("either fetched or raised")
        _write(result, _dump(bits))
        self._next += 1  # not before: whoever asks again after an error asks for the same job
        return bits

    def _check_order(self, tag: str) -> None:
        others = [path.name for path in self.folder.glob(f"{tag[:6]}-*") if not path.name.startswith(tag)]
        if others:
            raise JournalError(
                f"Journal {self.folder} belongs to another run: its job {int(tag[:6])} is {others[0]}, and this run "
                f"asks for {tag}. Repeat the run exactly, seeds included, or take an empty folder."
            )

    def __repr__(self) -> str:
        return f"Journal({str(self.folder)!r})"


def _dump(bits: Bits) -> bytes:
    buffer = io.BytesIO()
    parts: dict[str, Any] = {f"part{k}": part for k, part in enumerate(bits)}
    np.savez_compressed(buffer, **parts)
    return buffer.getvalue()


def _load(path: Path) -> Bits:
    try:
        with np.load(path, allow_pickle=False) as parts:
            return [parts[f"part{k}"] for k in range(len(parts.files))]
    except Exception as error:
        raise JournalError(f"File {path} is damaged ({error}): remove it, and its job is fetched again.") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict) or "job_id" not in found:
            raise ValueError("it has no job_id")
    except (ValueError, OSError) as error:
        raise JournalError(f"File {path} is damaged ({error}): remove it, and its job is submitted again.") from error
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
