"""The benchmark of sequences: equal trials, the test part looked at once, and tables that say what rows say."""

import math
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import nn
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.report import Results
from benchmarks.sequences.families import GRU_NAME, HYBRID_NAME, LSTM_NAME, MLP_NAME, QKAN_NAME, QLSTM_NAME, families
from benchmarks.sequences.report import finals, goal_table, on_front, report, tables
from benchmarks.sequences.studies import QUICK, TUNING_SEEDS, Study, followed, studies
from benchmarks.sequences.tasks import TASKS, data, errors, inputs, naive
from benchmarks.sequences.training import Setting, Training, falling
from benchmarks.series import Windows
from benchmarks.sizes import build, fitting
from qkan import parameter_count
from rows import read_rows, write_rows
from tolerances import EXACT

pytestmark = pytest.mark.usefixtures("seeded")


def invoke(out: Path, *options: str):
    arguments = ["sequences", "--quick", "--seeds", "2", "--workers", "0", "--out", str(out), *options]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sequences")
    result = invoke(out)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def results(out) -> Results:
    return Results.load(out / "results.jsonl")


# Models.


@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("features", [1, 2])
def test_every_variant_is_as_large_as_its_size_allows(window, features):
    x = torch.randn(3, window, features, dtype=torch.float64)
    for family in families(window).values():
        assert len(family.variants) == 2
        for label, make in fitting(family, features, 180).items():
            model = build(make, features, 180)
            assert 90 < sum(parameter_count(model).values()) <= 180, label
            assert model(x).shape == (3, 1)


def test_an_lstm_has_one_bias_a_gate():
    """The usual one, of five units, counts 166 with both of torch's."""
    model = build(families(4)[LSTM_NAME].variants["one layer"], 1, 146)
    assert sum(parameter_count(model).values()) == 146
    assert sum(parameter.numel() for parameter in model.parameters()) == 166


def test_nothing_of_a_hybrid_is_redundant_by_its_bias():
    model = build(families(4)[HYBRID_NAME].variants["half as many latent"], 1, 80)
    held = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert held == ["network.cells.0.gates.net.latent.0.bias"]


# Series.


@pytest.mark.parametrize("key", TASKS)
def test_two_thirds_are_for_training_and_validation(key):
    series, known = data(key)
    sizes = [len(part.y) for part in (known.train, known.validation, known.test)]
    assert (sizes[0] + sizes[1]) / sum(sizes) == pytest.approx(0.67, abs=0.01)
    assert inputs(known.train).shape == (sizes[0], TASKS[key].window, series.table.shape[1])
    # Filled by all values up to the last training target, some of which are in windows only.
    assert torch.cat([inputs(known.train)[..., 0].flatten(), known.train.y.flatten()]).abs().max() == pytest.approx(1)


def test_errors_are_those_of_their_definitions():
    _, known = data("pendulum")
    forecast = known.test.y + 0.1
    found = errors(forecast, known.test, known)
    assert found["mse"] == pytest.approx(0.01)
    assert found["mae"] == pytest.approx(0.1 * known.scale.spread)
    assert found["r2"] == pytest.approx(1 - 0.01 / known.test.y.var(unbiased=False).item())


def test_naive_forecasts_are_what_they_are_called():
    series, known = data("sunspots")
    found = naive("sunspots")
    truth = series.values[-len(known.test.y) :]
    for name, back in (("last value", 1), ("season before", series.season)):
        before = series.values[-len(known.test.y) - back : -back]
        assert found[name]["mae"] == pytest.approx(np.abs(truth - before).mean())


# Trials and seeds.


def test_all_settings_of_all_variants_are_tried_once():
    study = Study("adam", "", ("bessel",), (80,), (Setting(1, 0.1), Setting(1)), {MLP_NAME: (20,)})
    trials = study.trials(None)
    assert {trial.seed for trial in trials} == set(TUNING_SEEDS)
    for _, name, size, variants in study.cells(None):
        mine = [trial for trial in trials if trial.model == name]
        assert {(trial.variant, trial.setting) for trial in mine} == {(v, s) for v in variants for s in study.settings}
        assert size == (20 if name == MLP_NAME else 80)


def test_the_full_benchmark_has_every_family_at_every_size_but_too_small_ones():
    first = next(study for study in studies(None) if study.key == "adam")
    cells = {(name, size) for _, name, size, _ in first.cells(None)}
    missing = {(name, size) for name in families(4) for size in first.sizes} - cells
    assert missing == {(QLSTM_NAME, 20), (QLSTM_NAME, 35)}


def test_the_best_trial_is_chosen_by_validation(tmp_path):
    study = QUICK[0]
    results = Results(tmp_path / "results.jsonl")
    for position, trial in enumerate(study.trials(None)):
        results.add(**trial.row, validation_mse=1 / (1 + position))
    for key, name, size, variants in study.cells(None):
        best = study.chosen(results, key, name, size)
        assert best.variant == variants[-1]
        assert best.setting == study.settings[-1]


def test_the_learning_rate_falls_to_0():
    optimizer = falling(0.5, 4)([nn.Parameter(torch.zeros(1))])
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
        optimizer.step()
    assert rates[0] == 0.5
    assert rates == sorted(rates, reverse=True)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_a_training_is_reproducible_and_trials_see_no_test_part():
    training = Training("tuning", "adam", "pendulum", QKAN_NAME, 35, "sines", Setting(1, 0.1), 3)
    families.cache_clear()  # as in a new process
    (first,), (second,) = training.run(), training.run()
    assert first["validation_mse"] == second["validation_mse"]
    assert not any(key.startswith("test") for key in first)


