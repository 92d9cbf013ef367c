"""The speed benchmark times nobody whose numbers are wrong, loses no process, and says why a time is missing."""

import ast
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from scipy.interpolate import BSpline
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.peers import serve
from benchmarks.provenance import provenance
from benchmarks.publish import TABLES
from benchmarks.report import Results
from benchmarks.speed import contestants, groups, judge, race
from benchmarks.speed.cases import KINDS, LayerCase, RationalCase, SplineCase, VectorCase
from benchmarks.speed.contestants import ALL_KNOTS, AUTO, BLOCH, EXACT, SPLINE, STATEVECTOR, UNIFORM_KNOTS
from benchmarks.speed.figures import FIGURES
from benchmarks.speed.groups import CELLS, DEPTHS, RATIONALS, SPLINES, TRAINABLE, UNIT, VECTORS, Group
from benchmarks.speed.plots import plot_sweeps
from benchmarks.speed.process import ROOT, Limits
from benchmarks.speed.race import Contestant
from benchmarks.speed.report import report, tables
from benchmarks.speed.run import run
from circuits import engines
from classical.rational_function import plain_rational
from rows import read_rows
from tolerances import EXACT as ROUNDING

LAYER, VECTOR = LayerCase(8, 2, 3, 2, trainable=True), VectorCase(3, 2, 5)
CASES = pytest.mark.parametrize("case", [LAYER, LayerCase(8, 2, 3, 1), VECTOR], ids=lambda case: case.label)
PEERS = ROOT / "benchmarks" / "peers"


MINUTE = Limits(seconds=60.0)


def alone(*field: Contestant, case=LAYER, rounds=2, limits=MINUTE):
    """Their rows in one case."""
    return race.race(case, field, rounds, seconds=0.0, limits=limits)


@pytest.fixture
def worker(tmp_path):
    """A contestant whose worker is a script with a function for each request, and a log of who does what when."""

    def make(name: str, changes: str = "", judged: bool = False) -> Contestant:
        script = tmp_path / f"{name}.py"
        script.write_text(
            dedent("""
            import json, os, signal, sys, time
            import numpy as np

            def build(request):
                return {"torch": "none", "threads": 1}

            def first(request):
                return {"peak_mib": 1.0, "engine": "a script"}

            def timed(request):
                return {"forward": 1e-3, "step": 2e-3}

            def log(*words):
                with open(LOG, "a") as stream:
                    print(*words, file=stream)
            """)
            + f"LOG = {str(tmp_path / 'log')!r}\n"
            + dedent(changes)
            + dedent(f"""
            log("started", {name!r}, os.getpid())
            for line in sys.stdin:
                request = json.loads(line)
                log("begin", {name!r}, request["do"])
                reply = {{"build": build, "first": first, "time": timed}}[request["do"]](request)
                log("end", {name!r}, request["do"])
                print(json.dumps(reply), flush=True)
            """)
        )
        return Contestant(name, (sys.executable, str(script)), judged=judged)

    return make


@pytest.fixture
def log(tmp_path):
    return lambda: [line.split() for line in (tmp_path / "log").read_text().splitlines()]


def processes(log) -> list[int]:
    return [int(words[2]) for words in log() if words[0] == "started"]


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


