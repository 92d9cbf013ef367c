"""Tables of a run, and the Markdown report."""

from collections.abc import Mapping, Sequence
from statistics import mean, median, stdev
from typing import Any

from benchmarks.images.heads import HEADS, HQKAN_HEADS, MLP_HEAD
from benchmarks.images.train import BATCH, DECAY, PATIENCE
from benchmarks.report import Results, Table, at_edges, origin

Row = Mapping[str, Any]


Settings = Mapping[str, Row]
"""By set, the columns in which rows must agree to be of one table: numbers of images, and the budget."""


def last_settings(results: Results) -> Settings:
    """Those of the last row of every set, for documents, which know no run."""
    return {row["dataset"]: {key: row[key] for key in ("images", "budget")} for row in results.rows}


def finals(results: Results, settings: Settings, dataset: str, head: str) -> list[Row]:
    """The rows of all seeds that looked at the test part, of one setting only."""
    return results.where(dataset=dataset, head=head, stage="final", **settings[dataset])


def tables(results: Results, settings: Settings) -> list[Table]:
    """What a run has found: a table for every set, and the goal for the digits."""
    goals = [goal_table(results, settings)] if "digits" in settings else []
    return [*(accuracy_table(results, settings, name) for name in settings), *goals]


def accuracy_table(results: Results, settings: Settings, dataset: str) -> Table:
    """Parameters, accuracy and time of every head on a set."""
    lines = []
    for head in HEADS:
        if not (rows := finals(results, settings, dataset, head.name)):
            continue
        tests = [100 * row["test_accuracy"] for row in rows]
        lines.append(
            [
                head.name,
                f"{rows[0]['head_parameters']:,}",
                f"{rows[0]['parameters']:,}",
                f"{mean(100 * row['validation_accuracy'] for row in rows):.2f}",
                f"{mean(tests):.2f}",
                f"{stdev(tests):.2f}" if len(tests) > 1 else "-",
                f"{mean(row['seconds'] for row in rows):.1f}",
            ]
        )
    columns = ["head", "head parameters", "all parameters", "validation, %", "test, %", "std", "seconds a training"]
    return Table(f"Accuracy on {dataset}", columns, lines)


def goal_table(results: Results, settings: Settings) -> Table:
    """The head of a third of the parameters against the ordinary one, on the digits."""
    ordinary = finals(results, settings, "digits", MLP_HEAD.name)
    known = {head.name: finals(results, settings, "digits", head.name) for head in HQKAN_HEADS}
    best = max(known, key=lambda name: mean([row["validation_accuracy"] for row in known[name]] or [0.0]))
    lines = _goal_lines(known[best], ordinary) if known[best] and ordinary else []
    return Table(f"Goals for {best}, on digits", ["figure", "goal", "measured", "reached"], lines)


def _goal_lines(ours: Sequence[Row], ordinary: Sequence[Row]) -> list[list[str]]:
    gap = _points(ordinary) - _points(ours)
    partners = {row["seed"]: [row] for row in ordinary}
    gaps = [_points(partners[row["seed"]]) - _points([row]) for row in ours if row["seed"] in partners]
    spread = f" [{min(gaps):.2f}..{max(gaps):.2f}]" if gaps else ""
    ratio = ours[0]["head_parameters"] / ordinary[0]["head_parameters"]
    figure = f"points behind {MLP_HEAD.name}: of medians [of single seeds]"
    return [
        [figure, "≤ 0.5", f"{gap:.2f}{spread}", "yes" if gap <= 0.5 else "no"],
        ["head parameters, as a fraction of its", "≤ 0.333", f"{ratio:.3f}", "yes" if ratio <= 1 / 3 else "no"],
    ]


def _points(rows: Sequence[Row]) -> float:
    """The median accuracy, in percentage points."""
    return 100 * median(row["test_accuracy"] for row in rows)


def report(results: Results, settings: Settings) -> str:
    """The Markdown report."""
    parts = "\n\n".join(table.markdown() for table in tables(results, settings))
    sets = "; ".join(_set_line(name, setting) for name, setting in settings.items())
    shown = [row for name, setting in settings.items() for row in results.where(dataset=name, **setting)]
    chosen = [row for row in shown if row["stage"] == "final"]
    return f"""# Images

One body of two convolutions under every head; no augmentation. Images for training, validation and test, and learning
rates: {sets}. Pixels are standardised by the training part. Where there is no official test part, each seed splits
anew, with equal fractions of every class. A seed trains each head with AdamW (weight decay {DECAY:g}, batches of
{BATCH}, early stopping after {PATIENCE} epochs without a smaller validation loss) at every learning rate, as many
trials for one head as for any other, and looks at its test part once, with the weights whose validation loss is least;
{at_edges([(row["lr"], row["budget"]["rates"]) for row in chosen])}. Parameters are trainable scalars; those of heads
are matched for 10 classes only: with more classes look at the numbers.

{parts}

{origin(shown)}
"""


def _set_line(name: str, setting: Row) -> str:
    rates = ", ".join(f"{rate:g}" for rate in setting["budget"]["rates"])
    images = ", ".join(f"{count:,}" for count in setting["images"])
    return f"{name} {images}, at most {setting['budget']['epochs']} epochs at {rates}"
