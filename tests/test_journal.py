"""A journal loses nothing and pays for nothing twice, whenever it is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from circuits.errors import DeviceError
from circuits.journal import JobFailed, JobNotFound, Journal, JournalError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


class Cloud:
    """A provider in a folder: it keeps jobs, whatever becomes of those who submitted them."""

    def __init__(self, folder: Path, before=lambda: None):
        self.folder, self.before = folder, before
        folder.mkdir(exist_ok=True)

    def submit(self, tag: str, content: bytes) -> str:
        self.before()
        # One line a submission, in one system call, so that a kill leaves all of it or nothing.
        with (self.folder / "submitted").open("ab", buffering=0) as file:
            file.write(f"{tag}\n".encode())
        self.before()
        return f"job-{tag}"

    def submitted(self) -> list[str]:
        path = self.folder / "submitted"
        return path.read_text().split() if path.exists() else []

    def fetch(self, identity: str, content: bytes) -> list[np.ndarray]:
        self.before()
        if identity.removeprefix("job-") not in self.submitted():
            raise JobNotFound(identity)
        seed = int.from_bytes(content[-4:].rjust(4, b"\0"))
        return [np.random.default_rng(seed).integers(0, 255, (2, 5, 1), dtype=np.uint8)]

    def find(self, tag: str, failed: Sequence[str] = ()) -> str | None:
        self.before()
        return f"job-{tag}" if tag in self.submitted() else None


def run(folder: Path, cloud: Cloud, jobs: int, together: int = 1) -> list[bytes]:
    """A computation whose next questions, so many at a time, depend on all answers so far, like training."""
    journal = Journal(folder)
    try:
        answers = [b"start"]
        while len(answers) <= jobs:
            waiting = []
            for number in range(together):
                content = answers[-1] + bytes([number])
                waiting.append(
                    journal.ask(
                        [content],
                        "a test",
                        [np.zeros((1, 2))],
                        lambda tag, over, content=content: cloud.submit(tag, content),
                        lambda identity, content=content: cloud.fetch(identity, content),
                        cloud.find,
                    )
                )
            answers += [bits.tobytes() for wait in waiting for bits in wait()]
        return answers[1:]
    finally:
        journal.close()


def test_a_second_run_pays_nothing_and_has_the_same_results(tmp_path):
    cloud = Cloud(tmp_path / "cloud")
    first = run(tmp_path / "journal", cloud, 5)
    assert len(cloud.submitted()) == 5
    assert run(tmp_path / "journal", cloud, 5) == first
    assert len(cloud.submitted()) == 5
    assert run(tmp_path / "journal", cloud, 7)[:5] == first
    assert len(cloud.submitted()) == 7


class _Halved:
    """A file whose writing can be interrupted in the middle."""

    def __init__(self, file, step):
        self._file, self._step = file, step

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, content):
        half = len(content) // 2
        self._file.write(content[:half])
        self._file.flush()
        self._step()
        self._file.write(content[half:])

    def __getattr__(self, name):
        return getattr(self._file, name)


def killed_run(journal: Path, cloud: Path, jobs: int, together: int, steps: int) -> bool:
    """Run in a process that kills itself after some system calls of its own; whether it came to the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of torch: the child reads and writes files only
        child = os.fork()
    if not child:
        left = steps

        def step(*_: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        # Every write, rename and flush of the journal is a place to die, before and after.
        for name in ("replace", "fsync", "open"):
            original = getattr(os, name)

            def wrapped(*args, original=original, **kwargs):
                step()
                result = original(*args, **kwargs)
                step()
                return result

            setattr(os, name, wrapped)
        whole = Path.open

        def opened(path, mode="r", *args, **kwargs):
            file = whole(path, mode, *args, **kwargs)
            return _Halved(file, step) if "w" in mode else file

        name = "open"
        setattr(Path, name, opened)
        try:
            run(journal, Cloud(cloud, step), jobs, together)
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return not os.WIFSIGNALED(status)


@pytest.mark.parametrize("together", [1, 3])
def test_a_hundred_kills_lose_nothing_and_repeat_nothing(tmp_path, together):
    """Killed anywhere, again and again: every job is submitted once, and the results are those of a quiet run."""
    chance = random.Random(0)
    kills = rounds = 0
    while kills < 100:
        rounds += 1
        place = tmp_path / str(rounds)
        place.mkdir()
        quiet = run(place / "quiet", Cloud(place / "quiet cloud"), 12, together)
        while not killed_run(place / "journal", place / "cloud", 12, together, chance.randrange(60)):
            kills += 1
        cloud = Cloud(place / "cloud")
        assert len(cloud.submitted()) == len(set(cloud.submitted())) == 12
        assert run(place / "journal", cloud, 12, together) == quiet
        assert not list((place / "journal").glob("*.part"))


@pytest.mark.parametrize("together", [1, 2])
def test_every_single_place_to_die_is_survived(tmp_path, together):
    """Not at random: killed at the first step, at the second, and so on through a whole run of two jobs."""
    quiet = run(tmp_path / "quiet", Cloud(tmp_path / "quiet cloud"), 2, together)
    steps = 0
    between = False
    while True:
        place = tmp_path / str(steps)
        place.mkdir()
        done = killed_run(place / "journal", place / "cloud", 2, together, steps)
        between |= len(Cloud(place / "cloud").submitted()) == 1 and not list((place / "journal").glob("*.npz"))
        assert run(place / "journal", cloud := Cloud(place / "cloud"), 2, together) == quiet
        assert len(cloud.submitted()) == 2
        if done:
            break
        steps += 1
    assert between  # between two submissions, too
    assert steps > 20


def test_jobs_are_submitted_before_the_first_is_waited_for(tmp_path):
    seen = []
    with Journal(tmp_path) as journal:
        waiting = [
            journal.ask(
                [bytes([number])],
                "a test",
                [np.ones((1, 2))],
                lambda tag, over, number=number: seen.append(f"submit {number}") or str(number),
                lambda identity: seen.append(f"fetch {identity}") or BITS,
                lambda tag, failed: None,
            )
            for number in range(3)
        ]
        for wait in waiting:
            wait()
    assert seen == ["submit 0", "submit 1", "submit 2", "fetch 0", "fetch 1", "fetch 2"]


def test_files_are_whole_on_disk_before_they_have_their_name(tmp_path, monkeypatch):
    """Of every file: content flushed, then renamed, then the folder flushed; the id is there before it is fetched."""
    steps = []
    flush, rename = os.fsync, os.replace

    def fsync(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}")) if Path("/proc/self/fd").exists() else None
        steps.append(("flush", path and path.name, path and path.is_file() and path.read_bytes()))
        flush(descriptor)

    def replace(part, path):
        steps.append(("rename", Path(part).name, Path(part).read_bytes()))
        assert Path(path).name == Path(part).name.removesuffix(".part")
        rename(part, path)

    with Journal(tmp_path) as journal:
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)
        answers(
            journal,
            submit=lambda tag, over: steps.append(("submit",)) or "1",
            fetch=lambda identity: steps.append(("fetch",)) or BITS,
        )
    written = ["flush", "rename", "flush"]
    assert [kind for kind, *_ in steps] == [*written, "submit", *written, "fetch", *written]
    for first, second, last in (steps[0:3], steps[4:7], steps[8:11]):
        if first[1] is not None:
            assert first[1:] == second[1:]  # the part file, and all of what is renamed
            assert last[1:] == (tmp_path.name, False)
        assert second[2]


