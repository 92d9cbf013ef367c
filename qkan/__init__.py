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

from qkan.daruan import DARUAN, set_engine
from qkan.extension import extend
from qkan.fit import FitResult, fit
from qkan.layer import QKANLayer
from qkan.network import QKAN
from qkan.parameters import parameter_count
from qkan.plan import Plan, allocate, plan, set_shots
from qkan.qlstm import QLSTM
from qkan.qlstm_cell import QLSTMCell
from qkan.survival import deploy_check

__all__ = [
    "DARUAN",
    "QKAN",
    "QLSTM",
    "FitResult",
    "Plan",
    "QKANLayer",
    "QLSTMCell",
    "allocate",
    "deploy_check",
    "extend",
    "fit",
    "parameter_count",
    "plan",
    "set_engine",
    "set_shots",
]
