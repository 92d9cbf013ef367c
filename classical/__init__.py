"""Classical baselines in plain torch."""

from classical.attribution import Attribution, attribution
from classical.chebyshev import ChebyshevKAN, ChebyshevKANLayer
from classical.convolution import KANConv2d
from classical.fourier import FourierKAN, FourierKANLayer
from classical.mlp import MLP
from classical.nodewise import Nodewise
from classical.rbf import FastKAN, FastKANLayer
from classical.recurrent import GRU, LSTM
from classical.regularise import sparsity
from classical.relu import ReLUKAN, ReLUKANLayer
from classical.single import SingleParameterKAN, SingleParameterKANLayer
from classical.spline import BSplineKAN, BSplineKANLayer
from classical.wavelet import WaveletKAN, WaveletKANLayer

__all__ = [
    "GRU",
    "LSTM",
    "MLP",
    "Attribution",
    "BSplineKAN",
    "BSplineKANLayer",
    "ChebyshevKAN",
    "ChebyshevKANLayer",
    "FastKAN",
    "FastKANLayer",
    "FourierKAN",
    "FourierKANLayer",
    "KANConv2d",
    "Nodewise",
    "ReLUKAN",
    "ReLUKANLayer",
    "SingleParameterKAN",
    "SingleParameterKANLayer",
    "WaveletKAN",
    "WaveletKANLayer",
    "attribution",
    "sparsity",
]
