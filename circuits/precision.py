"""Products in the precision of their operands, whatever a program has allowed elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Within this context float32 products are neither cast by autocast nor rounded to TensorFloat-32 or bfloat16.

    An expansion sums many large terms to a small one: with ten bits left of each of them nothing would be left of it.
    """
    if torch.compiler.is_compiling():
        yield
        return
    kind, allowed = device.type, torch.get_float32_matmul_precision()
    if allowed == "highest" and autocast_dtype(device) is None:
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(kind, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(allowed)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """What autocast turns results of layers on `device` into; None where it is not at work."""
    kind = device.type
    at_work = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if at_work else None
