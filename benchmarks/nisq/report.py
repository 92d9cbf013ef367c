"""Tables of a run, and the Markdown report."""

from statistics import median

from benchmarks.nisq.devices import BACKENDS, REPEATS
from benchmarks.nisq.gradients import BUDGETS, RULES
from benchmarks.nisq.rates import COUNTS, EXACT, ONE, ONE_SHOTS
from benchmarks.nisq.task import PATIENCE, RATES, WAYS
from benchmarks.report import Results, Table, at_edges, origin


def tables(results: Results) -> list[Table]:
    """What a run has found."""
    return [
        goal_table(results),
        *(device_table(results, name) for name in BACKENDS),
        rate_table(results),
        gradient_table(results),
    ]


def _mse(results: Results, **where: object) -> list[float]:
    return [row["test_mse"] for row in results.where(stage="device", **where)]


def goal_table(results: Results) -> Table:
    """The figures that were to be reached."""
    rates = {row["contestant"]: row["rate"] for row in results.where(stage="rate")}
    noisy = next(name for name in rates if name.startswith("noisy"))
    full = next(name for name in rates if name.startswith("Aer, all noise"))
    off = {name: max(row["difference"] for row in results.where(stage="agreement", backend=name)) for name in BACKENDS}
    raw = {
        way: median(_mse(results, way=way, backend=BACKENDS[-1], treatment="raw", shots=None))
        for way in ("exact", "noise-aware")
    }
    lines = [
        (f"noisy against Aer's density matrices, {name}", "<= 1e-12", off[name], off[name] <= 1e-12)
        for name in BACKENDS
    ]
    for label, goal, ratio in (
        (f"{noisy} / {full}", 100, rates[noisy] / rates[full]),
        (f"{EXACT} / {ONE}", 8, rates[EXACT] / rates[ONE]),
        (f"{COUNTS} / {ONE_SHOTS}", 2, rates[COUNTS] / rates[ONE_SHOTS]),
    ):
        lines.append((f"circuits a second: {label}", f">= {goal}", ratio, ratio >= goal))
    ratio = raw["noise-aware"] / raw["exact"]
    lines.append((f"median test MSE under {BACKENDS[-1]}'s noise: noise-aware / exact", "< 1", ratio, ratio < 1))
    cells = [[label, goal, f"{value:.3g}", "yes" if reached else "no"] for label, goal, value, reached in lines]
    return Table("Goals", ["figure", "goal", "measured", "reached"], cells)


def device_table(results: Results, backend: str) -> Table:
    """Median test error over seeds, for every way of training."""
    shots = list(dict.fromkeys(row["shots"] for row in results.where(stage="device", backend=backend)))
    lines = []
    for way in WAYS:
        if not (exact := _mse(results, way=way, backend="simulator")):
            continue
        for treatment in ("raw", "corrected"):
            cells = []
            for count in shots:
                errors = _mse(results, way=way, backend=backend, treatment=treatment, shots=count)
                cells.append(f"{median(errors):.2e} [{min(errors):.1e}..{max(errors):.1e}]")
            lines.append([way, treatment, f"{median(exact):.2e}", *cells])
    names = [f"{count} shots" if count else "no shot noise" for count in shots]
    title = f"Test MSE on {backend}, median and range over seeds"
    return Table(title, ["trained", "values", "exact simulator", *names], lines)


def rate_table(results: Results) -> Table:
    """Circuits a second."""
    rows = results.where(stage="rate")
    base = next(row["rate"] for row in rows if row["contestant"] == ONE)
    lines = [
        [
            row["contestant"],
            f"{row['rate']:,.0f}",
            f"{min(row['rates']):,.0f}..{max(row['rates']):,.0f}",
            f"{row['rate'] / base:,.1f}",
        ]
        for row in rows
    ]
    return Table("Values of pz(3) a second", ["engine", "median", "range", "/ one bound circuit, exact"], lines)


def gradient_table(results: Results) -> Table:
    """The cosine to the exact gradient."""
    lines = []
    for rule in RULES:
        rows = {row["budget"]: row for row in results.where(stage="gradient", rule=rule)}
        lines.append([rule, *(f"{rows[budget]['cosine']:.3f}" for budget in BUDGETS)])
    return Table("Cosine to the exact gradient, at equal shots a circuit", ["rule", *map(str, BUDGETS)], lines)


def report(results: Results, seeds: int, epochs: int) -> str:
    """The Markdown report."""
    where = {row["backend"]: row["qubit"] for row in reversed(results.where(stage="agreement"))}
    qubits = ", ".join(f"qubit {qubit} of {backend}" for backend, qubit in where.items())
    edges = at_edges([(results.where(stage="final", way=way)[0]["lr"], RATES) for way in WAYS])
    goals, *devices, rates, gradients = tables(results)
    parts = "\n\n".join(table.markdown() for table in devices)
    return f"""# Noisy devices

exp(sin(pi x) + y^2) on [-1, 1]^2, standardised, by QKAN[2, 4, 1] of pz(2) circuits without a base. Each way of training
chooses among the learning rates {", ".join(f"{rate:g}" for rate in RATES)} by its own validation error with a seed of
its own ({edges}), then {seeds} seeds are trained anew: full-batch Adam, at most {epochs} epochs, early stopping
after {PATIENCE} epochs without a better validation error. "noise-aware" trains under the noise of {BACKENDS[-1]},
"shot-based" with 256 shots a value and a shift. Devices are simulated by their calibration, in torch: {qubits}, which
half of their qubits surpass. Every error with shots is the mean of {REPEATS} repetitions.

{goals.markdown()}

{parts}

![Test error against shots](nisq.png)

{rates.markdown()}

{gradients.markdown()}

{origin(results.rows)}
"""
