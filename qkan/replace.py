"""HQKANs in place of the feed-forward blocks of any torch model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from qkan.feedforward import LOOKED_FOR, Block, Edit, recognised, unfused
from qkan.hybrid import HQKAN

Select = str | Callable[[str, nn.Module], bool] | None


@dataclass(frozen=True)
class Replaced:
    """A feed-forward block that was replaced.

    Args:
        names: where in the model it was; several where places share one block.
        in_features: size of its input.
        out_features: size of its output.
        before: parameters that went.
        after: parameters that came.
    """

    names: tuple[str, ...]
    in_features: int
    out_features: int
    before: int
    after: int


@dataclass(frozen=True)
class Replacement:
    """What `replace_mlps` did; `str` of it is a table.

    All parameters count, trainable or not, and shared ones once.

    Args:
        blocks: the blocks that were replaced.
        before: parameters of the whole model before.
        after: parameters of the whole model after.
    """

    blocks: tuple[Replaced, ...]
    before: int
    after: int

    @property
    def names(self) -> tuple[str, ...]:
        """Where blocks were replaced."""
        return tuple(name for block in self.blocks for name in block.names)

    @property
    def blocks_before(self) -> int:
        """Parameters of all blocks before."""
        return sum(block.before for block in self.blocks)

    @property
    def blocks_after(self) -> int:
        """Parameters of all blocks after."""
        return sum(block.after for block in self.blocks)

    def __str__(self) -> str:
        rows = [
            (", ".join(block.names), f"{block.in_features} -> {block.out_features}", block.before, block.after)
            for block in self.blocks
        ]
        rows += [("all blocks", "", self.blocks_before, self.blocks_after), ("model", "", self.before, self.after)]
        cells = [("block", "sizes", "before", "after")]
        cells += [(name, sizes, f"{before:,}", f"{after:,}") for name, sizes, before, after in rows]
        name, sizes, before, after = (max(map(len, column)) for column in zip(*cells, strict=True))
        return "\n".join(f"{a:<{name}}  {b:<{sizes}}  {c:>{before}}  {d:>{after}}" for a, b, c, d in cells)


def replace_mlps(model: nn.Module, make: Callable[[int, int], nn.Module] = HQKAN, select: Select = None) -> Replacement:
    """Put an HQKAN in the place of every feed-forward block of `model`, and tell how many parameters that saves.

    Blocks are found by their structure, so that no other package is needed:

    - a module of one input whose children are linear maps in -> hidden -> out, two of them or, with a gate, three,
      and activations, dropouts and norms of the hidden layer, such as timm's `Mlp`, Hugging Face's `GPT2MLP` and
      `LlamaMLP`. Its input goes to the first maps and what its last map makes comes out, dropout aside, so one that
      adds its input itself, or multiplies by it, is none. The module is replaced; dropouts that it registered after
      its last map follow the new one, others go.
    - a `torch.nn.Sequential` with two linear maps. The first becomes the new map, and what follows up to the second
      `torch.nn.Identity`; what is around them, dropouts included, stays.
    - layers of `torch.nn.TransformerEncoder` and `TransformerDecoder`, and Hugging Face's pairs of `intermediate` and
      `output`, as in BERT and ViT. The first linear map becomes the new one, and the activation, the dropout after it
      and the second linear map the identity; residual, norms and the last dropout stay. The fast path of
      `torch.nn.TransformerEncoder`, which reads the weights of linear maps, is switched off.

    In the first two no token may see another, as in attention. To find out, they are called on a few random tokens, in
    evaluation mode, without gradients and on copies of their buffers, and random numbers are put back; forward hooks
    are called as well. On the meta device only shapes can tell: what mixes tokens between the maps of a block passes
    for one, so name blocks by `select` there.

    What is found by its linear maps alone counts only if in == out < hidden, as in transformers; `select` names blocks
    of other sizes, such as a classifier's head. Blocks that share their linear maps share the new map. A new map takes
    the block's dtype, device and training mode, but neither its hooks nor `requires_grad=False`: it trains, as `make`
    made it, even where the block was frozen. Everything is found and made before anything changes, and if it cannot
    be put in place the model is as it was.

    Args:
        model: any model; it is changed.
        make: what to put in the place of a block of given input and output size, such as
            `lambda inputs, outputs: HQKAN(inputs, outputs, latent_widths(inputs, outputs, 4), share=3)`.
        select: which modules are to be replaced: a pattern of names as in `fnmatch`, such as "blocks.*.mlp", or a
            function of name and module; None for all blocks that are found.

    Raises:
        ValueError: If there is no block, if `model` is one itself, or if `select` selects what is none.
        TypeError: If `make` does not make a module.

    >>> mlp = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64), nn.Dropout(0.1))
    >>> print(replace_mlps(nn.ModuleDict({"norm": nn.LayerNorm(64), "mlp": mlp})))
    block       sizes     before  after
    mlp         64 -> 64  33,088  1,132
    all blocks            33,088  1,132
    model                 33,216  1,260
    """
    found = _find(model, select)
    before = _count([model])
    made: dict[tuple[int, ...], nn.Module] = {}
    edits = unfused(model, list(found))
    for block in found:
        if block.key not in made:
            made[block.key] = _made(make, block)
        edits += _placed(block, made[block.key])
    _apply(edits)
    rows = tuple(_row(key, found, new) for key, new in made.items())
    return Replacement(rows, before, _count([model]))


def _find(model: nn.Module, select: Select) -> dict[Block, tuple[str, ...]]:
    """Blocks and where they are."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"Argument `model` must be a torch.nn.Module, but is {model!r}.")
    places: dict[nn.Module, tuple[str, ...]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        places[module] = (*places.get(module, ()), name)
    if select is None:
        candidates = {recognised(module, model): names for module, names in places.items()}
        blocks = {block: names for block, names in candidates.items() if block is not None and block.certain}
    else:
        chosen = {module: names for module, names in places.items() if _selected(select, module, names)}
        blocks = {_demanded(module, model, names): names for module, names in chosen.items()}
    if not blocks:
        which = "of sizes in == out < hidden" if select is None else "that `select` selects"
        raise ValueError(f"Argument `model` has no feed-forward block {which}; looked for {LOOKED_FOR}.")
    return blocks


def _selected(select: str | Callable[[str, nn.Module], bool], module: nn.Module, names: tuple[str, ...]) -> bool:
    if isinstance(select, str):
        return any(fnmatchcase(name, select) for name in names)
    return any(select(name, module) for name in names)


def _demanded(module: nn.Module, model: nn.Module, names: tuple[str, ...]) -> Block:
    block = recognised(module, model)
    if block is None:
        raise ValueError(
            f"Argument `select` must select feed-forward blocks, but selects {names[0]!r}, a {type(module).__name__}; "
            f"a block is {LOOKED_FOR}."
        )
    return block


def _made(make: Callable[[int, int], nn.Module], block: Block) -> nn.Module:
    inputs, _, outputs = block.sizes
    new = make(inputs, outputs)
    if not isinstance(new, nn.Module):
        raise TypeError(f"Argument `make` must make a torch.nn.Module, but makes {new!r}.")
    like = next(block.maps[0].parameters())
    return new.to(like.device, like.dtype).train(block.module.training)


def _placed(block: Block, new: nn.Module) -> list[Edit]:
    edits = block.edits(new)
    if not edits:
        inputs, _, outputs = block.sizes
        raise ValueError(
            "Argument `model` is itself a feed-forward block, which only a module around it can replace: use "
            f"HQKAN({inputs}, {outputs}) instead of it."
        )
    return edits


def _apply(edits: Sequence[Edit]) -> None:
    """Make all edits, or none."""
    undone: list[Edit] = []
    try:
        for edit in edits:
            old = Edit(edit.owner, edit.name, getattr(edit.owner, edit.name))
            setattr(edit.owner, edit.name, edit.value)
            undone.append(old)
    except BaseException:
        for edit in reversed(undone):
            setattr(edit.owner, edit.name, edit.value)
        raise


def _row(key: tuple[int, ...], found: Mapping[Block, tuple[str, ...]], new: nn.Module) -> Replaced:
    blocks = [block for block in found if block.key == key]
    names = tuple(name or "(model)" for block in blocks for name in found[block])
    inputs, _, outputs = blocks[0].sizes
    return Replaced(names, inputs, outputs, _count([part for block in blocks for part in block.parts]), _count([new]))


def _count(modules: Iterable[nn.Module]) -> int:
    """Parameters of the modules, each once."""
    return sum(parameter.numel() for parameter in nn.ModuleList(modules).parameters())
