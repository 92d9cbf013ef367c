r"""The QKAN layer: a weighted sum of quantum activations beside a classical base branch."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from circuits import Circuit, pz
from circuits.checks import check_activation, check_tensor, check_values, suspicious
from circuits.engines import Engine
from qkan.daruan import DARUAN, Share, check_dtype, check_frozen, check_width
from qkan.initialise import FLAT, circuit_moments, draw_weights, function_moments

Base = str | Callable[[Tensor], Tensor] | None

BASES: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "relu": functional.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "identity": torch.clone,
}
"""Base functions by name; any other function of a tensor can be passed itself."""


class QKANLayer(nn.Module):
    r"""$y_o = \sum_i [w_{oi} f_{oi}(x_i) + b_{oi} \mathrm{base}(x_i)] + \mathrm{bias}_o$, from `(*batch, in)`
    to `(*batch, out)`.

    $f_{oi}$ is the expectation value of `circuit`, a function of one variable on every edge. Parameters are
    `activation.<slot>` for each slot of the circuit, `weight` and `base_weight` of shape `(out, in)`, and `bias`
    `(out,)`. At the start standard normal inputs give outputs of mean 0 and variance 1, half from each branch.

    Args:
        in_features: size of the last dimension of the input.
        out_features: size of the last dimension of the output.
        circuit: any circuit of one feature and one readout string.
        base: "silu", "gelu", "relu", "tanh", "sigmoid", "identity", a function of a tensor, or None for no base branch.
        bias: whether to add a bias.
        share: which edges share an activation; see `DARUAN`.
        frozen: families held at their initial value: slot names, "weight", "base_weight", "bias".
        engine: name of an engine or an engine.
        init_scale: where trainable scales of data start; see `DARUAN`.
        init_angle: angles start within plus and minus this; see `DARUAN`.
        device: of the parameters.
        dtype: of the parameters.

    >>> QKANLayer(4, 8, circuit=pz(2), frozen=["scale"])
    QKANLayer(
      base=silu, bias=True
      (activation): DARUAN(4, 8, circuit=pz(2), share=None, frozen=('scale',), engine=auto -> Bloch())
    )

    Reference: Jiang et al., Quantum variational activation functions empower Kolmogorov-Arnold networks, 2025,
    arXiv:2509.14026.
    """

    weight: nn.Parameter
    base_weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
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
        super().__init__()
        check_activation(circuit)
        own = ["weight"] + ["base_weight"] * (base is not None) + ["bias"] * bool(bias)
        if taken := circuit.slots.keys() & set(own):
            raise ValueError(f"Argument `circuit` has slots named {sorted(taken)} like the layer's own: rename them.")
        frozen = check_frozen(frozen, [*circuit.slots, *own])
        slots = [name for name in frozen if name in circuit.slots]
        self.activation = DARUAN(
            in_features, out_features, circuit, share, slots, engine, init_scale, init_angle, device, dtype
        )
        self.in_features, self.out_features = in_features, out_features
        self.base = _function(base)
        shapes = {
            "weight": (out_features, in_features),
            "base_weight": (out_features, in_features),
            "bias": (out_features,),
        }
        for name, shape in shapes.items():
            parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype), requires_grad=name not in frozen)
            self.register_parameter(name, parameter if name in own else None)
        self._reset_weights()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        self.activation.reset_parameters(generator)
        self._reset_weights(generator)

    @torch.no_grad()
    def _reset_weights(self, generator: torch.Generator | None = None) -> None:
        if self.weight.is_meta:
            return
        mean, variance = circuit_moments(self.activation.circuit, self.activation.slots())
        branches = [(self.weight, mean, variance.clamp(min=FLAT))]
        if self.base is not None and self.base_weight is not None:
            branches.append((self.base_weight, *function_moments(self.base)))
        mean = torch.zeros(self.out_features, dtype=torch.float64)
        for parameter, means, variances in branches:
            weight = draw_weights(parameter.shape, variances, 1 / len(branches), generator)
            mean += (weight * means).sum(-1)
            parameter.copy_(weight)
        if self.bias is not None:
            self.bias.copy_(-mean)

    def forward(self, x: Tensor) -> Tensor:
        """`(*batch, in)` to `(*batch, out)`."""
        check_width(x, self.in_features)
        check_dtype(x, self.weight.dtype)
        y = self.activation.contract(x, self.weight, judged=False)
        if self.base is not None and self.base_weight is not None:
            y = y + functional.linear(self.base(x), self.base_weight, self.bias)
        elif self.bias is not None:
            y = y + self.bias
        if suspicious(y):
            check_values(self.activation.circuit, x, self.activation.slots(), self.weight)
            for name, parameter in (("base_weight", self.base_weight), ("bias", self.bias)):
                if parameter is not None:
                    check_tensor(name, parameter)
        return y

    def edge_values(self, x: Tensor) -> Tensor:
        """What every edge adds to its output, `(*batch, in)` to `(*batch, out, in)`: for looking at some samples.

        The layer is their sum over inputs and the bias. Memory grows with samples times edges.
        """
        check_width(x, self.in_features)
        check_dtype(x, self.weight.dtype)
        values = self.weight * self.activation(x)
        if self.base is None or self.base_weight is None:
            return values
        return values + self.base_weight * self.base(x)[..., None, :]

    def extra_repr(self) -> str:
        """What `repr` shows beside the activation."""
        base = getattr(self.base, "__name__", repr(self.base))
        return f"base={base}, bias={self.bias is not None}"


def _function(base: Base) -> Callable[[Tensor], Tensor] | None:
    if isinstance(base, str):
        if base not in BASES:
            raise ValueError(f"Argument `base` must be one of {', '.join(BASES)}, a function or None, but is {base!r}.")
        return BASES[base]
    if base is not None and (not callable(base) or isinstance(base, type)):
        raise TypeError(
            "Argument `base` must be a name, a function of a tensor such as torch.tanh or nn.PReLU(), or None, "
            f"but is {base!r}."
        )
    return base
