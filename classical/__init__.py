"""Classical baselines in plain torch."""

from classical.lstm import LSTM
from classical.mlp import MLP
from classical.spline import BSplineKAN, BSplineKANLayer

__all__ = ["LSTM", "MLP", "BSplineKAN", "BSplineKANLayer"]
