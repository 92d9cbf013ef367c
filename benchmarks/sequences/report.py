"""Tables of a run, and the Markdown report."""

import math
from collections.abc import Sequence
from statistics import mean, median, stdev
from typing import Any

from benchmarks.report import Results, Table, origin
from benchmarks.sequences.families import GRU_NAME, HYBRID_NAME, LSTM_NAME, MLP_NAME, QKAN_NAME, QLSTM_NAME, QUANTUM
from benchmarks.sequences.tasks import PARTS, TASKS

ORDER = (LSTM_NAME, GRU_NAME, QLSTM_NAME, QKAN_NAME, HYBRID_NAME, MLP_NAME)

GOALS = (
    ("pendulum", (QKAN_NAME,), 35, 1.0e-3, 0.977),
    ("bessel", QUANTUM, 35, 3.2e-4, 0.986),
)
"""Series, families, parameters at most, mean squared error at most and R2 at least."""

Rows = list[dict[str, Any]]


def finals(results: Results, study: str) -> dict[tuple[str, int, str], Rows]:
    """The rows of all seeds by series, size and family."""
    found: dict[tuple[str, int, str], Rows] = {}
    for row in results.where(stage="final", study=study):
        found.setdefault((row["task"], row["size"], row["model"]), []).append(dict(row))
    return found


def middle(rows: Rows, key: str = "test_mse") -> float:
    """The median over seeds."""
    return median(row[key] for row in rows)


def title(task: str) -> str:
    """Of a series."""
    return TASKS[task].title if task in TASKS else "Milan, internet"


def goal_table(results: Results) -> Table:
    """The figures that were to be reached."""
    lines, found, papers = [], finals(results, "adam"), finals(results, "papers")
    for task, names, most, error, score in GOALS:
        cells = {key: rows for key, rows in papers.items() if key[0] == task and key[2] in names and key[1] <= most}
        for (_, _, name), rows in [min(cells.items(), key=_validated)] if cells else []:
            reached = middle(rows) <= error and middle(rows, "test_r2") >= score
            goal = f"MSE <= {error:.1e}, R2 >= {score:g}, at most {most} parameters"
            measured = f"{middle(rows):.1e}, {middle(rows, 'test_r2'):.4f}, {rows[0]['parameters']} parameters"
            lines.append([f"{title(task)}, {name}, 30 epochs", goal, measured, "yes" if reached else "no"])
    lines += [_front_line(found, task) for task in dict.fromkeys(key[0] for key in found)]
    lines += _town_lines(results)
    return Table("Goals", ["figure", "goal", "measured", "reached"], lines)


def _validated(cell: tuple[tuple[str, int, str], Rows]) -> float:
    """By what one of several models is chosen: the test part is looked at afterwards."""
    return middle(cell[1], "validation_mse")


def _front_line(found: dict[tuple[str, int, str], Rows], task: str) -> list[str]:
    """At how many sizes QKAN-LSTM or HQKAN-LSTM is on the front of error against parameters."""
    sizes = sorted({size for key, size, name in found if key == task and name != MLP_NAME})
    won = [size for size in sizes if on_front(found, task, size)]
    measured = f"at {len(won)} of {len(sizes)} sizes" + (f" ({', '.join(map(str, won))})" if won else "")
    goal = "on the Pareto front at every size"
    return [f"{title(task)}, QKAN-LSTM or HQKAN-LSTM", goal, measured, "yes" if won == sizes else "no"]


def on_front(found: dict[tuple[str, int, str], Rows], task: str, size: int) -> bool:
    """Whether no other recurrent network of at most that many parameters has a smaller error than our best one."""
    cells = {(at, name): middle(rows) for (key, at, name), rows in found.items() if key == task and at <= size}
    ours = [error for (at, name), error in cells.items() if at == size and name in QUANTUM]
    others = [error for (_, name), error in cells.items() if name not in (*QUANTUM, MLP_NAME)]
    return bool(ours) and min(ours) <= min(others, default=math.inf)


def _town_lines(results: Results) -> list[list[str]]:
    """The hybrid against the large LSTM."""
    found = finals(results, "town")
    large = max((rows for (_, _, name), rows in found.items() if name == LSTM_NAME), key=_size, default=None)
    small = next((rows for (_, _, name), rows in found.items() if name == HYBRID_NAME), None)
    if large is None or small is None:
        return []
    saved = 1 - _size(small) / _size(large)
    better = middle(small, "test_mae") <= middle(large, "test_mae")
    errors = f"MAE {middle(small, 'test_mae'):.2f} against {middle(large, 'test_mae'):.2f}"
    figure = f"{title(small[0]['task'])}, HQKAN-LSTM against an LSTM of {_size(large):,}"
    goal = ">= 95 % fewer parameters at no larger MAE"
    return [[figure, goal, f"{saved:.1%} fewer, {errors}", "yes" if saved >= 0.95 and better else "no"]]


