r"""DARUAN: data re-uploading activations, one circuit an edge."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from circuits import Circuit, engines, pz
from circuits.checks import check_activation, check_kind, check_tensor
from circuits.engines import Engine
from qkan.initialise import draw_slots

Share = str | int | None


class DARUAN(nn.Module):
    r"""The activations $f_{oi}(x_i)$ of a circuit on every edge, from `(*batch, in)` to `(*batch, out, in)`.

    One parameter is allocated for every slot of the circuit: of shape `(out, in, n)`, or smaller where edges share.
    Angles start uniform on [-`init_angle`, `init_angle`), the scales of data at `init_scale` and their shifts at 0.

    Args:
        in_features: size of the last dimension of the input.
        out_features: number of activations of each input.
        circuit: any circuit of one feature and one readout string.
        share: None for one activation an edge, slots `(out, in, n)`; "out" for one an input, shared by all outputs,
            `(1, in, n)`; "in" for one an output, shared by all inputs, `(out, 1, n)`; an int g for g activations that
            are dealt to the inputs in turn, input i taking number i mod g at every output, `(1, g, n)`.
        frozen: names of slots held at their initial value.
        engine: name of an engine or an engine; `engines.select` tells what "auto" takes.
        init_scale: where trainable scales of data start. With 1 an interval of $2\pi$ is one period of the slowest
            frequency; for targets that oscillate in [-1, 1], $\pi$ or more trains better and makes gradients larger.
            Well below 1 activations start nearly flat, and a layer's weights large; those of less variance than
            `initialise.FLAT` add less than their part.
        init_angle: how far from 0 angles start at most. Near 0 activations of `real` and `mix` start like the sine of
            minus all scales times x, almost linear, which recurrent networks like; those of the others start flat.
        device: of the parameters.
        dtype: of the parameters.

    >>> activation = DARUAN(2, 3, pz(1))
    >>> activation(torch.zeros(5, 2)).shape
    torch.Size([5, 3, 2])

    Reference: Jiang et al., Quantum variational activation functions empower Kolmogorov-Arnold networks, 2025,
    arXiv:2509.14026.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        circuit: Circuit = pz(3),
        share: Share = None,
        frozen: Iterable[str] = (),
        engine: str | Engine = "auto",
        init_scale: float = 1.0,
        init_angle: float = torch.pi,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes(in_features=in_features, out_features=out_features)
        check_activation(circuit)
        self.in_features, self.out_features = in_features, out_features
        self.circuit = circuit
        self.share = share
        self.frozen = check_frozen(frozen, circuit.slots)
        self.init_scale = _finite(init_scale=init_scale)
        self.init_angle = _finite(init_angle=init_angle)
        self.engine = engine
        grid = _grid(share, in_features, out_features)
        for name, length in circuit.slots.items():
            if hasattr(self, name):
                raise ValueError(f"Argument `circuit` has a slot {name!r}, a name that torch modules need: rename it.")
            slot = torch.empty(*grid, length, device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(slot, requires_grad=name not in self.frozen))
        self.reset_parameters()

    @property
    def engine(self) -> Engine:
        """The engine that evaluates the circuit; assign a name or an engine to change it."""
        return self._engine

    @engine.setter
    def engine(self, engine: str | Engine) -> None:
        engine = engines.get(engine)
        # Each activation has an "auto" of its own, which remembers what it chose.
        self._engine = engines.Auto() if isinstance(engine, engines.Auto) else engine

    @property
    def running_engine(self) -> Engine:
        """The engine that does the work: the one given, or what "auto" chose last (what it starts from, before)."""
        if not isinstance(self.engine, engines.Auto):
            return self.engine
        return (self.engine.last or engines.select(self.circuit)).engine

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the slots anew, from `generator` or torch's global one."""
        grid = _grid(self.share, self.in_features, self.out_features)
        for name, value in draw_slots(self.circuit, grid, self.init_scale, self.init_angle, generator).items():
            self.get_parameter(name).copy_(value)

    def slots(self) -> dict[str, Tensor]:
        """The parameters as engines want them: slot name to `(out or 1, in or 1, n)`."""
        # Not get_parameter, which refuses the plain tensors of torch.func.functional_call.
        slots: dict[str, Tensor] = {name: getattr(self, name) for name in self.circuit.slots}
        if isinstance(self.share, int):
            turn = torch.arange(self.in_features) % self.share
            slots = {name: slot[:, turn.to(slot.device)] for name, slot in slots.items()}
        return slots

    def forward(self, x: Tensor) -> Tensor:
        """The activations of `x (*batch, in)`, `(*batch, out, in)`."""
        check_width(x, self.in_features)
        check_tensor("x", x)  # here, so that an error has the caller's index
        values = self.engine(self.circuit, x[..., None, :, None], self.slots())
        return values.expand(*x.shape[:-1], self.out_features, self.in_features)

    def contract(self, x: Tensor, weight: Tensor, judged: bool = True) -> Tensor:
        r"""$\sum_i w_{oi} f_{oi}(x_i)$ of `x (*batch, in)`, `(*batch, out)`, the way the engine does it best.

        For `judged` see `Engine.contract`.
        """
        check_width(x, self.in_features)
        return self.engine.contract(self.circuit, x, self.slots(), weight, judged)

    def extra_repr(self) -> str:
        """What `repr` shows: sizes, circuit, sharing, and the engine that runs."""
        circuit = self.circuit.label or f"Circuit of {len(self.circuit.gates)} gates, readout={self.circuit.readout!r}"
        auto = "auto -> " if isinstance(self.engine, engines.Auto) else ""
        parts = [str(self.in_features), str(self.out_features), f"circuit={circuit}", f"share={self.share!r}"]
        parts += [f"frozen={self.frozen!r}"] if self.frozen else []
        return ", ".join([*parts, f"engine={auto}{self.running_engine!r}"])


