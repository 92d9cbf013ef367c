"""The worker's side of the speed benchmark: build a contestant, take its first step, then time it, as asked.

A request and its reply are one line of JSON each; arrays travel as `.npy` files. Workers in other environments import
this file as it stands, so it needs torch and numpy and nothing of ours.
"""

import ctypes
import gc
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Work:
    """What a contestant does.

    Args:
        forward: the output, without a gradient.
        step: a training step: forward, mean of squares as loss, backward; returns the output.
        leaves: what a step leaves gradients at, by the names of the case's arrays.
        ran: what did the work, for the row; asked after the first step, since some only know then.
    """

    forward: Callable[[], Tensor]
    step: Callable[[], Tensor]
    leaves: Mapping[str, Tensor]
    ran: Callable[[], str]


Build = Callable[[dict[str, Any], dict[str, Any], dict[str, Tensor]], Work]
"""From the case, the contestant's options and the case's arrays, in its dtype, to its work."""


def training(function: Callable[[Tensor], Tensor], leaves: Mapping[str, Tensor], ran: str | Callable[[], str]) -> Work:
    """The work of a function of x that is differentiable in `leaves`, among them `x`."""
    for leaf in leaves.values():
        leaf.requires_grad_()
    x = leaves["x"]

    @torch.no_grad()
    def forward() -> Tensor:
        return function(x)

    def step() -> Tensor:
        for leaf in leaves.values():
            leaf.grad = None
        output = function(x)
        output.square().mean().backward()
        return output.detach()

    return Work(forward, step, leaves, ran if callable(ran) else lambda: ran)


def serve(build: Build) -> None:
    """Answer requests until there are no more: when whoever asks is gone, so is the worker."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with replies
    worker = _Worker(build)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = worker.answer(**request)
        except Exception as error:  # whatever it is, it is the row's reason
            reply = {"error": f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"}
        print(json.dumps(reply), file=replies, flush=True)


class _Worker:
    def __init__(self, build: Build) -> None:
        self.build = build
        self.work: Work | None = None

    def answer(self, do: str, **arguments: Any) -> dict[str, Any]:
        if do == "build":
            return self.start(**arguments)
        assert self.work is not None, "a worker builds first"
        return first(self.work, **arguments) if do == "first" else times(self.work, **arguments)

    def start(self, case: dict[str, Any], options: dict[str, Any], dtype: str, arrays: str) -> dict[str, Any]:
        tensors = {name: torch.from_numpy(array).to(getattr(torch, dtype)) for name, array in load(arrays).items()}
        torch.manual_seed(case["seed"])
        self.work = self.build(case, options, tensors)
        return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def first(work: Work, answers: str | None) -> dict[str, Any]:
    """The first step: its peak memory, and, in the folder `answers`, its output and gradients."""
    _start_libraries()
    output, peak = peak_mib(work.step)
    if answers is not None:
        # A leaf without a gradient is an answer too, a wrong one.
        gradients = {f"gradient_{name}": leaf.grad for name, leaf in work.leaves.items() if leaf.grad is not None}
        save(answers, {name: tensor.numpy() for name, tensor in ({"output": output} | gradients).items()})
    ran = work.ran()
    work.forward()
    return {"peak_mib": peak, "engine": ran}


def times(work: Work, seconds: float) -> dict[str, float]:
    """Mean seconds of a forward pass and of a step, each over as many as fill `seconds`, at least one."""
    return {"forward": _mean_time(work.forward, seconds), "step": _mean_time(work.step, seconds)}


def _mean_time(function: Callable[[], object], seconds: float) -> float:
    gc.collect()
    count, start = 0, perf_counter()
    while True:
        function()
        count += 1
        if (elapsed := perf_counter() - start) >= seconds:
            return elapsed / count


def _start_libraries() -> None:
    """Start thread pools and load what any step needs: the same for all, so that no first step pays for it."""
    torch.broadcast_shapes((1, 2), (2, 1))  # the first one imports sympy: 40 MiB
    for dtype in (torch.float32, torch.complex64):
        start = torch.ones(256, 256, dtype=dtype, requires_grad=True)
        torch.sin(start @ start).abs().square().mean().backward()


def peak_mib(step: Callable[[], Tensor]) -> tuple[Tensor, float | None]:
    """The value of `step`, and by how many MiB resident memory grew at most meanwhile; None where nobody can say."""
    gc.collect()
    try:
        if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
            trim(0)  # memory that the allocator keeps would be used again without being seen
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        before = _resident("VmRSS")
    except OSError:
        return step(), None
    output = step()
    return output, max(0.0, _resident("VmHWM") - before)


def _resident(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def save(folder: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """One file an array, named after it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(Path(folder) / f"{name}.npy", array)


def load(folder: str | Path) -> Arrays:
    """What `save` has saved there."""
    return {path.stem: np.load(path) for path in Path(folder).glob("*.npy")}
