"""Classical baselines in plain torch."""

from classical.chebyshev import ChebyshevKAN, ChebyshevKANLayer
from classical.fourier import FourierKAN, FourierKANLayer
from classical.mlp import MLP
from classical.nodewise import Nodewise
from classical.rbf import FastKAN, FastKANLayer
from classical.recurrent import GRU, LSTM
from classical.relu import ReLUKAN, ReLUKANLayer
from classical.single import SingleParameterKAN, SingleParameterKANLayer
from classical.spline import BSplineKAN, BSplineKANLayer
from classical.wavelet import WaveletKAN, WaveletKANLayer

__all__ = [
    "GRU",
    "LSTM",
    "MLP",
    "BSplineKAN",
    "BSplineKANLayer",
    "ChebyshevKAN",
    "ChebyshevKANLayer",
    "FastKAN",
    "FastKANLayer",
    "FourierKAN",
    "FourierKANLayer",
    "Nodewise",
    "ReLUKAN",
    "ReLUKANLayer",
    "SingleParameterKAN",
    "SingleParameterKANLayer",
    "WaveletKAN",
    "WaveletKANLayer",
]
