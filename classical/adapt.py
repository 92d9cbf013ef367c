"""Adapters in place of linear maps of any torch model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from classical.adapter import Adapter
from classical.cost import numbers_in

Key = tuple[int, int]
"""Weight and bias, by their identities: linear maps that share both are one."""


@dataclass(frozen=True)
class AdaptedLayer:
    """A linear map that was adapted.

    Args:
        names: where in the model it is; several where places share one map.
        adapter: the kind of the adapter.
        in_features: size of its input.
        out_features: size of its output.
        frozen: parameters of the linear map.
        trained: parameters that the adapter brought.
    """

    names: tuple[str, ...]
    adapter: str
    in_features: int
    out_features: int
    frozen: int
    trained: int


@dataclass(frozen=True)
class Adaptation:
    """What `adapt` did; `str` of it is a table.

    Shared parameters count once.

    Args:
        layers: the linear maps that were adapted.
        before: parameters of the whole model before, trained or not.
        after: parameters of the whole model after, trained or not.
        trained: parameters of the whole model after that are trained.
    """

    layers: tuple[AdaptedLayer, ...]
    before: int
    after: int
    trained: int

    @property
    def names(self) -> tuple[str, ...]:
        """Where linear maps were adapted."""
        return tuple(name for layer in self.layers for name in layer.names)

    def __str__(self) -> str:
        cells = [("layer", "adapter", "sizes", "frozen", "trained")]
        for layer in self.layers:
            sizes = f"{layer.in_features} -> {layer.out_features}"
            cells.append((", ".join(layer.names), layer.adapter, sizes, f"{layer.frozen:,}", f"{layer.trained:,}"))
        cells.append(("model", "", "", f"{self.after - self.trained:,}", f"{self.trained:,}"))
        *texts, frozen, trained = (max(map(len, column)) for column in zip(*cells, strict=True))
        aligned = "  ".join([*(f"{{:<{width}}}" for width in texts), f"{{:>{frozen}}}", f"{{:>{trained}}}"])
        return "\n".join(aligned.format(*line) for line in cells)


def adapt(model: nn.Module, targets: str | Iterable[str], make: Callable[[nn.Linear], Adapter]) -> Adaptation:
    """Put adapters in the place of linear maps of `model`, freeze all else, and tell what was adapted.

    A target is a name, or the end of names after a dot: "to_q" and "to_out.0" mean "blocks.3.attention.to_q" and
    "blocks.3.attention.to_out.0". With one of the signs `*`, `?` and `[` it is a pattern of whole names, as in
    `fnmatch`. Every target must mean something, and linear maps only. Where linear maps share their parameters they
    share one adapter; a module that is in several places is adapted in all of them, whichever was named.

    Everything is found and made before anything changes. Then all parameters are frozen but those of adapters, older
    ones included; let `requires_grad_` train others besides, such as a new head. The fast path of torch's
    transformers, which reads the weights of linear maps and so would pass adapters by, is switched off.

    Args:
        model: Any model; it is changed.
        targets: Which linear maps, by one or several names, ends of names or patterns.
        make: From a linear map to its adapter, such as `LoRA` or `lambda linear: NeRA(linear, rank=4)`.

    Raises:
        TypeError: If `model` is no module, or `make` makes no adapter of the linear map it is given.
        ValueError: If there is no target, or one means nothing, something that is no `torch.nn.Linear`, or something
            that is adapted already. A subclass is none, since whoever has it may read its weight without calling it,
            as `torch.nn.MultiheadAttention` does with its `out_proj`.

    >>> from classical import LoRA
    >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    >>> print(adapt(model, "0", lambda linear: LoRA(linear, rank=2)))
    layer  adapter  sizes    frozen  trained
    0      LoRA     8 -> 16     144       48
    model                       178       48
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"Argument `model` must be a torch.nn.Module, but is {model!r}.")
    found = _found(model, [targets] if isinstance(targets, str) else list(targets))
    before = numbers_in(model)
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    try:
        made = {key: _made(make, linears[0]) for key, linears in found.items()}
    except BaseException:
        for parameter in trained:  # Adapters freeze what they adapt.
            parameter.requires_grad_()
        raise
    kept = {parameter for adapter in [*adapters(model).values(), *made.values()] for parameter in _own(adapter)}
    kept = {parameter for parameter in kept if parameter.requires_grad}
    model.requires_grad_(False)
    places = {key: _places(model, linears) for key, linears in found.items()}
    for key, names in places.items():
        for name in names:
            _put(model, name, made[key])
    for parameter in kept:
        parameter.requires_grad_()
    layers = tuple(_row(names, made[key]) for key, names in places.items())
    return Adaptation(layers, before, numbers_in(model), sum(p.numel() for p in model.parameters() if p.requires_grad))


