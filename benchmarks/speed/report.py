"""What a run has found, as tables and as a report."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.report import Results, Table, origin
from benchmarks.speed.contestants import ALL_KNOTS, AUTO, RATIONAL_TORCH, STATEVECTOR
from benchmarks.speed.figures import figures
from benchmarks.speed.groups import CELLS, DEPTHS, NORMAL, RATIONALS, SPLINES, TRAINABLE, UNIT, VECTORS

Row = Mapping[str, Any]

YARDSTICKS = {UNIT: AUTO, TRAINABLE: AUTO, NORMAL: AUTO, VECTORS: STATEVECTOR, DEPTHS: STATEVECTOR, CELLS: AUTO}
YARDSTICKS |= {SPLINES: ALL_KNOTS, RATIONALS: RATIONAL_TORCH}
"""The groups that have a table, and whose step is 1 in it."""

LONGEST = 70
"""Letters of a reason that a table shows; the file has them all."""


def tables(results: Results) -> list[Table]:
    """One a group, and the goals."""
    groups = [name for name in YARDSTICKS if results.where(group=name)]
    return [group_table(results, name) for name in groups] + [figures(results)]


def group_table(results: Results, group: str) -> Table:
    """Every contestant in every case: times, peak memory and errors, or the reason why there are none."""
    lines, label = [], None
    for row in results.where(group=group):
        standard = results.where(group=group, label=row["label"], contestant=YARDSTICKS[group])
        # A case is named once, in its first line.
        lines.append([row["label"] if row["label"] != label else "", row["contestant"], *_cells(row, standard)])
        label = row["label"]
    case = {VECTORS: "circuit", DEPTHS: "circuit", CELLS: "batch, steps, in→hidden, reps, scales"}
    case |= {SPLINES: "batch, in→out, cells, degree", RATIONALS: "batch, tokens, channels"}
    times = ["forward, ms", "step, ms [min..max]", f"step / {YARDSTICKS[group].removeprefix('ours, ')}"]
    return Table(
        group,
        [case.get(group, "batch, in→out, reps"), "contestant", *times, "peak, MiB", "output error", "gradient error"],
        lines,
    )


def _cells(row: Row, standard: Sequence[Row]) -> list[str]:
    errors = [_error(row.get("output_error")), _error(row.get("gradient_error"))]
    peak = "n/a" if row["peak_mib"] is None else f"{row['peak_mib']:.1f}"
    if row["reason"] is not None:
        reason = row["reason"] if len(row["reason"]) <= LONGEST else row["reason"][:LONGEST] + "…"
        return ["-", reason.replace("|", "/"), "-", "-" if row["peak_mib"] is None else peak, *errors]
    steps = row["step_ms"]
    spread = f"{_ms(median(steps))} [{_ms(min(steps))}..{_ms(max(steps))}]"
    times = [other["step_ms"] for other in standard if other["step_ms"]]
    ratio = f"{median(steps) / median(times[0]):.2f}" if times else "-"
    return [_ms(median(row["forward_ms"])), spread, ratio, peak, *errors]


def disturbance(results: Results) -> str:
    """How busy others kept the machine while times were taken; nothing where that is not known."""
    shares = sorted(share for row in results.rows for share in row["others_busy"] if share is not None)
    if not shares:
        return ""
    worst = shares[int(0.95 * (len(shares) - 1))]
    usual = f"While times were taken, other programs kept {median(shares):.2f} cores busy"
    return f"{usual}, {worst:.2f} or more in the worst 5 % of the timings.\n\n"


def _ms(milliseconds: float) -> str:
    """Three digits, and all of those before the point."""
    return f"{milliseconds:.3g}" if milliseconds < 100 else f"{milliseconds:.0f}"


def _error(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"


def report(results: Results, seconds: float) -> str:
    """The Markdown report."""
    shown = "\n\n".join(table.markdown() for table in tables(results))
    return f"""# Speed

Milliseconds of a forward pass without gradients, and of a training step: forward, mean of squares as loss, backward to
all trainable parameters and to x. Everybody has a process of its own, all processes of a case are alive at once, and
one computes at a time: rounds go through the contestants in turn, each timing lasts {seconds:g} s or one step. Times
are medians over rounds. Peak memory is that of the first step above what was resident before it; below some MiB it is
noise.

Layers have a SiLU base and no bias; circuits are pz, with unit scales (scale 1, shift 0, not trained) or with
everything trainable. All contestants that compute the same function have the same parameters and inputs, float32 unless
named otherwise, and their errors are relative l2 errors against float64, for gradients the worst of all families: no
time is shown of numbers that are wrong. The peer `qkan` measures <Z> here (`fast_measure=False`) and trains its output
weights as ours does; B-splines have degree 3 on 5 intervals of [-1, 1]; "bare products" are the matrix products of a
spectral layer and nothing else. In the group of B-splines all compute the same layer, with a SiLU base and a factor for
each edge: ours with uniform knots or with knots of its own for every input, and the form that carries the recursion of
Cox and de Boor through all functions of an input before the matrix product.

{shown}

{disturbance(results)}{origin(results.rows)}
"""
