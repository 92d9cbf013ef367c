"""QLSTM: a long short-term memory of variational circuits, over sequences."""

import torch
from torch import Tensor, nn

from circuits.engines import Engine
from qkan.daruan import check_sizes
from qkan.qlstm_cell import QLSTMCell, State, check_sequence, checked_state


class QLSTM(nn.Module):
    """Stacked QLSTM cells over a sequence, called like `torch.nn.LSTM`.

    As there, `output` is what the last layer says in every step, here its y, and each layer reads the outputs of the
    one before. In the paper's form there is one layer, and c has as many entries as there are qubits; with `n_qubits`
    it has `hidden_size`. Packed sequences, dropout and two directions are not there.

    Args:
        input_size: of x.
        hidden_size: of h and of the output.
        num_layers: how many cells are stacked; more than one need `n_qubits`.
        batch_first: whether x and the output are `(batch, time, ...)`; the state never is.
        depth: layers of every circuit; see `QLSTMCell`.
        n_qubits: of every circuit, with linear maps around them; None for the paper's form.
        engine: name of an engine or an engine; see `QLSTMCell`.
        device: of the parameters.
        dtype: of the parameters.

    >>> output, (h, c) = QLSTM(1, 3)(torch.zeros(16, 32, 1))
    >>> output.shape, h.shape, c.shape
    (torch.Size([16, 32, 3]), torch.Size([1, 32, 3]), torch.Size([1, 32, 4]))

    Reference: Chen, Yoo and Fang, Quantum long short-term memory, 2020, arXiv:2009.01783.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        depth: int = 2,
        n_qubits: int | None = None,
        engine: str | Engine = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes(num_layers=num_layers)
        if num_layers > 1 and n_qubits is None:
            raise ValueError(
                f"Argument `num_layers` must be 1 in the paper's form, where layers would have c of different sizes, "
                f"but is {num_layers}: give `n_qubits` as well."
            )
        self.batch_first = batch_first
        self.cells = nn.ModuleList(
            QLSTMCell(hidden_size if layer else input_size, hidden_size, depth, n_qubits, engine, device, dtype)
            for layer in range(num_layers)
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        for layer in range(len(self.cells)):
            self._cell(layer).reset_parameters(generator)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The outputs of the last layer, and the states of all layers after the last step.

        Args:
            x: `(time, batch, input_size)`, `(batch, time, input_size)` with `batch_first`, or `(time, input_size)`.
            state: h `(num_layers, batch, hidden_size)` and c `(num_layers, batch, memory_size)`, without batch if x has
                none; zeros if None.

        Returns:
            The output, of the shape of x with `hidden_size` entries, and h and c.
        """
        if not isinstance(x, Tensor) or x.ndim not in (2, 3):
            shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                f"Argument `x` must have shape (time, batch, features) or (time, features), but is {shape}."
            )
        swapped = self.batch_first and x.ndim == 3
        sequence = x.transpose(0, 1) if swapped else x
        if not len(sequence):
            raise ValueError(f"Argument `x` must have at least one time step, but has shape {tuple(x.shape)}.")
        check_sequence(self._cell(0), x)
        batch = torch.Size((len(self.cells), *sequence.shape[1:-1]))
        hs, cs = checked_state(self._cell(0), state, batch, sequence)
        ends: list[State] = []
        for layer, start in enumerate(zip(hs, cs, strict=True)):
            sequence, end = _unrolled(self._cell(layer), sequence, start)
            ends.append(end)
        h, c = (torch.stack(each) for each in zip(*ends, strict=True))
        return sequence.transpose(0, 1) if swapped else sequence, (h, c)

    def _cell(self, layer: int) -> QLSTMCell:
        cell = self.cells[layer]
        assert isinstance(cell, QLSTMCell)
        return cell

    def extra_repr(self) -> str:
        """What `repr` shows beside the cells."""
        return f"batch_first={self.batch_first}"


def _unrolled(cell: QLSTMCell, sequence: Tensor, state: State) -> tuple[Tensor, State]:
    """All outputs of a cell, and its last state. No step needs outputs, so they are evaluated at once."""
    (h, c), circuits, made = state, cell.circuits(), []
    for x in sequence:
        m, h, c = cell.step(circuits, x, h, c)
        made.append(m)
    return cell.output(circuits, torch.stack(made)), (h, c)
