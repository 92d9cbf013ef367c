"""Maps of an input and a hidden state, as gates of recurrent networks need them, with circuits inside."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from circuits import Circuit
from circuits.engines import Engine
from circuits.engines.projection import projection
from circuits.precision import full_precision
from qkan.daruan import Share, check_dtype
from qkan.features import Features
from qkan.hybrid import HQKAN
from qkan.layer import BASES, Base, QKANLayer


@dataclass(frozen=True, eq=False)
class Unrolled:
    r"""Gates as `scan` takes them: $a_t = z_t + \phi(e_t + h_{t-1} M) W$ for features $\phi$.

    Args:
        features: of u, $\phi$.
        outer: z, `(time, batch, gates)`.
        inner: e, `(time, batch, u)`; None for zero.
        mixing: M, `(hidden, u)`; None for the identity.
        weights: W, `(features, gates)`.
    """

    features: Features
    outer: Tensor
    inner: Tensor | None
    mixing: Tensor | None
    weights: Tensor


class QKANGates(nn.Module):
    """`input(x) + hidden(h)`: a QKAN layer of [x, h], whose part of x can be had for many steps at once.

    Args:
        sizes: of x, h and the result.
        circuit: of every activation.
        base: base function of both layers; see `QKANLayer`.
        bias: whether there is one.
        share: which edges share an activation; see `DARUAN`. A number of groups is at most the size of x or h.
        frozen: families of parameters held at their initial value.
        engine: name of an engine or an engine.
        init_scale: where trainable scales of data start.
        init_angle: angles start within plus and minus this; see `DARUAN`.
        device: of the parameters.
        dtype: of the parameters.
        hidden_bias: whether the layer of h has one, too, which is redundant where the two are just added.
    """

    def __init__(
        self,
        sizes: tuple[int, int, int],
        circuit: Circuit,
        base: Base,
        bias: bool,
        share: Share,
        frozen: Iterable[str],
        engine: str | Engine,
        init_scale: float,
        init_angle: float,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        hidden_bias: bool = False,
    ) -> None:
        super().__init__()
        inputs, hidden, outputs = sizes
        frozen = frozen if isinstance(frozen, str) else tuple(frozen)
        options = (engine, init_scale, init_angle, device, dtype)
        self.input = QKANLayer(inputs, outputs, circuit, base, bias, _groups(share, inputs), frozen, *options)
        held = tuple(name for name in frozen if hidden_bias or name != "bias")
        self.hidden = QKANLayer(hidden, outputs, circuit, base, hidden_bias, _groups(share, hidden), held, *options)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        self.input.reset_parameters(generator)
        self.hidden.reset_parameters(generator)

    def before(self, x: Tensor) -> Tensor:
        """What x contributes."""
        return self.input(x)

    def after(self, z: Tensor, h: Tensor) -> Tensor:
        """The result, for z from `before`."""
        return z + self.hidden(h)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """`x (*batch, inputs)` and `h (*batch, hidden)` to `(*batch, outputs)`."""
        return self.after(self.before(x), h)

    def unrolled(self, z: Tensor, bound: Tensor) -> Unrolled | None:
        """The recurrence for `z (time, batch, ...)` from `before`, and $|h|$ up to `bound (hidden,)`.

        None if its engine does not expand it.
        """
        made = _expanded(self.hidden, (-bound, bound), z)
        if made is None:
            return None
        features, constant, weights = made
        return Unrolled(features, z + constant, None, None, weights)

    def repeated(self, z: Tensor, bound: Tensor) -> Callable[[Tensor], Tensor]:
        """`hidden` for as many steps as `z` has and $|h|$ up to `bound`: what parameters decide is worked out once."""
        if (made := _expanded(self.hidden, (-bound, bound), z)) is None:
            return self.hidden
        features, constant, weights = made
        constant = constant if self.hidden.bias is None else constant + self.hidden.bias

        def hidden(h: Tensor) -> Tensor:
            with full_precision(h.device):
                return torch.addmm(constant, features(h), weights)

        return hidden


class HQKANGates(nn.Module):
    """`HQKAN([x, h])`, the encoder's part of x of which can be had for many steps at once.

    Args:
        sizes: of x, h and the result.
        latent: widths of the latent layers; see `HQKAN`.
        circuit: of every activation.
        base: base function of the latent layers; see `QKANLayer`.
        bias: whether encoder, latent layers and decoder have one.
        share: which edges of a latent layer share an activation; see `DARUAN`.
        frozen: families of parameters of the latent layers held at their initial value.
        engine: name of an engine or an engine.
        init_scale: where trainable scales of data start.
        init_angle: angles start within plus and minus this; see `DARUAN`.
        device: of the parameters.
        dtype: of the parameters.
    """

    def __init__(
        self,
        sizes: tuple[int, int, int],
        latent: Sequence[int] | None,
        circuit: Circuit,
        base: Base,
        bias: bool,
        share: Share,
        frozen: Iterable[str],
        engine: str | Engine,
        init_scale: float,
        init_angle: float,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.inputs, hidden, outputs = sizes
        self.net = HQKAN(
            self.inputs + hidden,
            outputs,
            latent,
            circuit,
            base,
            bias,
            share,
            frozen,
            engine,
            init_scale,
            init_angle,
            device,
            dtype,
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        self.net.reset_parameters(generator)

    def before(self, x: Tensor) -> Tensor:
        """What x contributes to the latent inputs."""
        check_dtype(x, self.net.encoder.weight.dtype)
        return functional.linear(x, self.net.encoder.weight[:, : self.inputs], self.net.encoder.bias)

    def after(self, z: Tensor, h: Tensor) -> Tensor:
        """The result, for z from `before`."""
        return self.net.decoder(self.net.latent(z + functional.linear(h, self._mixing)))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """`x (*batch, inputs)` and `h (*batch, hidden)` to `(*batch, outputs)`."""
        return self.after(self.before(x), h)

    @property
    def _mixing(self) -> Tensor:
        return self.net.encoder.weight[:, self.inputs :]

    def unrolled(self, z: Tensor, bound: Tensor) -> Unrolled | None:
        """The recurrence for `z (time, batch, ...)` from `before`, and $|h|$ up to `bound (hidden,)`.

        None if there are several latent layers, or their engine does not expand it.
        """
        first, *others = self.net.latent
        assert isinstance(first, QKANLayer)
        with torch.no_grad():
            reach = self._mixing.abs() @ bound
            bounds = z.amin((0, 1)) - reach, z.amax((0, 1)) + reach
        if others or (made := _expanded(first, bounds, z)) is None:
            return None
        features, constant, weights = made
        with full_precision(z.device):
            outer = self.net.decoder(constant if first.bias is None else constant + first.bias)
            weights = weights @ self.net.decoder.weight.T
        return Unrolled(features, outer.expand(*z.shape[:2], -1), z, self._mixing.T, weights)


def _expanded(layer: QKANLayer, bounds: tuple[Tensor, Tensor], z: Tensor) -> tuple[Features, Tensor, Tensor] | None:
    """Features of a layer's input between `bounds`, the constant and the weights: all of the layer but its bias.

    None if the layer's engine does not expand it on that many steps, or its base function is not known to be
    elementwise.
    """
    activation, weight = layer.activation, layer.base_weight
    if layer.base is not None and layer.base not in BASES.values():
        return None
    time, batch = z.shape[:2]
    made = projection(activation.engine, activation.circuit, activation.slots(), layer.weight, bounds, batch, time)
    if made is None:
        return None
    features = Features(made.basis, made.interval, None if weight is None else layer.base)
    weights = made.coefficients if weight is None else torch.cat([made.coefficients, weight.T])
    return features, made.constant, weights


def _groups(share: Share, inputs: int) -> Share:
    """`share` for that many inputs: there are no more groups than inputs."""
    return min(share, inputs) if isinstance(share, int) and not isinstance(share, bool) else share
