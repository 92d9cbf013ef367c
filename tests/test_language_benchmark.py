"""The benchmark of language: parts do not overlap, everybody gets the same tokens, tables say what rows say."""

import math
import os
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
import torch
from matplotlib.image import imread
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.language.data import FILE, MissingText, Text, read, synthetic
from benchmarks.language.families import FAMILIES, GPT2, GROUPED, HYBRID, KAN, MLP, SMALL, count
from benchmarks.language.report import MOST_PARAMETERS, cost_table, last_setting, tables
from benchmarks.language.train import (
    DECAY,
    QUICK,
    RATES,
    TUNING_SEED,
    Budget,
    batch,
    evaluate,
    make_optimizer,
    measure,
    part_of_rate,
)
from benchmarks.publish import ROOT, TABLES
from benchmarks.report import Results
from models import drawn
from qkan import GPT, GPTConfig, next_token_loss
from rows import read_rows, write_rows

pytestmark = pytest.mark.usefixtures("seeded")

WORDS = "to be or not to be, that is the question:\n"


def invoke(*options: str):
    return CliRunner().invoke(app, ["language", "--quick", "--seeds", "2", *options], catch_exceptions=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / FILE).write_text(WORDS * 40)
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory, folder) -> Path:
    out = tmp_path_factory.mktemp("language")
    with torch.random.fork_rng(devices=[]):
        result = invoke("--out", str(out), "--data-dir", str(folder))
    assert result.exit_code == 0, result.output
    return out


def rows_of(path: Path) -> list[dict]:
    return read_rows(path)


@pytest.fixture(scope="module")
def rows(out) -> list[dict]:
    return rows_of(out / "results.jsonl")


# The text.


def test_parts_are_the_text_one_after_the_other(folder):
    text = read(folder)
    whole = torch.cat([text.train, text.validation, text.test])
    assert text.characters(whole) == WORDS * 40
    assert [len(part) / len(whole) for part in (text.train, text.validation, text.test)] == pytest.approx(
        [0.9, 0.05, 0.05], abs=1e-3
    )
    assert text.alphabet == "".join(sorted(set(WORDS)))


def test_the_synthetic_text_says_so_and_is_always_the_same():
    text = synthetic(5000)
    assert text.name == "synthetic"
    assert torch.equal(text.train, synthetic(5000).train)
    assert not torch.equal(text.train, synthetic(5000, seed=1).train)


def test_windows_come_from_the_training_part_and_reach_its_ends():
    tokens, budget = torch.arange(20), replace(QUICK, batch=2000, context=5)
    windows = batch(tokens, budget, drawn(0))
    assert torch.equal(windows, windows[:, :1] + torch.arange(5))
    assert windows.unique().tolist() == list(range(20))


class Uniform(torch.nn.Module):
    """Remembers what it is asked about."""

    def forward(self, tokens):
        self.seen = tokens
        return torch.zeros(*tokens.shape, 7)


def test_every_token_but_the_first_is_predicted_once():
    tokens, model = torch.arange(13) % 7, Uniform()
    loss = evaluate(model, tokens, replace(QUICK, context=5))  # pyright: ignore[reportArgumentType]
    assert loss == pytest.approx(math.log(7))
    predicted = (torch.arange(13).unfold(0, 5, 4)[:, 1:]).flatten()
    assert torch.equal(model.seen, tokens.unfold(0, 5, 4))
    assert predicted.tolist() == list(range(1, 13))


def test_the_loss_of_a_part_is_the_mean_over_all_its_windows():
    text, budget = Text.of("words", WORDS * 200), replace(QUICK, context=16)
    model = GPT(GPTConfig(len(text.alphabet), 16, 16, 1, 2))
    windows = text.train.unfold(0, 16, 15)
    expected = sum(next_token_loss(model(row[None]), row[None]).item() for row in windows) / len(windows)
    assert evaluate(model, text.train, budget) == pytest.approx(expected, rel=1e-5)
    assert model.training


# The training.


