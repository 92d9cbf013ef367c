"""Rows of benchmarks, read and written without the code that is tested."""

import json


def read_rows(path):
    """All rows of a file; JSON has no numbers that are not finite."""

    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def write_rows(path, rows):
    """Make a file of rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
