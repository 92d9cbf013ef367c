"""Tables of a run, and the Markdown report."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from statistics import mean, median
from typing import Any

from benchmarks.language.families import FAMILIES, GPT2, GROUPED, HYBRID, MLP
from benchmarks.language.train import RATES, Budget
from benchmarks.report import Results, Table, at_edges, origin
from qkan import bits_per_character, perplexity
from qkan.blocks import GAIN

MOST_LOSS, MOST_PARAMETERS = 1.03, 0.5
"""What an HQKAN may have of an MLP's validation loss, and of its feed-forward parameters."""


Setting = Mapping[str, Any]
"""Text and budget, which the rows of a run agree in."""


def last_setting(results: Results) -> Setting:
    """That of the last row, for documents, which know no run."""
    return {key: results.rows[-1][key] for key in ("text", *(field.name for field in fields(Budget)))}


def of_run(results: Results, setting: Setting, stage: str) -> list[dict[str, Any]]:
    """Rows of a stage that are of this text and budget."""
    return [dict(row) for row in results.where(stage=stage, **setting)]


def by_family(results: Results, setting: Setting, stage: str = "final") -> dict[str, list[dict[str, Any]]]:
    """Those rows, a family each, in the order of the table of families; families without rows are left out."""
    rows = of_run(results, setting, stage)
    found = {name: [row for row in rows if row["model"] == name] for name in FAMILIES}
    return {name: each for name, each in found.items() if each}


def tables(results: Results, setting: Setting) -> list[Table]:
    """What the run of this text and budget has found."""
    return [table(results, setting) for table in (goal_table, loss_table, cost_table, tuning_table)]


def goal_table(results: Results, setting: Setting) -> Table:
    """The figures that were to be reached, against the better of the two large perceptrons."""
    rows, lines = by_family(results, setting), []
    best = min((rows[name] for name in (MLP, GPT2)), key=lambda each: _median(each, "validation"))
    for name in (HYBRID, GROUPED):
        loss = _median(rows[name], "validation") / _median(best, "validation")
        size = rows[name][0]["feed_forward"] / best[0]["feed_forward"]
        reached = loss <= MOST_LOSS and size <= MOST_PARAMETERS
        goal = f"<= {MOST_LOSS:g} at <= {MOST_PARAMETERS:.0%}"
        lines.append([name, goal, f"{loss:.3f} at {size:.1%}", "yes" if reached else "no"])
    title = f"Goals: median validation loss / that of {best[0]['model']!r}, and the part of its feed-forward parameters"
    return Table(title, ["feed-forward", "goal", "measured", "reached"], lines)


def loss_table(results: Results, setting: Setting) -> Table:
    """Losses after equally many tokens."""
    lines = []
    for name, rows in by_family(results, setting).items():
        test = _median(rows, "test")
        cells = [f"{rows[0]['parameters']:,}", f"{rows[0]['feed_forward']:,}", _spread(rows, "validation")]
        cells += [_spread(rows, "test"), f"{bits_per_character(test):.3f}", f"{perplexity(test):.2f}"]
        lines.append([name, *cells])
    columns = ["feed-forward", "parameters", "of the feed-forwards", "validation, nats a character"]
    columns += ["test, nats a character", "test, bits a character", "test perplexity"]
    first = of_run(results, setting, "final")[0]
    title = f"{first['text']}, {first['tokens']:,} training tokens: median and range over seeds"
    return Table(title, columns, lines)


def cost_table(results: Results, setting: Setting) -> Table:
    """Tokens a second."""
    lines = []
    for name, rows in by_family(results, setting).items():
        rates = [f"{_median(rows, key):,.0f}" for key in ("training_rate", "generation_rate")]
        lines.append([name, *rates, f"{mean(row['seconds'] for row in rows):.0f}"])
        lines[-1] += [rows[0]["engine"], rows[0].get("generation_engine", "-")]
    columns = ["feed-forward", "tokens a second, training", "cached generation, one prompt", "seconds a seed"]
    columns += ["engine", "of the generation"]
    return Table("Speed", columns, lines)


def tuning_table(results: Results, setting: Setting) -> Table:
    """The choice of the learning rate."""
    lines = []
    for name, rows in by_family(results, setting, "tuning").items():
        losses = {row["lr"]: row["validation"] for row in rows}
        best = min(losses.values())
        cells = [f"**{losses[rate]:.3f}**" if losses[rate] == best else f"{losses[rate]:.3f}" for rate in RATES]
        lines.append([name, *cells])
    columns = ["feed-forward", *(f"lr {rate:g}" for rate in RATES)]
    return Table("Validation loss of short trainings, by learning rate", columns, lines)


def _median(rows: Sequence[dict[str, Any]], key: str) -> float:
    return median(row[key] for row in rows)


def _spread(rows: Sequence[dict[str, Any]], key: str) -> str:
    values = [row[key] for row in rows]
    return f"{median(values):.3f} [{min(values):.3f}..{max(values):.3f}]"


def report(results: Results, setting: Setting) -> str:
    """The Markdown report."""
    goals, losses, costs, tuning = tables(results, setting)
    row = of_run(results, setting, "final")[0]
    edges = at_edges([(rows[0]["lr"], RATES) for rows in by_family(results, setting).values()])
    samples = "\n\n".join(
        f"{name}:\n\n```\n{rows[0]['written']}\n```" for name, rows in by_family(results, setting).items()
    )
    return f"""# Language

Transformers of characters, {row["layers"]} layers of width {row["width"]}, which differ in their feed-forward only: the
same windows of {row["context"]} characters in the same order, {row["batch"]} a step, {row["steps"]} steps of AdamW with
warmup and a cosine, no dropout. 90 % of the text are for training, the next 5 % for validation, the last 5 % for the
test. The learning rate of a family is the best of {len(RATES)} on validation after {row["tuning"]} steps with a seed of
its own ({edges}); then the seeds are trained anew, and the test part is looked at. Losses are means over all
characters of a part, each predicted from at most {row["context"] - 1} before it. Every feed-forward starts with a
variance of about 1 and a gain of {GAIN:g} / sqrt(2 layers) behind it, but for one that starts as in GPT-2. The shape of
the HQKANs was found in rough runs.

{goals.markdown()}

{losses.markdown()}

![Loss against tokens, and against parameters](language.png)

{costs.markdown()}

{tuning.markdown()}

Written after one character, at temperature 0.8:

{samples}

{origin([*of_run(results, setting, "tuning"), *of_run(results, setting, "final")])}
"""