def test_two_processes_do_not_share_a_journal(tmp_path):
    journal = Journal(tmp_path)
    code = f"from circuits.journal import Journal; Journal({str(tmp_path)!r})"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "is in use, by another process" in done.stderr
    journal.close()
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


BITS = [np.zeros((1, 1, 1), np.uint8)]


def answers(
    journal, content=b"a", submit=lambda tag, over: "1", fetch=lambda identity: BITS, find=lambda tag, failed: None
):
    with journal.rewound():
        return journal.ask([content], "a test", [np.ones((1, 2))], submit, fetch, find)()


def test_another_run_is_refused_and_nothing_is_overwritten(tmp_path):
    journal = Journal(tmp_path)
    answers(journal, b"a")
    journal.close()
    before = sorted(path.name for path in tmp_path.iterdir())
    other = Journal(tmp_path)
    with pytest.raises(JournalError, match="belongs to another run: its job 0"):
        answers(other, b"b")
    other.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["npz", "json"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"[1, 2]"])
def test_damaged_files_are_named(tmp_path, kind, content):
    journal = Journal(tmp_path)
    answers(journal)
    journal.close()
    (result,) = tmp_path.glob("*.npz")
    if kind == "json":
        result.unlink()
    (damaged,) = tmp_path.glob(f"0*.{kind}")
    damaged.write_bytes(content)
    again = Journal(tmp_path)
    with pytest.raises(JournalError, match=damaged.name):
        answers(again)
    again.close()


