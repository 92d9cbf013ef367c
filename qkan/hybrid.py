r"""HQKAN: a QKAN between two linear maps, small enough to stand where an MLP stood."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from circuits import Circuit, pz
from circuits.checks import check_tensor, suspicious
from circuits.engines import Engine
from qkan.daruan import Share, check_dtype, check_sizes, check_width
from qkan.initialise import draw_weights
from qkan.layer import Base, QKANLayer
from qkan.network import QKAN


def latent_widths(in_features: int, out_features: int, multiple: int = 1) -> list[int]:
    r"""The paper's latent widths $[m \lceil \log_2 \mathrm{in} \rceil, m \lceil \log_2 \mathrm{out} \rceil]$.

    Each logarithm is at least 1. `multiple=4` is the paper's HQKAN-44.

    >>> latent_widths(768, 768), latent_widths(256, 10, multiple=4)
    ([10, 10], [32, 16])
    """
    check_sizes(in_features=in_features, out_features=out_features, multiple=multiple)
    return [multiple * max(1, (features - 1).bit_length()) for features in (in_features, out_features)]


class HQKAN(nn.Module):
    r"""$y = D\, \mathrm{QKAN}(E x)$ with affine maps E and D, from `(*batch, in)` to `(*batch, out)`.

    The hybrid QKAN, or jump-connected hourglass of the paper: `encoder` brings the input down to `latent[0]` numbers,
    the QKAN `latent` maps them to `latent[-1]`, and `decoder` brings these up to the output. There are

    $$(\mathrm{in} + c)\, l_0 + \mathrm{QKAN} + (l_{-1} + c)\, \mathrm{out}$$

    parameters, c = 1 with biases and 0 without, of which a latent layer a -> b has $2ab + cb$ and s for each of its
    activations: $ab$ of them, b with `share="in"`, a with "out", g with `share=g`, the paper's grouped HG-QKAN. With
    `pz(reps)` s is $2 (\mathrm{reps} + 1) + 2\, \mathrm{reps}$; without a base branch there is $ab$ in place of $2ab$.

    At the start standard normal inputs give outputs of mean 0 and variance about 1: the rows of E and of D have length
    1 and their biases are 0, and the QKAN keeps the variance of its independent inputs, which the latent numbers are
    up to $1 / \sqrt{\mathrm{in}}$.

    Args:
        in_features: size of the last dimension of the input.
        out_features: size of the last dimension of the output.
        latent: two or more widths of the QKAN; None for `latent_widths(in_features, out_features)`.
        circuit: the activation of every edge of the QKAN; of few repetitions, because several edges meet.
        base: base function of the QKAN's layers; see `QKANLayer`.
        bias: whether the linear maps and the QKAN's layers have biases.
        share: which edges of a latent layer share an activation; see `DARUAN`.
        frozen: families of the QKAN's parameters held at their initial value; see `QKANLayer`.
        engine: name of an engine or an engine.
        init_scale: where trainable scales of data start; see `DARUAN`.
        init_angle: angles start within plus and minus this; see `DARUAN`.
        device: of the parameters.
        dtype: of the parameters.

    >>> block = HQKAN(768, 768)
    >>> block(torch.zeros(2, 16, 768)).shape, sum(parameter.numel() for parameter in block.parameters())
    (torch.Size([2, 16, 768]), 16948)

    Reference: Jiang et al., Quantum variational activation functions empower Kolmogorov-Arnold networks, 2025,
    arXiv:2509.14026.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        latent: Sequence[int] | None = None,
        circuit: Circuit = pz(1),
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
        check_sizes(in_features=in_features, out_features=out_features)
        widths = latent_widths(in_features, out_features) if latent is None else _checked(latent)
        self.in_features, self.out_features = in_features, out_features
        self.encoder = nn.Linear(in_features, widths[0], bias, device, dtype)
        self.latent = QKAN(widths, circuit, base, bias, share, frozen, engine, init_scale, init_angle, device, dtype)
        self.decoder = nn.Linear(widths[-1], out_features, bias, device, dtype)
        self._reset_maps()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one."""
        for layer in self.latent:
            assert isinstance(layer, QKANLayer)
            layer.reset_parameters(generator)
        self._reset_maps(generator)

    @torch.no_grad()
    def _reset_maps(self, generator: torch.Generator | None = None) -> None:
        for linear in (self.encoder, self.decoder):
            ones = torch.ones(linear.in_features, dtype=torch.float64)
            linear.weight.copy_(draw_weights(linear.weight.shape, ones, 1.0, generator))
            if linear.bias is not None:
                linear.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """`(*batch, in)` to `(*batch, out)`."""
        check_width(x, self.in_features)
        check_dtype(x, self.encoder.weight.dtype)
        latent = self.encoder(x)
        if suspicious(latent):  # here, so that an error has the caller's index
            check_tensor("x", x)
            for name, parameter in self.encoder.named_parameters():
                check_tensor(f"encoder.{name}", parameter)
        return self.decoder(self.latent(latent))


def _checked(latent: Sequence[int]) -> list[int]:
    if not isinstance(latent, Sequence) or isinstance(latent, str) or len(latent) < 2:
        raise ValueError(
            "Argument `latent` must be None or two or more widths, such as latent_widths(64, 64, multiple=4), but is "
            f"{latent!r}."
        )
    check_sizes(**{f"latent[{position}]": width for position, width in enumerate(latent)})
    return list(latent)
