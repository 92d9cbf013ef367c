"""Recurrent networks with circuits in their gates, with the signature and the semantics of `torch.nn.LSTM`."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from circuits import Circuit, pz
from circuits.engines import Engine
from qkan.cells import HQKANLSTMCell, LSTMCell, QKANGRUCell, QKANLSTMCell, States, checked_states
from qkan.daruan import Share, check_sizes, check_width
from qkan.layer import Base


class Recurrent(nn.Module):
    """Layers of cells over sequences: what the recurrent networks below have in common.

    Args:
        make: a cell from the size of its input.
        input_size: of x.
        num_layers: how many layers of cells.
        batch_first: whether batches are `(batch, time, size)` instead of `(time, batch, size)`.
        dropout: probability with which outputs of all layers but the last are dropped while training.
        bidirectional: whether each layer has a second cell, which reads backward.
    """

    def __init__(
        self,
        make: Callable[[int], LSTMCell | QKANGRUCell],
        input_size: int,
        num_layers: int,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, num_layers=num_layers)
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
            raise ValueError(f"Argument `dropout` must be a probability, but is {dropout!r}.")
        if dropout and num_layers == 1:
            warnings.warn(
                f"Argument `dropout` is {dropout}, but acts between layers only, and num_layers is 1: put nn.Dropout "
                "behind the network.",
                stacklevel=3,
            )
        self.input_size, self.num_layers = input_size, num_layers
        self.batch_first, self.dropout, self.bidirectional = batch_first, float(dropout), bidirectional
        cells: list[LSTMCell | QKANGRUCell] = []
        size = input_size
        for _ in range(num_layers):
            layer = [make(size) for _ in range(self.directions)]
            size = self.directions * layer[0].state_sizes[0]
            cells += layer
        self.cells = nn.ModuleList(cells)
        self.state_sizes = cells[0].state_sizes
        self.hidden_size = self.state_sizes[-1]

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        for cell in self.cells:
            assert isinstance(cell, (LSTMCell, QKANGRUCell))
            cell.reset_parameters(generator)

    @property
    def directions(self) -> int:
        """1, or 2 if bidirectional."""
        return 1 + bool(self.bidirectional)

    def forward(self, x: Tensor | PackedSequence, state: Any = None) -> tuple[Any, Any]:
        """Outputs of the last layer at all steps, and the states after the last step.

        Args:
            x: `(time, batch, input_size)`, `(batch, time, input_size)` if `batch_first`, `(time, input_size)` without
                batch, or a packed sequence.
            state: h and c of an LSTM, h of a GRU, before the first step: `(num_layers * directions, batch, size)` each;
                None for zeros.

        Returns:
            Outputs like x, `directions * size` at each step; and the state, like the one before.
        """
        if isinstance(x, PackedSequence):
            padded, lengths = pad_packed_sequence(x)
            outputs, after = self._run(padded, state, lengths.to(padded.device))
            return _packed(outputs, x), after
        check_width(x, self.input_size)
        if x.ndim not in (2, 3) or not x.shape[1 if self.batch_first and x.ndim == 3 else 0]:
            raise ValueError(
                "Argument `x` must have shape (time, batch, size), with batch_first (batch, time, size), or (time, "
                f"size), of at least one time step, but has shape {tuple(x.shape)}."
            )
        if x.ndim == 2:
            outputs, after = self._run(x[:, None], self._mapped(lambda part: part[:, None], state), None)
            return outputs[:, 0], self._mapped(lambda part: part[:, 0], after)
        outputs, after = self._run(x.transpose(0, 1) if self.batch_first else x, state, None)
        return outputs.transpose(0, 1) if self.batch_first else outputs, after

    def _run(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        """`forward` for `x (time, batch, size)`, with the length of each sequence unless it is the time."""
        states = self._states(x, state)
        ends: list[States] = []
        for layer in range(self.num_layers):
            runs: list[Tensor] = []
            for direction in range(self.directions):
                index = layer * self.directions + direction
                cell: Any = self.cells[index]
                given = x if direction == 0 else _reversed(x, lengths)
                run = cell.sequence(given, tuple(part[index] for part in states))
                ends.append(tuple(_last(part, lengths) for part in run))
                runs.append(run[0] if direction == 0 else _reversed(run[0], lengths))
            x = torch.cat(runs, -1)
            if self.dropout and layer + 1 < self.num_layers:
                x = dropout(x, self.dropout, self.training)
        h, *others = map(torch.stack, zip(*ends, strict=True))
        return x, (h, *others) if others else h

    def _states(self, x: Tensor, state: Any) -> States:
        """The states of all cells, `(num_layers * directions, batch, size)` each."""
        grid = x[:1].expand(len(self.cells), *x.shape[1:])
        given = (state,) if isinstance(state, Tensor) else state
        return checked_states(grid, given, self.input_size, self.state_sizes)

    def _mapped(self, function: Callable[[Tensor], Tensor], state: Any) -> Any:
        if state is None or isinstance(state, Tensor):
            return state if state is None else function(state)
        return tuple(map(function, state))

    def extra_repr(self) -> str:
        """What `repr` shows beside the cells."""
        return (
            f"{self.input_size}, num_layers={self.num_layers}, batch_first={self.batch_first}, dropout={self.dropout}, "
            f"bidirectional={self.bidirectional}"
        )


class QKANLSTM(Recurrent):
    r"""A long short-term memory whose gates are QKAN layers of [x, h], with the semantics of `torch.nn.LSTM`.

    The layer of x is evaluated for all steps at once. That of h is worked out once a sequence, as an expansion on the
    values that h can take, and then is one matrix product a step, wherever the engine expands ("auto", "spectral").

    Args:
        input_size: of x.
        hidden_size: of c, and of h without projection.
        num_layers: how many layers of cells.
        bias: whether gates have one; it is one, where `torch.nn.LSTM` has two that are added.
        batch_first: whether batches are `(batch, time, size)` instead of `(time, batch, size)`.
        dropout: probability with which outputs of all layers but the last are dropped while training.
        bidirectional: whether each layer has a second cell, which reads backward.
        proj_size: of h with projection; 0 for none.
        circuit: any circuit of one feature and one readout string.
        base: base function of the gates' layers; see `QKANLSTMCell`.
        share: which edges share an activation; see `DARUAN`. A number of groups counts for x and for h.
        frozen: families of parameters held at their initial value.
        engine: name of an engine or an engine.
        init_scale: where trainable scales of data start.
        init_angle: angles start within plus and minus this; see `DARUAN`.
        device: of the parameters.
        dtype: of the parameters.

    >>> network = QKANLSTM(1, 4, batch_first=True)
    >>> outputs, (h, c) = network(torch.zeros(8, 20, 1))
    >>> outputs.shape, h.shape
    (torch.Size([8, 20, 4]), torch.Size([1, 8, 4]))

    Reference: Hsu et al., QKAN-LSTM: Quantum-inspired Kolmogorov-Arnold long short-term memory, 2025, arXiv:2512.05049.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        circuit: Circuit = pz(3),
        base: Base = "silu",
        share: Share = None,
        frozen: Iterable[str] = (),
        engine: str | Engine = "auto",
        init_scale: float = 1.0,
        init_angle: float = torch.pi,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        def make(size: int) -> QKANLSTMCell:
            return QKANLSTMCell(
                size,
                hidden_size,
                bias,
                proj_size,
                circuit=circuit,
                base=base,
                share=share,
                frozen=frozen,
                engine=engine,
                init_scale=init_scale,
                init_angle=init_angle,
                device=device,
                dtype=dtype,
            )

        super().__init__(make, input_size, num_layers, batch_first, dropout, bidirectional)