def test_the_rate_goes_up_and_then_down():
    rates = [part_of_rate(step, 100) for step in range(101)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(rates[5:]))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_is_optimised_once_and_angles_do_not_decay(family):
    model = GPT(GPTConfig(7, width=16, layers=1, heads=2), FAMILIES[family])
    decayed, free = make_optimizer(model, 1e-3).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (DECAY, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert sorted(names) == sorted(id(parameter) for parameter in decayed["params"] + free["params"])
    angles = ("theta", "scale", "shift", "gain", "bias", "coefficients")
    assert not [name for each in decayed["params"] if (name := names[id(each)]).endswith(angles)]


def test_families_have_the_sizes_that_are_compared():
    budget = Budget()
    sizes = {}
    for name, make in FAMILIES.items():
        sizes[name] = count(GPT(GPTConfig(65, budget.context, budget.width, budget.layers), make))[1]
    assert sizes[GPT2] == 4 * (8 * 128**2 + 5 * 128)
    assert sizes[MLP] == sizes[GPT2] + 4 * 128
    for name in (HYBRID, GROUPED):
        assert sizes[name] <= MOST_PARAMETERS * sizes[MLP]
    assert sizes[SMALL] == pytest.approx(sizes[HYBRID], rel=0.01)
    assert sizes[GROUPED] == pytest.approx(sizes[HYBRID], rel=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_start_with_comparable_variance(family):
    module, x = FAMILIES[family](128), torch.randn(4000, 128)
    if family != GPT2:
        assert module(x).var().item() == pytest.approx(1.71 if family == KAN else 1.0, rel=0.1)


# The run.


def test_it_writes_three_files_and_no_other(out):
    assert {path.name for path in out.iterdir()} == {"report.md", "results.jsonl", "language.png"}
    assert imread(out / "language.png").std() > 0


def test_everybody_has_the_same_trials_tokens_and_seeds(rows):
    for family in FAMILIES:
        tuning = [row for row in rows if (row["stage"], row["model"]) == ("tuning", family)]
        final = [row for row in rows if (row["stage"], row["model"]) == ("final", family)]
        assert [(row["lr"], row["seed"]) for row in tuning] == [(rate, TUNING_SEED) for rate in RATES]
        assert [row["seed"] for row in final] == [0, 1]
        assert {row["lr"] for row in final} == {min(tuning, key=lambda row: row["validation"])["lr"]}
        assert {row["tokens"] for row in final} == {QUICK.steps * QUICK.batch * QUICK.context}
        assert {row["tokens"] for row in tuning} == {QUICK.tuning * QUICK.batch * QUICK.context}
    assert len(rows) == len(FAMILIES) * (len(RATES) + 2)


def test_rows_say_where_they_come_from(rows):
    for row in rows:
        assert row["commit"]
        assert row["machine"]
        assert row["text"].startswith("tinyshakespeare (")
        assert ("test" in row) == (row["stage"] == "final"), "a choice must not see the test part"
        assert len(row["curve"]) == QUICK.points
        assert row["curve"][-1][0] == row["tokens"]


def test_a_resumed_run_leaves_alone_what_is_there(out, rows, folder, tmp_path):
    kept = [row for row in rows if (row["model"], row["seed"]) != (HYBRID, 1)]
    other = [{**kept[0], "steps": 7, "model": HYBRID, "seed": 1, "stage": "final"}]
    write_rows(tmp_path / "results.jsonl", other + kept)
    result = invoke("--out", str(tmp_path), "--data-dir", str(folder), "--resume")
    assert result.exit_code == 0, result.output
    after = rows_of(tmp_path / "results.jsonl")
    assert after[:-1] == other + kept
    assert (after[-1]["stage"], after[-1]["model"], after[-1]["seed"]) == ("final", HYBRID, 1)
    (before,) = (row for row in rows if row not in kept)
    assert after[-1]["validation"] == before["validation"], "a seed fixes a training"
    assert after[-1]["written"] == before["written"]


def test_tables_are_made_of_the_rows(out, rows):
    results = Results.load(out / "results.jsonl")
    report = (out / "report.md").read_text()
    setting = last_setting(results)
    for table in tables(results, setting):
        assert table.markdown() in report
    goals, losses, *_ = tables(results, setting)
    assert [line[0] for line in losses.rows] == list(FAMILIES)
    ends = [row["validation"] for row in rows if (row["stage"], row["model"]) == ("final", MLP)]
    assert losses.rows[0][3] == f"{sum(ends) / 2:.3f} [{min(ends):.3f}..{max(ends):.3f}]"
    assert [line[0] for line in goals.rows] == [HYBRID, GROUPED]
    middle = {
        name: median(row["validation"] for row in rows if (row["stage"], row["model"]) == ("final", name))
        for name in FAMILIES
    }
    assert goals.rows[0][2].startswith(f"{middle[HYBRID] / min(middle[MLP], middle[GPT2]):.3f} at ")
    assert TABLES["language"](results)[0] == TABLES["language_goals"](results)[0]


def test_a_report_is_of_its_run_and_not_of_the_last_row(out, rows, folder, tmp_path):
    other = {**rows[-1], "steps": 7, "validation": 99.0}
    write_rows(tmp_path / "results.jsonl", [*rows, other])
    assert invoke("--out", str(tmp_path), "--data-dir", str(folder), "--resume").exit_code == 0
    assert (tmp_path / "report.md").read_text() == (out / "report.md").read_text()
    assert len(rows_of(tmp_path / "results.jsonl")) == len(rows) + 1


def test_the_engine_of_the_generation_is_named_beside_its_rate(out, rows):
    final = [row for row in rows if row["stage"] == "final"]
    engines = {row["model"]: (row["engine"], row["generation_engine"]) for row in final}
    assert engines[MLP] == ("torch", "torch")
    assert engines[GROUPED][0].startswith("Spectral")
    assert engines[GROUPED][1] != engines[GROUPED][0]
    results = Results.load(out / "results.jsonl")
    shown = {line[0]: tuple(line[-2:]) for line in cost_table(results, last_setting(results)).rows}
    assert shown == engines
    results.rows = [{key: value for key, value in row.items() if key != "generation_engine"} for row in results.rows]
    assert [line[-1] for line in cost_table(results, last_setting(results)).rows] == ["-"] * len(FAMILIES)


def test_a_training_leaves_the_random_numbers_of_others_alone(tmp_path):
    text, before = synthetic(2000), torch.random.get_rng_state()
    row = measure("tuning", MLP, 1e-3, 0, text, QUICK, Results(tmp_path / "results.jsonl"))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(1)
    again = measure("tuning", MLP, 1e-3, 0, text, QUICK, Results(tmp_path / "again.json"))
    assert row["validation"] == again["validation"]


def test_a_file_that_is_no_text_is_told(tmp_path):
    (tmp_path / FILE).write_bytes(b"caf\xe9 " * 100)
    with pytest.raises(
        MissingText, match=r"tinyshakespeare.txt must be text in UTF-8, but is not .*: save it in UTF-8"
    ):
        read(tmp_path)
    assert invoke("--out", str(tmp_path / "none"), "--data-dir", str(tmp_path)).exit_code == 2


def test_make_says_that_it_needs_a_text():
    # The suite itself may run under make, which tells its children so.
    command = ["make", "--no-print-directory", "--dry-run", "language", "DATA="]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert result.returncode == 2
    assert "make language DATA=" in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "There is no text to learn: give --data-dir"),
        (["--data-dir", "nowhere"], "There is no tinyshakespeare.txt in nowhere"),
    ],
    ids=["no folder", "no file"],
)
def test_what_to_give_is_told(options, told, tmp_path):
    result = CliRunner().invoke(app, ["language", "--out", str(tmp_path / "none"), *options])
    assert result.exit_code == 2
    assert told in " ".join(result.output.replace("│", " ").split())
    assert not (tmp_path / "none").exists()


def test_a_short_text_is_told(tmp_path):
    (tmp_path / FILE).write_text(WORDS)
    result = invoke("--out", str(tmp_path / "none"), "--data-dir", str(tmp_path))
    assert result.exit_code == 2
    assert "The text is too short" in result.output
