"""Who takes part: recurrent networks with a linear read-out, and a perceptron, each in two variants."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from benchmarks.sizes import Family, Make
from circuits import real
from classical import GRU, LSTM, MLP
from qkan import HQKANLSTM, QKANLSTM, QLSTM

LSTM_NAME, GRU_NAME, QLSTM_NAME, MLP_NAME = "LSTM", "GRU", "QLSTM", "MLP"
QKAN_NAME, HYBRID_NAME = "QKAN-LSTM", "HQKAN-LSTM"
QUANTUM = (QKAN_NAME, HYBRID_NAME)

NEAR = 0.3
"""Where angles start that make activations start almost linear."""


class Forecaster(nn.Module):
    """A recurrent network over a window, and a linear read-out of what it ends with.

    Args:
        network: from `(time, batch, features)` to outputs and states.
        width: of its outputs.
        outputs: of the read-out.
        device: of the read-out.
        dtype: of the read-out.
    """

    def __init__(
        self,
        network: nn.Module,
        width: int,
        outputs: int = 1,
        device: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.readout = nn.Linear(width, outputs, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, window, features)` to `(batch, outputs)`."""
        outputs, _ = self.network(x.transpose(0, 1))
        return self.readout(outputs[-1])


def _classical(family: type[LSTM | GRU], layers: int, biases: int = 1) -> Make:
    """Of torch's two biases, which are just added but for the candidate of a GRU, one is held at 0 and not counted."""

    def make(features: int, hidden: int, device: str) -> nn.Module:
        model = family([features, *[hidden] * layers, 1], device=device, dtype=torch.float64)
        for name, parameter in model.named_parameters():
            if biases == 1 and "bias_hh" in name:
                nn.init.zeros_(parameter).requires_grad_(False)
        return model

    return make


def _quantum(network: Callable[[int, int, str], nn.Module]) -> Make:
    def make(features: int, hidden: int, device: str) -> nn.Module:
        return Forecaster(network(features, hidden, device), hidden, device=device, dtype=torch.float64)

    return make


def _sine(features: int, hidden: int, device: str) -> nn.Module:
    """One sine for x and one for h, instead of the identity of an LSTM."""
    circuit = real(1, shift=0)
    return QKANLSTM(
        features, hidden, circuit=circuit, base=None, share=1, init_angle=NEAR, device=device, dtype=torch.float64
    )


def _sine_beside(features: int, hidden: int, device: str) -> nn.Module:
    """A sine of each entry of x and h, beside the identity."""
    return QKANLSTM(
        features,
        hidden,
        circuit=real(1, shift=0),
        base="identity",
        share="out",
        init_angle=NEAR,
        device=device,
        dtype=torch.float64,
    )


def _hybrid(part: int) -> Callable[[int, int, str], nn.Module]:
    """Sines of few latent numbers beside the identity, one for `part` hidden units."""

    def network(features: int, hidden: int, device: str) -> nn.Module:
        inner = -(-hidden // part)
        return HQKANLSTM(
            features,
            hidden,
            latent=[inner, inner],
            circuit=real(1, shift=0),
            base="identity",
            share="out",
            frozen=["bias"],  # which that of the decoder makes redundant
            init_angle=NEAR,
            device=device,
            dtype=torch.float64,
        )

    return network


def _qlstm(wires: int) -> Callable[[int, int, str], nn.Module]:
    """Circuits of few qubits between linear maps: with a qubit for each of x and h, time grows exponentially."""

    def network(features: int, hidden: int, device: str) -> nn.Module:
        return QLSTM(features, hidden, n_qubits=wires, depth=1, device=device, dtype=torch.float64)

    return network


def _mlp(window: int, activation: str) -> Make:
    def make(features: int, hidden: int, device: str) -> nn.Module:
        widths = [window * features, hidden, 1]
        return nn.Sequential(nn.Flatten(), MLP(widths, activation=activation, device=device, dtype=torch.float64))

    return make


@cache
def families(window: int) -> dict[str, Family]:
    """Every kind of model for windows of that length, by name."""
    every = (
        Family(LSTM_NAME, {"one layer": _classical(LSTM, 1), "two layers": _classical(LSTM, 2)}),
        Family(GRU_NAME, {"one layer": _classical(GRU, 1), "both biases": _classical(GRU, 1, biases=2)}),
        Family(QLSTM_NAME, {"two qubits": _quantum(_qlstm(2)), "three qubits": _quantum(_qlstm(3))}),
        Family(QKAN_NAME, {"sines": _quantum(_sine), "sines and identity": _quantum(_sine_beside)}),
        Family(HYBRID_NAME, {"half as many latent": _quantum(_hybrid(2)), "a quarter": _quantum(_hybrid(4))}),
        Family(MLP_NAME, {"tanh": _mlp(window, "tanh"), "silu": _mlp(window, "silu")}),
    )
    return {family.name: family for family in every}
