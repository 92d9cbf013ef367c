r"""What a circuit does to a state vector, in sweeps over all of it: Hadamards, permutations of the basis, and phases.

States are `(2**n, copies, *grid)`, complex, wire 0 most significant: one copy on the way there, the state and its
adjoint on the way back. The grid comes last, so that every operation runs along samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import torch
from torch import Tensor

from circuits.derivatives import onto
from circuits.scratch import scratch
from circuits.shapes import broadcast

KEPT = 2**24
"""Bytes of a state up to which memory for it is kept: fresh pages would cost more than what is done with it."""


class Register:
    """A state that sweeps act on, by operations that torch can differentiate and trace."""

    def __init__(self, state: Tensor) -> None:
        self.state = state

    def matmul(self, matrix: Tensor) -> None:
        """A real matrix on neighbouring wires, `(2**first, 2**m, 2**m)`: one for each state of the wires before."""
        befores, size, _ = matrix.shape
        shape = (befores, size, 2 * self.state.numel() // (befores * size))
        room = self.room()
        out = None if room is None else torch.view_as_real(room).view(shape)
        # Real and imaginary parts are columns like any others.
        real = torch.bmm(matrix, torch.view_as_real(self.state).reshape(shape), out=out)
        self._take(torch.view_as_complex(real.reshape(*self.state.shape, 2)) if room is None else room)

    def permute(self, indices: Tensor) -> None:
        """Amplitude b from `indices[b]`."""
        self._take(torch.index_select(self.state, 0, indices, out=self.room()))

    def multiply(self, axes: Sequence[int], phases: Tensor) -> None:
        """Phases that broadcast to `(*axes, copies, *grid)`; the grid of the state grows to the one they bring."""
        state = self.state.reshape(*axes, *self.state.shape[1:]) * phases
        self._take(state.reshape(self.state.shape[0], *state.shape[len(axes) :]))

    def room(self) -> Tensor | None:
        """Memory for one more state, if there is any."""
        return None

    def _take(self, state: Tensor) -> None:
        self.state = state


class Workspace(Register):
    """A register that goes to and fro between two pieces of memory, whatever the depth.

    The memory is used again by the next one: a state that is to be kept must be copied.

    Args:
        state: the start, which is left as it is.
        copies: how many of it to begin with; 0 for none, until a sweep writes the next state.
    """

    def __init__(self, state: Tensor, copies: int = 0) -> None:
        super().__init__(state)
        self._piece = 0
        self._room: Tensor | None = None
        if copies:
            copied = self._memory((state.shape[0], copies, *state.shape[2:]))
            self._take(copied.copy_(state))

    def multiply(self, axes: Sequence[int], phases: Tensor) -> None:
        shape = (*axes, *self.state.shape[1:])
        if self._piece and all(theirs in (1, ours) for theirs, ours in zip(phases.shape, shape, strict=True)):
            self.state.view(shape).mul_(phases)
        else:
            grown = broadcast(shape, phases.shape)
            room = self._memory((self.state.shape[0], *grown[len(axes) :]))
            torch.mul(self.state.reshape(shape), phases, out=room.view(grown))
            self._take(room)

    def room(self) -> Tensor:
        if self._room is None:
            self._room = self._memory(self.state.shape)
        return self._room

    def _memory(self, shape: Sequence[int]) -> Tensor:
        """Memory that the state is not in."""
        if math.prod(shape) * self.state.itemsize > KEPT:
            return self.state.new_empty(shape)
        return scratch(self.state, shape, f"state {self._piece % 2}")

    def _take(self, state: Tensor) -> None:
        self._room = self.state if self._piece and self.state.shape == state.shape else None
        self.state = state
        self._piece += 1


@dataclass(frozen=True, eq=False)
class Hadamards:
    """H on some wires, and 1 on those between them; `matrices` as for `Register.matmul`."""

    matrices: tuple[Tensor, ...]

    def apply(self, register: Register, blocks: Sequence[Tensor], inverse: bool = False) -> None:
        for matrix in self.matrices:
            register.matmul(matrix)


@dataclass(frozen=True, eq=False)
class Permutation:
    """Amplitudes taken from `indices`, and back by `inverse`."""

    indices: Tensor
    inverse: Tensor

    def apply(self, register: Register, blocks: Sequence[Tensor], inverse: bool = False) -> None:
        register.permute(self.inverse if inverse else self.indices)


@dataclass(frozen=True, eq=False)
class Block:
    r"""A block of angles $\varphi$ in phases $\exp(i \sum_k s_{bk} \varphi_k)$.

    Args:
        number: which block.
        signs: $s$, `(2**m, angles)`.
    """

    number: int
    signs: Tensor


@dataclass(frozen=True, eq=False)
class Factor:
    """Phases of a few wires.

    Args:
        shape: the extent along each of the axes of the register, 1 where the phases do not depend on it.
        blocks: the angles, all added up.
    """

    shape: tuple[int, ...]
    blocks: tuple[Block, ...]

    def phases(self, blocks: Sequence[Tensor], inverse: bool) -> Tensor:
        angle = reduce(torch.add, [weighted(block.signs, blocks[block.number]) for block in self.blocks])
        sin = torch.sin(angle)
        return torch.complex(torch.cos(angle), -sin if inverse else sin).reshape(*self.shape, 1, *angle.shape[1:])

    def slopes(self, products: Tensor, blocks: Sequence[Tensor]) -> dict[int, Tensor]:
        for axis, extent in enumerate(self.shape):
            if extent == 1 and products.shape[axis] != 1:
                products = products.sum(axis, keepdim=True)  # one by one: sums over axes that are apart are slow
        products = products.reshape(math.prod(self.shape), *products.shape[len(self.shape) :])
        slopes = {block.number: weighted(block.signs.mT, products).unbind(-1) for block in self.blocks}
        return {number: onto(reduce(torch.add, parts), blocks[number].shape) for number, parts in slopes.items()}


@dataclass(frozen=True, eq=False)
class Phases:
    """Phases of the whole register.

    Args:
        axes: the extents it is split into, neighbouring wires that the same factors depend on.
        factors: phases with angles.
        fixed: phases without angles, `axes`; None if they are all 1.
        encodes: whether data enter here.
    """

    axes: tuple[int, ...]
    factors: tuple[Factor, ...]
    fixed: Tensor | None
    encodes: bool

    @cached_property
    def blocks(self) -> tuple[int, ...]:
        """The blocks of angles that appear here."""
        return tuple(block.number for factor in self.factors for block in factor.blocks)

    @property
    def trivial(self) -> bool:
        return not self.factors and self.fixed is None

    def grid(self, blocks: Sequence[Tensor]) -> torch.Size:
        """The grid of the angles."""
        return broadcast((1,) * (blocks[0].ndim - 1), *(blocks[number].shape[1:] for number in self.blocks))

    def apply(self, register: Register, blocks: Sequence[Tensor], inverse: bool = False) -> None:
        tables = [factor.phases(blocks, inverse) for factor in self.factors]
        if self.fixed is not None:
            fixed = self.fixed.conj() if inverse else self.fixed
            tables.append(fixed.reshape(*self.axes, *[1] * (register.state.ndim - 1)))
        # What no sample changes is small, and multiplied out before it meets the state.
        for phases in tables if self.encodes else [reduce(torch.mul, tables)]:
            register.multiply(self.axes, phases)

    def slopes(self, products: Tensor, blocks: Sequence[Tensor]) -> dict[int, Tensor]:
        r"""Gradients of the blocks, from $\mathrm{Re}(\overline{\lambda_b}\, i \psi_b)$ as `(2**n, *grid, 2)`.

        The last dimension, over which the real part is a sum, is summed late: sums of two neighbours are slow.
        """
        axes, last = len(self.axes), products.ndim - 2 + len(self.axes)
        products = products.reshape(*self.axes, *products.shape[1:])
        repeated = [k for k, extent in enumerate(self.grid(blocks), axes) if extent != products.shape[k]]
        if repeated:
            products = products.sum(repeated + [last] * (last - 1 in repeated), keepdim=True)
        return {k: slope for factor in self.factors for k, slope in factor.slopes(products, blocks).items()}


Sweep = Hadamards | Permutation | Phases


def weighted(signs: Tensor, columns: Tensor) -> Tensor:
    """`signs (m, k)` times `columns (k, *grid)`, `(m, *grid)`."""
    if columns.ndim == 2:
        return torch.mm(signs, columns)
    grid = columns.shape[1:]
    return torch.mm(signs, columns.reshape(columns.shape[0], grid.numel())).reshape(signs.shape[0], *grid)
