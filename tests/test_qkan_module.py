"""QKAN layers count, freeze, save, copy, convert and differentiate as torch modules do."""

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, stack_module_state, vmap

from circuits import ANSATZE, Circuit, pz
from models import (
    BF16,
    ENTANGLED,
    F32,
    F64,
    IN,
    OUT,
    copied,
    data,
    drawn,
    each_circuit,
    identical,
    layers,
    scrambled,
    shares,
)
from qkan import QKAN, QKANLayer, parameter_count, set_engine
from qkan.daruan import Share
from tolerances import EXACT, SINGLE

pytestmark = pytest.mark.usefixtures("seeded")


# Counting and freezing.

THETAS: dict[str, Callable[[int], int]] = {
    "pz": lambda reps: 2 * (reps + 1),
    "rpz": lambda reps: reps + 1,
    "px": lambda reps: reps,
    "real": lambda reps: reps,
    "mix": lambda reps: 2 * (reps + 1),
}
EDGES: dict[Share, Callable[[int, int], int]] = {
    None: lambda inputs, outputs: inputs * outputs,
    "out": lambda inputs, outputs: inputs,
    "in": lambda inputs, outputs: outputs,
    2: lambda inputs, outputs: 2,
}


@pytest.mark.parametrize("reps", [1, 3])
@pytest.mark.parametrize("share", EDGES, ids=str)
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_parameters_are_counted_by_a_closed_formula(ansatz, share, reps):
    widths = [(4, 3), (3, 2)]
    activations = sum(EDGES[share](*pair) for pair in widths)
    edges = sum(inputs * outputs for inputs, outputs in widths)
    assert parameter_count(QKAN([4, 3, 2], circuit=ANSATZE[ansatz](reps), share=share)) == {
        "weight": edges,
        "base_weight": edges,
        "bias": 3 + 2,
        "theta": THETAS[ansatz](reps) * activations,
        "scale": reps * activations,
        "shift": reps * activations,
    }


def test_an_edge_of_the_default_circuit_has_sixteen_parameters():
    edge = parameter_count(QKANLayer(1, 1, bias=False))
    assert edge == {"theta": 8, "scale": 3, "shift": 3, "weight": 1, "base_weight": 1}


def test_fixed_and_absent_families_are_not_counted():
    layer = QKANLayer(2, 3, pz(2, scale=1, shift=0), base=None, bias=False)
    assert parameter_count(layer) == {"theta": 36, "weight": 6}


@pytest.mark.parametrize("frozen", ["theta", "scale", "shift", "weight", "base_weight", "bias"])
def test_frozen_families_do_not_count_and_do_not_train(frozen):
    model, x = QKAN([3, 4, 2], frozen=iter([frozen])), torch.randn(8, 3)
    assert frozen not in parameter_count(model)
    assert len(parameter_count(model)) == 5
    before = copied(model)
    model(x).square().mean().backward()
    torch.optim.AdamW(model.parameters(), lr=0.1).step()
    changed = {name.rpartition(".")[2] for name, value in copied(model).items() if not value.equal(before[name])}
    assert changed == parameter_count(model).keys()


def test_a_shared_module_counts_once():
    layer = QKANLayer(3, 3)
    assert parameter_count(nn.Sequential(layer, layer)) == parameter_count(layer)
    prelu = nn.PReLU()
    counts = parameter_count(nn.ModuleList(QKANLayer(2, 2, base=prelu) for _ in range(3)))
    assert counts["weight"] == 3 * 4 + 1


# Layers are torch modules.


def network(dtype: torch.dtype = F64, **options) -> QKAN:
    return scrambled(QKAN([2, 3, 1], circuit=pz(2), dtype=dtype, **options))


@shares
def test_a_state_dict_restores_a_layer(share):
    layer, other = (QKANLayer(IN, OUT, ENTANGLED, share=share) for _ in range(2))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    assert not torch.equal(layer(data(2, dtype=F32)), other(data(2, dtype=F32)))
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert identical(layer.state_dict(), other.state_dict())
    assert torch.equal(layer(data(2, dtype=F32)), other(data(2, dtype=F32)))


def test_a_deep_copy_has_its_own_parameters_and_the_same_engine():
    model = set_engine(network(), "bloch")
    before, twin = copied(model), copy.deepcopy(model)
    scrambled(twin, seed=5)
    assert identical(copied(model), before)
    assert not identical(copied(twin), before)
    assert layers(twin)[0].activation.engine is layers(model)[0].activation.engine
    twin.load_state_dict(before)
    x = data(4, features=2)
    assert torch.equal(twin(x), model(x))


