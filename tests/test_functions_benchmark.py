"""The benchmark of known functions: targets are formulas, families are treated alike, tables say what rows say."""

import math
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.special
import torch
from matplotlib.image import imread
from torch import nn
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.functions import goals, protocol
from benchmarks.functions.families import FAMILIES, FOURIER_NAME, MLP_NAME, QKAN_NAME, SPLINE_NAME
from benchmarks.functions.goals import ABLATIONS, CHOSEN, EVERYTHING, GOALS
from benchmarks.functions.protocol import TUNING_SEEDS, Study
from benchmarks.functions.report import FULL, losses, medians, report, summary, tables
from benchmarks.functions.run import QUICK
from benchmarks.functions.targets import BESSEL, BY_KEY, EXPONENTIAL, FEYNMAN, PAPERS, SPECIAL, TARGETS
from benchmarks.provenance import provenance, ran_on
from benchmarks.report import Results
from benchmarks.sizes import build, fitting, growth
from circuits import rpz
from classical import BSplineKANLayer, FourierKANLayer
from qkan import QKAN, QKANLayer, parameter_count, set_engine
from rows import read_rows
from tolerances import EXACT

SIZES = Study().sizes


def values(target, *points):
    """A target at points of its box."""
    box = torch.tensor(target.box, dtype=torch.float64)
    unit = (torch.tensor(points, dtype=torch.float64) - box[:, 0]) / (box[:, 1] - box[:, 0])
    return target(unit)[:, 0]


# Targets.


def test_targets_are_twenty_of_three_sources():
    count = {source: sum(target.source == source for target in TARGETS) for source in (PAPERS, FEYNMAN, SPECIAL)}
    assert count == {PAPERS: 4, FEYNMAN: 10, SPECIAL: 6}
    assert len(BY_KEY) == len(TARGETS)


def test_bessel_is_its_integral():
    x = torch.linspace(0, 1, 7, dtype=torch.float64)[:, None]
    angles = 2 * math.pi * torch.arange(64, dtype=torch.float64) / 64
    # 64 equispaced nodes are exact up to J_64(20) = 1e-25.
    torch.testing.assert_close(BESSEL(x), torch.cos(20 * x * angles.sin()).mean(-1, keepdim=True), **EXACT)


@pytest.mark.parametrize(
    ("key", "point", "value"),
    [
        ("exp", (0.5, 1.0), math.e**2),
        ("exp", (-0.5, 0.0), 1 / math.e),
        ("sin", (0.0, 0.5), math.sin(1.25)),
        ("sinc", (0.0,), 1.0),
        ("sinc", (0.1,), math.sin(2) / 2),
        ("I.6.2", (1.0, 1.0), math.exp(-0.5) / math.sqrt(2 * math.pi)),
        ("I.6.2", (0.0, 2.0), 1 / math.sqrt(8 * math.pi)),
        ("I.6.2b", (1.5, -0.5, 2.0), math.exp(-0.5) / math.sqrt(8 * math.pi)),
        ("I.9.18", (0.5, -1.0, -1.0, 1.0, -0.5, 0.5), 0.5 / 9),
        ("I.12.11", (-1.0, math.pi / 2), 0.0),
        ("I.13.12", (0.5, 0.5), 0.5),
        ("I.15.3x", (-1.0, 0.6), 2.5),
        ("I.16.6", (0.5, 0.5), 0.8),
        ("I.18.4", (1.0, 0.5), 0.75),
        ("I.26.2", (0.5, math.pi / 2), math.pi / 6),
        ("I.27.6", (0.5, 2.0), 0.5),
        ("ellipkinc", (0.7, 0.0), 0.7),
        ("ellipkinc", (0.7, 1.0), math.atanh(math.sin(0.7))),
        ("ellipeinc", (0.7, 1.0), math.sin(0.7)),
        ("jv", (0.5, 1.0), math.sqrt(2 / math.pi) * math.sin(1)),
        ("lpmv", (1.0, 0.3), 0.3),
        ("sphharm11", (math.pi, math.pi / 2), math.sqrt(3 / (8 * math.pi))),
        ("sphharm12", (0.0, math.pi / 4), -math.sqrt(15 / (8 * math.pi)) / 2),
    ],
)
def test_targets_have_the_values_that_pencil_and_paper_give(key, point, value):
    torch.testing.assert_close(values(BY_KEY[key], point).item(), value, **EXACT)


