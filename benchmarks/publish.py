"""From runs to documents: results that are kept in the repository, and the tables made of them."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks import quickstart
from benchmarks.colour import report as colour
from benchmarks.fair import report as fair
from benchmarks.functions import report as functions
from benchmarks.images import report as images
from benchmarks.language import report as language
from benchmarks.nisq import report as nisq
from benchmarks.parameters import run as parameters
from benchmarks.report import Results, Table, origin, write
from benchmarks.selectors import report as selectors
from benchmarks.sequences import report as sequences
from benchmarks.speed import report as speed

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "benchmarks" / "results"
DOCUMENTS = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")

TABLES: dict[str, Callable[[Results], list[Table]]] = {
    "quickstart": quickstart.tables,
    "fair": fair.tables,
    "fair_summary": fair.summary_tables,
    "colour": lambda results: colour.tables(results, colour.last_setting(results)),
    "functions": functions.tables,
    "functions_goals": functions.goal_tables,
    "images": lambda results: images.tables(results, images.last_settings(results)),
    "images_goals": lambda results: [images.goal_table(results, images.last_settings(results))],
    "language": lambda results: language.tables(results, language.last_setting(results)),
    "language_goals": lambda results: [language.goal_table(results, language.last_setting(results))],
    "nisq": nisq.tables,
    "nisq_goals": lambda results: [nisq.goal_table(results)],
    "parameters": parameters.tables,
    "selectors": selectors.tables,
    "selectors_goals": lambda results: [selectors.goal_table(results)],
    "sequences": sequences.tables,
    "sequences_goals": lambda results: [sequences.goal_table(results)],
    "speed": speed.tables,
    "speed_goals": lambda results: [speed.figures(results)],
}
"""What a block of a document shows, by its name, which begins with that of the benchmark."""


def run(runs: Path) -> None:
    """Copy what is in `runs` to `benchmarks/results` and renew the tables of the documents."""
    KEPT.mkdir(exist_ok=True)
    for name in {name.partition("_")[0] for name in TABLES}:
        if (runs / name / "results.jsonl").exists():
            Results.load(runs / name / "results.jsonl").save(KEPT / f"{name}.jsonl")
            for picture in (runs / name).glob("*.png"):
                shutil.copy(picture, KEPT / picture.name)
    for document in DOCUMENTS:
        write(document, renewed(document.read_text()))


def renewed(text: str) -> str:
    """`text` with everything between `<!-- begin NAME -->` and `<!-- end NAME -->` made from the kept results."""

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        results = Results.load(KEPT / f"{name.partition('_')[0]}.jsonl")
        parts = [table.markdown() for table in TABLES[name](results)]
        parts.append(origin(results.rows))
        return "\n\n".join([f"<!-- begin {name} -->", *parts, f"<!-- end {name} -->"])

    return re.sub(r"<!-- begin (?P<name>\w+) -->.*?<!-- end (?P=name) -->", block, text, flags=re.DOTALL)
