"""Parameters are counted twice, and a formula that is wrong is an error."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.parameters import run
from benchmarks.parameters.entries import ENTRIES, GRIDS, REPS, SLOTS
from benchmarks.parameters.memory import first_step
from benchmarks.parameters.run import SIZES, WrongFormula, tables
from benchmarks.report import Results
from circuits import ANSATZE
from qkan import parameter_count
from rows import read_rows

BY_NAME = {entry.name: entry for entry in ENTRIES}


@pytest.mark.parametrize("entry", ENTRIES, ids=BY_NAME)
@settings(max_examples=6)
@given(inputs=st.integers(4, 9), outputs=st.integers(1, 9))
def test_formulas_hold_for_all_sizes(entry, inputs, outputs):
    counted = sum(parameter_count(entry.build(inputs, outputs)).values())
    assert entry.count(inputs, outputs) == counted


def test_formulas_are_what_their_text_says():
    letters = {"h": 16, "r": REPS, "G": 5, "k": 3, "i": 12, "o": 7, "a": 4, "b": 3, "p": 5, "q": 6, "n": 4, "d": 2}
    for entry in ENTRIES:
        tokens = re.findall(r"\d+|[a-zA-Z()+]", entry.formula)
        product = "*".join(tokens).replace("*+*", "+").replace("(*", "(").replace("*)", ")")
        assert eval(product, letters) == entry.count(12, 7), entry.name


def test_every_ansatz_has_every_sharing_and_no_name_is_taken_twice():
    assert len(BY_NAME) == len(ENTRIES)
    assert SLOTS.keys() == ANSATZE.keys()
    for ansatz, make in ANSATZE.items():
        assert SLOTS[ansatz][1] == sum(make(REPS).slots.values())
        for sharing in GRIDS:
            assert f"QKAN, {ansatz}{sharing}" in BY_NAME


def test_a_wrong_formula_is_an_error_that_names_both_numbers(tmp_path):
    wrong = replace(BY_NAME["linear"], count=lambda i, o: i * o)
    with pytest.raises(WrongFormula, match=r"linear of 4 inputs and 1 outputs has 5 parameters, .* io \+ o gives 4"):
        run.run(tmp_path, small=True, entries=[wrong])


def test_a_step_needs_the_memory_of_its_gradients():
    found = first_step(BY_NAME["linear"], 1024, 1024, batch=8)
    assert found["engine"] == "torch"
    if found["peak_mib"] is None:
        pytest.skip("nobody can say here")
    assert 4 <= found["peak_mib"] < 24  # 4 MiB of gradients


def test_memory_names_the_engine_that_ran():
    assert first_step(BY_NAME["QKAN, pz, one an input"], 8, 8, batch=64)["engine"].startswith(("Bloch", "Spectral"))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("parameters") / "new"
    result = CliRunner().invoke(app, ["parameters", "--quick", "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return out


def test_there_is_a_row_for_every_model_and_size(out):
    rows = read_rows(out / "results.jsonl")
    assert [(row["model"], row["inputs"], row["outputs"]) for row in rows] == [
        (entry.name, *size) for entry in ENTRIES for size in SIZES
    ]
    assert all(row["bytes"] == 4 * row["parameters"] for row in rows)
    assert all(row.keys() >= {"seed", "engine", "commit", "machine", "peak_mib"} for row in rows)


def test_the_report_names_the_models_that_read_a_series(out):
    text = " ".join((out / "report.md").read_text().split())
    readers = [entry.name for entry in ENTRIES if entry.steps is not None]
    assert f"{', '.join(readers)}: 12 time steps. Every other model reads one vector." in text


def test_the_table_is_made_of_the_rows(out):
    (table,) = tables(Results.load(out / "results.jsonl"))
    assert {path.name for path in out.iterdir()} == {"report.md", "results.jsonl"}
    assert table.markdown() in (out / "report.md").read_text()
    assert table.rows[0] == ["linear", "io + o", "5", "1,290", "4,160", "16.2", "-"]
