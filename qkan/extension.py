"""Layer extension: more repetitions, the same function, and training goes on."""

from typing import TypeVar

import torch
from torch import nn

from circuits import Extension, extended
from circuits.ansatz import Fixed
from qkan.daruan import DARUAN, check_sizes

Module = TypeVar("Module", bound=nn.Module)


def extend(model: Module, reps: int, scale: Fixed = None, shift: Fixed = None) -> Module:
    r"""Let every DARUAN in `model` have `reps` repetitions, its function unchanged; returns the model.

    Coarse activations are quick to fit, and where they end is a good start for finer ones:
    $f_\mathrm{more}(x; \theta') = f(x; \theta)$ to rounding, with blocks that cannot be seen yet
    (`circuits.extension` says which, and why) and derivatives in their parameters that are not all zero. What the
    ansätze admit:

    | circuit | scale and shift of the present blocks | of the added ones at first |
    |---|---|---|
    | pz, rpz, mix | any | any |
    | px | any | any with abs(scale x + shift) <= 1, the domain of arccos |
    | real, entangled | trainable; or fixed, if those of the added blocks are fixed at 0 | 0 |

    Blocks of `real` all turn about one axis, so it has no more functions afterwards than before.

    Sharing, frozen families, engines, dtypes, devices and `requires_grad` stay. Parameters of circuits are new
    objects: make a new optimizer afterwards, for an old one would go on with tensors that are in no model.

    Args:
        model: a DARUAN, a `QKANLayer`, a `QKAN` or any module with such in it.
        reps: the new number of repetitions, at least the present one; with as many nothing changes.
        scale: of the added blocks, one number or one a block: where trainable scales start, or at what they are fixed
            where the present ones are. By default `init_scale` of each DARUAN, or the number at which they are fixed.
        shift: likewise; trainable ones start from 0 by default.

    Raises:
        UnsupportedCircuit: if a circuit is none of the above.
        ValueError: if there is no DARUAN, a circuit has more repetitions already, present scales are fixed at
            different numbers and `scale` is not given, or fixed numbers leave the domain of arccos for an x in [-1, 1]
            that the present ones admit. In all cases before anything is changed.

    >>> from circuits import rpz
    >>> from qkan import QKAN, extend
    >>> model = QKAN([2, 5, 1], rpz(3))
    >>> x = torch.rand(100, 2)
    >>> before = model(x)
    >>> torch.allclose(extend(model, 8)(x), before, atol=1e-5)
    True

    Reference: Jiang et al., Quantum variational activation functions empower Kolmogorov-Arnold networks, 2025,
    arXiv:2509.14026.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"Argument `model` must be a torch.nn.Module, but is a {type(model).__name__}.")
    check_sizes(reps=reps)
    found = [module for module in model.modules() if isinstance(module, DARUAN)]
    if not found:
        raise ValueError(f"Argument `model` must hold a DARUAN, but {type(model).__name__} holds none.")
    extensions = [extended(module.circuit, reps, scale, shift, module.init_scale) for module in found]
    made: dict[object, nn.Parameter] = {}
    for module, extension in zip(found, extensions, strict=True):
        if extension.circuit != module.circuit:
            _lengthen(module, extension, made)
    return model


@torch.no_grad()
def _lengthen(module: DARUAN, extension: Extension, made: dict[object, nn.Parameter]) -> None:
    """Give `module` its longer circuit; slots that several modules share are `made` once."""
    for name, starts in extension.starts.items():
        old = module.get_parameter(name)
        key = (old, starts)
        if key not in made:
            made[key] = nn.Parameter(extension.carried(name, old), requires_grad=old.requires_grad)
        module.register_parameter(name, made[key])
    module.circuit = extension.circuit
    module.engine = module.engine  # an "auto" forgets what it chose for the shorter circuit
