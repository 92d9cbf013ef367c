"""What leads units from a mixture of candidates to a choice: temperatures, noise, an entropy, and pruning."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from classical.checks import checked_number, checked_size
from classical.selection import Selection


@dataclass(frozen=True)
class Annealing:
    r"""A temperature that falls from `start` to `end` by the same factor in each step, and then stays.

    >>> [round(Annealing(1.0, 0.01, steps=2)(step), 3) for step in range(4)]
    [1.0, 0.1, 0.01, 0.01]
    """

    start: float = 1.0
    end: float = 0.01
    steps: int = 1000

    def __post_init__(self) -> None:
        checked_number("start", self.start, above=0.0)
        checked_number("end", self.end, above=0.0)
        checked_size("steps", self.steps, at_least=1)

    def __call__(self, step: int) -> float:
        """The temperature of a step, counted from 0."""
        return self.start * (self.end / self.start) ** min(step / self.steps, 1.0)


def selections(model: nn.Module) -> list[Selection]:
    """All of a model."""
    return [module for module in model.modules() if isinstance(module, Selection)]


def anneal(model: nn.Module, temperature: float) -> None:
    """Set the temperature of all selections of a model."""
    checked_number("temperature", temperature, above=0.0)
    for selection in selections(model):
        selection.temperature.fill_(temperature)


@torch.no_grad()
def shake(model: nn.Module, scale: float = 1.0, generator: torch.Generator | None = None) -> None:
    r"""Draw the noise of all selections of a model, from `generator` or torch's global one.

    It is standard Gumbel noise times `scale`. With scale 1 a candidate has the largest of all
    $\theta_{om} + n_{om}$ with the probability $\mathrm{softmax}_m(\theta_{om})$; with scale 0 there is no noise.

    Reference:
        E. Jang, S. Gu and B. Poole, Categorical Reparameterization with Gumbel-Softmax, 2016, arXiv:1611.01144.
    """
    checked_number("scale", scale, above=-math.inf)
    for selection in selections(model):
        noise = selection.noise
        noise.copy_(-scale * noise.exponential_(generator=generator).log())


def selection_entropy(model: nn.Module) -> Tensor:
    """The mean over the outputs of all selections of a model of `Selection.entropy`, which is 0 where all is certain.

    Raises:
        ValueError: If the model has no selection.
    """
    found = selections(model)
    if not found:
        raise ValueError("Argument `model` must have a selection, such as a SKANLayer, but has none.")
    return torch.cat([selection.entropy() for selection in found]).mean()


def pruned(model: nn.Module) -> nn.Module:
    """A copy of a model in which `Selection.prune` has replaced each selection.

    A selection that is in several places is so afterwards; candidates of a selection must not have selections within.
    """
    if isinstance(model, Selection):
        return model.prune()
    model = copy.deepcopy(model)
    chosen = {id(selection): selection.prune() for selection in selections(model)}
    places = {path: id(module) for path, module in model.named_modules(remove_duplicate=False) if id(module) in chosen}
    for path, selection in places.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, chosen[selection])
    return model
