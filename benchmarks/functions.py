"""Known functions, fitted by small QKANs: how exact does a handful of circuits get?"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from scipy.special import j0
from torch import Tensor

from benchmarks.protocol import ran_on
from benchmarks.provenance import provenance
from benchmarks.report import Results, Table, write
from circuits import pz
from qkan import QKAN, fit, parameter_count

TRAIN, VALIDATION, TEST = 1000, 500, 1000


@dataclass(frozen=True)
class Target:
    """A function on a box, and the QKAN that fits it.

    Args:
        name: the formula.
        function: from `(n, inputs)` to `(n, 1)`, float64.
        low: lower end of every input; the upper one is 1.
        widths: of the QKAN.
        reps: repetitions of its pz circuits.
        bar: median test error to reach.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    low: float
    widths: tuple[int, ...]
    reps: int
    bar: float

    def sample(self, size: int, seed: int) -> tuple[Tensor, Tensor]:
        """Uniform points and the values there."""
        generator = torch.Generator().manual_seed(seed)
        unit = torch.rand(size, self.widths[0], dtype=torch.float64, generator=generator)
        x = self.low + (1 - self.low) * unit
        return x, self.function(x)


TARGETS = (
    Target(
        "exp(sin(pi x) + y^2) on [-1, 1]^2",
        lambda x: torch.exp(torch.sin(math.pi * x[:, :1]) + x[:, 1:] ** 2),
        low=-1.0,
        widths=(2, 5, 1),
        reps=3,
        bar=1e-5,
    ),
    Target(
        "J0(20 x) on [0, 1]", lambda x: torch.as_tensor(j0(20 * x.numpy())), low=0.0, widths=(1, 1), reps=6, bar=1e-6
    ),
)


def run(out: Path, seeds: int = 5, steps: int = 50) -> None:
    """Write `report.md` and `results.json` to `out`, and print the table."""
    console = Console()
    results = Results(out / "results.json")
    columns = (TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for target in TARGETS:
            task = progress.add_task(target.name, total=seeds)
            for seed in range(seeds):
                measure(target, seed, steps, results)
                progress.advance(task)
    (table,) = tables(results)
    console.print(table.rich())
    write(out / "report.md", report(table, seeds, steps))


def measure(target: Target, seed: int, steps: int, results: Results) -> None:
    """Fit one seed by L-BFGS and look at its test points."""
    train, validation, test = (
        target.sample(size, 3 * seed + part) for part, size in enumerate((TRAIN, VALIDATION, TEST))
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Scales start at pi: on [-1, 1] the slowest frequency then makes one period.
        model = QKAN(target.widths, circuit=pz(target.reps), init_scale=math.pi, dtype=torch.float64)
    outcome = fit(model, train, validation, optimizer="lbfgs", epochs=steps, seed=seed, progress=False)
    with torch.no_grad():
        error = (model(test[0]) - test[1]).square().mean().item()
    results.add(
        target=target.name,
        model=f"QKAN{list(target.widths)}, pz({target.reps})",
        seed=seed,
        engine=ran_on(model),
        parameters=sum(parameter_count(model).values()),
        test_mse=error,
        steps=outcome.epochs,
        seconds=outcome.seconds,
    )


def tables(results: Results) -> list[Table]:
    """Median, smallest and largest test error of each target."""
    lines = []
    for target in TARGETS:
        rows = results.where(target=target.name)
        errors, seconds = [row["test_mse"] for row in rows], [row["seconds"] for row in rows]
        figures = [f"{median(errors):.1e}", f"{min(errors):.1e}", f"{max(errors):.1e}", f"{target.bar:.0e}"]
        lines.append([target.name, rows[0]["model"], str(rows[0]["parameters"]), *figures, f"{median(seconds):.1f}"])
    columns = ["target", "model", "parameters", "test MSE, median", "min", "max", "bar", "seconds a seed"]
    return [Table("Function fitting", columns, lines)]


def report(table: Table, seeds: int, steps: int) -> str:
    """The Markdown report."""
    return f"""# Function fitting

{TRAIN} training, {VALIDATION} validation and {TEST} test points, drawn anew for each of {seeds} seeds; float64, L-BFGS
with strong Wolfe line search, at most {steps} outer steps of 20 iterations; the weights of the best validation step are
kept.

{table.markdown()}

Commit {provenance()["commit"]}. Machine: {provenance()["machine"]}.
"""
