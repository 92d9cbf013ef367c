"""Stacks of QKAN layers."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import nn

from circuits import Circuit, pz
from circuits.engines import Engine
from qkan.daruan import Share, check_sizes
from qkan.layer import Base, QKANLayer


class QKAN(nn.Sequential):
    """A stack of QKAN layers of the given widths, `(*batch, widths[0])` to `(*batch, widths[-1])`.

    Layers differ in nothing but their sizes; for anything else, put `QKANLayer`s into a `torch.nn.Sequential`.

    Args:
        widths: sizes from input to output, such as [2, 5, 1].
        circuit: the activation of every edge.
        base: base function of every layer; see `QKANLayer`.
        bias: whether the layers have biases.
        share: which edges of a layer share an activation; see `DARUAN`.
        frozen: families of parameters held at their initial value.
        engine: name of an engine or an engine.
        init_scale: where trainable scales of data start; see `DARUAN`.
        init_angle: angles start within plus and minus this; see `DARUAN`.
        device: of the parameters.
        dtype: of the parameters.
    """

    def __init__(
        self,
        widths: Sequence[int],
        circuit: Circuit = pz(3),
        base: Base = "silu",
        bias: bool = True,
        share: Share = None,
        frozen: Iterable[str] = (),
        engine: str | Engine = "auto",
        init_scale: float = 1.0,
        init_angle: float = torch.pi,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(widths, Sequence) or len(widths) < 2:
            raise ValueError(f"Argument `widths` must name at least an input and an output size, but is {widths!r}.")
        check_sizes(**{f"widths[{position}]": width for position, width in enumerate(widths)})
        frozen = frozen if isinstance(frozen, str) else tuple(frozen)
        super().__init__(
            *(
                QKANLayer(
                    inputs, outputs, circuit, base, bias, share, frozen, engine, init_scale, init_angle, device, dtype
                )
                for inputs, outputs in pairwise(widths)
            )
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        for layer in self:
            layer.reset_parameters(generator)  # pyright: ignore[reportCallIssue]
