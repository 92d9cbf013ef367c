"""Count, compare with the formula, and measure."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import sizes
from benchmarks.parameters.entries import ENTRIES, LEGEND, Entry
from benchmarks.parameters.memory import first_step
from benchmarks.provenance import ran_on
from benchmarks.report import Results, Table, origin, progress_bars, write

SIZES = ((4, 1), (128, 10), (64, 64))
"""The memory of a step is that of the last one."""

BATCH = 256


class WrongFormula(Exception):
    """A model has other parameters than its formula says."""


def run(out: Path, small: bool = False, file: Path | None = None, entries: Sequence[Entry] = ENTRIES) -> None:
    """Write `report.md` and `results.jsonl` to `out`, and print the table.

    Args:
        out: folder of the report.
        small: whether to leave out the memory of a step, which takes a process for each model.
        file: of the results, instead of `results.jsonl` in `out`.
        entries: what is counted.

    Raises:
        WrongFormula: if a count is not what the formula says.
    """
    console, results = Console(), Results(file or out / "results.jsonl")
    with progress_bars(console) as progress:
        bar = progress.add_task("count and measure", total=len(entries))
        for entry in entries:
            for inputs, outputs in SIZES:
                count(entry, inputs, outputs, results, measured=not small and (inputs, outputs) == SIZES[-1])
            progress.advance(bar)
    for table in tables(results):
        console.print(table.rich())
    out.mkdir(parents=True, exist_ok=True)
    write(out / "report.md", report(results))


def count(entry: Entry, inputs: int, outputs: int, results: Results, measured: bool) -> None:
    """Add the row of a model of one size."""
    model = entry.build(inputs, outputs)
    counted, expected = sizes.count(model), entry.count(inputs, outputs)
    if counted != expected:
        raise WrongFormula(
            f"{entry.name} of {inputs} inputs and {outputs} outputs has {counted:,} parameters, but its formula "
            f"{entry.formula} gives {expected:,}: mend the one that is wrong."
        )
    step = first_step(entry, inputs, outputs, BATCH) if measured else {"engine": ran_on(model), "peak_mib": None}
    results.add(
        model=entry.name,
        formula=entry.formula,
        inputs=inputs,
        outputs=outputs,
        steps=entry.steps,
        seed=0,
        parameters=counted,
        bytes=sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()),
        batch=BATCH if measured else None,
        **step,
    )


def tables(results: Results) -> list[Table]:
    """Parameters of every size, and memory of the last one."""
    lines = []
    for name in dict.fromkeys(row["model"] for row in results.rows):
        rows = [results.where(model=name, inputs=inputs, outputs=outputs)[0] for inputs, outputs in SIZES]
        counts = [f"{row['parameters']:,}" for row in rows]
        memory = "-" if rows[-1]["peak_mib"] is None else f"{rows[-1]['peak_mib']:.1f}"
        lines.append([name, rows[0]["formula"], *counts, f"{rows[-1]['bytes'] / 1024:,.1f}", memory])
    labels = [f"{inputs}→{outputs}" for inputs, outputs in SIZES]
    columns = ["model", "formula", *labels, f"{labels[-1]}: KiB", f"step at batch {BATCH}, MiB"]
    return [Table("Parameters for the same inputs and outputs", columns, lines)]


def _inputs(results: Results) -> str:
    """What models read."""
    names: dict[int, list[str]] = {}
    for row in results.rows:
        if row["steps"] is not None and row["model"] not in names.setdefault(row["steps"], []):
            names[row["steps"]].append(row["model"])
    readers = [f"{', '.join(each)}: {steps} time steps." for steps, each in names.items()]
    return " ".join([*readers, "Every other model reads one vector." if readers else "Every model reads one vector."])


def report(results: Results) -> str:
    """The Markdown report."""
    (table,) = tables(results)
    return f"""# Parameters

Trainable scalars, counted in the module and held against the formula: {LEGEND}. Bytes are those of the parameters, in
float32. The memory of a step is by how much resident memory grows at most during the first forward and backward pass,
gradients included, each model in a process of its own; below a MiB it is mostly what the allocator rounds up.
{_inputs(results)}

{table.markdown()}

{origin(results.rows)}
"""
