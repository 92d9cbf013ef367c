"""Classical baselines in plain torch."""

from classical.lstm import LSTM
from classical.mlp import MLP

__all__ = ["LSTM", "MLP"]
