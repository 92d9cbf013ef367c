"""The command line: one command a benchmark."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

Out = Annotated[Path | None, typer.Option(help="Folder for the report; by default runs/<name of the benchmark>.")]
Seeds = Annotated[int, typer.Option(min=1, help="Number of seeds.")]


@app.command()
def quickstart(
    out: Out = None,
    seeds: Seeds = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs at most, early stopping apart.")] = 1000,
) -> None:
    """Forecast sunspots with a QKAN, an MLP and an LSTM, then run the trained QKAN on every engine."""
    from benchmarks.quickstart import run

    run(out or Path("runs/quickstart"), seeds=seeds, epochs=epochs)


@app.command()
def functions(
    out: Out = None,
    seeds: Seeds = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of an hour: whether it works.")] = False,
    targets: Annotated[
        str, typer.Option(help="Keys of the functions to compare on, as in exp,j0; by default all.")
    ] = "",
    json: Annotated[Path | None, typer.Option(help="File of the rows, instead of results.jsonl in the folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Leave rows as they are that the file has.")] = False,
) -> None:
    """Fit known functions by L-BFGS: small QKANs, and others of as many parameters."""
    from benchmarks.functions.run import run
    from benchmarks.functions.targets import BY_KEY

    keys = [key for key in targets.split(",") if key]
    if unknown := [key for key in keys if key not in BY_KEY]:
        raise typer.BadParameter(f"{unknown} are not among {', '.join(BY_KEY)}", param_hint="--targets")
    run(out or Path("runs/functions"), seeds=seeds, small=quick, targets=keys, file=json, resume=resume)


@app.command()
def speed(
    out: Out = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Others take part, from .venv-peers; see `make peers`.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of hours: whether it works.")] = False,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Everybody is timed once in each; 5, or 2 if quick.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="File of the rows, instead of results.jsonl in the folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Leave cases as they are that the file has.")] = False,
) -> None:
    """Time layers and state vectors, ours and others', side by side."""
    from benchmarks.speed.contestants import MissingPeers
    from benchmarks.speed.run import run

    rounds = rounds or (2 if quick else 5)
    try:
        run(out or Path("runs/speed"), peers=peers, small=quick, rounds=rounds, file=json, resume=resume)
    except MissingPeers as error:
        raise typer.BadParameter(str(error), param_hint="--peers") from None


@app.command()
def nisq(
    out: Out = None,
    seeds: Seeds = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs at most, early stopping apart.")] = 1000,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of minutes: whether it works.")] = False,
    json: Annotated[Path | None, typer.Option(help="File of the rows, instead of results.jsonl in the folder.")] = None,
) -> None:
    """Train a QKAN exactly, under noise and by shots, and carry it to the noise of devices."""
    from benchmarks.nisq.run import run

    run(out or Path("runs/nisq"), seeds=seeds, epochs=epochs, small=quick, file=json)


@app.command()
def language(
    out: Out = None,
    seeds: Seeds = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of an hour: whether it works.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with tinyshakespeare.txt.")] = None,
    json: Annotated[Path | None, typer.Option(help="File of the rows, instead of results.jsonl in the folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Leave trainings as they are that the file has.")] = False,
) -> None:
    """Train transformers of characters with perceptrons, HQKANs and a KAN as feed-forwards."""
    from benchmarks.language.data import MissingText
    from benchmarks.language.run import run

    try:
        run(out or Path("runs/language"), seeds=seeds, small=quick, folder=data_dir, file=json, resume=resume)
    except MissingText as error:
        raise typer.BadParameter(str(error), param_hint="--data-dir") from None


@app.command()
def images(
    out: Out = None,
    dataset: Annotated[str, typer.Option(help="digits, mnist, fashion-mnist, cifar-10 or cifar-100.")] = "digits",
    seeds: Seeds = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs at most, early stopping apart.")] = 40,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of minutes: whether it works.")] = False,
    json: Annotated[Path | None, typer.Option(help="File of the rows, instead of results.jsonl in the folder.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the published files are; they are not downloaded.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Leave the rows as they are that the file has.")] = False,
) -> None:
    """Classify images by one convolutional body and heads of all kinds."""
    from benchmarks.images.files import DataError
    from benchmarks.images.run import run
    from benchmarks.images.sets import SETS

    if dataset not in SETS:
        raise typer.BadParameter(f"must be one of {', '.join(SETS)}, but is {dataset!r}.", param_hint="--dataset")
    try:
        run(out or Path("runs/images"), dataset, seeds, epochs, quick, file=json, folder=data_dir, resume=resume)
    except DataError as error:
        raise typer.BadParameter(str(error), param_hint="--data-dir") from None


