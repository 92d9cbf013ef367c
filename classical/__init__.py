"""Classical baselines in plain torch."""

from classical.fourier import FourierKAN, FourierKANLayer
from classical.mlp import MLP
from classical.recurrent import GRU, LSTM
from classical.spline import BSplineKAN, BSplineKANLayer

__all__ = ["GRU", "LSTM", "MLP", "BSplineKAN", "BSplineKANLayer", "FourierKAN", "FourierKANLayer"]
