"""Where a number comes from: the commit, the machine and the engine, for every row."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import torch
from torch import nn

from qkan import DARUAN


@cache
def provenance() -> dict[str, str]:
    """What every row carries beside its own columns."""
    return {"commit": _commit(), "machine": _machine()}


def ran_on(model: nn.Module) -> str:
    """What evaluated the model: its circuits' engine, or torch alone."""
    names = {repr(module.running_engine) for module in model.modules() if isinstance(module, DARUAN)}
    return ", ".join(sorted(names)) or "torch"


def _commit() -> str:
    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"


def _machine() -> str:
    return (
        f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
