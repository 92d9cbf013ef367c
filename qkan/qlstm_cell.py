r"""One step of a long short-term memory whose affine maps are variational circuits of several qubits."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from circuits import engines, vqc
from circuits.checks import check_tensor
from circuits.engines import Engine
from qkan.daruan import check_dtype, check_sizes, check_width
from qkan.initialise import draw_slots
from qkan.paulis import coefficients, features, nodes

State: TypeAlias = tuple[Tensor, Tensor]
Circuits: TypeAlias = Callable[[Tensor, slice], Tensor]
"""From v `(*batch, n)` to the values `(*batch, k, n)` of k of the six circuits."""

GATES, HIDDEN, OUTPUT = slice(0, 4), slice(4, 5), slice(5, 6)
"""The circuits: forget, input, update and output gate; what makes h; what makes y."""

EXPANDED = 5
"""The most qubits for which "auto" expands circuits in Pauli strings, 4**n of them."""


class QLSTMCell(nn.Module):
    r"""One step of a QLSTM, from `x (*batch, input_size)` and a state to the output and the next state.

    Six circuits of n qubits (`circuits.vqc`) see $v_j$ as rotations by $\arctan v_j$ and $\arctan v_j^2$ and return
    $V_k(v) = \langle Z \rangle$ of every qubit. With $v = [h, x]$,

    $f = \sigma(V_1(v)),\quad i = \sigma(V_2(v)),\quad g = \tanh(V_3(v)),\quad o = \sigma(V_4(v)),$
    $c' = f c + i g,\quad m = o \tanh(c'),\quad h' = V_5(m),\quad y = V_6(m).$

    In the paper's form n is `input_size + hidden_size`, c has n entries, and h and y are the first `hidden_size`
    values. There, values lie in [-1, 1], so that gates only reach from $\sigma(-1) = 0.27$ to $\sigma(1) = 0.73$: at
    least 27 % of c is forgotten in every step, and |c| stays below $0.73 \tanh(1) / 0.27 = 2.1$.

    With `n_qubits` linear maps stand before and behind all circuits: $v = A [h, x] + a$, $V_5$ and $V_6$ see
    $A' m + a'$, and $B V_k + b$ takes the place of $V_k$. It has `hidden_size` entries, as then has c, and gates may
    come as near to 0 and 1 as they like.

    There are `6 * 3 * n * depth` angles, which start uniform on $[-\pi, \pi)$. Those that no value depends on (the last
    RZ of every wire; for h and y in the paper's form the last rotations of wires that are not read) count as well.

    Args:
        input_size: of x.
        hidden_size: of h and y.
        depth: layers of every circuit.
        n_qubits: of every circuit, with linear maps around them; None for the paper's form.
        engine: name of an engine or an engine. With "auto" circuits of up to 5 qubits are expanded in Pauli strings
            (`qkan.paulis`) and evaluated once a call, not once a step. Any other engine evaluates every step.
        device: of the parameters.
        dtype: of the parameters.

    >>> cell = QLSTMCell(1, 3)
    >>> y, (h, c) = cell(torch.zeros(5, 1))
    >>> y.shape, h.shape, c.shape
    (torch.Size([5, 3]), torch.Size([5, 3]), torch.Size([5, 4]))

    Reference: Chen, Yoo and Fang, Quantum long short-term memory, 2020, arXiv:2009.01783.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        depth: int = 2,
        n_qubits: int | None = None,
        engine: str | Engine = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size, depth=depth)
        width = input_size + hidden_size if n_qubits is None else n_qubits
        check_sizes(n_qubits=width)
        self.input_size, self.hidden_size, self.depth, self.n_qubits = input_size, hidden_size, depth, width
        self.memory_size = width if n_qubits is None else hidden_size
        self.circuit = vqc(width, depth)
        self.engine = engines.get(engine)
        self.theta = nn.Parameter(torch.empty(6, self.circuit.slots["theta"], device=device, dtype=dtype))

        def linear(inputs: int, outputs: int) -> nn.Linear | None:
            return None if n_qubits is None else nn.Linear(inputs, outputs, device=device, dtype=dtype)

        self.map_in = linear(input_size + hidden_size, width)
        self.map_memory = linear(hidden_size, width)
        self.map_out = linear(width, hidden_size)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one; linear maps as `torch.nn.Linear` does."""
        self.theta.copy_(draw_slots(self.circuit, (6,), generator=generator)["theta"])
        for linear in self.children():
            assert isinstance(linear, nn.Linear)
            for parameter in linear.parameters():
                drawn = 2 * torch.rand(parameter.shape, dtype=torch.float64, generator=generator) - 1
                parameter.copy_(drawn * linear.in_features**-0.5)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The output `(*batch, hidden_size)`, and the next state.

        Args:
            x: `(*batch, input_size)`.
            state: h `(*batch, hidden_size)` and c `(*batch, memory_size)`, where `memory_size` is n in the paper's form
                and `hidden_size` with linear maps; zeros if None.
        """
        check_sequence(self, x)
        h, c = checked_state(self, state, x.shape[:-1], x)
        circuits = self.circuits()
        m, h, c = self.step(circuits, x, h, c)
        return self.output(circuits, m), (h, c)

    def circuits(self) -> Circuits:
        """The six circuits with their present angles, to be called as often as these stay the same."""
        if not isinstance(self.engine, engines.Auto) or self.n_qubits > EXPANDED:
            return self._evaluated
        at = nodes(self.n_qubits, self.theta).flatten(-2)
        values = self.engine(self.circuit, at, {"theta": self.theta[:, None]})
        known = coefficients(values.movedim(-1, -2))  # (6, n, 4**n)
        return lambda v, which: torch.einsum("...p,knp->...kn", features(*_angles(v)), known[which])

    def _evaluated(self, v: Tensor, which: slice) -> Tensor:
        data = torch.cat(_angles(v), dim=-1)[..., None, :]
        return self.engine(self.circuit, data, {"theta": self.theta[which]})

    def step(self, circuits: Circuits, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the output is made of, `(*batch, memory_size)`, and the next h and c."""
        values = _mapped(self.map_out, circuits(_mapped(self.map_in, torch.cat([h, x], dim=-1)), GATES))
        forget, enter, update, leave = values.unbind(-2)
        c = torch.sigmoid(forget) * c + torch.sigmoid(enter) * torch.tanh(update)
        m = torch.sigmoid(leave) * torch.tanh(c)
        return m, self._read(circuits, m, HIDDEN), c

    def output(self, circuits: Circuits, m: Tensor) -> Tensor:
        """What leaves the cell, `(*batch, hidden_size)`, for any number of steps at once."""
        return self._read(circuits, m, OUTPUT)

    def _read(self, circuits: Circuits, m: Tensor, which: slice) -> Tensor:
        values = _mapped(self.map_out, circuits(_mapped(self.map_memory, m), which))
        return values[..., 0, : self.hidden_size]

    def extra_repr(self) -> str:
        """What `repr` shows: sizes, circuit and engine."""
        sizes = f"{self.input_size}, {self.hidden_size}, depth={self.depth}, n_qubits={self.n_qubits}"
        return f"{sizes}, engine={self.engine!r}"


def check_sequence(cell: QLSTMCell, x: Tensor) -> None:
    """Refuse inputs of another width or dtype than the cell's, or that are not finite."""
    check_width(x, cell.input_size)
    check_dtype(x, cell.theta.dtype)
    check_tensor("x", x)


def checked_state(cell: QLSTMCell, state: State | None, batch: torch.Size, like: Tensor) -> State:
    """The state if its shapes and dtypes are right, and zeros if there is none."""
    shapes = (*batch, cell.hidden_size), (*batch, cell.memory_size)
    if state is None:
        return like.new_zeros(shapes[0]), like.new_zeros(shapes[1])
    found = tuple(tuple(part.shape) for part in state)
    if found != shapes:
        raise ValueError(f"Argument `state` must be h and c of shapes {shapes[0]} and {shapes[1]}, but has {found}.")
    for part in state:
        check_dtype(part, cell.theta.dtype, "state")
    return state


def _mapped(linear: nn.Linear | None, v: Tensor) -> Tensor:
    return v if linear is None else linear(v)


def _angles(v: Tensor) -> tuple[Tensor, Tensor]:
    return torch.arctan(v), torch.arctan(v.square())
