"""The fair comparison: equal trials, nothing that is tested chooses, twins stay together, costs are counted."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.fair import tasks
from benchmarks.fair.compare import half_width, verdict
from benchmarks.fair.costs import Costing, costs
from benchmarks.fair.families import FAMILIES, SPECTRA
from benchmarks.fair.plots import front, plot, styles
from benchmarks.fair.report import cost_table, duel_table, errors, report, summary, tables, task_table
from benchmarks.fair.run import QUICK, _chosen, costings, searches
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


def test_inputs_of_tables_are_at_most_five_deviations_of_training_away():
    x = np.zeros((100, 1))
    x[:, 0] = np.arange(100) % 2
    held_out = tasks._rows(tasks.Table(x, x[:, 0], np.arange(100)), 0, classes=False)[2]
    x[held_out[:2], 0] = 1e6, -1e6
    parts = tasks._split(tasks.Table(x, np.arange(100.0), np.arange(100)), 0, classes=False)
    assert (parts.test[0].max(), parts.test[0].min()) == (5, -5)
    assert parts.train[0].abs().max() < 1.2, "what is tested does not scale"


def test_scales_of_inputs_and_numbers_are_those_of_the_training_part():
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


def test_the_trial_with_the_smallest_validation_loss_is_the_only_one_that_is_tested(monkeypatch):
    """Losses are given; the test part has no say."""
    losses, looks = iter([0.5, 0.2, 0.9]), []

    def error(model, task, part):
        looks.append(part)
        return 0.7

    monkeypatch.setattr("benchmarks.fair.training._trained", lambda *_: (next(losses), 1.0))
    monkeypatch.setattr("benchmarks.fair.training._error", error)
    search = Search("exp", "MLP", 60, 0, Budget(trials=3))
    (row,) = search.run()
    second = search.trials()[1]
    assert (row["validation_loss"], row["rate"], row["choice"]) == (0.2, second["rate"], dict(second["choice"]))
    assert [tried["validation_loss"] for tried in row["tried"]] == [0.5, 0.2, 0.9]
    assert [tried["rate"] for tried in row["tried"]] == [trial["rate"] for trial in search.trials()]
    assert (row["search_seconds"], row["test_error"]) == (3, 0.7)
    assert len(looks) == 1
    torch.testing.assert_close(looks[0], BY_NAME["exp"].parts(0, None).test)


def test_a_search_whose_trials_all_diverge_is_a_row_that_says_so(monkeypatch):
    def diverges(*_, **__):
        raise FloatingPointError

    monkeypatch.setattr("benchmarks.fair.training.fit", diverges)
    (row,) = Search("exp", "MLP", 60, 0, Budget(trials=2)).run()
    assert row["test_error"] == math.inf
    assert 0 < row["search_seconds"] < 1


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


def test_a_known_interval_is_that_of_student_and_overlap_widens_it():
    """Of 0.1 and 0.2 the deviation over the root of 2 is 0.05, and the quantile for two is 12.706."""
    assert half_width([0.1, 0.2], 0) == pytest.approx(12.706 * 0.05, rel=1e-4)
    assert half_width([0.1, 0.2], 0.5) == pytest.approx(12.706 * 0.05 * math.sqrt(2), rel=1e-4)
    assert math.isnan(half_width([0.1], 0))
    assert math.isnan(half_width([0.1, math.inf], 0))


def by_seed(*values):
    return dict(enumerate(values))


@pytest.mark.parametrize(
    ("first", "second", "overlap", "expected"),
    [
        (by_seed(1, 2, 3, 4), by_seed(2, 3.1, 4, 4.9), 0, -1),
        (by_seed(2, 3.1, 4, 4.9), by_seed(1, 2, 3, 4), 0, 1),
        (by_seed(1, 2, 3, 4), by_seed(1.1, 1.8, 3.2, 4), 0, 0),
        (by_seed(1, 1.1), by_seed(2, 2.2), 0, -1),
        (by_seed(1, 1.1), by_seed(2, 2.2), 1, 0),
        (by_seed(3, 3), by_seed(3, 3), 0, 0),
        (by_seed(3, 4), by_seed(4, 5), 0, -1),
        (by_seed(1), by_seed(2), 0, 0),
        (by_seed(1, math.inf), by_seed(2, 2), 0, 1),
        (by_seed(1, 1), by_seed(2, math.inf), 0, -1),
        (by_seed(math.inf), by_seed(math.inf), 0, 0),
    ],
)
def test_differences_on_the_same_splits_tell_who_is_better(first, second, overlap, expected):
    """The first errors differ far more between splits than between models."""
    assert verdict(first, second, overlap) == expected


def results_of(path, known, size=60, task="exp"):
    results, budget = Results(path), Budget()
    for model, values in known.items():
        for seed, error in enumerate(values):
            if model in NAMES:
                results.add(**Yardstick(task, model, seed, budget).row, test_error=error)
                continue
            known = Search(task, model, size, seed, budget).row
            results.add(**known, test_error=error, parameters=50)
            results.add(**known | {"measured": "costs"}, operations=100.0, step_seconds=1e-3, kept_bytes=1000)
    return results


def test_tables_name_the_winner_and_by_how_much_others_lose(tmp_path):
    known = {"MLP": (0.2, 0.4), "QKAN": (0.1, 0.2), "Fourier KAN": (0.4, 0.8)}
    results, budget = results_of(tmp_path / "results.jsonl", known), Budget()
    assert errors(results, budget, BY_NAME["exp"], 60, "QKAN") == {0: 0.1, 1: 0.2}
    lines = {line[0]: line[1:] for line in summary(results, budget).rows}
    assert lines["QKAN"] == ["1/1", "1/1", "1.0", "1.00x"]
    assert lines["MLP"] == ["0/1", "1/1", "2.0", "2.00x"]
    assert lines["Fourier KAN"] == ["0/1", "1/1", "3.0", "4.00x"]
    table = task_table(results, budget, BY_NAME["exp"])
    assert table.rows[-1][1] == "QKAN"
    assert {line[0]: line[1] for line in table.rows}["QKAN"] == "0.15 ± 0.64 ≈"
    duels = {line[0]: line[1:] for line in duel_table(results, budget, "QKAN").rows}
    assert duels == {"MLP": ["0", "1", "0", "0.50x"], "Fourier KAN": ["0", "1", "0", "0.25x"]}


def test_a_difference_that_every_split_shows_is_one(tmp_path):
    known = {"MLP": (0.2, 0.41, 0.3), "QKAN": (0.1, 0.3, 0.2), "linear": (0.5, 0.7, 0.61)}
    results, budget = results_of(tmp_path / "results.jsonl", known, size=150, task="diabetes"), Budget()
    cells = {line[0]: line[1:] for line in task_table(results, budget, BY_NAME["diabetes"]).rows}
    assert ("≈" in cells["QKAN"][0], "≈" in cells["MLP"][0]) == (True, False)
    assert cells["linear"][-1].startswith("0.603")
    duels = {line[0]: line[1:4] for line in duel_table(results, budget, "QKAN").rows}
    assert duels == {"MLP": ["1", "0", "0"], "linear": ["1", "0", "0"]}


def test_equal_errors_share_the_first_place_and_the_rank(tmp_path):
    """Small tables have ties, zeros among them, which have no ratio to others."""
    known = {"MLP": (0.0, 0.0), "QKAN": (0.0, 0.0), "Fourier KAN": (2.0, 2.0)}
    results, budget = results_of(tmp_path / "results.jsonl", known, size=150, task="wine"), Budget()
    assert task_table(results, budget, BY_NAME["wine"]).rows[-1][1] == "MLP, QKAN"
    lines = {line[0]: line[1:] for line in summary(results, budget).rows}
    assert lines["MLP"] == lines["QKAN"] == ["1/1", "1/1", "1.5", "1.00x"]
    assert lines["Fourier KAN"] == ["0/1", "0/1", "3.0", "2.00x"]
    plot(tmp_path / "fair.png", results, budget)


def test_a_family_that_cannot_be_trained_is_last_and_spoils_no_table(tmp_path):
    known = {"MLP": (0.2, 0.3), "QKAN": (math.inf, 0.1)}
    results, budget = results_of(tmp_path / "results.jsonl", known), Budget()
    lines = {line[0]: line[1:] for line in summary(results, budget).rows}
    assert lines["QKAN"] == ["0/1", "0/1", "2.0", "infx"]
    assert "nan" not in report(results, budget)
    plot(tmp_path / "fair.png", results, budget)


def test_tables_without_a_row_are_none(tmp_path):
    assert tables(Results(tmp_path / "results.jsonl")) == []


def test_costs_are_those_of_the_model_that_was_chosen(tmp_path):
    """Choices come as tuples from a search, and as lists from a file."""
    results, budget = Results(tmp_path / "results.jsonl"), Budget(trials=1, epochs=1, patience=1)
    for model in ("MLP", "QKAN"):
        results.add(**Search("exp", model, 60, 0, budget).run()[0])
    expected = [Costing.of(row) for row in results.rows]
    assert costings(Results.load(results.path), budget) == costings(results, budget) == expected
    for job in expected:
        results.add(**job.run()[0])
    assert set(results.rows[-1]) > {"operations", "step_seconds", "kept_bytes", "threads", "seed", "trials"}
    lines = cost_table(results, budget).rows
    assert lines[0] == ["MLP", "1x", "1x", "1x"]
    assert lines[1][0] == "QKAN"


def test_families_look_different_from_each_other():
    looks = [(style["color"], style["marker"]) for style in styles().values()]
    assert len(set(looks)) == len(looks) == len(FAMILIES)
    assert all(first[0] != second[0] for first, second in pairwise(looks[:-2]))


def run(out, *options):
    command = ["fair", "--out", str(out), "--quick", "--seeds", "1", "--workers", "0", *options]
    return CliRunner().invoke(app, command, catch_exceptions=False)


def test_a_quick_run_writes_everything_and_resuming_adds_nothing(tmp_path):
    result = run(tmp_path, "--tasks", "wine")
    assert result.exit_code == 0, result.output
    rows = read_rows(tmp_path / "results.jsonl")
    expected = searches(BY_NAME["wine"], 1, QUICK, None, small=True)
    assert [row["model"] for row in rows if row["measured"] == "errors"] == [job.row["model"] for job in expected]
    costed = [job.row["model"] for job in expected if job.row["model"] not in NAMES]
    assert [row["model"] for row in rows[len(expected) :]] == costed, "costs come last"
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


@pytest.mark.parametrize("options", [(), ("--tasks", "wine,hardness")])
def test_a_missing_file_is_said_before_other_tasks_are_trained(tmp_path, options):
    result = run(tmp_path, "--data-dir", str(tmp_path), *options)
    assert (result.exit_code, HARDNESS_FILE in result.output) == (2, True)
    assert not list(tmp_path.iterdir())


def test_a_spoiled_file_is_not_said_to_be_a_wrong_task(tmp_path):
    (tmp_path / "results.jsonl").write_text("[1, 2\n{}\n")
    with pytest.raises(ValueError, match="Line 1"):
        run(tmp_path, "--tasks", "wine", "--resume")


def test_a_quick_run_has_a_function_a_table_of_classes_and_the_file_if_there_is_one(alloys):
    assert [task.key for task in _chosen((), None, small=True)] == ["ellipkinc", "wine"]
    assert [task.key for task in _chosen((), alloys, small=True)] == ["ellipkinc", "wine", "hardness"]
    assert len(_chosen((), None, small=False)) == len(TASKS) - 1


def test_an_unknown_task_is_named(tmp_path):
    result = run(tmp_path, "--tasks", "wine,beer")
    assert result.exit_code == 2
    assert "beer" in result.output


def test_tasks_have_names_of_their_own():
    assert len({task.key for task in TASKS}) == len(TASKS)
