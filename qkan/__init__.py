"""Quantum-inspired Kolmogorov-Arnold networks: a DARUAN circuit on every edge.

>>> import torch
>>> from qkan import QKAN, parameter_count
>>> from circuits import pz
>>> model = QKAN([2, 5, 1], circuit=pz(reps=3))
>>> model(torch.zeros(10, 2)).shape
torch.Size([10, 1])
>>> parameter_count(model)
{'weight': 15, 'base_weight': 15, 'bias': 6, 'theta': 120, 'scale': 45, 'shift': 45}
"""

from qkan.allocation import allocate, set_shots
from qkan.cells import HQKANLSTMCell, QKANGRUCell, QKANLSTMCell
from qkan.convolution import QKANConv2d
from qkan.daruan import DARUAN, set_engine
from qkan.errors import with_error
from qkan.extension import extend
from qkan.fit import FitResult, fit
from qkan.hybrid import HQKAN, latent_widths
from qkan.layer import QKANLayer
from qkan.network import QKAN
from qkan.parameters import parameter_count
from qkan.perplexity import bits_per_character, next_token_loss, perplexity
from qkan.plan import Plan, plan
from qkan.qlstm import QLSTM
from qkan.qlstm_cell import QLSTMCell
from qkan.recurrent import HQKANLSTM, QKANGRU, QKANLSTM
from qkan.replace import Replacement, replace_mlps
from qkan.survival import deploy_check
from qkan.transformer import GPT, GPTConfig

__all__ = [
    "DARUAN",
    "GPT",
    "HQKAN",
    "HQKANLSTM",
    "QKAN",
    "QKANGRU",
    "QKANLSTM",
    "QLSTM",
    "FitResult",
    "GPTConfig",
    "HQKANLSTMCell",
    "Plan",
    "QKANConv2d",
    "QKANGRUCell",
    "QKANLSTMCell",
    "QKANLayer",
    "QLSTMCell",
    "Replacement",
    "allocate",
    "bits_per_character",
    "deploy_check",
    "extend",
    "fit",
    "latent_widths",
    "next_token_loss",
    "parameter_count",
    "perplexity",
    "plan",
    "replace_mlps",
    "set_engine",
    "set_shots",
    "with_error",
]
