"""What follows from a value is derived once."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch

TAKES_CONSTANTS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 9)
"""Whether `torch.compile` takes what is derived for a constant: 2.13 does, 2.6 does not."""

Keys = ParamSpec("Keys")
Fact = TypeVar("Fact")


def derived(function: Callable[Keys, Fact]) -> Callable[Keys, Fact]:
    """`function` of hashable values, remembered, and a constant to `torch.compile`, which would trace it anew."""
    remembered = lru_cache(maxsize=256)(function)

    @wraps(function)
    def constant(*keys: Keys.args, **options: Keys.kwargs) -> Fact:
        return remembered(*keys, **options)

    # All that `torch.compiler.assume_constant_result` does, but for the second it takes to import the compiler. Older
    # compilers know no constant functions of dataclasses: there the graph breaks as by `torch.compiler.disable`.
    setattr(constant, "_dynamo_marked_constant" if TAKES_CONSTANTS else "_torchdynamo_disable", True)
    return constant