@pytest.mark.parametrize(("key", "order", "degree"), [("sphharm11", 1, 1), ("sphharm12", 1, 2)])
def test_spherical_harmonics_are_those_of_scipy(key, order, degree):
    azimuth, polar = np.random.default_rng(0).uniform(0, 3, (2, 20))
    if hasattr(scipy.special, "sph_harm_y"):
        expected = scipy.special.sph_harm_y(degree, order, polar, azimuth).real
    else:
        expected = scipy.special.sph_harm(order, degree, azimuth, polar).real  # pyright: ignore
    np.testing.assert_allclose(BY_KEY[key].formula(azimuth, polar), expected, atol=1e-12)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.key)
def test_samples_fill_the_box_follow_their_seed_and_are_finite(target):
    (x, y), again, other = target.sample(400, 0), target.sample(400, 0), target.sample(400, 1)
    assert x.shape == (400, target.inputs)
    assert y.shape == (400, 1)
    assert y.isfinite().all()
    assert y.std() > 0.05
    assert (x.amin(0) < -0.95).all()
    assert (x.amax(0) > 0.95).all()
    assert x.abs().max() <= 1
    assert torch.equal(x, again[0])
    assert not x.eq(other[0]).any()
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * target.inputs)
    assert target(corners.reshape(-1, target.inputs)).isfinite().all(), "a pole at the edge"


# Families.


@pytest.mark.parametrize("inputs", [1, 6])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_model_is_as_large_as_the_size_allows_and_no_larger(family, inputs):
    for make in family.variants.values():
        for size in (SIZES[0], SIZES[-1]):
            number = growth(make, inputs, size)
            if number:
                model = build(make, inputs, size)
                assert sum(parameter_count(model).values()) <= size
                assert model(torch.zeros(3, inputs, dtype=torch.float64)).shape == (3, 1)
                assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
            assert sum(parameter_count(make(inputs, number + 1, "meta")).values()) > size


def test_every_family_has_as_many_trials():
    assert [family.name for family in FAMILIES] == [QKAN_NAME, FOURIER_NAME, SPLINE_NAME, MLP_NAME]
    assert {len(family.variants) for family in FAMILIES} == {5}


def test_the_fourier_control_has_the_spectra_and_the_base_of_the_qkan():
    def described(family, kind):
        found = []
        for make in family.variants.values():
            layers = [module for module in make(2, 3, "cpu").modules() if isinstance(module, kind)]
            found.append([spectrum(layer) for layer in layers])
        return found

    def spectrum(layer):
        if isinstance(layer, FourierKANLayer):
            return layer.basis.degree, layer.basis.frequency, layer.base, layer.bias is None
        encodings = layer.activation.circuit.encodings
        frequency = layer.activation.scale[0, 0, 0].item()
        return len(encodings), frequency, layer.base, layer.bias is None

    kinds = (QKANLayer, FourierKANLayer)
    quantum, control = (described(family, kind) for family, kind in zip(FAMILIES[:2], kinds, strict=True))
    assert quantum == control


def test_the_grids_of_splines_cover_the_inputs_exactly():
    spline = next(family for family in FAMILIES if family.name == SPLINE_NAME)
    for make in spline.variants.values():
        first = next(module for module in make(2, 3, "cpu").modules() if isinstance(module, BSplineKANLayer))
        assert first.basis.domain == (-1.0, 1.0)


def test_mlps_have_both_activations():
    assert {label.split(",")[0] for label in FAMILIES[-1].variants} == {"tanh", "silu"}
    assert FAMILIES[-1].name == MLP_NAME


# The protocol.