def test_a_functional_call_uses_the_parameters_it_is_given():
    model, other = network(), scrambled(network(), seed=5)
    x = data(4, features=2)
    assert not torch.equal(model(x), other(x))
    assert torch.equal(functional_call(model, dict(other.named_parameters()), (x,)), other(x))


def test_functional_gradients_are_the_gradients():
    model, x = network(share=2), data(4, features=2)
    model(x).square().sum().backward()
    state = {name: parameter.detach() for name, parameter in model.named_parameters()}
    gradients = grad(lambda state: functional_call(model, state, (x,)).square().sum())(state)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(gradients[name], parameter.grad, **EXACT)


@pytest.mark.parametrize("share", [None, "out", 2], ids=str)
def test_an_ensemble_is_one_vmap(share):
    models = [scrambled(network(share=share), seed=seed) for seed in range(3)]
    x = data(4, features=2)
    state, _ = stack_module_state(models)  # pyright: ignore[reportArgumentType]
    together = vmap(lambda state: functional_call(models[0], state, (x,)))(state)
    torch.testing.assert_close(together, torch.stack([model(x) for model in models]), **EXACT)
    gradients = vmap(grad(lambda state: functional_call(models[0], state, (x,)).sum()))(state)
    models[1](x).sum().backward()
    for name, parameter in models[1].named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(gradients[name][1], parameter.grad, **EXACT)


def test_conversions_follow_torch():
    model, x = network(F32), data(4, features=2, dtype=F32)
    single = model(x)
    assert single.dtype == F32
    torch.testing.assert_close(model.double()(x.double()), single.double(), **SINGLE)
    assert torch.equal(model.float()(x), single)
    for name, parameter in model.to(F64).named_parameters():
        assert parameter.dtype == F64, name


def rounding(layer: QKANLayer, x: Tensor) -> Tensor:
    """What bfloat16 may cost `(batch, 1)`: a few roundings of relative size 2**-9 in terms of at most these sizes."""
    assert layer.base_weight is not None
    assert layer.bias is not None
    size = layer.weight.abs().sum() + nn.functional.silu(x).abs().sum(-1, keepdim=True) * layer.base_weight.abs().max()
    return 2.0**-7 * (size + layer.bias.abs().max())


def test_half_precision_computes_the_rounded_layer():
    layer, x = QKANLayer(IN, OUT, dtype=BF16), data(6, dtype=BF16)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == BF16
    assert all(p.grad is not None and p.grad.dtype == BF16 and p.grad.isfinite().all() for p in layer.parameters())
    exact = layer.double()
    assert ((y.double() - exact(x.double())).abs() <= rounding(exact, x.double())).all()


def test_autocast_computes_the_layer_in_half_precision():
    layer, x = QKANLayer(IN, OUT), data(6, dtype=F32)
    with torch.autocast("cpu", BF16):
        y, stacked = layer(x), nn.Sequential(nn.Linear(IN, IN), QKANLayer(IN, OUT), QKANLayer(OUT, 1))(x)
    assert y.dtype == stacked.dtype == BF16
    stacked.sum().backward()
    y.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == F32 and p.grad.isfinite().all() for p in layer.parameters())
    assert ((y.double() - layer(x).double()).abs() <= rounding(layer, x)).all()


@shares
def test_meta_layers_cost_nothing_until_they_are_filled(share):
    layer = QKANLayer(IN, OUT, share=share, device="meta")
    assert all(parameter.is_meta for parameter in layer.parameters())
    assert layer(torch.empty(4, IN, device="meta")).shape == (4, OUT)
    layer.to_empty(device="cpu").reset_parameters(drawn(1))
    twin = QKANLayer(IN, OUT, share=share)
    twin.reset_parameters(drawn(1))
    assert identical(copied(layer), copied(twin))


def layer_function(circuit: Circuit, share: Share = None) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """A layer as a function of x and all its parameters, and where to look."""
    layer = scrambled(QKANLayer(2, 2, circuit, share=share, dtype=F64))
    names, values = zip(*layer.named_parameters(), strict=True)
    leaves = tuple(value.detach().requires_grad_() for value in values)
    x = data(2, features=2).requires_grad_()
    return lambda x, *leaves: functional_call(layer, dict(zip(names, leaves, strict=True)), (x,)), (x, *leaves)


@pytest.mark.parametrize("share", [None, "in", 1], ids=str)
@each_circuit
def test_gradients_are_finite_differences(circuit, share):
    assert gradcheck(*layer_function(circuit, share))


@each_circuit
def test_second_derivatives_are_finite_differences(circuit):
    assert gradgradcheck(*layer_function(circuit, "out"))
