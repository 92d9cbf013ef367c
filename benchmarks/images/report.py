"""Tables of a run, and the Markdown report."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from benchmarks.images.heads import HEADS, HQKAN_HEAD, MLP_HEAD
from benchmarks.images.train import BATCH, DECAY, PATIENCE
from benchmarks.report import Results, Table, origin

Row = Mapping[str, Any]


def tables(results: Results) -> list[Table]:
    """What a run has found: a table for every set, and the goal for the digits."""
    sets = list(dict.fromkeys(row["dataset"] for row in results.rows))
    return [*(accuracy_table(results, name) for name in sets), *([goal_table(results)] if "digits" in sets else [])]


def accuracy_table(results: Results, dataset: str) -> Table:
    """Parameters, accuracy and time of every head on a set."""
    lines = []
    for head in HEADS:
        if not (rows := results.where(dataset=dataset, head=head.name, stage="final")):
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


def goal_table(results: Results) -> Table:
    """The head of a third of the parameters against the ordinary one, on the digits."""
    ours, ordinary = (results.where(dataset="digits", head=head.name, stage="final") for head in (HQKAN_HEAD, MLP_HEAD))
    gap = 100 * (_accuracy(ordinary) - _accuracy(ours))
    ratio = ours[0]["head_parameters"] / ordinary[0]["head_parameters"]
    lines = [
        [f"points behind {MLP_HEAD.name}", "≤ 0.5", f"{gap:.2f}", "yes" if gap <= 0.5 else "no"],
        ["head parameters, as a fraction of its", "≤ 0.333", f"{ratio:.3f}", "yes" if ratio <= 1 / 3 else "no"],
    ]
    return Table(f"Goals for {HQKAN_HEAD.name}, on digits", ["figure", "goal", "measured", "reached"], lines)


def _accuracy(rows: Sequence[Row]) -> float:
    return mean(row["test_accuracy"] for row in rows)


def report(results: Results) -> str:
    """The Markdown report."""
    last = results.rows[-1]
    rates, epochs = ", ".join(f"{rate:g}" for rate in last["budget"]["rates"]), last["budget"]["epochs"]
    parts = "\n\n".join(table.markdown() for table in tables(results))
    counts = {row["dataset"]: row["images"] for row in results.rows}
    images = "; ".join(f"{name} {', '.join(f'{count:,}' for count in each)}" for name, each in counts.items())
    return f"""# Images

One body of two convolutions under every head; no augmentation. Images for training, validation and test: {images},
standardised by the training part. Where there is no official test part, each seed splits anew, with equal fractions of
every class. A seed trains each head with AdamW (weight decay {DECAY:g}, batches of {BATCH}, at most {epochs} epochs,
early stopping after {PATIENCE} without a smaller validation loss) at the learning rates {rates}, and looks at its test
part once, with the weights whose validation loss is least. Parameters are trainable scalars.

{parts}

{origin(results.rows)}
"""