def run(out, *options):
    result = CliRunner().invoke(app, ["functions", "--out", str(out), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return run(tmp_path_factory.mktemp("functions") / "new", "--quick", "--seeds", "1", "--targets", BESSEL.key)


@pytest.fixture(scope="module")
def rows(out):
    return read_rows(out / "results.jsonl")


def test_it_writes_three_files_and_no_other(out):
    assert {path.name for path in out.iterdir()} == {"report.md", "results.jsonl", "functions.png"}
    assert imread(out / "functions.png").std() > 0
    text = (out / "report.md").read_text()
    assert all(table.markdown() in text for table in tables(Results.load(out / "results.jsonl"), QUICK))


def test_rows_carry_seed_engine_parameters_commit_and_machine(rows):
    for row in rows:
        assert row.keys() >= {"stage", "seed", "engine", "parameters", "commit", "machine"}
        if row["stage"] != "goal":
            assert row["parameters"] <= row["size"]


def test_every_family_has_the_same_trials_and_never_sees_test_points_while_tuning(rows):
    assert {row["target"] for row in rows if row["stage"] != "goal"} == {BESSEL.key}
    for family in FAMILIES:
        for size in QUICK.sizes:
            cell = [row for row in rows if (row.get("size"), row["model"]) == (size, family.name)]
            tuning, final = ([row for row in cell if row["stage"] == stage] for stage in ("tuning", "final"))
            trials = list(product(fitting(family, BESSEL.inputs, size), TUNING_SEEDS))
            assert [(row["variant"], row["seed"]) for row in tuning] == trials
            assert all(row["test_error"] is None for row in tuning)

            def total(variant, tuning=tuning):
                return sum(row["validation_error"] for row in tuning if row["variant"] == variant)

            assert [(row["variant"], row["seed"]) for row in final] == [(min(dict(trials), key=total), 0)]
            assert all(0 < row["test_error"] < 10 for row in final)


def test_goals_and_ablations_have_a_row_each_and_ablations_see_no_test_points(rows):
    found = [row for row in rows if row["stage"] == "goal"]
    assert [row["setting"] for row in found] == [goal.name for goal in EVERYTHING]
    assert [row["test_mse"] is None for row in found] == [goal.bound is None for goal in EVERYTHING]
    assert len(GOALS) + len(ABLATIONS) == len(EVERYTHING) + 1


def test_resuming_trains_nothing_again(out, rows, monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr(goals, "fit", refuse)
    monkeypatch.setattr(protocol, "fit", refuse)
    file = tmp_path / "rows.json"
    file.write_text((out / "results.jsonl").read_text())
    options = ["--quick", "--targets", BESSEL.key, "--json", str(file), "--resume"]
    run(tmp_path / "again", "--seeds", "1", *options)
    assert read_rows(file) == rows
    assert (tmp_path / "again" / "report.md").read_text() == (out / "report.md").read_text()
    with pytest.raises(AssertionError, match="trained again"):
        run(tmp_path / "more", "--seeds", "2", *options)


def test_an_unknown_target_is_named_before_anything_runs(tmp_path):
    result = CliRunner().invoke(app, ["functions", "--targets", "exp,nonsense", "--out", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "nonsense" in result.output
    assert not (tmp_path / "none").exists()


def test_training_that_diverges_is_a_row_with_an_infinite_error(monkeypatch):
    class Explosion(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(math.nan, dtype=torch.float64))

        def forward(self, x):
            return self.weight * x[:, :1]

    row = protocol._trained(QUICK, EXPONENTIAL, Explosion(), seed=0, steps=1, test=True)
    assert row["validation_error"] == row["test_error"] == math.inf
    assert row["engine"] == "torch"


@pytest.mark.parametrize("diverged", [False, True])
def test_rows_name_the_engine_that_has_trained_and_not_the_one_before(monkeypatch, diverged):
    def training(model, *args, **kwargs):
        set_engine(model, "reference")  # as "auto" chooses when it sees data
        if diverged:
            raise FloatingPointError
        return SimpleNamespace(seconds=1.0)

    monkeypatch.setattr(protocol, "fit", training)
    model = QKAN([1, 1], rpz(1), dtype=torch.float64)
    row = protocol._trained(QUICK, BESSEL, model, seed=0, steps=1, test=False)
    assert ran_on(model) == row["engine"] == "Reference()"
    assert row["parameters"] == 7


# Tables.


@pytest.fixture
def made_up(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    for target, quantum, spline in (("exp", 1e-3, 1e-2), ("j0", 4e-2, 1e-2)):
        for factor, seed in ((0.5, 0), (1.0, 1), (3.0, 2)):
            for model, value in ((QKAN_NAME, quantum), (SPLINE_NAME, spline)):
                row = {"stage": "final", "target": target, "size": 80, "model": model, "seed": seed, "parameters": 78}
                results.rows.append(
                    row | {"test_error": factor * value, "variant": "any", "steps": FULL.steps} | provenance()
                )
    return results


def test_winners_are_by_medians_and_losing_rows_stay(made_up):
    assert medians(made_up, FULL, EXPONENTIAL, 80) == {QKAN_NAME: 1e-3, SPLINE_NAME: 1e-2}
    lines = {line[0]: line[1] for line in summary(made_up, FULL).rows}
    assert lines[QKAN_NAME] == "1/2, 2x"
    assert lines[SPLINE_NAME] == "1/2, 3.2x"
    assert lines[MLP_NAME] == "0/0, nanx"
    by_target = tables(made_up)[-1].rows
    assert [(line[0].split(":")[0], line[-1]) for line in by_target] == [("exp", QKAN_NAME), ("j0", SPLINE_NAME)]
    assert by_target[0][1] == "1.0e-03 [5e-04..3e-03]"
    assert losses(made_up, FULL) == "j0 (4 times the error of the B-spline KAN)"
    assert losses(made_up, FULL) in report(made_up, FULL, seeds=3)


def goal_row(seed: int, error: float, goal=CHOSEN, **others):
    row = {"stage": "goal", "target": goal.target.key, "setting": goal.name, "seed": seed, "model": "QKAN"}
    figures = {"test_mse": error, "validation_mse": error, "seconds": 2.0, "steps": goal.budget(FULL)}
    return row | {"parameters": 246} | figures | others


def test_the_goal_table_says_how_far_it_is(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    results.rows = [goal_row(seed, error) for seed, error in enumerate((1e-8, 3e-8, 2e-7))]
    goal, ablation = tables(results)
    assert goal.columns == ["figure", "goal", "measured", "reached"]
    figure = "exp(sin πx + y²), as above: QKAN, 246 parameters"
    assert goal.rows == [[figure, "test MSE <= 1e-05", "3.0e-08 [1e-08..2e-07], 2.0 s", "yes"]]
    assert ablation.rows == [["as above", "3.0e-08", "1.0e-08", "2.0e-07"]]


@pytest.mark.parametrize(("error", "seconds", "reached"), [(1e-8, 59.0, "yes"), (1e-8, 61.0, "no"), (2e-7, 59.0, "no")])
def test_a_goal_of_error_and_time_needs_both(tmp_path, error, seconds, reached):
    results, extended = Results(tmp_path / "results.jsonl"), GOALS[2]
    results.rows = [goal_row(0, error, extended, seconds=seconds)]
    ((_, goal, _, told),) = tables(results)[0].rows
    assert (goal, told) == ("test MSE <= 1e-07, <= 60 s", reached)


def test_rows_of_quick_runs_are_in_no_table_of_the_full_one(made_up):
    made_up.rows += [row | {"steps": QUICK.steps, "test_error": 9.0} for row in made_up.rows]
    made_up.rows += [goal_row(0, 9.0, steps=1), goal_row(1, 9.0, budget=1), goal_row(2, 1e-6, steps=7, budget=50)]
    assert medians(made_up, FULL, EXPONENTIAL, 80) == {QKAN_NAME: 1e-3, SPLINE_NAME: 1e-2}
    assert [line[2] for line in tables(made_up)[0].rows] == ["1.0e-06 [1e-06..1e-06], 2.0 s"]
    assert medians(made_up, QUICK, EXPONENTIAL, 80) == {QKAN_NAME: 9.0, SPLINE_NAME: 9.0}


def test_a_goal_of_a_quick_run_is_not_the_result_of_the_full_one(tmp_path, monkeypatch):
    monkeypatch.setattr(goals, "_trained", lambda goal, study, seed: {"steps": goal.budget(study)})
    results, long = Results(tmp_path / "results.jsonl"), replace(CHOSEN, steps=3)
    for study in (QUICK, QUICK, FULL, FULL):
        goals.reach(long, study, 1, results, lambda: None)
    assert [(row["steps"], row["budget"]) for row in results.rows] == [(1, 1), (3, 3)]
    results.rows = [{key: value for key, value in row.items() if key != "budget"} for row in results.rows]
    goals.reach(long, FULL, 1, results, lambda: None)
    assert len(results.rows) == 2, "rows of a time without budgets count by their steps"
