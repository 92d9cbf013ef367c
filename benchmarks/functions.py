"""Known functions, fitted by small QKANs: how exact does a handful of circuits get?"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from scipy.special import j0
from torch import Tensor

from benchmarks.protocol import ran_on
from benchmarks.provenance import provenance
from benchmarks.report import Results, Table, progress_bars, write
from circuits import pz
from qkan import QKAN, fit, parameter_count

TRAIN, VALIDATION, TEST = 1000, 500, 1000


@dataclass(frozen=True)
class Setting:
    """How a QKAN is started and trained.

    Args:
        name: as tables show it.
        init_scale: where scales start; with pi the slowest frequency makes one period on [-1, 1].
        history: curvature pairs that L-BFGS keeps.
        dtype: of everything.
    """

    name: str
    init_scale: float = math.pi
    history: int = 100
    dtype: torch.dtype = torch.float64


CHOSEN = Setting("as above")
ABLATIONS = (
    CHOSEN,
    Setting("scales start at 1", init_scale=1.0),
    Setting("10 curvature pairs", history=10),
    Setting("float32", dtype=torch.float32),
)
"""One thing changed at a time, on the first target, compared on validation points."""


@dataclass(frozen=True)
class Target:
    """A function on a box, and the QKAN that fits it.

    Args:
        name: the formula.
        function: from `(n, inputs)` to `(n, 1)`, float64.
        low: lower end of every input; the upper one is 1.
        widths: of the QKAN.
        reps: repetitions of its pz circuits.
        goal: median test error to reach.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    low: float
    widths: tuple[int, ...]
    reps: int
    goal: float

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
        goal=1e-5,
    ),
    Target(
        "J0(20 x) on [0, 1]", lambda x: torch.as_tensor(j0(20 * x.numpy())), low=0.0, widths=(1, 1), reps=6, goal=1e-6
    ),
)


def run(out: Path, seeds: int = 5, steps: int = 50) -> None:
    """Write `report.md` and `results.json` to `out`, and print the table."""
    console = Console()
    results = Results(out / "results.json")
    with progress_bars(console) as progress:
        for target in TARGETS:
            task = progress.add_task(target.name, total=seeds)
            for seed in range(seeds):
                measure(target, CHOSEN, seed, steps, results)
                progress.advance(task)
        for setting in ABLATIONS[1:]:
            task = progress.add_task(setting.name, total=seeds)
            for seed in range(seeds):
                measure(TARGETS[0], setting, seed, steps, results)
                progress.advance(task)
    for table in tables(results):
        console.print(table.rich())
    write(out / "report.md", report(tables(results), seeds, steps))


def measure(target: Target, setting: Setting, seed: int, steps: int, results: Results) -> None:
    """Fit one seed by L-BFGS; the chosen setting looks at its test points."""

    def points(part: int, size: int) -> tuple[Tensor, Tensor]:
        x, y = target.sample(size, 3 * seed + part)
        return x.to(setting.dtype), y.to(setting.dtype)

    train, validation, test = points(0, TRAIN), points(1, VALIDATION), points(2, TEST)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = QKAN(target.widths, circuit=pz(target.reps), init_scale=setting.init_scale, dtype=setting.dtype)
    outcome = fit(
        model,
        train,
        validation,
        optimizer="lbfgs",
        history=setting.history,
        epochs=steps,
        seed=seed,
        progress=False,
    )
    with torch.no_grad():
        error = (model(test[0]) - test[1]).square().mean().item() if setting is CHOSEN else None
    results.add(
        target=target.name,
        setting=setting.name,
        model=f"QKAN{list(target.widths)}, pz({target.reps})",
        seed=seed,
        engine=ran_on(model),
        parameters=sum(parameter_count(model).values()),
        validation_mse=outcome.best_validation_loss,
        test_mse=error,
        steps=outcome.epochs,
        seconds=outcome.seconds,
    )


def tables(results: Results) -> list[Table]:
    """Test errors of the targets, and validation errors of the ablations."""
    lines = []
    for target in TARGETS:
        rows = results.where(target=target.name, setting=CHOSEN.name)
        errors, seconds = [row["test_mse"] for row in rows], [row["seconds"] for row in rows]
        figures = [f"{median(errors):.1e}", f"{min(errors):.1e}", f"{max(errors):.1e}", f"{target.goal:.0e}"]
        lines.append([target.name, rows[0]["model"], str(rows[0]["parameters"]), *figures, f"{median(seconds):.1f}"])
    columns = ["target", "model", "parameters", "test MSE, median", "min", "max", "goal", "seconds a seed"]
    fits = Table("Function fitting", columns, lines)

    lines = []
    for setting in ABLATIONS:
        errors = [row["validation_mse"] for row in results.where(target=TARGETS[0].name, setting=setting.name)]
        lines.append([setting.name, f"{median(errors):.1e}", f"{min(errors):.1e}", f"{max(errors):.1e}"])
    columns = ["one thing changed", "validation MSE, median", "min", "max"]
    return [fits, Table(f"What matters for {TARGETS[0].name}", columns, lines)]


def report(tables: Sequence[Table], seeds: int, steps: int) -> str:
    """The Markdown report."""
    return f"""# Function fitting

{TRAIN} training, {VALIDATION} validation and {TEST} test points, drawn anew for each of {seeds} seeds; float64, L-BFGS
with strong Wolfe line search, at most {steps} outer steps of 20 iterations; the weights of the best validation step are
kept.

{tables[0].markdown()}

{tables[1].markdown()}

Commit {provenance()["commit"]}. Machine: {provenance()["machine"]}.
"""
