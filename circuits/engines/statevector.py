r"""State vectors of n wires, batched, on CPU or GPU, differentiated by undoing the circuit.

A circuit becomes a few sweeps over all of the state (`circuits.engines.program`): Hadamards as products with small real
matrices, permutations as index maps, and all commuting rotations of a layer as one multiplication by phases. The state
is `(2**n, 1, *grid)`, and its grid grows only when phases bring a larger one: what does not come after data costs one
circuit per parameter set, not per sample.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from circuits.checks import batched
from circuits.circuit import Circuit
from circuits.derivatives import by_hand, differentiated, transformed
from circuits.engines.blocks import gathered, in_blocks
from circuits.engines.engine import Engine, anchored
from circuits.engines.program import Program, program
from circuits.engines.readout import pulled, read
from circuits.engines.sweeps import Phases, Register, Workspace
from circuits.precision import full_precision
from circuits.shapes import broadcast


class Statevector(Engine):
    """Any circuit; complex64 for float32 inputs, complex128 for float64."""

    name: ClassVar[str] = "statevector"

    def _evaluate(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        if torch.compiler.is_compiling():
            # No compiler of torch has code for complex numbers, and numpy, which makes the constants, would be traced.
            return torch.compiler.disable(self._evaluate)(circuit, x, params)  # pyright: ignore[reportCallIssue]
        inputs = {"x": x, **params}
        with full_precision(x.device):
            compiled = program(circuit, torch.complex64 if x.dtype == torch.float32 else torch.complex128, x.device)
            angles = gathered(compiled.angles, inputs)
            if by_hand(*angles):
                values = _Evolution.apply(compiled, *angles)
            else:
                values = _values(compiled, angles, Register if transformed() else Workspace)
        return anchored(values.movedim(0, -1), [inputs[name] for name in compiled.unseen])

    def __repr__(self) -> str:
        return "Statevector()"


def _values(compiled: Program, angles: Sequence[Tensor], kind: type[Register] = Register) -> Tensor:
    """The plain twin: values `(readouts, *grid)`, every operation in the open for torch to differentiate or trace."""
    return read(compiled.readouts, _evolved(compiled, in_blocks(compiled.angles, angles), kind))


def _evolved(compiled: Program, blocks: Sequence[Tensor], kind: type[Register]) -> Register:
    dims = blocks[0].ndim - 1 if blocks else 0
    register = kind(compiled.start.reshape(*compiled.start.shape, *[1] * dims))
    for sweep in compiled.sweeps:
        sweep.apply(register, blocks)
    return register


class _Evolution(torch.autograd.Function):
    r"""`_values`, differentiated by undoing the sweeps, so that memory does not grow with depth.

    The forward keeps the final state $\psi$ and the angles. From there $\psi$ and the adjoint
    $\lambda = 2 \sum_r g_r P_r \psi$ walk back together through the inverse sweeps, which cost what the sweeps cost.
    Phases $\exp(i \varphi_b)$ have the gradient $\mathrm{Re}(\overline{\lambda_b}\, i \psi_b)$ on the way.

    Reference: Jones and Gacon, Efficient calculation of gradients in classical simulations of variational quantum
    algorithms, 2020, arXiv:2009.02823.
    """

    @staticmethod
    def forward(ctx: Any, compiled: Program, *angles: Tensor) -> Tensor:
        register = _evolved(compiled, in_blocks(compiled.angles, angles), Workspace)
        ctx.compiled = compiled
        ctx.save_for_backward(register.state.clone(), *angles)
        return read(compiled.readouts, register)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        compiled, (state, *angles) = ctx.compiled, ctx.saved_tensors
        wanted = ctx.needs_input_grad[1:]
        if not state.numel() and not torch.is_grad_enabled():
            return None, *map(torch.zeros_like, angles)
        with full_precision(state.device):
            if torch.is_grad_enabled() or batched(grads[0]):
                return None, *differentiated(lambda *inputs: _values(compiled, inputs), angles, wanted, grads[0])
            missing = {k for found, flag in zip(compiled.angles, wanted, strict=True) if flag for k in found.blocks}
            register = pulled(compiled.readouts, state, grads[0])
            slopes = _walk_back(compiled, register, in_blocks(compiled.angles, angles), missing)
        return None, *(
            torch.cat([slopes[k] for k in found.blocks]) if flag else None
            for found, flag in zip(compiled.angles, wanted, strict=True)
        )


def _walk_back(
    compiled: Program, register: Workspace, blocks: Sequence[Tensor], missing: set[int]
) -> dict[int, Tensor]:
    """Gradients of the `missing` blocks of angles, and maybe of others."""
    grids = [torch.Size([1] * (register.state.ndim - 2))]
    for sweep in compiled.sweeps:
        grids.append(broadcast(grids[-1], sweep.grid(blocks)) if isinstance(sweep, Phases) else grids[-1])
    slopes: dict[int, Tensor] = {}
    for sweep, grid in zip(reversed(compiled.sweeps), reversed(grids[:-1]), strict=True):
        if isinstance(sweep, Phases) and not missing.isdisjoint(sweep.blocks):
            state, adjoint = torch.view_as_real(register.state).unbind(1)
            room = torch.view_as_real(register.room()).view(2, *state.shape)[0]
            slopes |= sweep.slopes(torch.mul(state, adjoint, out=room), blocks)
        if missing <= slopes.keys():
            break
        sweep.apply(register, blocks, inverse=True)
        if register.state.shape[2:] != grid:
            register = Workspace(_narrowed(register.state, grid))
    return slopes


def _narrowed(pair: Tensor, grid: Sequence[int]) -> Tensor:
    """State and adjoint before a sweep that brought a larger grid: copies are the same, adjoints add up."""
    state, adjoint = pair.split(1, dim=1)
    for dim, extent in enumerate(grid, 2):
        if extent != pair.shape[dim]:
            state, adjoint = state.narrow(dim, 0, 1), adjoint.sum(dim, keepdim=True)
    return torch.cat((state, adjoint), dim=1)