# The whole benchmark.


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Its folder, and its rows."""
    out = tmp_path_factory.mktemp("speed")
    file = out / "elsewhere" / "rows.json"
    options = ["speed", "--quick", "--out", str(out), "--json", str(file)]
    result = CliRunner().invoke(app, options, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return out, read_rows(file)


def test_every_contestant_of_a_quick_run_is_right_and_is_timed(quick):
    _, rows = quick
    expected = [(group.name, field.name) for group in groups.quick(None) for field in group.contestants]
    assert [(row["group"], row["contestant"]) for row in rows] == expected
    assert {group for group, _ in expected} == {UNIT, TRAINABLE, VECTORS, CELLS, SPLINES, RATIONALS}
    for row in rows:
        assert row["reason"] is None
        assert len(row["forward_ms"]) == len(row["step_ms"]) == 2
        assert min(row["forward_ms"]) > 0
        if row["contestant"].startswith("ours") or row["group"] == SPLINES:
            exact = row["dtype"] == "float64"
            assert 0 <= row["output_error"] < (1e-10 if exact else 1e-5)
            assert 0 < row["gradient_error"] < (1e-10 if exact else 1e-4)
        else:
            assert "output_error" not in row


def test_every_row_says_where_it_comes_from(quick):
    _, rows = quick
    for row in rows:
        assert row.items() >= provenance().items()
        assert row.keys() >= {"seed", "engine", "dtype", "torch", "threads", "case", "label"}
        assert row["torch"] == torch.__version__
        assert row["threads"] == torch.get_num_threads()
        assert KINDS[row["case"]["kind"]](row["case"]).label == row["label"]


def test_a_run_writes_a_report_with_all_its_tables(quick):
    out, rows = quick
    assert {path.name for path in out.iterdir()} == {"report.md", "elsewhere"}
    text = (out / "report.md").read_text()
    for title in (UNIT, TRAINABLE, VECTORS, SPLINES, "Goals"):
        assert f"**{title}**" in text
    assert all(row["contestant"] in text for row in rows)
    assert provenance()["machine"] in text


def test_without_their_environment_peers_are_an_error_that_names_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(contestants, "PEERS_PYTHON", ROOT / ".venv-none" / "bin" / "python")
    result = CliRunner().invoke(app, ["speed", "--peers", "--quick", "--out", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "make peers" in re.sub(r"[\s│]+", " ", result.output)  # out of its box
    assert not (tmp_path / "none").exists()


# Cases and their judge.


@CASES
def test_every_process_draws_the_same_numbers(case):
    again = KINDS[case.kind](json.loads(json.dumps(case.spec())))
    assert again == case
    for name, array in case.draw().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, again.draw()[name])


@CASES
def test_a_case_draws_what_its_circuit_asks_for(case):
    arrays = {name: torch.from_numpy(array) for name, array in case.draw().items()}
    assert {name: arrays[name].shape[-1] for name in case.circuit.slots} == case.circuit.slots
    assert arrays["x"].abs().max() <= 1
    assert case.output(engines.get("reference"), arrays).shape[0] == case.batch


def test_rational_functions_are_judged_by_their_formula():
    case = RationalCase(3, 2, 8)
    right = judge.truth(case, case.draw())
    x, a, b = (torch.from_numpy(array).double().requires_grad_() for array in case.draw().values())
    y = plain_rational(x, a, b)
    y.square().mean().backward()
    torch.testing.assert_close(torch.from_numpy(right.output), y.detach(), **ROUNDING)
    for name, tensor in {"x": x, "numerator": a, "denominator": b}.items():
        torch.testing.assert_close(torch.from_numpy(right.gradients[name]), tensor.grad, **ROUNDING)
    assert KINDS[case.kind](json.loads(json.dumps(case.spec()))) == case


def test_inputs_can_be_standard_normal():
    x = LayerCase(1000, 10, 2, 1, inputs="normal").draw()["x"]
    assert abs(x.mean()) < 0.05
    assert abs(x.std() - 1) < 0.05


@CASES
@pytest.mark.parametrize("chunk", [1, 2**18])
def test_the_truth_is_a_step_of_the_reference(case, chunk, monkeypatch):
    monkeypatch.setattr(judge, "CHUNK", chunk)
    tensors = {name: torch.from_numpy(array).double().requires_grad_() for name, array in case.draw().items()}
    output = case.output(engines.get("reference"), tensors)
    output.square().mean().backward()
    right = judge.truth(case, case.draw())
    torch.testing.assert_close(torch.from_numpy(right.output), output.detach(), **ROUNDING)
    assert right.gradients.keys() == tensors.keys()
    for name, gradient in right.gradients.items():
        torch.testing.assert_close(torch.from_numpy(gradient), tensors[name].grad, **ROUNDING)


def test_a_spline_case_is_a_sum_of_scipys_splines():
    case = SplineCase(20, 2, 3)
    arrays = case.draw()
    tensors = {name: torch.from_numpy(array).double() for name, array in arrays.items()}
    expected = torch.nn.functional.silu(tensors["x"]) @ tensors["base_weight"].T
    for o in range(3):
        for i in range(2):
            spline = BSpline(case.knots, arrays["coefficients"][o, i].astype(float), 3)
            expected[:, o] += tensors["scaler"][o, i] * torch.from_numpy(spline(arrays["x"][:, i].astype(float)))
    torch.testing.assert_close(case.output(engines.get("reference"), tensors), expected, **ROUNDING)


def test_a_wrong_judge_judges_nobody(monkeypatch, worker):
    original = engines.get

    def get(name):
        return (lambda *arguments: 1.001 * original("bloch")(*arguments)) if name == "bloch" else original(name)

    monkeypatch.setattr(judge.engines, "get", get)
    fair, other = alone(worker("judged", judged=True), worker("other"))
    assert "nobody can judge: judge 'bloch' fails" in fair["reason"]
    assert fair["step_ms"] == []
    assert other["reason"] is None


def test_errors_are_relative_and_the_worst_gradient_counts():
    right = judge.Answers(np.array([3.0, 4.0]), {"x": np.array([1.0]), "theta": np.array([[2.0, 0.0]])})
    other = judge.Answers(np.array([3.0, 4.5]), {"x": np.array([1.0]), "theta": np.array([2.0, 0.2])})
    errors = judge.compare(other, right)
    assert (errors.output, errors.worst) == (pytest.approx(0.1), "theta")
    assert errors.gradient == pytest.approx(0.1)
    assert judge.compare(right, right).failure("float64") is None


@pytest.mark.parametrize("values", [[np.nan, 4.0], [3.0], [3.0, 4.1]], ids=["nan", "shape", "wrong"])
def test_wrong_outputs_fail(values):
    right = judge.Answers(np.array([3.0, 4.0]), {})
    assert "of the output" in (judge.compare(judge.Answers(np.array(values), {}), right).failure("float32") or "")


def test_a_missing_gradient_fails():
    right = judge.Answers(np.ones(1), {"x": np.ones(1), "theta": np.ones(1)})
    answers = judge.Answers(np.ones(1), {"x": np.ones(1)})
    assert "gradient of theta" in (judge.compare(answers, right).failure("float32") or "")
    assert judge.compare(answers, right).row()["gradient_error"] is None


# The race.


def test_rounds_go_through_the_contestants_one_at_a_time(worker, log):
    rows = alone(worker("a"), worker("b"), rounds=3)
    asked = [words for words in log() if words[0] != "started"]
    assert [words[1:] for words in asked[::2]] == [words[1:] for words in asked[1::2]], "two computed at once"
    order = [(name, do) for begin, name, do in asked if begin == "begin"]
    prepared = [(name, do) for name in "ab" for do in ("build", "first")]
    assert order == prepared + 3 * [("a", "time"), ("b", "time")]
    assert [row["step_ms"] for row in rows] == [[2.0] * 3] * 2
    assert [row["forward_ms"] for row in rows] == [[1.0] * 3] * 2


def test_the_slow_take_part_in_fewer_rounds(worker):
    slow = worker("slow", "def timed(request):\n    return {'forward': 1.0, 'step': 6.0}")
    rows = alone(slow, worker("fast"), rounds=4)
    assert [len(row["step_ms"]) for row in rows] == [2, 4]


def test_wrong_numbers_are_not_timed(worker, log):
    wrong = worker(
        "wrong",
        """
        def first(request):
            os.makedirs(request["answers"])
            np.save(request["answers"] + "/output.npy", np.zeros((8, 3)))
            return {"peak_mib": 1.0}
        """,
        judged=True,
    )
    row, other = alone(wrong, worker("other"))
    assert re.fullmatch(r"fails: error 1.0e\+00 of the output is above 1e-05", row["reason"])
    assert row["forward_ms"] == row["step_ms"] == []
    assert row["output_error"] == 1
    assert ["begin", "wrong", "time"] not in log()
    assert len(other["step_ms"]) == 2


TROUBLE = {
    "dies at once": ("sys.exit('out of luck')", "ended with status 1: out of luck"),
    "dies building": ("def build(request):\n    os._exit(3)", "ended with status 3"),
    "is killed": ("def timed(request):\n    os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
    "says why not": ("def first(request):\n    return {'error': 'MemoryError: no message'}", "MemoryError: no message"),
    "says nothing": ("def timed(request):\n    time.sleep(60)", "no answer within 2 s"),
    "takes too much": (
        "def first(request):\n    kept = np.ones(2**25)\n    time.sleep(60)",
        "more than 0.2 GiB of memory",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_who_fails_becomes_a_row_with_the_reason_and_the_others_go_on(trouble, worker, log):
    changes, reason = TROUBLE[trouble]
    bad, good = alone(worker("bad", changes), worker("good"), limits=Limits(seconds=2.0, gib=0.2))
    assert reason in bad["reason"]
    assert bad["step_ms"] == []
    assert good["reason"] is None
    assert len(good["step_ms"]) == 2
    assert not any(map(is_alive, processes(log)))


def test_a_program_that_is_not_there_is_a_reason(tmp_path):
    (row,) = alone(Contestant("nobody", (str(tmp_path / "nobody"),)))
    assert "did not start" in row["reason"]


def test_who_refuses_a_case_is_not_started(worker, log):
    row, _ = alone(replace(worker("a"), refuse=lambda case: "too large"), worker("b"))
    assert row["reason"] == "not run: too large"
    assert {words[1] for words in log()} == {"b"}


def test_an_interruption_leaves_no_process(worker, log, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(race, "_time", interrupt)
    with pytest.raises(KeyboardInterrupt):
        alone(worker("a"), worker("b"))
    assert len(processes(log)) == 2
    assert not any(map(is_alive, processes(log)))


def test_a_worker_ends_when_nobody_asks_any_more():
    """So that nothing is left if the benchmark is killed and cannot clean up."""
    command = [sys.executable, "-m", "benchmarks.speed.worker"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert done.stdout == b""


# What a worker measures.


def a_step(size: int) -> torch.Tensor:
    """Touches `size` MiB."""
    return torch.ones(size * 2**18).sum()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("size", [64, 256])
def test_peak_memory_is_what_a_step_allocates(size):
    a_step(2 * size)  # what the allocator may have kept must not hide the next one
    _, peak = serve.peak_mib(lambda: a_step(size))
    assert peak == pytest.approx(size, rel=0.1)


def test_a_timing_lasts_as_long_as_it_should():
    work = serve.Work(forward=lambda: torch.ones(()), step=lambda: torch.ones(()), leaves={}, ran=str)
    times = serve.times(work, seconds=0.01)
    assert times.keys() == {"forward", "step"}
    assert 0 < times["step"] < 0.01


def test_a_step_is_forward_mean_of_squares_and_backward():
    x, factor = torch.tensor([[1.0], [2.0]]), torch.tensor(3.0)
    work = serve.training(lambda x: factor * x, {"x": x, "factor": factor}, "a product")
    for _ in range(2):  # gradients do not pile up
        torch.testing.assert_close(work.step(), torch.tensor([[3.0], [6.0]]))
        assert factor.grad == 2 * 3 * (1 + 4) / 2
        torch.testing.assert_close(x.grad, 9 * x.detach())
    assert not work.forward().requires_grad


# Runs, sweeps and pictures.


def canned(group: str, case, contestant: str, step: float | str, peak: float | None = 1.0, **more) -> dict:
    """A row with one round, or with a reason."""
    times = [] if isinstance(step, str) else [step]
    row = {"group": group, "axis": "", "variant": group, "label": case.label, "case": case.spec(), "dtype": "float32"}
    row |= {"contestant": contestant, "reason": step if isinstance(step, str) else None, "peak_mib": peak}
    return row | {"step_ms": times, "forward_ms": times, "others_busy": [0.5] * len(times)} | more


@pytest.fixture
def results(tmp_path):
    def make(*rows: dict) -> Results:
        kept = Results(tmp_path / "canned" / "results.jsonl")
        for row in rows:
            kept.add(**row)
        return kept

    return make


def test_a_resumed_run_leaves_alone_what_is_there(worker, log, tmp_path):
    first, second = LayerCase(4, 1, 1, 1), LayerCase(5, 1, 1, 1)
    run(tmp_path / "out", rounds=1, groups=[Group(UNIT, (first,), (worker("a"),))])
    before = read_rows(tmp_path / "out" / "results.jsonl")
    run(tmp_path / "out", rounds=1, groups=[Group(UNIT, (first, second), (worker("a"),))], resume=True)
    after = read_rows(tmp_path / "out" / "results.jsonl")
    assert after[:1] == before
    assert [row["label"] for row in after] == [first.label, second.label]
    assert len(processes(log)) == 2


def test_who_becomes_too_slow_leaves_a_sweep(worker, tmp_path):
    slow = worker("slow", "def timed(request):\n    return {'forward': 1.0, 'step': 12.0}")
    large = worker("large", "def first(request):\n    return {'peak_mib': 5000.0}")
    cases = tuple(LayerCase(batch, 1, 1, 1) for batch in (10, 20, 40))
    run(tmp_path, rounds=1, groups=[Group("Sweep", cases, (slow, large, worker("fast")), axis="batch")])
    rows = read_rows(tmp_path / "results.jsonl")
    reasons = {name: [row["reason"] for row in rows if row["contestant"] == name] for name in ("slow", "large", "fast")}
    assert reasons["slow"] == [None] + ["not run: a step would take about 24 s and 0 GiB"] * 2
    assert reasons["large"] == [None] + ["not run: a step would take about 0 s and 10 GiB"] * 2
    assert reasons["fast"] == [None] * 3
    assert imread(tmp_path / "speed.png").ndim == 3


def test_the_picture_shows_every_line(results, tmp_path):
    rows = [
        canned("Sweep", LayerCase(*shape), name, 10.0**place, axis=axis, variant=TRAINABLE)
        for axis, shapes in groups.AXES.items()
        for shape in shapes
        for place, name in enumerate((AUTO, BLOCH, SPLINE, EXACT))
    ]
    plot_sweeps(tmp_path / "speed.png", results(*rows))
    picture = imread(tmp_path / "speed.png")[..., :3]
    assert min(picture.shape[:2]) > 300
    for colour in ("#0072B2", "#56B4E9", "#009E73", "#D55E00"):
        wanted = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
        assert (np.abs(picture - wanted).max(-1) < 0.02).sum() > 50, colour


# Tables.

HUNDRED = LayerCase(1000, 100, 100, 3)


def test_losing_rows_and_reasons_stay_in_the_table(results):
    rows = results(
        canned(UNIT, HUNDRED, AUTO, 20.0, output_error=1.5e-7, gradient_error=2e-6),
        canned(UNIT, HUNDRED, SPLINE, 10.0, peak=None),
        canned(UNIT, HUNDRED, EXACT, "not run: it would need about | 64 GiB" + 100 * "!", peak=None),
    )
    table, goals = TABLES["speed"](rows)
    auto, spline, exact = table.rows
    assert table.title == UNIT
    assert auto == ["1000, 100→100, 3", AUTO, "20", "20 [20..20]", "1.00", "1.0", "1.5e-07", "2.0e-06"]
    assert spline == ["", SPLINE, "10", "10 [10..10]", "0.50", "n/a", "-", "-"]
    assert exact[3].startswith("not run: it would need about / 64 GiB!")
    assert exact[3].endswith("…")
    assert goals.title == "Goals"


def test_a_table_shows_the_median_and_the_range_of_the_rounds(results):
    row = canned(UNIT, HUNDRED, AUTO, 1.0) | {"step_ms": [1.0, 30.0, 2.0], "forward_ms": [0.001, 0.5, 0.25]}
    table, _ = tables(results(row))
    assert table.rows[0][2:4] == ["0.25", "2 [1..30]"]


def goals(kept: Results) -> dict[str, list[str]]:
    return {figure.name: figure.line(kept) for figure in FIGURES}


def test_without_measurements_no_goal_is_reached(results):
    assert {line[3] for line in goals(results()).values()} == {"not measured"}
    reasons = [canned(UNIT, HUNDRED, name, "dead", peak=None) for name in (AUTO, EXACT, SPLINE)]
    assert {line[3] for line in goals(results(*reasons)).values()} == {"not measured"}


@pytest.mark.parametrize(("exact", "reached"), [(10_000.0, "yes"), (9_999.0, "no")])
def test_goals_are_ratios_of_medians(exact, reached, results):
    kept = results(
        canned(UNIT, HUNDRED, AUTO, 20.0, peak=100.0),
        canned(UNIT, HUNDRED, "ours, bloch", 10.0),
        canned(UNIT, HUNDRED, "B-splines, ours", 20.0),
        canned(UNIT, HUNDRED, EXACT, exact, peak=2500.0),
        canned(SPLINES, SplineCase(1024, 64, 64), UNIFORM_KNOTS, 3.0),
        canned(SPLINES, SplineCase(1024, 64, 64), ALL_KNOTS, 12.0),
        *(canned(VECTORS, VectorCase(n, 2, 64), STATEVECTOR, 1.0) for n in (4, 6)),
        canned(VECTORS, VectorCase(4, 2, 64), contestants.DEFAULT_QUBIT, 5.0),
        canned(VECTORS, VectorCase(6, 2, 64), contestants.DEFAULT_QUBIT, 3.0),
        *(canned(DEPTHS, VectorCase(10, depth, 256), STATEVECTOR, 1.0, peak=8.0 + depth / 32) for depth in (4, 16, 64)),
    )
    lines = goals(kept)
    assert lines["1000, 100→100, 3, unit: peer exact / auto"][2:] == ["500", reached]
    assert lines["the same, peak memory: auto / peer exact"][2:] == ["0.04", "yes"]
    assert lines["1000, 100→100, 3, unit: auto / B-splines"][2:] == ["1", "yes"]
    assert lines["1000, 100→100, 3, trainable: auto / B-splines"][3] == "not measured"
    name = "B-splines, 1024, 64→64, 5, 3: ours, {} knots / recursion over all knots"
    assert lines[name.format("uniform")][2:] == ["0.25", "yes"]
    assert lines[name.format("own")][3] == "not measured"
    assert lines["all shapes: auto / best engine, worst case"][2:] == ["2", "no"]
    assert lines["state vectors: default.qubit / ours, worst case"][2:] == ["3", "no"]
    assert lines["state vectors: lightning.qubit / ours, worst case"][3] == "not measured"
    assert lines["10 wires: peak memory, depth 64 / depth 4"][3] == "yes"


def test_the_report_says_how_busy_others_were(results):
    assert "kept 0.50 cores busy" in report(results(canned(UNIT, HUNDRED, AUTO, 1.0)), seconds=0.2)


# The peers.

FAKE = """
import torch

