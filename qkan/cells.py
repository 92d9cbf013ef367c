"""Cells of recurrent networks with circuits in their gates: one step, or all steps of a sequence."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from circuits import Circuit, pz
from circuits.checks import check_tensor, suspicious
from circuits.engines import Engine
from qkan.daruan import Share, check_dtype, check_sizes, check_width
from qkan.gates import HQKANGates, QKANGates
from qkan.layer import Base
from qkan.scan import lstm_step, scan

States = tuple[Tensor, ...]


class LSTMCell(nn.Module):
    r"""The long short-term memory around a map of [x, h] to four gates.

    .. math::
        (i, f, g, o) = \mathrm{gates}(x, h), \quad
        c' = \sigma(f)\, c + \sigma(i) \tanh(g), \quad h' = P\, \sigma(o) \tanh(c'),

    with a projection P, `(proj_size, hidden_size)`, or none if `proj_size` is 0.

    Args:
        gates: from x and h to `4 * hidden_size`.
        sizes: of x, c and the projection.
        device: of the projection.
        dtype: of the projection.

    Reference: Hochreiter and Schmidhuber, Long short-term memory, 1997; with projection Sak, Senior and Beaufays,
    2014, arXiv:1402.1128.
    """

    def __init__(
        self,
        gates: QKANGates | HQKANGates,
        sizes: tuple[int, int, int],
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.gates = gates
        self.input_size, self.hidden_size, self.proj_size = sizes
        linear = nn.Linear(self.hidden_size, self.proj_size, False, device, dtype) if self.proj_size else None
        self.projection = linear
        self.state_sizes: tuple[int, ...] = (self.proj_size or self.hidden_size, self.hidden_size)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one; the projection from the global one."""
        self.gates.reset_parameters(generator)
        if self.projection is not None:
            self.projection.reset_parameters()

    def forward(self, x: Tensor, state: States | None = None) -> States:
        """One step: `x (*batch, input_size)` and the state h, c to the next one; None for zeros.

        h is `(*batch, proj_size or hidden_size)`, c is `(*batch, hidden_size)`.
        """
        h, c = checked_states(x, state, self.input_size, self.state_sizes)
        return judged(self, self._step(self.gates.before(x), h, c), x=x, h=h, c=c)

    def sequence(self, x: Tensor, state: States) -> States:
        """All states h, c, `(time, batch, ...)` each, for `x (time, batch, input_size)` and the state before."""
        z, (h, c) = self.gates.before(x), state
        states = self._scanned(z, h, c) if z.numel() else None
        return judged(self, self._looped(z, h, c) if states is None else states, x=x, h=h, c=c)

    def _step(self, z: Tensor, h: Tensor, c: Tensor) -> States:
        output, c = lstm_step(self.gates.after(z, h), c)
        return output if self.projection is None else self.projection(output), c

    def _looped(self, z: Tensor, h: Tensor, c: Tensor) -> States:
        steps: list[States] = []
        for part in z.unbind(0):
            h, c = self._step(part, h, c)
            steps.append((h, c))
        outputs, cells = zip(*steps, strict=True)
        return torch.stack(outputs), torch.stack(cells)

    def _scanned(self, z: Tensor, h: Tensor, c: Tensor) -> States | None:
        """What `sequence` returns, by one scan; None if the gates do not go into one."""
        weight = None if self.projection is None else self.projection.weight
        with torch.no_grad():
            reach = h.abs().amax(0)
            reach = reach.clamp(min=1.0) if weight is None else torch.maximum(reach, weight.abs().sum(1))
        if (gates := self.gates.unrolled(z, reach)) is None:
            return None
        mixing = gates.mixing
        first = h if mixing is None else h @ mixing
        if gates.inner is not None:
            first = first + gates.inner[0]
        if weight is not None:
            mixing = weight.T if mixing is None else weight.T @ mixing
        outputs, cells = scan(gates.features, gates.outer, first, gates.inner, mixing, gates.weights, c)
        return outputs if self.projection is None else self.projection(outputs), cells


class QKANLSTMCell(LSTMCell):
    r"""An LSTM cell whose gates are a QKAN layer of [x, h]: every affine map of the LSTM made a sum of activations.

    Args:
        input_size: of x.
        hidden_size: of c, and of h without projection.
        bias: whether the gates have one.
        proj_size: of h with projection; 0 for none.
        circuit: any circuit of one feature and one readout string.
        base: base function of the gates' layers; "identity" with weights of zero is the LSTM itself; see `QKANLayer`.
        share: which edges share an activation; see `DARUAN`. A number of groups counts for x and for h.
        frozen: families of parameters held at their initial value.
        engine: name of an engine or an engine.
        init_scale: where trainable scales of data start.
        init_angle: angles start within plus and minus this; see `DARUAN`.
        device: of the parameters.
        dtype: of the parameters.

    >>> cell = QKANLSTMCell(2, 3)
    >>> h, c = cell(torch.zeros(5, 2))
    >>> h.shape
    torch.Size([5, 3])

    Reference: Hsu et al., QKAN-LSTM: Quantum-inspired Kolmogorov-Arnold long short-term memory, 2025, arXiv:2512.05049.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
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
        sizes = _checked_sizes(input_size, hidden_size, proj_size)
        maps = input_size, proj_size or hidden_size, 4 * hidden_size
        gates = QKANGates(maps, circuit, base, bias, share, frozen, engine, init_scale, init_angle, device, dtype)
        super().__init__(gates, sizes, device, dtype)


class HQKANLSTMCell(LSTMCell):
    r"""An LSTM cell whose gates are an HQKAN of [x, h]: a linear encoder, latent QKAN layers, a linear decoder.

    Args:
        input_size: of x.
        hidden_size: of c, and of h without projection.
        bias: whether the gates have one.
        proj_size: of h with projection; 0 for none.
        latent: widths of the latent layers; see `HQKAN`.
        circuit: any circuit of one feature and one readout string.
        base: base function of the latent layers; see `QKANLayer`.
        share: which edges share an activation; see `DARUAN`.
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
        bias: bool = True,
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
        sizes = _checked_sizes(input_size, hidden_size, proj_size)
        maps = input_size, proj_size or hidden_size, 4 * hidden_size
        gates = HQKANGates(
            maps, latent, circuit, base, bias, share, frozen, engine, init_scale, init_angle, device, dtype
        )
        super().__init__(gates, sizes, device, dtype)


class QKANGRUCell(nn.Module):
    r"""A gated recurrent unit whose affine maps are QKAN layers, one of x and one of h.

    .. math::
        r = \sigma(a_r(x) + b_r(h)), \quad z = \sigma(a_z(x) + b_z(h)), \quad
        n = \tanh(a_n(x) + r\, b_n(h)), \quad h' = (1 - z)\, n + z\, h.

    Args:
        input_size: of x.
        hidden_size: of h.
        bias: whether the layers have one.
        circuit: any circuit of one feature and one readout string.
        base: base function of the layers; see `QKANLayer`.
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
        bias: bool = True,
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
        super().__init__()
        self.input_size, self.hidden_size, _ = _checked_sizes(input_size, hidden_size, 0)
        maps = input_size, hidden_size, 3 * hidden_size
        options = (circuit, base, bias, share, frozen, engine, init_scale, init_angle, device, dtype)
        self.gates = QKANGates(maps, *options, hidden_bias=bias)  # which is not redundant: r multiplies it
        self.state_sizes: tuple[int, ...] = (hidden_size,)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        self.gates.reset_parameters(generator)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """One step: `x (*batch, input_size)` and `h (*batch, hidden_size)` to the next h; None for zeros."""
        states = None if h is None else (h,)
        (h,) = checked_states(x, states, self.input_size, self.state_sizes)
        return judged(self, (self._step(self.gates.before(x), self.gates.hidden, h),), x=x, h=h)[0]

    def sequence(self, x: Tensor, state: States) -> States:
        """All states h, `(time, batch, hidden_size)`, for `x (time, batch, input_size)` and the state before."""
        (h,), z = state, self.gates.before(x)
        steps: list[Tensor] = []
        hidden = self.gates.repeated(z, h.detach().abs().amax(0).clamp(min=1.0)) if z.numel() else self.gates.hidden
        for part in z.unbind(0):
            steps.append(self._step(part, hidden, steps[-1] if steps else h))
        return judged(self, (torch.stack(steps),), x=x, h=h)

    def _step(self, outer: Tensor, hidden: Callable[[Tensor], Tensor], h: Tensor) -> Tensor:
        ar, az, an = outer.chunk(3, -1)
        br, bz, bn = hidden(h).chunk(3, -1)
        z = torch.sigmoid(az + bz)
        return (1 - z) * torch.tanh(an + torch.sigmoid(ar + br) * bn) + z * h


def checked_states(x: Tensor, states: States | None, input_size: int, sizes: Sequence[int]) -> States:
    """The states `(*batch, size)` that go with `x (*batch, input_size)`, zeros for None."""
    check_width(x, input_size)
    if states is None:
        return tuple(x.new_zeros(*x.shape[:-1], size) for size in sizes)
    shapes = [(*x.shape[:-1], size) for size in sizes]
    if not isinstance(states, Sequence) or [tuple(state.shape) for state in states] != shapes:
        found = [tuple(state.shape) for state in states] if isinstance(states, Sequence) else type(states).__name__
        raise ValueError(
            f"Argument `state` must be a tuple of tensors of shapes {shapes} for x of shape {tuple(x.shape)}, but is "
            f"{found}."
        )
    for state in states:
        check_dtype(state, x.dtype, "state")
    return tuple(states)


def judged(cell: nn.Module, states: States, **inputs: Tensor) -> States:
    """The states that came of `inputs`; an error that says what is to blame if they are not finite."""
    if any(map(suspicious, states)):
        for name, tensor in (*inputs.items(), *cell.named_parameters()):
            check_tensor(name, tensor)
        raise FloatingPointError(
            f"The states of {type(cell).__name__} are not finite, though inputs and parameters are: rescale x or lower "
            "the learning rate, some products are too large for their dtype."
        )
    return states


def _checked_sizes(input_size: int, hidden_size: int, proj_size: int) -> tuple[int, int, int]:
    check_sizes(input_size=input_size, hidden_size=hidden_size)
    if proj_size != 0:
        check_sizes(proj_size=proj_size)
        if proj_size >= hidden_size:
            raise ValueError(
                f"Argument `proj_size` must be smaller than hidden_size={hidden_size}, but is {proj_size}."
            )
    return input_size, hidden_size, proj_size