def _size(rows: Rows) -> int:
    return rows[0]["parameters"]


def curve_table(results: Results, study: str, name: str) -> Table:
    """The median error of every family at every size."""
    found, lines = finals(results, study), []
    order = [*TASKS, "milan"]
    for task, size in sorted({key[:2] for key in found}, key=lambda key: (order.index(key[0]), key[1])):
        cells = {family: found.get((task, size, family)) for family in ORDER}
        best = min(middle(rows) for rows in cells.values() if rows)
        line = [f"{title(task)}, <= {size}"]
        for rows in cells.values():
            text = f"{middle(rows):.1e} ({_size(rows)})" if rows else "-"
            line.append(f"**{text}**" if rows and middle(rows) == best else text)
        lines.append(line)
    return Table(name, ["series, parameters at most", *ORDER], lines)


def detail_table(results: Results, study: str, name: str) -> Table:
    """Errors, spread and time of every family, beside what needs no training."""
    lines = []
    for (task, _, family), rows in sorted(
        finals(results, study).items(), key=lambda item: (item[0][0], _size(item[1]))
    ):
        errors, seconds = [row["test_mse"] for row in rows], [row["seconds"] for row in rows if row["seconds"]]
        spread = f"{stdev(errors):.1e}" if len(errors) > 1 and all(map(math.isfinite, errors)) else "-"
        lines.append(
            [
                f"{title(task)}, {family}",
                f"{_size(rows):,}",
                f"{mean(errors):.2e}",
                spread,
                f"{middle(rows, 'test_mae'):.3g}",
                f"{middle(rows, 'test_r2'):.4f}",
                f"{mean(seconds):.1f}" if seconds else "-",
            ]
        )
    for task in dict.fromkeys(key[0] for key in finals(results, study)):
        for row in results.where(stage="yardstick", task=task):
            figures = [f"{row['test_mse']:.2e}", "-", f"{row['test_mae']:.3g}", f"{row['test_r2']:.4f}", "-"]
            lines.append([f"{title(task)}, {row['model']}", "0", *figures])
    columns = ["series, model", "parameters", "test MSE, mean", "std", "MAE, median", "R2, median", "seconds a seed"]
    return Table(name, columns, lines)


def chosen_table(results: Results) -> Table:
    """What the trials have chosen."""
    lines = []
    for (task, size, family), rows in finals(results, "adam").items():
        lines.append([f"{title(task)}, {family}, <= {size}", rows[0]["variant"], rows[0]["setting"]])
    return Table("Chosen on validation", ["series, model", "variant", "training"], lines)


def tables(results: Results) -> list[Table]:
    """What a run has found."""
    every = [
        goal_table(results),
        detail_table(results, "papers", "The papers' comparison: 30 epochs of Adam in batches of 4"),
        curve_table(results, "adam", "Median test MSE after 30 epochs of Adam in batches of 16 (parameters)"),
        curve_table(results, "lbfgs", "Median test MSE after L-BFGS (parameters)"),
        detail_table(results, "adam", "Details after 30 epochs of Adam"),
        detail_table(results, "others", "Other series"),
        detail_table(results, "town", "Urban traffic"),
    ]
    return [table for table in every if table.rows]


def report(results: Results) -> str:
    """The Markdown report."""
    parts: Sequence[Table] = [*tables(results), chosen_table(results)]
    shown = "\n\n".join(table.markdown() for table in parts if table.rows)
    return f"""# Sequences

The next value of a series from a window of it. The first {PARTS[0]:.0%} of the windows are for training, the next
{PARTS[1]:.0%} for validation, the rest for the test; the training part fills [-1, 1], and errors are of scaled values,
but for MAE, which is in the unit of the series. Every family has two variants, each as large as the number of
parameters allows, read-out included; of torch's two biases of a gate, which are just added, one is held at 0 and not
counted. All variants and trainings are tried with two seeds on validation, as many as those of any other family that
has models so small; then seeds are trained anew, the weights of the best validation epoch are kept, and the test part
is looked at once. The variants of the QKAN- and HQKAN-LSTM, and where their angles start, were found in rough runs on
the pendulum and the Bessel function, which looked at test errors, too; those of the others are the usual ones. The
learning rate of Adam falls to 0 along a cosine.

{shown}

![Error against parameters](sequences.png)

![Forecasts after few and many epochs](sequences_epochs.png)

{origin(results.rows)}
"""