class HQKANLSTM(Recurrent):
    r"""A long short-term memory whose gates are an HQKAN of [x, h], with the semantics of `torch.nn.LSTM`.

    Args:
        input_size: of x.
        hidden_size: of c, and of h without projection.
        num_layers: how many layers of cells.
        bias: whether encoder, latent layers and decoder have one.
        batch_first: whether batches are `(batch, time, size)` instead of `(time, batch, size)`.
        dropout: probability with which outputs of all layers but the last are dropped while training.
        bidirectional: whether each layer has a second cell, which reads backward.
        proj_size: of h with projection; 0 for none.
        latent: widths of the latent layers; see `HQKAN`.
        circuit: any circuit of one feature and one readout string.
        base: base function of the latent layers; see `QKANLayer`.
        share: which edges of a latent layer share an activation; see `DARUAN`.
        frozen: families of parameters of the latent layers held at their initial value.
        engine: name of an engine or an engine.
        init_scale: where trainable scales of data start.
        init_angle: angles start within plus and minus this; see `DARUAN`.
        device: of the parameters.
        dtype: of the parameters.

    Reference: Hsu et al., QKAN-LSTM: Quantum-inspired Kolmogorov-Arnold long short-term memory, 2025, arXiv:2512.05049.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        latent: Sequence[int] | None = None,
        circuit: Circuit = pz(3),
        base: Base = "silu",
        share: Share = None,
        frozen: Iterable[str] = (),
        engine: str | Engine = "auto",
        init_scale: float = 1.0,
        init_angle: float = torch.pi,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        def make(size: int) -> HQKANLSTMCell:
            return HQKANLSTMCell(
                size,
                hidden_size,
                bias,
                proj_size,
                latent=latent,
                circuit=circuit,
                base=base,
                share=share,
                frozen=frozen,
                engine=engine,
                init_scale=init_scale,
                init_angle=init_angle,
                device=device,
                dtype=dtype,
            )

        super().__init__(make, input_size, num_layers, batch_first, dropout, bidirectional)


class QKANGRU(Recurrent):
    r"""Gated recurrent units whose gates are QKAN layers, with the semantics of `torch.nn.GRU`.

    Args:
        input_size: of x.
        hidden_size: of h.
        num_layers: how many layers of cells.
        bias: whether the layers have one.
        batch_first: whether batches are `(batch, time, size)` instead of `(time, batch, size)`.
        dropout: probability with which outputs of all layers but the last are dropped while training.
        bidirectional: whether each layer has a second cell, which reads backward.
        circuit: any circuit of one feature and one readout string.
        base: base function of the gates' layers; see `QKANLayer`.
        share: which edges share an activation; see `DARUAN`.
        frozen: families of parameters held at their initial value.
        engine: name of an engine or an engine.
        init_scale: where trainable scales of data start.
        init_angle: angles start within plus and minus this; see `DARUAN`.
        device: of the parameters.
        dtype: of the parameters.

    Reference: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014, arXiv:1406.1078.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        circuit: Circuit = pz(3),
        base: Base = "silu",
        share: Share = None,
        frozen: Iterable[str] = (),
        engine: str | Engine = "auto",
        init_scale: float = 1.0,
        init_angle: float = torch.pi,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        def make(size: int) -> QKANGRUCell:
            return QKANGRUCell(
                size,
                hidden_size,
                bias,
                circuit=circuit,
                base=base,
                share=share,
                frozen=frozen,
                engine=engine,
                init_scale=init_scale,
                init_angle=init_angle,
                device=device,
                dtype=dtype,
            )

        super().__init__(make, input_size, num_layers, batch_first, dropout, bidirectional)


def _reversed(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each sequence of `x (time, batch, size)` backward; what lies beyond its length stays beyond it."""
    if lengths is None:
        return x.flip(0)
    time = torch.arange(len(x), device=x.device)[:, None]
    index = torch.where(time < lengths, lengths - 1 - time, time)
    return x.gather(0, index[..., None].expand_as(x))


def _last(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The last step of each sequence of `x (time, batch, size)`, `(batch, size)`."""
    return x[-1] if lengths is None else x[lengths - 1, torch.arange(len(lengths), device=x.device)]


def _packed(outputs: Tensor, like: PackedSequence) -> PackedSequence:
    """`outputs (time, batch, size)`, in the order of the batch, packed as `like` is."""
    ordered = outputs if like.sorted_indices is None else outputs[:, like.sorted_indices]
    rows = [step[:size] for step, size in zip(ordered.unbind(0), like.batch_sizes.tolist(), strict=True)]
    return PackedSequence(torch.cat(rows), like.batch_sizes, like.sorted_indices, like.unsorted_indices)
