"""Tables of a run, and the Markdown report."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from benchmarks.report import Results, Table, at_edges, origin

Row = Mapping[str, Any]

FIGURES = {"psnr": "PSNR, dB", "ssim": "SSIM", "de2000": "CIEDE2000"}
DIGITS = {"psnr": 2, "ssim": 4, "de2000": 2}

TITLES = {"pairs": "Colour matching, test pictures", "few pairs": "Other cameras, few pairs, test pictures"}
"""Of the tables, by task."""


def last_setting(results: Results) -> Row:
    """That of the last row, for documents, which know no run."""
    return {key: results.rows[-1][key] for key in ("sizes", "budget")}


def finals(results: Results, setting: Row, task: str) -> list[Row]:
    """The rows of all seeds that looked at the test part, of one setting only."""
    return results.where(task=task, stage="final", **setting)


def tables(results: Results, setting: Row) -> list[Table]:
    """What a run has found, a table for each task."""
    return [_table(title, finals(results, setting, task)) for task, title in TITLES.items()]


def _table(title: str, rows: Sequence[Row]) -> Table:
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        figures = [_figure([row[name] for row in own], DIGITS[name]) for name in FIGURES]
        lines.append([model, f"{own[0]['parameters']:,}", *figures, f"{mean(row['seconds'] for row in own):.1f}"])
    return Table(title, ["matcher", "parameters", *FIGURES.values(), "seconds a training"], lines)


def _figure(values: Sequence[float], digits: int) -> str:
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def report(results: Results, setting: Row) -> str:
    """The Markdown report."""
    shown = [row for task in TITLES for row in results.where(task=task, **setting)]
    chosen = [row for row in finals(results, setting, "pairs") if row["lr"] is not None]
    sizes, budget = setting["sizes"], setting["budget"]
    rates, tuning = (", ".join(f"{rate:g}" for rate in budget[key]) for key in ("rates", "tuning_rates"))
    parts = "\n\n".join(table.markdown() for table in tables(results, setting))
    return f"""# Colours

Scenes are gradients behind soft ellipses, drawn at random, and so are two cameras: colour matrices, a gamma for every
channel, noise; the first loses light towards the corners, the second has a curve of tones and evens out how bright
places are. A seed draws scenes and cameras, {sizes["train"]}, {sizes["validation"]} and {sizes["test"]} pairs of
{sizes["side"]} x {sizes["side"]} pixels for training, validation and test. What is trained takes {budget["steps"]}
steps of Adam with batches of {budget["batch"]} and a falling learning rate, from {rates}: the one with the least loss
on validation, absolute differences and 0.15 of 1 - SSIM, looks at the test part once;
{at_edges([(row["lr"], budget["rates"]) for row in chosen])}. Means over seeds ± their standard deviation; PSNR, SSIM
and CIEDE2000 are those of scikit-image, colours read as sRGB.

For two other cameras there are {sizes["few"]} pairs to fit and as many to choose by: the light cmKAN of the first ones
takes {budget["tuning_steps"]} steps on them, with learning rates {tuning}. It never sees the pairs it is tested on.

{parts}

{origin(shown)}
"""