__version__ = "0.0"

class QKANLayer(torch.nn.Module):
    def __init__(self, ins, outs, reps, solver, ansatz, preact_trainable, postact_weight_trainable, base_activation,
                 fast_measure):
        assert (ansatz, postact_weight_trainable, base_activation) == ("pz", True, "silu")
        super().__init__()
        self.reps, self.fast = reps, fast_measure or FAST
        for name, shape in {
            "theta": (outs, ins, reps + 1, 2), "postact_weights": (outs, ins), "base_weight": (outs, ins),
            "preacts_weight": (outs, ins, reps), "preacts_bias": (outs, ins, reps),
        }.items():
            setattr(self, name, torch.nn.Parameter(torch.zeros(shape)))

    def forward(self, x):
        # The Bloch vector of the one wire, turned by each gate.
        a, b, c = torch.ones(()), torch.zeros(()), torch.zeros(())
        for block in range(self.reps + 1):
            phase, tilt = self.theta[..., block, 0], self.theta[..., block, 1]
            a, b = a * phase.cos() - b * phase.sin(), a * phase.sin() + b * phase.cos()
            c, a = c * tilt.cos() - a * tilt.sin(), c * tilt.sin() + a * tilt.cos()
            if block < self.reps:
                data = x[:, None] * self.preacts_weight[..., block] + self.preacts_bias[..., block]
                a, b = a * data.cos() - b * data.sin(), a * data.sin() + b * data.cos()
        if self.fast:
            c = ((1 + c) / 2).sqrt() - ((1 - c) / 2).sqrt()
        print("libraries print")
        return (c * self.postact_weights).sum(-1) + torch.nn.functional.silu(x) @ self.base_weight.T
