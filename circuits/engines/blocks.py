"""Angles in blocks, one for each place where they are used.

All angles of a circuit that are the same sum but for indices, such as x[0]+theta[0] and x[1]+theta[2], are taken out of
x and the slots at once: one by one, taking them out would take longer than what is done with them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from circuits.angles import bind
from circuits.circuit import Encode, Slot

Source = str | Encode
""""x", a slot name, or an encoding through arccos."""

Form = tuple[tuple[float, tuple[Source, ...]], ...]
"""A sum of numbers times entries of sources, with the indices left out."""

Parts = tuple[float | Slot | Encode, ...]
"""The summands of an angle."""


@dataclass(frozen=True, eq=False)
class Angles:
    """Angles of one form.

    Args:
        blocks: numbers of the blocks they come in.
        sizes: how many each block has.
        terms: a number, and the entries that are multiplied with it: their source, and an index for each angle.
    """

    blocks: tuple[int, ...]
    sizes: tuple[int, ...]
    terms: tuple[tuple[float, tuple[tuple[Source, Tensor], ...]], ...]

    @property
    def sources(self) -> set[Source]:
        return {source for _, entries in self.terms for source, _ in entries}


class Requests:
    """Gives numbers to blocks of angles, and remembers what they are."""

    def __init__(self) -> None:
        self.count = 0
        self._blocks: dict[Form, list[tuple[int, list[tuple[int, ...]]]]] = {}

    def add(self, angles: Sequence[Parts]) -> Iterable[tuple[int, list[int]]]:
        """The number of a block for each form, and the positions of its angles among those given."""
        forms: dict[Form, dict[int, tuple[int, ...]]] = {}
        for position, parts in enumerate(angles):
            terms = [term for part in parts for term in _terms(part)]
            form = tuple((number, tuple(source for source, _ in entries)) for number, entries in terms)
            forms.setdefault(form, {})[position] = tuple(index for _, entries in terms for _, index in entries)
        for form, block in forms.items():
            self._blocks.setdefault(form, []).append((self.count, list(block.values())))
            yield self.count, list(block)
            self.count += 1

    def angles(self, device: torch.device) -> tuple[Angles, ...]:
        found = []
        for form, blocks in self._blocks.items():
            rows = zip(*(indices for _, block in blocks for indices in block), strict=True)
            terms = [
                (number, tuple((source, torch.tensor(next(rows), device=device)) for source in sources))
                for number, sources in form
            ]
            numbers, sizes = zip(*((number, len(block)) for number, block in blocks), strict=True)
            found.append(Angles(numbers, sizes, tuple(terms)))
        return tuple(found)


def gathered(angles: Sequence[Angles], inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """All angles of each form, `(angles, *grid)`, with as many grid dimensions.

    Args:
        angles: what to take.
        inputs: "x" and slot names to `(*grid, n)`.
    """
    ndim = max(tensor.ndim for tensor in inputs.values())
    upright: dict[Source, Tensor] = {name: _upright(tensor, ndim) for name, tensor in inputs.items()}
    for source in {source for found in angles for source in found.sources if isinstance(source, Encode)}:
        upright[source] = _upright(torch.as_tensor(bind(source, inputs["x"], inputs))[..., None], ndim)
    totals = []
    for found in angles:
        terms = []
        for number, entries in found.terms:
            term = reduce(torch.mul, [upright[source].index_select(0, indices) for source, indices in entries])
            terms.append(term if number == 1.0 else number * term)
        totals.append(reduce(torch.add, terms))
    return totals


def in_blocks(angles: Sequence[Angles], totals: Sequence[Tensor]) -> list[Tensor]:
    """The blocks in the order of their numbers."""
    blocks: dict[int, Tensor] = {}
    for found, total in zip(angles, totals, strict=True):
        blocks |= zip(found.blocks, total.split(found.sizes), strict=True)
    return [blocks[number] for number in sorted(blocks)]


def _upright(tensor: Tensor, ndim: int) -> Tensor:
    """`(*grid, n)` as `(n, *grid)`, the grid filled up with ones in front."""
    return tensor.reshape(*[1] * (ndim - tensor.ndim), *tensor.shape).movedim(-1, 0)


def _terms(part: float | Slot | Encode) -> Iterable[tuple[float, tuple[tuple[Source, int], ...]]]:
    """The part as numbers times entries; numbers alone are no angles, but constants."""
    if isinstance(part, Slot):
        yield 1.0, ((part.name, part.index),)
    elif isinstance(part, Encode) and part.through == "arccos":
        yield 1.0, ((part, 0),)
    elif isinstance(part, Encode):
        x = ("x", part.feature)
        if isinstance(part.scale, Slot):
            yield 1.0, (x, (part.scale.name, part.scale.index))
        else:
            yield part.scale, (x,)
        if isinstance(part.shift, Slot):
            yield 1.0, ((part.shift.name, part.shift.index),)
