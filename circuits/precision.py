"""Products in the precision of their operands, whatever a program has allowed elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import RLock
from typing import Any

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Within this context float32 products are neither cast by autocast nor rounded to TensorFloat-32 or bfloat16.

    An expansion sums many large terms to a small one: with ten bits left of each of them nothing would be left of it.
    """
    if torch.compiler.is_compiling():
        yield
        return
    plain = autocast_dtype(device) is None
    if plain and _allowed() == ["highest"]:
        yield
        return
    with _LOCK:  # the switches are those of the process
        before = _allowed()
        _allow(["highest"] if len(before) == 1 else ["ieee"] * len(before))
        try:
            with nullcontext() if plain else torch.autocast(device.type, enabled=False):
                yield
        finally:
            _allow(before)


_LOCK = RLock()


def _allowed() -> list[str]:
    """What products of float32 are allowed, as torch has it now: one word, or one a backend if it is set for each."""
    try:
        return [torch.get_float32_matmul_precision()]
    except RuntimeError:
        return [backend.fp32_precision for backend in _backends()]


def _allow(words: list[str]) -> None:
    if len(words) == 1:
        torch.set_float32_matmul_precision(words[0])
        return
    for backend, word in zip(_backends(), words, strict=True):
        backend.fp32_precision = word


def _backends() -> list[Any]:
    return [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]  # pyright: ignore[reportAttributeAccessIssue]


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """What autocast turns results of layers on `device` into; None where it is not at work."""
    kind = device.type
    at_work = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if at_work else None
