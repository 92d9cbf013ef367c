"""The benchmark of noisy devices: rows say where they come from, tables say what rows say."""

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.nisq import gradients
from benchmarks.nisq.devices import BACKENDS
from benchmarks.nisq.report import tables
from benchmarks.nisq.task import RATES, TUNING_SEED, WAYS, task
from benchmarks.report import Results
from rows import read_rows

pytest.importorskip("qiskit_ibm_runtime")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("nisq")
    options = ["--quick", "--seeds", "2", "--epochs", "2", "--out", str(out)]
    result = CliRunner().invoke(app, ["nisq", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def rows(out):
    return read_rows(out / "results.jsonl")


def test_it_writes_three_files_and_no_other(out):
    assert {path.name for path in out.iterdir()} == {"report.md", "results.jsonl", "nisq.png"}
    assert imread(out / "nisq.png").std() > 0


def test_rows_carry_commit_and_machine(rows):
    assert all(row["commit"] and row["machine"] for row in rows)


def test_every_way_has_the_same_trials_and_other_seeds_for_the_choice(rows):
    for way in WAYS:
        tuning = [row for row in rows if (row["stage"], row.get("way")) == ("tuning", way)]
        final = [row for row in rows if (row["stage"], row.get("way")) == ("final", way)]
        assert [row["lr"] for row in tuning] == list(RATES)
        assert {row["seed"] for row in tuning} == {TUNING_SEED}
        assert [row["seed"] for row in final] == [0, 1]
        assert {row["lr"] for row in final} == {min(tuning, key=lambda row: row["validation_mse"])["lr"]}


def test_noise_is_that_of_aer(rows):
    differences = [row["difference"] for row in rows if row["stage"] == "agreement"]
    assert len(differences) >= 6
    assert max(differences) <= 1e-12


def test_engines_say_under_what_they_trained(rows):
    engines = {row["way"]: row["engine"] for row in rows if row["stage"] == "final"}
    assert "Noisy" in engines["noise-aware"]
    assert engines["shot-based"].startswith("Sampled")
    assert len(set(engines.values())) == 3


def test_every_device_has_every_treatment(rows):
    found = {(row["way"], row["backend"], row["treatment"], row["shots"]) for row in rows if row["stage"] == "device"}
    assert len(found) == len(WAYS) * (1 + len(BACKENDS) * 2 * 3)


def test_tables_are_made_of_the_rows(out):
    results = Results.load(out / "results.jsonl")
    titles = [table.title for table in tables(results)]
    assert titles[0] == "Goals"
    text = (out / "report.md").read_text()
    for table in tables(results):
        assert table.markdown() in text


def test_rows_of_a_gradient_are_those_of_the_rule(rows):
    from circuits import pz
    from circuits.engines.sampled import Sampled
    from random_circuits import inputs

    for rule, (make, count) in gradients.RULES.items():
        asked = []

        class Device(Sampled):
            def _run(self, circuit, table, shots, asked=asked):
                asked.append(len(table))
                return super()._run(circuit, table, shots)

        x, params = inputs(pz(3), (4,), (4,))
        leaves = {name: tensor.requires_grad_() for name, tensor in params.items()}
        Device(gradient=make(0))(pz(3), x, leaves).sum().backward()
        assert asked == [4, 4 * count], rule


def test_the_parts_of_the_task_do_not_overlap():
    data = task(50, 60, 70)
    assert [len(x) for x, _ in (data.train, data.validation, data.test)] == [50, 60, 70]
    assert abs(data.train[1].mean()) < 1e-12
    assert abs(data.train[1].std() - 1) < 1e-12
    assert not (data.train[0][:50, None] == data.test[0][None, :50]).any()
