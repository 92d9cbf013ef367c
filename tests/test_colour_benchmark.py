"""Colours: what is tested never chooses, figures are a library's, and rows are left alone when resuming."""

import math
import shutil
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.colour import run
from benchmarks.colour.matchers import BY_LEAST_SQUARES, LIGHT, MATCHERS, PixelDaruan
from benchmarks.colour.metrics import distances
from benchmarks.colour.report import last_setting, report, tables
from benchmarks.colour.scenes import Camera, cameras, scenes
from benchmarks.colour.task import Sizes, Task, tasks
from benchmarks.colour.train import Budget, _chosen, measure, measure_few
from benchmarks.report import Results
from circuits import engines
from classical import CmKAN, ssim
from rows import read_rows, write_rows
from tolerances import EXACT, SINGLE

SIZES, BUDGET = Sizes(4, 2, 2, 2, 12), Budget(2, 2, (1e-3, 1e-2), 1, (1e-3, 1e-2))


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def upside_down(task):
    x, y = task.test
    return Task(task.train, task.validation, (x, 1 - y))


# Scenes and cameras.


def test_a_seed_stands_for_its_pictures_and_no_scene_is_in_two_parts():
    first, again, other = (tasks(seed, SIZES) for seed in (1, 1, 2))
    for task, same in zip(first, again, strict=True):
        for part in ("train", "validation", "test"):
            assert all(map(torch.equal, getattr(task, part), getattr(same, part)))
    pictures = torch.cat([part[0] for task in (*first, *other) for part in (task.train, task.validation, task.test)])
    assert len(pictures) == 28
    assert (pictures[:, None] - pictures).flatten(2).abs().amax(-1).add(torch.eye(28)).min() > 0.1
    assert 0 <= pictures.min() < pictures.max() <= 1


def test_a_camera_without_effects_shows_the_light():
    camera = Camera(torch.eye(3), torch.ones(3), contrast=0.0, vignette=0.0, exposure=0.0, noise=0.0)
    light = scenes(2, 12, drawn())
    torch.testing.assert_close(camera(light, drawn()), light.clamp(0.001, 1), **SINGLE)


def test_the_second_camera_is_no_matter_of_single_pixels():
    """Two places that are alike for the first one differ for the second by what is around them."""
    light = torch.full((1, 3, 32, 32), 0.2)
    light[..., :16] = 0.9
    light[..., 8, 8] = light[..., 24, 24] = 0.5
    _, second = cameras(drawn())
    y = second(light, drawn())
    assert (y[0, :, 24, 24] - y[0, :, 8, 8]).min() > 0.1


# Matchers.


@pytest.mark.parametrize("matcher", BY_LEAST_SQUARES, ids=lambda matcher: matcher.name)
def test_least_squares_finds_the_map_that_there_is(matcher):
    x = torch.rand(2, 3, 8, 8, generator=drawn())
    y = torch.einsum("oi,nihw->nohw", torch.randn(3, 3, generator=drawn(1)), x)
    torch.testing.assert_close(matcher.make((x, y))(x), y, **SINGLE)


@pytest.mark.parametrize("matcher", MATCHERS, ids=lambda matcher: matcher.name)
def test_every_matcher_starts_as_the_identity_where_there_is_nothing_to_change(matcher):
    x = torch.rand(2, 3, 9, 8, generator=drawn())
    torch.testing.assert_close(matcher.make((x, x))(x), x, **SINGLE)


def test_what_is_compared_has_matched_sizes():
    pairs = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    counts = {each.name: sum(p.numel() for p in each.make(pairs).parameters()) for each in MATCHERS if each.trained}
    assert counts.pop("cmKAN") == 76_875
    assert all(0.95 * 7_311 < count <= 7_311 for count in counts.values())


def test_daruan_edges_are_circuits_of_each_pixel():
    function = PixelDaruan()
    x = torch.rand(1, 3, 2, 2, dtype=torch.float64, generator=drawn())
    coefficients = torch.randn(1, function.channels, 2, 2, dtype=torch.float64, generator=drawn(1))
    y, edges = function(x, coefficients), coefficients.unflatten(1, (3, 3, -1))
    expected = 0
    for i in range(3):
        theta = edges[0, 1, i, :-2, 1, 0]
        value = engines.get("reference")(function.circuit, x[0, i, 1, 0].view(1), {"theta": theta})
        expected += edges[0, 1, i, -1, 1, 0] * x[0, i, 1, 0] + edges[0, 1, i, -2, 1, 0] * value
    torch.testing.assert_close(y[0, 1, 1, 0], expected, **EXACT)
    model = CmKAN.light(function)
    model(torch.rand(1, 3, 4, 4)).square().sum().backward()
    last = [parameter.grad for name, parameter in model.named_parameters() if name.startswith("generator.write")][-2:]
    assert all(gradient is not None and gradient.any() for gradient in last)


# Figures.