def adapters(model: nn.Module) -> dict[str, Adapter]:
    """The adapters of a model, each once, by the name of the first place where it is."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Adapter)}


def merge_adapters(model: nn.Module) -> dict[str, Adapter]:
    """Put a plain linear map in the place of every adapter, and give back the adapters, by all names they had.

    The maps have memory of their own, so `unmerge_adapters` gives back the very model that was; to save the memory of
    the old weights, forget the adapters.

    Raises:
        ValueError: If there is no adapter.
        TypeError: If an adapter is not linear; the model is as it was then.
    """
    merged = {adapter: adapter.merge() for adapter in adapters(model).values()}
    if not merged:
        raise ValueError("Argument `model` has no adapter to merge: see `adapt`.")
    everywhere = dict(model.named_modules(remove_duplicate=False))
    gone = {name: module for name, module in everywhere.items() if isinstance(module, Adapter)}
    for name, adapter in gone.items():
        model.set_submodule(name, merged[adapter])
    return gone


def unmerge_adapters(model: nn.Module, gone: Mapping[str, Adapter]) -> None:
    """Put the adapters back that `merge_adapters` gave, with weights that are bit for bit what they were."""
    for name, adapter in gone.items():
        model.get_submodule(name)  # An error names what is missing, before anything changes.
        if not isinstance(adapter, Adapter):
            raise TypeError(f"Argument `gone` must have adapters only, as `merge_adapters` gives, but has {adapter!r}.")
    for name, adapter in gone.items():
        _put(model, name, adapter)


def _found(model: nn.Module, targets: Sequence[str]) -> dict[Key, list[nn.Linear]]:
    """The linear maps that targets mean, those that share their parameters together."""
    if not targets:
        raise ValueError("Argument `targets` must have a name or more, but is empty.")
    modules = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    old = tuple(name for name, module in modules.items() if isinstance(module, Adapter))
    meant: dict[str, nn.Module] = {}
    for target in targets:
        names = [name for name in modules if _means(target, name)]
        if not names:
            free = [name for name, module in modules.items() if type(module) is nn.Linear and not _inside(name, old)]
            raise ValueError(_nothing(target, free))
        meant |= {name: modules[name] for name in names}
    found: dict[Key, list[nn.Linear]] = {}
    for name, module in meant.items():
        linears = found.setdefault(_key(_demanded(name, module, old)), [])
        if module not in linears:
            linears.append(_demanded(name, module, old))
    return found


def _means(target: str, name: str) -> bool:
    if any(sign in target for sign in "*?["):
        return fnmatchcase(name, target)
    return name == target or name.endswith(f".{target}")


def _nothing(target: str, linear: Sequence[str]) -> str:
    ends = [name.rpartition(".")[2] for name in linear]
    near = get_close_matches(target, dict.fromkeys([*linear, *ends]), n=5, cutoff=0.5)
    hint = f"near it are {', '.join(map(repr, near))}" if near else f"linear maps are {', '.join(linear[:5]) or 'none'}"
    return f"Argument `targets` has {target!r}, which no module of the model is called; {hint}."


def _demanded(name: str, module: nn.Module, old: tuple[str, ...]) -> nn.Linear:
    if _inside(name, old):
        raise ValueError(f"Argument `targets` must not mean {name!r}, which is adapted already: leave it out.")
    if type(module) is not nn.Linear:
        raise ValueError(
            f"Argument `targets` must mean instances of torch.nn.Linear itself, but means {name!r}, a "
            f"{type(module).__name__}."
        )
    return module


def _inside(name: str, adapters: tuple[str, ...]) -> bool:
    return any(name == adapter or name.startswith(f"{adapter}.") for adapter in adapters)


def _key(linear: nn.Linear) -> Key:
    return id(linear.weight), id(linear.bias) if linear.bias is not None else 0


def _made(make: Callable[[nn.Linear], Adapter], linear: nn.Linear) -> Adapter:
    adapter = make(linear)
    if not isinstance(adapter, Adapter) or adapter.base is not linear:
        raise TypeError(f"Argument `make` must make an adapter of the linear map it is given, but makes {adapter!r}.")
    return adapter.train(linear.training)


def _own(adapter: Adapter) -> list[nn.Parameter]:
    frozen = set(adapter.base.parameters())
    return [parameter for parameter in adapter.parameters() if parameter not in frozen]


def _places(model: nn.Module, linears: Sequence[nn.Linear]) -> tuple[str, ...]:
    return tuple(name for name, module in model.named_modules(remove_duplicate=False) if module in linears)


def _put(model: nn.Module, name: str, adapter: Adapter) -> None:
    model.set_submodule(name, adapter)
    owners = [model.get_submodule(name[:at]) for at, sign in enumerate(name) if sign == "."]
    for owner in [model, *owners]:
        match owner:
            case nn.TransformerEncoder():
                owner.use_nested_tensor = False
            case nn.TransformerEncoderLayer():
                owner.activation_relu_or_gelu = 0  # What the fast path asks first.


def _row(names: tuple[str, ...], adapter: Adapter) -> AdaptedLayer:
    trained = sum(parameter.numel() for parameter in _own(adapter) if parameter.requires_grad)
    kind, linear = type(adapter).__name__, adapter.base
    return AdaptedLayer(names, kind, linear.in_features, linear.out_features, numbers_in(linear), trained)
