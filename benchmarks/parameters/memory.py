"""The memory of a training step, in a process of its own: `python -m benchmarks.parameters.memory` is that process."""

import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.parameters.entries import ENTRIES, Entry
from benchmarks.peers.serve import Work, save, serve, training
from benchmarks.provenance import ran_on
from benchmarks.speed.process import Limits, Worker


def first_step(entry: Entry, inputs: int, outputs: int, batch: int) -> dict[str, Any]:
    """`peak_mib`, by how many MiB resident memory grows at most during the first step, and `engine`, what ran.

    A step is forward and backward in float32. Parameters and inputs are there before; gradients are part of what is
    measured. Where nobody can say, the memory is None.
    """
    rows = (batch, inputs) if entry.steps is None else (batch, entry.steps, inputs)
    x = np.random.default_rng(0).uniform(-0.9, 0.9, rows).astype(np.float32)
    case = {"seed": 0, "inputs": inputs, "outputs": outputs}
    command = (sys.executable, "-m", "benchmarks.parameters.memory")
    with TemporaryDirectory() as folder, Worker(command, Limits(), Path(folder) / "errors.txt") as worker:
        save(Path(folder) / "inputs", {"x": x})
        arrays = str(Path(folder) / "inputs")
        worker.ask("build", case=case, options={"model": entry.name}, dtype="float32", arrays=arrays)
        return worker.ask("first", answers=None)


def build(case: dict[str, Any], options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """`options` has the name of the model."""
    entry = next(entry for entry in ENTRIES if entry.name == options["model"])
    model = entry.build(case["inputs"], case["outputs"])
    return training(model, dict(model.named_parameters()) | {"x": arrays["x"]}, partial(ran_on, model))


if __name__ == "__main__":
    serve(build)