def test_what_is_loaded_is_never_unpickled(tmp_path):
    journal = Journal(tmp_path)
    answers(journal)
    journal.close()
    (result,) = tmp_path.glob("*.npz")
    np.savez(result, part0=np.array([{"a": 1}], dtype=object))
    again = Journal(tmp_path)
    with pytest.raises(JournalError, match="damaged"):
        answers(again)
    again.close()


def test_a_job_the_provider_forgot_is_submitted_again_once(tmp_path):
    submissions = []

    def submit(tag, over):
        submissions.append(tag)
        return str(len(submissions))

    def forgetful(identity):
        raise JobNotFound(identity)

    with Journal(tmp_path) as journal, pytest.raises(DeviceError, match="Job 1 is gone"):
        answers(journal, submit=submit, fetch=forgetful)
    with Journal(tmp_path) as journal:
        answers(journal, submit=submit, fetch=lambda identity: BITS if identity == "2" else forgetful(identity))
    assert len(submissions) == 2


def test_a_job_that_failed_is_submitted_anew_and_never_looked_at_again(tmp_path):
    submissions, looked, known = [], [], []

    def submit(tag, over):
        submissions.append(tag)
        known.append(list(over))
        return str(len(submissions))

    def fetch(identity):
        if identity == "1":
            raise JobFailed("cancelled")
        return BITS

    def find(tag, failed):
        looked.append((tag, list(failed)))

    with Journal(tmp_path) as journal:
        with pytest.raises(JobFailed):
            answers(journal, submit=submit, fetch=fetch)
        answers(journal, submit=submit, fetch=fetch, find=find)
    assert len(submissions) == 2
    assert looked == [(submissions[0], ["1"])]
    assert known == [[], ["1"]]


@pytest.mark.parametrize("content", [b"", b"garbage", b"[1, 2]"])
def test_a_damaged_name_of_the_run_can_be_removed_without_paying_twice(tmp_path, content):
    """A job that arrived while its process was killed is found by the tag it was submitted under."""
    arrived = []

    def killed(tag, over):
        arrived.append(tag)
        raise SystemExit

    with Journal(tmp_path) as journal, pytest.raises(SystemExit):
        answers(journal, submit=killed)
    about = tmp_path / "run.json"
    about.write_bytes(content)
    with pytest.raises(
        JournalError, match=r"run\.json is damaged .*: remove it, and later jobs have tags of another run"
    ):
        Journal(tmp_path)
    about.unlink()
    with Journal(tmp_path) as journal:
        answers(journal, submit=killed, find=lambda tag, failed: "1" if tag in arrived else None)
    assert len(arrived) == 1


def test_other_folders_have_other_tags(tmp_path):
    tags = []
    for name in ("one", "two"):
        with Journal(tmp_path / name) as journal:
            answers(journal, submit=lambda tag, over: tags.append(tag) or "1")
    assert tags[0] != tags[1]


def test_records_have_what_was_asked_and_what_came_back(tmp_path):
    with Journal(tmp_path) as journal:
        answers(journal)
    (record,), (result,) = tmp_path.glob("0*.json"), tmp_path.glob("*.npz")
    known = json.loads(record.read_text())
    assert known["tag"].startswith(record.stem)
    assert (known["job_id"], known["failed"], known["about"]) == ("1", [], "a test")
    with np.load(result) as parts:
        assert parts["values0"].tolist() == [[1.0, 1.0]]
        assert parts["part0"].shape == (1, 1, 1)