# A run.


def test_finals_are_trained_anew_and_tested_once(results):
    for study in QUICK:
        for cell, rows in finals(results, study.key).items():
            assert sorted(row["seed"] for row in rows) == [0, 1], cell
            trials = results.where(stage="tuning", study=study.key, task=cell[0], size=cell[1], model=cell[2])
            errors = {
                name: math.prod(row["validation_mse"] for row in trials if row["variant"] == name)
                for name in {row["variant"] for row in trials}
            }
            # Small variants may be one and the same model: then either may be taken.
            assert {errors[row["variant"]] for row in rows} == {min(errors.values())}
            assert all("test_mse" in row for row in rows)
            assert not any("test_mse" in row for row in trials)


def test_forecasts_of_a_row_are_in_the_unit_of_the_series(results):
    _, known = data("pendulum")
    (row, *_) = results.where(study="epochs")
    residual = torch.tensor(row["forecast"], dtype=torch.float64) - known.restore(known.test.y)[:, 0]
    assert residual.abs().mean().item() == pytest.approx(row["test_mae"])


def test_a_rerun_leaves_known_rows_as_they_are(out):
    before = read_rows(out / "results.jsonl")
    cut = out / "cut.json"
    write_rows(cut, before[:-6])
    assert invoke(out, "--resume", "--json", str(cut)).exit_code == 0
    after = read_rows(cut)
    assert after[: len(before) - 6] == before[:-6]
    assert len(after) == len(before)


def test_tables_and_report_say_what_rows_say(results):
    rows = results.where(stage="final", study="adam", model=LSTM_NAME)
    shown = f"{median(row['test_mse'] for row in rows):.1e} ({rows[0]['parameters']})"
    assert any(shown in cell for table in tables(results) for row in table.rows for cell in row)
    text = report(results)
    assert shown in text
    assert "sequences.png" in text


def test_studies_can_be_picked(tmp_path):
    assert invoke(tmp_path, "--study", "lbfgs").exit_code == 0
    rows = Results.load(tmp_path / "results.jsonl").rows
    assert {row.get("study") for row in rows} == {"lbfgs", None}  # and yardsticks
    assert "must name studies among" in invoke(tmp_path, "--study", "adams").output


def test_pictures_are_drawn(out):
    for name in ("sequences.png", "sequences_epochs.png"):
        image = imread(out / name)
        assert image.std() > 0.01


# The front.


def made(**cells: float) -> dict:
    """Rows of one series by family: size and error."""
    names = {"lstm": LSTM_NAME, "gru": GRU_NAME, "qkan": QKAN_NAME, "hybrid": HYBRID_NAME, "mlp": MLP_NAME}
    found = {}
    for key, error in cells.items():
        name, _, count = key.partition("_")
        found["pendulum", int(count), names[name]] = [{"parameters": int(count), "test_mse": error}]
    return found


def test_the_front_is_of_those_whom_none_as_small_beats():
    assert on_front(made(lstm_35=2.0, qkan_35=1.0), "pendulum", 35)
    assert not on_front(made(lstm_35=1.0, qkan_35=2.0), "pendulum", 35)
    assert on_front(made(lstm_80=1.0, qkan_35=2.0), "pendulum", 35)  # larger ones do not count
    assert not on_front(made(gru_20=1.0, qkan_35=2.0), "pendulum", 35)  # smaller ones do
    assert on_front(made(lstm_35=1.5, qkan_35=2.0, hybrid_35=1.0), "pendulum", 35)
    assert not on_front(made(lstm_35=1.5, qkan_20=1.0), "pendulum", 35)  # ours has to be of that size
    assert on_front(made(mlp_20=1.0, qkan_35=2.0), "pendulum", 35)  # recurrent networks only


def test_goals_that_are_missed_stay_in_the_table(results):
    lines = goal_table(results).rows
    assert lines
    assert {line[-1] for line in lines} <= {"yes", "no"}
    assert any(line[-1] == "no" for line in lines)  # after one epoch


def test_forecasts_are_followed_for_the_first_study_only(results):
    assert {training.study for training in followed(QUICK[0], results)} == {"epochs"}


# Milan.


def test_a_folder_puts_milan_in_the_place_of_synthetic_traffic(tmp_path):
    ends = [f"5060\t{1383260400000 + 600_000 * step}\t39\t\t\t\t\t{10 + step % 24}" for step in range(6 * 24 * 8)]
    (tmp_path / "sms-call-internet-mi-2013-11-01.txt").write_text("\n".join(ends) + "\n")
    assert studies(tmp_path)[-1].tasks == ("milan",)
    series, known = data("milan", tmp_path)
    assert len(series) == 24 * 8
    assert known.test.x.shape[1] == 24


def test_windows_of_several_features_stay_as_they_are():
    windows = Windows(np.arange(2), torch.zeros(2, 3, 4), torch.zeros(2, 1))
    assert inputs(windows) is windows.x
    torch.testing.assert_close(
        inputs(Windows(np.arange(2), torch.ones(2, 3), torch.zeros(2, 1))), torch.ones(2, 3, 1), **EXACT
    )