def test_figures_are_those_of_the_library():
    x = torch.rand(3, 3, 16, 14, dtype=torch.float64, generator=drawn())
    y = (x + 0.1 * torch.randn(x.shape, dtype=torch.float64, generator=drawn(1))).clamp(0, 1)
    figures = distances(x, y)
    mses = (x - y).square().mean((1, 2, 3))
    assert figures["psnr"] == pytest.approx((-10 * mses.log10()).mean().item(), abs=1e-9)
    assert figures["ssim"] == pytest.approx(ssim(x, y).item(), abs=1e-9), "our SSIM is theirs"
    white, grey = torch.ones(1, 3, 11, 11), torch.full((1, 3, 11, 11), 0.5)
    assert distances(white, white) == {"psnr": math.inf, "ssim": 1, "de2000": 0}
    assert distances(white, grey)["de2000"] == pytest.approx(33.4, abs=0.5)


@pytest.mark.parametrize("matcher", [LIGHT, MATCHERS[0]], ids=lambda matcher: matcher.name)
def test_what_is_tested_never_chooses(matcher):
    task, ticks = tasks(0, SIZES)[0], []
    rows, others = (measure(matcher, each, 0, BUDGET, lambda: ticks.append(1))[0] for each in (task, upside_down(task)))
    assert [row["stage"] for row in rows] == ["tuning"] * (len(rows) - 1) + ["final"]
    assert len(ticks) == 2 * (len(rows) - 1)
    assert rows[-1]["lr"] == min(rows[:-1], key=lambda row: row["validation_loss"])["lr"]
    assert not any("psnr" in row for row in rows[:-1])
    _alike_but_for_the_test(rows, others)


def test_what_is_tuned_by_few_pairs_does_not_see_what_it_is_tested_on():
    model, few = CmKAN.light(), tasks(0, SIZES)[1]
    _alike_but_for_the_test(measure_few(model, few, BUDGET), measure_few(model, upside_down(few), BUDGET))


def _alike_but_for_the_test(rows, others):
    for row, other in zip(rows, others, strict=True):
        changing = {"seconds", "psnr", "ssim", "de2000"}
        assert all(row[name] == other[name] for name in row.keys() - changing)
        assert row["stage"] == "tuning" or row["psnr"] != other["psnr"]


# The command.


def command(out, *options):
    arguments = ["colour", "--quick", "--seeds", "2", "--out", str(out), *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


def rows_of(out):
    return read_rows(out / "results.jsonl")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("colour") / "new"
    command(out)
    return out


def test_every_matcher_has_every_seed(out):
    rows = rows_of(out)
    final = [(row["model"], row["seed"]) for row in rows if row["stage"] == "final" and row["task"] == "pairs"]
    assert sorted(final) == sorted((each.name, seed) for each in MATCHERS for seed in range(2))
    assert {row["engine"] for row in rows} == {"torch", "Bloch()"}
    few = [row["model"] for row in rows if row["stage"] == "final" and row["task"] == "few pairs" and row["seed"] == 1]
    assert few == ["cmKAN light, as it is", "cmKAN light, tuned", *(each.name for each in BY_LEAST_SQUARES)]


def test_tables_are_made_of_the_rows(out):
    results = Results.load(out / "results.jsonl")
    both = tables(results, last_setting(results))
    assert [line[0] for line in both[0].rows] == [each.name for each in MATCHERS]
    text = (out / "report.md").read_text()
    assert all(table.markdown() in text for table in both)
    assert text == report(results, last_setting(results))


def test_resuming_leaves_rows_alone_and_does_what_is_missing(out, tmp_path, monkeypatch):
    shutil.copytree(out, tmp_path / "again")
    before = rows_of(out)
    kept = [row for row in before if (row["model"], row["seed"]) != (MATCHERS[-1].name, 0) or row["stage"] == "tuning"]
    write_rows(tmp_path / "again" / "results.jsonl", kept)
    measured = []

    def counting(matcher, task, seed, *others):
        measured.append((matcher.name, seed))
        return measure(matcher, task, seed, *others)

    monkeypatch.setattr(run, "measure", counting)
    command(tmp_path / "again", "--resume")
    after = rows_of(tmp_path / "again")
    assert measured == [(MATCHERS[-1].name, 0)]
    assert len(after) == len(before)
    (final,) = [row for row in before if (row["model"], row["seed"], row["stage"]) == (*measured[0], "final")]
    assert after[-1]["psnr"] == final["psnr"], "a seed stands for everything"


def test_what_is_not_there_is_measured_with_the_model_it_needs(out, tmp_path):
    shutil.copytree(out, tmp_path / "again")
    before = rows_of(out)
    kept = [row for row in before if row["task"] == "pairs"]
    write_rows(tmp_path / "again" / "results.jsonl", kept)
    command(tmp_path / "again", "--resume")
    key = ("task", "model", "seed", "stage", "lr", "validation_loss")
    told = [sorted(str([row[name] for name in key]) for row in rows) for rows in (before, rows_of(tmp_path / "again"))]
    assert told[0] == told[1]


def test_the_identity_has_nothing_to_learn():
    assert isinstance(MATCHERS[0].make((torch.ones(1), torch.ones(1))), nn.Identity)


def test_a_rate_at_which_training_diverges_is_not_chosen():
    x = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    trials: list[Any] = [
        (nn.Identity(), {"lr": lr, "validation_loss": loss}) for lr, loss in ((1.0, math.nan), (0.1, 0.2))
    ]
    rows, _ = _chosen(trials, Task((x, x), (x, x), (x, x)))
    assert (rows[-1]["stage"], rows[-1]["lr"]) == ("final", 0.1)
