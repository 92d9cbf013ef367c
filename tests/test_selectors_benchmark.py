"""Selectors see the training part only, everybody's columns meet the same predictors, losses stay in the tables."""

import math
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import publish
from benchmarks.__main__ import app
from benchmarks.report import Results
from benchmarks.selectors import peers, run
from benchmarks.selectors.kinds import CLASSES, NUMBERS
from benchmarks.selectors.peers import NAMES
from benchmarks.selectors.protocol import PERCENTS, Study, kept, measure
from benchmarks.selectors.rankings import NETWORKS, PUBLISHED, SELECTORS, rankings
from benchmarks.selectors.report import FULL, goal_table, points, score_table, stability, tables
from benchmarks.selectors.sets import SETS, TableSet
from rows import read_rows, write_rows

QUICK = replace(run.QUICK, sets=("diabetes",))
TINY = Study(folds=2, epochs=1, trees=2)


def planted(kind, samples=60, columns=5):
    """Column 3 decides, and column 0 a little."""
    x = np.random.default_rng(0).normal(size=(samples, columns))
    number = 3 * x[:, 3] + x[:, 0]
    return x, ((number > 0).astype(int) if kind is CLASSES else number)


@pytest.fixture(scope="module", autouse=True)
def _cheap():
    """And one table: the one of classes takes longer, and `measure` is tested with classes below."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "QUICK", QUICK)
        patch.setattr(peers, "TREES", 10)
        patch.setattr(peers, "REPEATS", 2)
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return invoked(tmp_path_factory.mktemp("selectors") / "new")


def invoked(out, *options):
    arguments = ["selectors", "--quick", "--seeds", "1", "--out", str(out), *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return out


def test_a_row_has_all_there_is_of_a_fold(out):
    rows = read_rows(out / "results.jsonl")
    assert [(row["dataset"], row["fold"]) for row in rows] == [(name, fold) for name in QUICK.sets for fold in (0, 1)]
    for row in rows:
        x, y = SETS[row["dataset"]].load()
        assert row.keys() >= {"seed", "commit", "machine", *QUICK.setting}
        assert sum(row["samples"]) == len(y)
        assert tuple(row["selections"]) == SELECTORS
        for found in row["selections"].values():
            assert sorted(found["order"]) == list(range(x.shape[1]))
            assert list(found["scores"]) == [str(percent) for percent in PERCENTS]
            assert all(scores.keys() == row["all"].keys() for scores in found["scores"].values())


def test_the_report_shows_every_selector_on_every_table(out):
    report = (out / "report.md").read_text()
    for table in tables(Results.load(out / "results.jsonl"), QUICK):
        assert table.markdown() in report
    for name in SELECTORS:
        assert report.count(f"\n| {name} |") == 2 * len(QUICK.sets)
    assert {path.name for path in out.iterdir()} == {"report.md", "results.jsonl"}


def test_documents_show_the_full_study_only(out):
    results = Results.load(out / "results.jsonl")
    (goals,) = publish.TABLES["selectors"](results)
    assert list(goals.rows) == []
    assert publish.TABLES["selectors_goals"](results) == [goals]


def test_resuming_leaves_known_folds_alone_and_adds_the_others(out, tmp_path):
    file = tmp_path / "kept.json"
    first, second = read_rows(out / "results.jsonl")
    write_rows(file, [{**second, "seen": "before"}])
    invoked(tmp_path / "again", "--resume", "--json", str(file))
    known, added = read_rows(file)
    assert known == {**second, "seen": "before"}
    assert without_seconds(added) == without_seconds(first)


def without_seconds(row):
    selections = {name: {**found, "seconds": 0} for name, found in row["selections"].items()}
    return {**row, "selections": selections}


@pytest.mark.parametrize("kind", [CLASSES, NUMBERS])
def test_what_is_tested_selects_nothing(kind):
    """Other columns in the test part leave every order as it was, but not the scores."""
    x, y = planted(kind)
    (_, test), *_ = kind.folds(2, 0).split(x, y)
    other = x.copy()
    other[test] = np.random.default_rng(1).normal(size=other[test].shape)
    first, second = (
        measure(TINY, TableSet("planted", kind, lambda x=x: (x, y)), 0, 0, lambda: None) for x in (x, other)
    )
    orders = [{name: found["order"] for name, found in row["selections"].items()} for row in (first, second)]
    assert orders[0] == orders[1]
    assert first["all"] != second["all"]


@pytest.mark.parametrize("kind", [CLASSES, NUMBERS])
@pytest.mark.parametrize("name", NAMES)
def test_others_find_what_decides(kind, name):
    x, y = planted(kind)
    scores = kind.peers[name](x, kind.target(y), 0)
    assert scores.shape == (5,)
    assert np.argmax(scores) == 3


def test_a_column_is_the_better_the_stronger_the_penalty_it_survives():
    sizes = np.array([[0, 0, 0], [0, 2, 0], [0, 1, 1], [5, 3, 1]])
    assert np.argsort(-peers._survival(sizes)).tolist() == [1, 2, 0]
    equals = np.array([[0, 0], [1, 2]])
    assert np.argsort(-peers._survival(equals)).tolist() == [1, 0]


def test_networks_are_trained_once_for_all_of_their_scores(monkeypatch):
    made = []

    def counted(network):
        def make(inputs, outputs):
            made.append(network.name)
            return network.make(inputs, outputs)

        return replace(network, make=make)

    monkeypatch.setattr("benchmarks.selectors.rankings.NETWORKS", [counted(network) for network in NETWORKS])
    found = list(rankings(CLASSES, *planted(CLASSES), seed=0, epochs=1))
    assert tuple(ranking.name for ranking in found) == SELECTORS
    assert made == [network.name for network in NETWORKS]
    assert (PUBLISHED.penalty, PUBLISHED.learning_rate) == (0.0, 1e-3)


def test_a_percentage_is_one_column_at_least():
    assert [kept(30, percent) for percent in PERCENTS] == [6, 12, 18]
    assert [kept(13, percent) for percent in PERCENTS] == [3, 5, 8]
    assert kept(2, 20) == 1


# Tables, from rows made up.


def row(seed, fold, scores, order=(0, 1, 2, 3, 4)):
    """A fold of the full study; `scores` has the metric by selector, 0.5 for others."""

    def found(name):
        return {
            "order": list(order),
            "seconds": 1.0,
            "scores": {str(percent): {"linear": scores.get(name, 0.5)} for percent in PERCENTS},
        }

    selections = {name: found(name) for name in SELECTORS}
    return {"dataset": "wine", "seed": seed, "fold": fold, **FULL.setting, "all": {"linear": 0.9}} | {
        "selections": selections
    }


def test_stability_is_the_mean_share_of_common_columns():
    rows = [row(0, 0, {}, (0, 1, 2, 3, 4)), row(0, 1, {}, (1, 2, 0, 3, 4)), row(1, 0, {}, (4, 3, 2, 1, 0))]
    assert stability(rows, "random", 40) == pytest.approx(1 / 3)
    assert stability(rows, "random", 60) == 1
    assert math.isnan(stability(rows[:1], "random", 40))


def test_goals_compare_with_the_best_of_the_others(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    scores = {"LASSO": 0.8, "SVM-RFE": 0.7, "KAN, L2": 0.775, "KAN, KO": 0.79, "QKAN, L2": 0.9, "QKAN, SI": 0.95}
    results.add(**row(0, 0, scores))
    results.add(**row(0, 1, scores | {"KAN, L2": 0.785}))
    table = goal_table(results)
    assert table.rows[0] == [
        "wine, 20 %",
        "LASSO: 80.0",
        "-2.0 ± 0.7",
        "+10.0 ± 0.0",
        "KO: -1.0 ± 0.0",
        "SI: +15.0 ± 0.0",
        "yes / yes / yes / yes",
    ]
    results.rows[0]["selections"]["KAN, L2"]["scores"]["40"]["linear"] = 0.7
    assert goal_table(results).rows[1][-1] == "no / yes / yes / yes"
    assert score_table(results, FULL, "wine").rows[0] == ["all columns", *["90.0 ± 0.0"] * 3, "-", "-"]


def test_points_are_averaged_over_predictors():
    made = row(0, 0, {})
    made["selections"]["random"]["scores"]["20"] = {"linear": 0.5, "random forest": 0.9}
    assert points(made, "random", 20) == pytest.approx(70)
