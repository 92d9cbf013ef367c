"""Classical baselines in plain torch."""

from classical.adapt import Adaptation, AdaptedLayer, adapt, adapters, merge_adapters, unmerge_adapters
from classical.adapter import Adapter, KANAdapter, LoRA, NeRA
from classical.adapter_state import adapter_state_dict, load_adapter_state_dict
from classical.afkan import AFKAN, AFKANLayer
from classical.attribution import Attribution, attribution
from classical.chebyshev import ChebyshevKAN, ChebyshevKANLayer
from classical.colour import CmKAN, PixelFunction, PixelSpline, colour_loss, fine_tune, ssim, train_colours
from classical.convolution import KANConv2d
from classical.fourier import FourierKAN, FourierKANLayer
from classical.grkan import GRKAN, GRKANLayer
from classical.karat import KArAt
from classical.kat import KAT
from classical.mlp import MLP
from classical.nodewise import Nodewise
from classical.rational import Rational
from classical.rbf import FastKAN, FastKANLayer
from classical.recurrent import GRU, LSTM
from classical.regularise import sparsity
from classical.relu import ReLUKAN, ReLUKANLayer
from classical.selectable import SKAN, SConvKAN, SKANLayer
from classical.single import SingleParameterKAN, SingleParameterKANLayer
from classical.spline import BSplineKAN, BSplineKANLayer
from classical.vit import ViT
from classical.vit_config import ViTConfig
from classical.vit_training import parameter_groups, warm_start
from classical.wavelet import WaveletKAN, WaveletKANLayer

__all__ = [
    "AFKAN",
    "GRKAN",
    "GRU",
    "KAT",
    "LSTM",
    "MLP",
    "SKAN",
    "AFKANLayer",
    "Adaptation",
    "AdaptedLayer",
    "Adapter",
    "Attribution",
    "BSplineKAN",
    "BSplineKANLayer",
    "ChebyshevKAN",
    "ChebyshevKANLayer",
    "CmKAN",
    "FastKAN",
    "FastKANLayer",
    "FourierKAN",
    "FourierKANLayer",
    "GRKANLayer",
    "KANAdapter",
    "KANConv2d",
    "KArAt",
    "LoRA",
    "NeRA",
    "Nodewise",
    "PixelFunction",
    "PixelSpline",
    "Rational",
    "ReLUKAN",
    "ReLUKANLayer",
    "SConvKAN",
    "SKANLayer",
    "SingleParameterKAN",
    "SingleParameterKANLayer",
    "ViT",
    "ViTConfig",
    "WaveletKAN",
    "WaveletKANLayer",
    "adapt",
    "adapter_state_dict",
    "adapters",
    "attribution",
    "colour_loss",
    "fine_tune",
    "load_adapter_state_dict",
    "merge_adapters",
    "parameter_groups",
    "sparsity",
    "ssim",
    "train_colours",
    "unmerge_adapters",
    "warm_start",
]
