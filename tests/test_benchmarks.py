"""Benchmarks are evidence: later years leak nowhere, rows say where they come from, no file is half written."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from matplotlib.image import imread
from torch import nn
from typer.testing import CliRunner

from benchmarks import publish
from benchmarks.__main__ import app
from benchmarks.plots import plot_activations
from benchmarks.pool import _done
from benchmarks.protocol import RATES, TUNING_SEEDS, predict, rmse
from benchmarks.provenance import provenance, ran_on
from benchmarks.quickstart import DESTINATIONS, FAMILIES
from benchmarks.report import Results, Table, origin, write
from benchmarks.series import Forecasting, forecasting, sunspots
from circuits import pz
from qkan import QKAN
from rows import read_rows
from tolerances import FOREIGN

PARTS = ("train", "validation", "test")


def run(command: str, out: Path, *options: str) -> Path:
    result = CliRunner().invoke(app, [command, "--out", str(out), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return out


def rows_of(out: Path) -> list[dict]:
    return read_rows(out / "results.jsonl")


def tables_of(out: Path) -> list[list[list[str]]]:
    """The cells of every table of a report, without heads."""
    blocks = (out / "report.md").read_text().split("\n\n")
    return [
        [line.strip("| ").split(" | ") for line in block.splitlines()[2:]] for block in blocks if block.startswith("|")
    ]


# The series.


def series() -> tuple[np.ndarray, np.ndarray]:
    frame: Any = sm.datasets.sunspots.load_pandas().data
    return frame["YEAR"].to_numpy().astype(int), frame["SUNACTIVITY"].to_numpy()


def split(window: int = 12) -> Forecasting:
    return forecasting(sunspots(), window)


@pytest.fixture
def changed_after(monkeypatch):
    """Make `sunspots` see a series that is another one after a year."""
    original: Any = sm.datasets.sunspots.load_pandas()

    def change(year: int) -> None:
        frame = original.data.copy()
        frame.loc[frame["YEAR"] > year, "SUNACTIVITY"] = 1000 - 3 * frame["SUNACTIVITY"]
        monkeypatch.setattr(sm.datasets.sunspots, "load_pandas", lambda: type(original)(data=frame))

    return change


def test_the_split_is_chronological_and_complete():
    data = split()
    years = [getattr(data, part).times for part in PARTS]
    np.testing.assert_array_equal(np.concatenate(years), np.arange(1712, 2009))
    assert [len(part) for part in years] == [178, 60, 59]


@pytest.mark.parametrize("window", [1, 3, 12])
def test_a_window_is_the_years_before_its_target(window):
    data, (years, values) = split(window), series()
    for part in PARTS:
        windows = getattr(data, part)
        assert len(windows.times) == len(windows.x) == len(windows.y)
        for year, x, y in zip(windows.times, windows.x, windows.y, strict=True):
            before = values[(years >= year - window) & (years < year)]
            torch.testing.assert_close(data.restore(x), torch.as_tensor(before), rtol=0, atol=1e-10)
            assert data.restore(y).item() == pytest.approx(values[years == year].item(), abs=1e-10)


def test_the_scale_is_that_of_the_training_years():
    data, (years, values) = split(), series()
    known = values[years <= data.train.times[-1]]
    assert (data.scale.centre, data.scale.spread) == (known.mean(), known.std())
    assert data.scale.centre != pytest.approx(values.mean(), rel=0.01)


def test_later_years_change_nothing_before_them(changed_after):
    original = split()
    changed_after(original.train.times[-1])
    changed = split()
    assert changed.scale == original.scale
    assert torch.equal(changed.train.x, original.train.x)
    assert torch.equal(changed.train.y, original.train.y)
    assert torch.equal(changed.validation.x[0], original.validation.x[0])
    assert not changed.validation.y.eq(original.validation.y).any()

    changed_after(original.validation.times[-1])
    changed = split()
    assert torch.equal(changed.validation.x, original.validation.x)
    assert torch.equal(changed.validation.y, original.validation.y)
    assert not changed.test.y.eq(original.test.y).any()


def test_errors_are_in_the_unit_of_the_series():
    data, (years, values) = split(), series()
    tested = np.isin(years, data.test.times)
    truth, last = values[tested], values[np.roll(tested, -1)]
    forecast = predict(lambda x: x[:, -1:], data.test, data)
    torch.testing.assert_close(forecast, torch.as_tensor(last), rtol=0, atol=1e-10)
    assert rmse(lambda x: x[:, -1:], data.test, data) == pytest.approx(math.sqrt(np.mean((truth - last) ** 2)))


# Files and tables.


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "report.md"
    write(path, "→ 1\n")
    with pytest.raises(UnicodeEncodeError):
        write(path, 10_000 * "2" + "\ud800")
    assert path.read_bytes() == "→ 1\n".encode()
    assert list(tmp_path.iterdir()) == [path]
    with path.open(encoding="utf-8") as reader:
        write(path, "3\n")
        assert reader.read() == "→ 1\n"
    assert path.read_text() == "3\n"


def test_files_are_as_readable_as_any_other(tmp_path):
    write(tmp_path / "ours", "")
    (tmp_path / "any").write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_results_are_on_disk_row_by_row_and_say_where_they_come_from(tmp_path):
    results = Results(tmp_path / "deep" / "er" / "results.jsonl")
    for seed in range(3):
        results.add(model="A" if seed else "B", seed=seed)
        assert rows_of(tmp_path / "deep" / "er") == results.rows
        assert len(results.rows) == seed + 1
    assert [row["seed"] for row in results.where(model="A")] == [1, 2]
    assert results.where(model="A", seed=0) == results.where(nothing=1) == []
    assert all(row.items() >= provenance().items() for row in results.rows)
    assert provenance().keys() == {"commit", "machine"}
    assert f"torch {torch.__version__}" in provenance()["machine"]


def test_an_impossible_row_does_not_spoil_the_file(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    results.add(seed=0)
    before = results.path.read_text()
    with pytest.raises(TypeError):
        results.add(seed=object())
    assert results.path.read_text() == before


def test_numbers_that_are_not_finite_are_null_in_the_file_and_numbers_when_loaded(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    results.add(error=math.inf, score=-math.inf, curve=[[1, 2.5], [2, math.inf]], seconds=None, seed=0)
    results.add(error=0.5, seed=1)
    first, second = read_rows(results.path)
    assert (first["error"], first["score"], first["curve"], first["seconds"]) == (None, None, None, None)
    assert second == {"error": 0.5, "seed": 1} | provenance()
    assert Results.load(results.path).rows == results.rows


def test_a_new_run_keeps_the_rows_of_the_older_one_beside_its_own(tmp_path, capsys):
    path, backup = tmp_path / "results.jsonl", tmp_path / "results.jsonl.bak"
    Results(path).add(seed=0)
    old = path.read_bytes()
    fresh = Results.opened(path, resume=False)
    assert path.read_bytes() == old, "nothing is moved before there is a row"
    with pytest.raises(TypeError):
        fresh.add(seed=object())
    assert path.read_bytes() == old
    for seed in (1, 2):
        fresh.add(seed=seed)
        assert backup.read_bytes() == old
    assert "results.jsonl.bak" in capsys.readouterr().out.replace("\n", "")
    assert [row["seed"] for row in rows_of(tmp_path)] == [1, 2]


def test_no_new_run_overwrites_what_an_older_one_put_aside(tmp_path, capsys):
    for seed in range(4):
        Results(tmp_path / "results.jsonl").add(seed=seed)
    names = ["results.jsonl.bak", "results.jsonl.bak1", "results.jsonl.bak2", "results.jsonl"]
    assert [read_rows(tmp_path / name)[0]["seed"] for name in names] == [0, 1, 2, 3]


@pytest.mark.parametrize("resume", [False, True])
def test_two_runs_do_not_mix_their_rows_in_one_file(tmp_path, resume, capsys):
    path = tmp_path / "results.jsonl"
    first = Results(path)
    first.add(run="first")
    second = Results.opened(path, resume)
    second.add(run="second")
    known = path.read_bytes()
    with pytest.raises(RuntimeError, match=r"Another run writes .*results\.jsonl, too"):
        first.add(run="first")
    assert path.read_bytes() == known
    second.add(run="second")
    assert [row["run"] for row in read_rows(path)] == ["first"] * resume + ["second"] * 2


def test_a_file_that_was_removed_meanwhile_is_not_begun_anew_in_its_middle(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    results.add(seed=0)
    results.path.unlink()
    with pytest.raises(RuntimeError, match="Another run"):
        results.add(seed=1)


def test_jobs_that_wait_are_given_up_when_one_fails(monkeypatch):
    done = []

    @dataclass(frozen=True)
    class Task:
        number: int

        @property
        def row(self):
            return {"number": self.number}

        def run(self):
            done.append(self.number)
            if self.number == 1:
                raise ValueError("the second one")
            sleep(0.01)
            return [self.row]

    monkeypatch.setattr("benchmarks.pool.ProcessPoolExecutor", lambda workers, *_: ThreadPoolExecutor(workers))
    with pytest.raises(ValueError, match="the second one"):
        list(_done([Task(number) for number in range(50)], workers=1))
    assert len(done) < 40


def test_a_resumed_run_adds_to_its_rows(tmp_path):
    path = tmp_path / "results.jsonl"
    for seed in range(2):
        Results.opened(path, resume=True).add(seed=seed)
    assert [row["seed"] for row in rows_of(tmp_path)] == [0, 1]
    assert list(tmp_path.iterdir()) == [path]


def test_a_last_line_that_was_cut_off_is_forgotten(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    for seed in range(2):
        results.add(seed=seed)
    whole = results.path.read_text()
    results.path.write_text(whole + whole[:20])
    resumed = Results.load(results.path)
    resumed.add(seed=2)
    assert [row["seed"] for row in read_rows(results.path)] == [0, 1, 2]


def test_a_line_that_is_no_row_is_named(tmp_path):
    (tmp_path / "results.jsonl").write_text('{"seed": 0}\n[1, 2\n{"seed": 2}\n')
    with pytest.raises(ValueError, match=r"Line 2 of .*results\.jsonl is not a row, but '\[1, 2': remove it"):
        Results.load(tmp_path / "results.jsonl")


def test_dropped_rows_are_gone_from_the_file_too(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    for seed in range(3):
        results.add(seed=seed)
    results.drop(results.where(seed=1))
    results.add(seed=3)
    assert [row["seed"] for row in read_rows(results.path)] == [0, 2, 3]


def test_the_origin_has_every_commit_and_machine_once():
    rows = [{"commit": commit, "machine": machine} for commit, machine in (("a", "one"), ("b", "one"), ("a", "two"))]
    assert origin(rows) == "Commits a, b; one; two."
    assert origin(rows[:1]) == "Commit a; one."


def test_published_rows_are_json(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(publish, "DOCUMENTS", ())
    (tmp_path / "runs" / "functions").mkdir(parents=True)
    (tmp_path / "runs" / "functions" / "results.jsonl").write_text('{"validation_error": Infinity}\n')
    publish.run(tmp_path / "runs")
    (row,) = read_rows(tmp_path / "kept" / "functions.jsonl")
    assert row["validation_error"] is None


@pytest.mark.parametrize("file", sorted(publish.KEPT.glob("*.jsonl")), ids=lambda path: path.stem)
def test_kept_rows_stay_as_they_are_when_written_again(file, tmp_path):
    Results.load(file).save(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_text() == file.read_text()


def test_a_table_is_markdown():
    table = Table("Title", ["model", "error", "seconds"], [["QKAN", "0.1", "2"], ["MLP", "0.25", "10"]])
    assert table.markdown() == (
        "**Title**\n\n| model | error | seconds |\n| --- | ---: | ---: |\n| QKAN | 0.1 | 2 |\n| MLP | 0.25 | 10 |"
    )
    assert [column.justify for column in table.rich().columns] == ["left", "right", "right"]
    assert table.rich().row_count == 2


def test_rows_name_the_engine_that_ran():
    assert ran_on(nn.Linear(2, 1)) == "torch"
    assert ran_on(QKAN([2, 2, 1])) == "Bloch()"
    assert ran_on(nn.Sequential(QKAN([2, 2]), QKAN([2, 1], engine="reference"))) == "Bloch(), Reference()"


@pytest.mark.parametrize("base", ["silu", None], ids=str)
def test_every_edge_has_a_panel(tmp_path, base):
    model = QKAN([3, 2, 1], circuit=pz(1), base=base)
    plot_activations(tmp_path / "edges.png", model, torch.randn(10, 3), ["a", "b", "c"], columns=2)
    picture = imread(tmp_path / "edges.png")
    assert picture.ndim == 3
    assert picture[..., :3].std() > 0


# The quickstart.


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    return run("quickstart", tmp_path_factory.mktemp("quickstart") / "new", "--seeds", "1", "--epochs", "2")


def test_the_quickstart_writes_four_files_and_no_other(quickstart):
    assert {path.name for path in quickstart.iterdir()} == {
        "report.md",
        "results.jsonl",
        "forecast.png",
        "activations.png",
    }


def test_the_quickstart_draws_pictures(quickstart):
    for name in ("forecast.png", "activations.png"):
        picture = imread(quickstart / name)
        assert min(picture.shape[:2]) > 100, name
        assert 0.5 < picture[..., :3].mean() < 1, name
        assert picture[..., :3].std() > 0, name
        assert f"({name})" in (quickstart / "report.md").read_text()


def test_every_row_carries_seed_engine_commit_and_machine(quickstart):
    for row in rows_of(quickstart):
        assert row.keys() >= {"stage", "model", "seed", "engine", "commit", "machine"}
        assert (row["seed"] is None) == (row["stage"] == "yardstick")


def test_every_family_has_the_same_trials_and_never_sees_the_test_part_while_tuning(quickstart):
    rows = rows_of(quickstart)
    for family in FAMILIES:
        tuning = [row for row in rows if (row["stage"], row["model"]) == ("tuning", family.name)]
        trials = {(row["variant"], row["lr"]) for row in tuning}
        assert len(trials) == 6 * len(RATES)
        assert len(tuning) == len(trials) * len(TUNING_SEEDS)
        assert {row["seed"] for row in tuning} == set(TUNING_SEEDS)
        assert not any("test_rmse" in row for row in tuning)
        (final,) = (row for row in rows if (row["stage"], row["model"]) == ("final", family.name))

        def error(trial, tuning=tuning):
            return sum(row["validation_rmse"] for row in tuning if (row["variant"], row["lr"]) == trial)

        assert (final["variant"], final["lr"]) == min(trials, key=error)
        assert final["seed"] == 0
        assert 0 not in TUNING_SEEDS
        assert final["epochs"] == 2
        assert math.isfinite(final["test_rmse"])


def test_the_accuracy_table_has_every_model_and_the_yardsticks(quickstart):
    rows, (accuracy, _) = rows_of(quickstart), tables_of(quickstart)
    told = [row for row in rows if row["stage"] in ("final", "yardstick")]
    names = [family.name for family in FAMILIES] + ["last value", "linear autoregression"]
    assert [line[0] for line in accuracy] == [row["model"] for row in told] == names
    assert [line[2] for line in accuracy] == [str(row["parameters"]) for row in told]
    assert [line[4] for line in accuracy] == [f"{row['test_rmse']:.2f}" for row in told]
    assert [row["parameters"] for row in told[-2:]] == [0, 13]


def test_exact_engines_agree_on_the_trained_network(quickstart):
    rows, (_, table) = [row for row in rows_of(quickstart) if row["stage"] == "engine"], tables_of(quickstart)
    assert [row["destination"] for row in rows] == [line[0] for line in table] == list(DESTINATIONS)
    exact = [row for row in rows if "shots" not in row["destination"]]
    sampled = [row for row in rows if row not in exact]
    assert len(exact) == 5
    assert len({row["engine"] for row in rows}) == len(rows)
    (final,) = (row for row in rows_of(quickstart) if (row["stage"], row["model"]) == ("final", "QKAN"))
    for row in exact:
        assert row["difference"] <= FOREIGN["atol"], row
        assert row["test_rmse"] == pytest.approx(final["test_rmse"], rel=1e-8), row
    for row in sampled:
        assert FOREIGN["atol"] < row["difference"] < 1, row
    raw, corrected = (row["difference"] for row in sampled if "Manila" in row["destination"])
    assert corrected < raw


@pytest.mark.parametrize("command", ["quickstart", "functions"])
def test_nothing_runs_without_seeds(command, tmp_path):
    result = CliRunner().invoke(app, [command, "--out", str(tmp_path / "none"), "--seeds", "0"])
    assert result.exit_code == 2
    assert not (tmp_path / "none").exists()


# Documents.


@pytest.mark.parametrize("document", publish.DOCUMENTS, ids=lambda path: path.parent.name)
def test_tables_of_the_documents_are_made_of_the_kept_results(document):
    """Mend by `python -m benchmarks publish`, never by hand."""
    text = document.read_text()
    assert publish.renewed(text) == text
    assert "<!-- begin quickstart -->\n\n**" in text