def set_engine(model: nn.Module, engine: str | Engine) -> nn.Module:
    """Let `engine` evaluate every DARUAN in `model`, whose parameters stay as they are; returns the model."""
    engine = engines.get(engine)
    for module in model.modules():
        if isinstance(module, DARUAN):
            module.engine = engine
    return model


def check_sizes(**sizes: Any) -> None:
    """Refuse sizes that are not positive ints."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool):
            raise TypeError(f"Argument `{name}` must be an int, but is {size!r}.")
        if size < 1:
            raise ValueError(f"Argument `{name}` must be positive, but is {size}.")


def check_frozen(frozen: Iterable[str], families: Iterable[str]) -> tuple[str, ...]:
    """Refuse names that are not families of parameters; a lone string would be read letter by letter."""
    if isinstance(frozen, str):
        raise TypeError(f"Argument `frozen` must be a sequence of names, such as ({frozen!r},), but is {frozen!r}.")
    frozen = tuple(frozen)
    unknown = [name for name in frozen if name not in set(families)]
    if unknown:
        raise ValueError(f"Argument `frozen` must name families among {', '.join(families)}, but has {unknown}.")
    return frozen


def check_width(x: Tensor, in_features: int) -> None:
    """Refuse inputs whose last dimension is not the layer's."""
    if not isinstance(x, Tensor):
        raise TypeError(f"Argument `x` must be a torch.Tensor, but is a {type(x).__name__}.")
    if x.ndim == 0 or x.shape[-1] != in_features:
        raise ValueError(f"Argument `x` must have shape (*batch, {in_features}), but has shape {tuple(x.shape)}.")


def check_dtype(x: Tensor, dtype: torch.dtype, name: str = "x") -> None:
    """Refuse what is not floating-point, or of another dtype than the layer's while no autocast converts it."""
    check_kind(name, x)
    if x.dtype != dtype and not _converted(x, dtype):
        raise TypeError(f"Argument `{name}` is {x.dtype}, but the layer is {dtype}: convert one of them.")


def _converted(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether autocast makes one dtype of both; it leaves float64 as it is, and there is none on the meta device."""
    kind = x.device.type
    known = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return known and torch.float64 not in (x.dtype, dtype)


def _finite(**numbers: Any) -> float:
    ((name, number),) = numbers.items()
    if not isinstance(number, (int, float)) or isinstance(number, bool) or not math.isfinite(number):
        raise ValueError(f"Argument `{name}` must be a finite number, but is {number!r}.")
    return float(number)


def _grid(share: Share, in_features: int, out_features: int) -> tuple[int, int]:
    if share is None:
        return out_features, in_features
    if share == "out":
        return 1, in_features
    if share == "in":
        return out_features, 1
    if isinstance(share, int) and not isinstance(share, bool) and 1 <= share <= in_features:
        return 1, share
    raise ValueError(
        f"Argument `share` must be None, 'out', 'in' or a number of groups from 1 to in_features={in_features}, "
        f"but is {share!r}."
    )
