"""What follows from a value is derived once."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

Keys = ParamSpec("Keys")
Fact = TypeVar("Fact")


def derived(function: Callable[Keys, Fact]) -> Callable[Keys, Fact]:
    """`function` of hashable values, remembered, and a constant to `torch.compile`, which would trace it anew."""
    remembered = lru_cache(maxsize=256)(function)

    @wraps(function)
    def constant(*keys: Keys.args, **options: Keys.kwargs) -> Fact:
        return remembered(*keys, **options)

    # All that `torch.compiler.assume_constant_result` does, but for the second it takes to import the compiler.
    constant._dynamo_marked_constant = True  # pyright: ignore[reportAttributeAccessIssue]
    return constant