"""


@pytest.mark.parametrize("fast", [False, True], ids=["<Z>", "another readout"])
def test_a_peer_is_loaded_with_our_parameters_and_judged(fast, tmp_path):
    """By the real driver, in an environment that has another package instead of the peer."""
    (tmp_path / "qkan.py").write_text(f"FAST = {fast}\n{FAKE}")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (peer,) = contestants.picked(contestants.layers(python), EXACT)
    (row,) = alone(peer, case=LAYER, rounds=1)
    if fast:
        assert "fails: error" in row["reason"]
        assert row["step_ms"] == []
    else:
        assert row["reason"] is None
        assert row["engine"] == "qkan 0.0, solver exact"
        assert math.isfinite(row["step_ms"][0])
        assert row["gradient_error"] < 1e-5


@pytest.mark.parametrize("file", sorted(PEERS.glob("*.py")), ids=lambda path: path.stem)
def test_drivers_of_peers_import_nothing_of_ours(file):
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    ours = {"benchmarks", "circuits", "classical", "qkan", "tests"}
    assert not {name.partition(".")[0] for name in names} & ours


def test_peers_have_our_versions_of_what_we_share():
    def pins(path: Path) -> dict[str, str]:
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        assert all("==" in line for line in lines)
        return dict(line.split("==") for line in lines)

    ours, theirs = pins(ROOT / "constraints.txt"), pins(PEERS / "requirements.txt")
    assert {"torch", "numpy", "pennylane"} <= ours.keys() & theirs.keys()
    assert all(theirs[name] == ours[name] for name in ours.keys() & theirs.keys())
    for name in (EXACT, contestants.CUTN, contestants.PYKAN):
        package, version = name.partition(",")[0].split()
        assert theirs[package] == version


def test_what_would_need_absurdly_much_is_refused():
    reasons = {
        field.name: field.refuse(LayerCase(4096, 256, 256, 3, True)) for field in contestants.layers(Path("python"))
    }
    assert "circuits are more than" in (reasons[EXACT] or "")
    assert "circuits are more than" in (reasons[STATEVECTOR] or "")
    assert reasons[AUTO] is reasons[SPLINE] is None
    assert all(field.refuse(LayerCase(1000, 2, 5, 3)) is None for field in contestants.layers(Path("python")))