@app.command()
def fair(
    out: Out = None,
    seeds: Seeds = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of hours: whether it works.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with hea_hardness.csv.")] = None,
    json: Annotated[Path | None, typer.Option(help="File of the rows, instead of results.jsonl in the folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Leave the rows as they are that the file has.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Searches at a time; by default one a processor, 0 in this process.")
    ] = None,
    tasks: Annotated[str, typer.Option(help="Keys of the tasks, as in exp,wine; by default all.")] = "",
) -> None:
    """Compare all families on functions, tables and digits, by equal trials, and with what they cost."""
    from benchmarks.fair.run import run
    from benchmarks.fair.tasks import BY_NAME, MissingTable

    keys = [key for key in tasks.split(",") if key]
    if unknown := [key for key in keys if key not in BY_NAME]:
        raise typer.BadParameter(f"{unknown} are not among {', '.join(BY_NAME)}", param_hint="--tasks")
    try:
        run(out or Path("runs/fair"), seeds, quick, data_dir, json, resume, workers, keys)
    except MissingTable as error:
        raise typer.BadParameter(str(error), param_hint="--data-dir") from None


@app.command()
def colour(
    out: Out = None,
    seeds: Seeds = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of minutes: whether it works.")] = False,
    json: Annotated[Path | None, typer.Option(help="File of the rows, instead of results.jsonl in the folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Leave the rows as they are that the file has.")] = False,
) -> None:
    """Make the pictures of one camera those of another, by least squares, perceptrons and cmKANs."""
    from benchmarks.colour.run import run

    run(out or Path("runs/colour"), seeds, quick, file=json, resume=resume)


@app.command()
def parameters(
    out: Out = None,
    quick: Annotated[bool, typer.Option("--quick", help="Count only: no memory of a step.")] = False,
    json: Annotated[Path | None, typer.Option(help="File of the rows, instead of results.jsonl in the folder.")] = None,
) -> None:
    """Count the parameters of every model, by formula and in the module, and measure their memory."""
    from benchmarks.parameters.run import run

    run(out or Path("runs/parameters"), quick, file=json)


@app.command()
def selectors(
    out: Out = None,
    seeds: Seeds = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of minutes: whether it works.")] = False,
    json: Annotated[Path | None, typer.Option(help="File of the rows, instead of results.jsonl in the folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Leave folds as they are that the file has.")] = False,
) -> None:
    """Select features by networks and by what is usually taken, and predict with what is left."""
    from benchmarks.selectors.run import run

    run(out or Path("runs/selectors"), seeds=seeds, small=quick, file=json, resume=resume)


@app.command()
def sequences(
    out: Out = None,
    seeds: Seeds = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of an hour: whether it works.")] = False,
    json: Annotated[Path | None, typer.Option(help="File of the rows, instead of results.jsonl in the folder.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Files of Milan's telecommunications, instead of synthetic traffic.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Leave the rows as they are that the file has.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Trainings at a time; by default one a processor, 0 in this process.")
    ] = None,
    study: Annotated[
        list[str] | None, typer.Option(help="papers, adam, lbfgs, others or town; may be repeated. All by default.")
    ] = None,
) -> None:
    """Forecast series with recurrent networks of matched size."""
    from benchmarks.sequences.run import run

    try:
        run(out or Path("runs/sequences"), seeds, quick, data_dir, json, resume, workers, study or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.command()
def publish(runs: Annotated[Path, typer.Option(help="Where the runs are.")] = Path("runs")) -> None:
    """Put the last runs into benchmarks/results, and their tables into the READMEs."""
    from benchmarks.publish import run

    run(runs)


if __name__ == "__main__":
    app()
