"""The fair comparison: equal trials, nothing that is tested chooses, twins stay together, costs are counted."""

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.fair import tasks
from benchmarks.fair.costs import costs
from benchmarks.fair.families import FAMILIES, SPECTRA
from benchmarks.fair.plots import front
from benchmarks.fair.report import errors, summary, task_table
from benchmarks.fair.run import QUICK, searches
from benchmarks.fair.tasks import BY_NAME, HARDNESS_FILE, TASKS, MissingTable, hardness
from benchmarks.fair.training import Budget, Search
from benchmarks.fair.yardsticks import NAMES, Yardstick
from benchmarks.operations import operations
from benchmarks.report import Results
from benchmarks.sizes import count
from classical import MLP, FourierKANLayer
from rows import read_rows

ELEMENTS = ["Al", "Ti", "W"]


@pytest.fixture
def alloys(tmp_path):
    """Sixty alloys in twenty compositions, a third of unknown hardness."""
    random = np.random.default_rng(0)
    lines = [",".join([*ELEMENTS, "Phases", "HV", "VEC"])]
    for composition in random.dirichlet(np.ones(3), 20):
        for phase, number in (("FCC", random.integers(100, 900)), ("BCC", random.integers(100, 900)), ("", "")):
            lines.append(",".join([*map(str, composition), phase, str(number), str(random.normal())]))
    (tmp_path / HARDNESS_FILE).write_text("\n".join(lines) + "\n")
    return tmp_path


def test_alloys_of_one_composition_are_never_in_two_parts(alloys):
    table = hardness(alloys / HARDNESS_FILE)
    assert (table.x.shape, len(set(table.groups))) == ((40, 4), 20)
    for seed in range(10):
        parts = [set(table.groups[rows]) for rows in tasks._rows(table, seed, classes=False)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 20


@pytest.mark.parametrize("key", ["diabetes", "wine", "digits"])
def test_parts_are_all_samples_once_and_scaled_by_training(key):
    task = BY_NAME[key]
    parts = task.parts(3, None)
    pieces = (parts.train, parts.validation, parts.test)
    load = {"diabetes": 442, "wine": 178, "digits": 1797}
    assert sum(len(x) for x, _ in pieces) == load[key]
    x = parts.train[0]
    torch.testing.assert_close(x.mean(0), torch.zeros(task.inputs, dtype=x.dtype), rtol=0, atol=0.1)
    assert {x.shape[1] for x, _ in pieces} == {task.inputs}
    assert not torch.equal(parts.test[0], task.parts(4, None).test[0])


def test_limits_and_scales_of_inputs_are_those_of_the_training_part():
    table = tasks.Table(np.arange(100.0)[:, None] ** 3, np.arange(100.0), np.arange(100))
    parts = tasks._split(table, 0, classes=False)
    assert parts.train[0].mean().item() == pytest.approx(0, abs=1e-9)
    assert parts.train[0].std().item() == pytest.approx(1)
    y = parts.test[1][:, 0] * parts.unit
    raw = table.y[tasks._rows(table, 0, classes=False)[2]]
    np.testing.assert_allclose(y.diff().numpy(), np.diff(raw))


def test_classes_have_equal_fractions_in_all_parts():
    parts = BY_NAME["wine"].parts(0, None)
    for _, y in (parts.train, parts.validation, parts.test):
        np.testing.assert_allclose(np.bincount(y.numpy()) / len(y), np.array([59, 71, 48]) / 178, atol=0.02)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_models_are_as_wide_as_the_number_of_parameters_allows(family):
    size, known = 300, family.candidates(2, 1, 300)
    assert known
    for choice in (known[0], known[-1]):
        model, width = family.build(choice, 2, 1, size), family.width(choice, 2, 1, size)
        wider = family._of_width(choice, 2, 1, width + 1, "meta")
        assert count(model) <= size < count(wider)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}


def rates(seed, model):
    return [trial["rate"] for trial in Search("exp", model, 200, seed, Budget()).trials()]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_has_as_many_trials_of_its_own(family):
    assert len(rates(0, family.name)) == len(set(rates(0, family.name))) == Budget().trials
    assert rates(0, family.name) == rates(0, family.name)
    assert not set(rates(0, family.name)) & set(rates(1, family.name))


def test_the_fourier_control_has_the_spectra_of_the_qkan():
    choices = {family.name: family.choices.get("fineness") for family in FAMILIES}
    assert choices["QKAN"] == choices["Fourier KAN"] == choices["MLP, circuits on nodes"] == SPECTRA


def test_the_trial_with_the_smallest_validation_loss_is_the_one_that_is_tested(monkeypatch):
    """Losses are given; the test part has no say."""
    losses = iter([0.5, 0.2, 0.9])
    monkeypatch.setattr("benchmarks.fair.training._trained", lambda *_: (next(losses), 1.0))
    search = Search("exp", "MLP", 60, 0, Budget(trials=3))
    (row,) = search.run()
    second = search.trials()[1]
    assert (row["validation_loss"], row["rate"], row["choice"]) == (0.2, second["rate"], dict(second["choice"]))


def test_a_search_whose_trials_all_diverge_is_a_row_that_says_so(monkeypatch):
    monkeypatch.setattr("benchmarks.fair.training._trained", lambda *_: (math.inf, math.nan))
    (row,) = Search("exp", "MLP", 60, 0, Budget(trials=2)).run()
    assert row["test_error"] == math.inf


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["diabetes", "wine"])
def test_yardsticks_learn_tables(key, name):
    (row,) = Yardstick(key, name, 0, Budget(trials=2)).run()
    assert (
        row["test_error"] < {"diabetes": 77, "wine": 30}[key]
    )  # the deviation, and less than half of the largest class


def test_operations_of_an_mlp_are_those_of_its_formula():
    """2 in out for each affine layer and one for each bias and activation, in whatever shape samples come."""
    model = MLP([6, 5, 4], activation="tanh")
    assert operations(model, torch.randn(7, 6)) == 2 * (6 * 5 + 5 * 4) + 5
    assert operations(model, torch.randn(7, 3, 6)) == 2 * (6 * 5 + 5 * 4) + 5


def test_operations_of_a_series_are_angles_and_functions_beside_the_product():
    layer = FourierKANLayer(3, 2, degree=4, bias=False)
    assert operations(layer, torch.randn(5, 3)) == pytest.approx(3 * layer.basis.flops + 2 * 3 * 8 * 2, rel=0.1)


def test_a_view_is_no_operation():
    assert operations(nn.Flatten(), torch.randn(5, 3)) == 0


def test_memory_is_what_the_backward_needs():
    class Square(nn.Module):
        def forward(self, x):
            return (x * self.weight).square()

        weight = nn.Parameter(torch.ones(2, dtype=torch.float64))

    kept = costs(Square(), BY_NAME["exp"])["kept_bytes"]
    batch = 256 * 2 * 8  # x for the weight, their product for its square, and that for the loss
    assert kept == 3 * batch


def test_the_front_is_what_nobody_beats_in_both():
    assert front([(3, 1.0), (1, 5.0), (2, 6.0), (2.5, 2.0), (4, 1.5)]) == [(1, 5.0), (2.5, 2.0), (3, 1.0)]


def test_tables_name_the_winner_and_by_how_much_others_lose(tmp_path):
    results, budget = Results(tmp_path / "results.jsonl"), Budget()
    for model, error in (("MLP", 0.2), ("QKAN", 0.1), ("Fourier KAN", 0.4)):
        for seed in range(2):
            results.add(task="exp", model=model, size=60, seed=seed, **asdict(budget), test_error=error * (1 + seed))
    assert errors(results, budget, BY_NAME["exp"], 60, "QKAN") == [0.1, 0.2]
    lines = {line[0]: line[1:] for line in summary(results, budget).rows}
    assert lines["QKAN"] == ["1/1", "1.0", "1.00x"]
    assert lines["MLP"] == ["0/1", "2.0", "2.00x"]
    assert lines["Fourier KAN"] == ["0/1", "3.0", "4.00x"]
    table = task_table(results, budget, BY_NAME["exp"])
    assert table.rows[-1][1] == "QKAN"
    # Student's quantile for two seeds is 12.7, and the deviation of 0.1 and 0.2 over the root of 2 is 0.05.
    assert {line[0]: line[1] for line in table.rows}["QKAN"] == "0.15 ± 0.6"


def run(out, *options):
    command = ["fair", "--out", str(out), "--quick", "--seeds", "1", "--workers", "0", *options]
    return CliRunner().invoke(app, command, catch_exceptions=False)


def test_a_quick_run_writes_everything_and_resuming_adds_nothing(tmp_path):
    result = run(tmp_path, "--tasks", "wine")
    assert result.exit_code == 0, result.output
    rows = read_rows(tmp_path / "results.jsonl")
    expected = searches(BY_NAME["wine"], 1, QUICK, None, small=True)
    assert [row["model"] for row in rows] == [job.row["model"] for job in expected]
    assert {"MLP", *NAMES} < {row["model"] for row in rows}
    assert all(row["commit"] and row["machine"] for row in rows)
    assert "wines" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "fair.png").stat().st_size > 1000
    assert run(tmp_path, "--tasks", "wine", "--resume").exit_code == 0
    assert read_rows(tmp_path / "results.jsonl") == rows


def test_a_missing_file_is_said_before_anything_is_trained(tmp_path):
    result = run(tmp_path, "--tasks", "hardness")
    assert result.exit_code == 2
    assert HARDNESS_FILE in result.output
    with pytest.raises(MissingTable, match="needs --data-dir"):
        BY_NAME["hardness"].parts(0, tmp_path)


def test_an_unknown_task_is_named(tmp_path):
    result = run(tmp_path, "--tasks", "wine,beer")
    assert result.exit_code == 2
    assert "beer" in result.output


def test_tasks_have_names_of_their_own():
    assert len({task.key for task in TASKS}) == len(TASKS)
