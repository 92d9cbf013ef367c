"""Recurrent networks with circuits in their gates: what is claimed of them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from circuits import engines, pz, rpz
from circuits.derived import TAKES_CONSTANTS
from qkan import (
    HQKAN,
    HQKANLSTM,
    QKANGRU,
    QKANLSTM,
    HQKANLSTMCell,
    QKANLayer,
    QKANLSTMCell,
    parameter_count,
    set_engine,
)
from qkan.scan import scan

NETWORKS: dict[str, Callable[..., nn.Module]] = {"QKANLSTM": QKANLSTM, "HQKANLSTM": HQKANLSTM, "QKANGRU": QKANGRU}
networks = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
CIRCUITS = {"trainable": pz(2), "unit": pz(2, scale=1, shift=0)}
circuits = pytest.mark.parametrize("circuit", CIRCUITS.values(), ids=CIRCUITS)


def total(result: Any) -> Tensor:
    """A number that depends on outputs and states."""
    outputs, state = result
    states = state if isinstance(state, tuple) else (state,)
    return outputs.square().sum() + sum((part.cos() * (1 + k)).sum() for k, part in enumerate(states))


def cells_of(network: Any) -> list[Any]:
    return list(network.cells)


def gradients(module: nn.Module, value: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, [*module.parameters(), *inputs]))


def assert_same(ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        scale = max(1.0, other.abs().max().item())
        assert (mine - other).abs().max().item() <= tolerance * scale


def linear(layer: QKANLayer, weight: Tensor, bias: Tensor | None) -> None:
    """Make a layer of base "identity" the affine map itself."""
    with torch.no_grad():
        layer.weight.zero_()
        assert layer.base_weight is not None
        layer.base_weight.copy_(weight)
        if layer.bias is not None and bias is not None:
            layer.bias.copy_(bias)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"proj_size": 2}, {"bias": False}])
def test_linear_activations_make_the_qkan_lstm_the_lstm(options: dict[str, Any]) -> None:
    theirs = nn.LSTM(3, 4, **options, dtype=torch.float64)
    ours = QKANLSTM(3, 4, **options, circuit=pz(1), base="identity", dtype=torch.float64)
    names = [f"l{layer}{way}" for layer in range(theirs.num_layers) for way in ["", "_reverse"][: ours.directions]]
    for name, cell in zip(names, cells_of(ours), strict=True):
        bias = getattr(theirs, f"bias_ih_{name}") + getattr(theirs, f"bias_hh_{name}") if theirs.bias else None
        linear(cell.gates.input, getattr(theirs, f"weight_ih_{name}"), bias)
        linear(cell.gates.hidden, getattr(theirs, f"weight_hh_{name}"), None)
        if theirs.proj_size:
            cell.projection.weight.data.copy_(getattr(theirs, f"weight_hr_{name}"))
    x = torch.randn(6, 5, 3, dtype=torch.float64)
    (mine, (h, c)), (other, (h2, c2)) = ours(x), theirs(x)
    assert_same([mine, h, c], [other, h2, c2], 1e-12)


def test_linear_activations_make_the_qkan_gru_the_gru() -> None:
    theirs = nn.GRU(3, 4, bidirectional=True, dtype=torch.float64)
    ours = QKANGRU(3, 4, bidirectional=True, circuit=pz(1), base="identity", dtype=torch.float64)
    for name, cell in zip(("l0", "l0_reverse"), cells_of(ours), strict=True):
        linear(cell.gates.input, getattr(theirs, f"weight_ih_{name}"), getattr(theirs, f"bias_ih_{name}"))
        linear(cell.gates.hidden, getattr(theirs, f"weight_hh_{name}"), getattr(theirs, f"bias_hh_{name}"))
    x, h = torch.randn(6, 5, 3, dtype=torch.float64), torch.randn(2, 5, 4, dtype=torch.float64)
    assert_same(list(ours(x, h)), list(theirs(x, h)), 1e-12)


@circuits
@pytest.mark.parametrize("proj_size", [0, 2])
def test_the_qkan_lstm_cell_equals_its_equations(circuit: Any, proj_size: int) -> None:
    cell: Any = QKANLSTMCell(2, 3, proj_size=proj_size, circuit=circuit, base="tanh", dtype=torch.float64)
    x, h, c = torch.randn(7, 2).double(), torch.randn(7, proj_size or 3).double(), torch.randn(7, 3).double()
    joint = QKANLayer(2 + h.shape[1], 12, circuit=circuit, base="tanh", dtype=torch.float64)
    parts = cell.gates.input.state_dict(), cell.gates.hidden.state_dict()
    joint.load_state_dict(
        {name: torch.cat([p[name] for p in parts], 1) if name != "bias" else parts[0][name] for name in parts[0]}
    )
    i, f, g, o = joint(torch.cat([x, h], -1)).chunk(4, -1)
    after = f.sigmoid() * c + i.sigmoid() * g.tanh()
    out = o.sigmoid() * after.tanh()
    out = out if cell.projection is None else out @ cell.projection.weight.T
    assert_same(list(cell(x, (h, c))), [out, after], 1e-12)


def test_the_hqkan_lstm_cell_equals_its_equations() -> None:
    cell: Any = HQKANLSTMCell(2, 3, latent=[4, 2, 3], circuit=pz(1), dtype=torch.float64)
    x, h, c = torch.randn(7, 2).double(), torch.randn(7, 3).double(), torch.randn(7, 3).double()
    i, f, g, o = cell.gates.net(torch.cat([x, h], -1)).chunk(4, -1)
    after = f.sigmoid() * c + i.sigmoid() * g.tanh()
    assert_same(list(cell(x, (h, c))), [o.sigmoid() * after.tanh(), after], 1e-12)


CELLS: dict[str, Callable[..., Any]] = {
    "QKANLSTM": lambda **options: (QKANLSTM(2, 3, **options), ["silu", "identity", None]),
    "projected": lambda **options: (QKANLSTM(2, 3, proj_size=2, **options), ["silu"]),
    "HQKANLSTM": lambda **options: (HQKANLSTM(2, 3, latent=[3, 4], **options), ["silu"]),
    "projected HQKANLSTM": lambda **options: (HQKANLSTM(2, 3, proj_size=2, latent=[3, 4], **options), ["gelu"]),
    "QKANGRU": lambda **options: (QKANGRU(2, 3, **options), ["silu"]),
}


@circuits
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", CELLS)
def test_a_sequence_is_its_steps_one_by_one(name: str, circuit: Any, dtype: torch.dtype) -> None:
    network = CELLS[name](circuit=circuit, engine="spectral", dtype=dtype)[0]
    x = torch.randn(7, 5, 2, dtype=dtype, requires_grad=True)
    state = tuple(3 * torch.randn(1, 5, size, dtype=dtype) for size in network.state_sizes)
    for part in state:
        part.requires_grad_()
    first, *others = state
    given = state if others else first
    fast = network(x, given)
    (cell,) = cells_of(network)
    steps, now = [], tuple(part[0] for part in state)
    for step in x:
        h, *cells = now
        result = cell(step, now if cells else h)
        now = result if isinstance(result, tuple) else (result,)
        steps.append(now[0])
    slow = torch.stack(steps), tuple(part[None] for part in now)
    slow = slow if len(now) > 1 else (slow[0], slow[1][0])
    tolerance = 1e-10 if dtype == torch.float64 else 2e-4
    assert_same([total(fast)], [total(slow)], tolerance)
    assert_same(gradients(network, total(fast), x, *state), gradients(network, total(slow), x, *state), tolerance)


@networks
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_a_packed_sequence_is_each_of_its_sequences(make: Any, enforce_sorted: bool) -> None:
    network = make(2, 3, num_layers=2, bidirectional=True, circuit=pz(1), dtype=torch.float64)
    lengths = [5, 3, 1] if enforce_sorted else [3, 5, 1]
    x = torch.randn(5, 3, 2, dtype=torch.float64)
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=enforce_sorted)
    outputs, state = network(packed)
    padded, found = pad_packed_sequence(outputs)
    assert found.tolist() == lengths
    states = state if isinstance(state, tuple) else (state,)
    for k, length in enumerate(lengths):
        alone, after = network(x[:length, k : k + 1])
        afters = after if isinstance(after, tuple) else (after,)
        assert_same(
            [padded[:length, k], *(part[:, k] for part in states)], [alone[:, 0], *(a[:, 0] for a in afters)], 1e-12
        )
        assert not padded[length:, k].any()


def test_packing_is_like_that_of_torch() -> None:
    x = torch.randn(5, 3, 2)
    packed = pack_padded_sequence(x, torch.tensor([3, 5, 3]), enforce_sorted=False)
    ours, theirs = QKANLSTM(2, 3, circuit=pz(1))(packed)[0], nn.LSTM(2, 3)(packed)[0]
    for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))
    assert ours.data.shape == theirs.data.shape


@networks
def test_shapes_and_states_are_those_of_torch(make: Any) -> None:
    options = {"num_layers": 2, "bidirectional": True}
    network = make(2, 3, **options, circuit=pz(1))
    theirs = (nn.GRU if make is QKANGRU else nn.LSTM)(2, 3, **options)
    for shape in [(4, 5, 2), (1, 1, 2), (4, 2)]:
        x = torch.randn(shape)
        (mine, state), (other, after) = network(x), theirs(x)
        assert mine.shape == other.shape
        pairs = zip(state, after, strict=True) if isinstance(state, tuple) else [(state, after)]
        assert all(part.shape == twin.shape for part, twin in pairs)


@networks
def test_batch_first_and_single_sequences_are_the_same_sequences(make: Any) -> None:
    first = make(2, 3, batch_first=True, circuit=pz(1), dtype=torch.float64)
    second = make(2, 3, circuit=pz(1), dtype=torch.float64)
    second.load_state_dict(first.state_dict())
    x = torch.randn(4, 5, 2, dtype=torch.float64)
    outputs = first(x)[0]
    assert_same([outputs.transpose(0, 1), outputs[1]], [second(x.transpose(0, 1))[0], second(x[1])[0]], 1e-12)


@networks
def test_a_sequence_goes_on_from_the_state_it_ended_in(make: Any) -> None:
    network = make(2, 3, num_layers=2, circuit=pz(1), dtype=torch.float64)
    x = torch.randn(6, 4, 2, dtype=torch.float64)
    whole, end = network(x)
    early, state = network(x[:2])
    late, after = network(x[2:], state)
    ends = zip(after, end, strict=True) if isinstance(end, tuple) else [(after, end)]
    assert_same([torch.cat([early, late])], [whole], 1e-12)
    for mine, other in ends:
        assert_same([mine], [other], 1e-12)


@pytest.mark.parametrize("name", list(CELLS)[:4])
def test_a_scan_and_its_plain_twin_have_the_same_second_derivatives(name: str) -> None:
    network = CELLS[name](circuit=pz(1), engine="spectral", dtype=torch.float64)[0]
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)

    def curvature(value: Tensor) -> list[Tensor]:
        (slope,) = torch.autograd.grad(value, x, create_graph=True)
        return gradients(network, slope.square().sum(), x)

    fast = curvature(total(network(x)))
    slow = curvature(total(set_engine(network, "bloch")(x)))
    assert_same(fast, [*slow], 1e-8)


@pytest.mark.parametrize("name", list(CELLS)[:4])
def test_expanding_engines_scan_and_others_do_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def watched(features: Any, outer: Tensor, *rest: Any) -> Any:
        seen.append(len(outer))
        return scan(features, outer, *rest)

    monkeypatch.setattr("qkan.cells.scan", watched)
    network = CELLS[name](circuit=pz(1), engine="spectral")[0]
    network(torch.randn(4, 2, 2))
    assert seen == [4]
    set_engine(network, "bloch")(torch.randn(4, 2, 2))
    assert seen == [4]


@pytest.mark.parametrize("name", list(CELLS)[:4])
def test_a_backward_in_parts_is_the_whole_backward(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = CELLS[name](circuit=pz(2), engine="spectral", dtype=torch.float64)[0]
    x = torch.randn(7, 3, 2, dtype=torch.float64, requires_grad=True)
    whole = gradients(network, total(network(x)), x)
    monkeypatch.setattr("qkan.scan.BUDGET", 3e-3)
    assert_same(gradients(network, total(network(x)), x), whole, 1e-12)


@networks
@pytest.mark.parametrize("engine", ["reference", "bloch", "spectral", "auto", "pennylane"])
def test_networks_are_the_same_on_every_engine(make: Any, engine: str) -> None:
    network = make(1, 2, circuit=rpz(1), engine="statevector", dtype=torch.float64)
    x = torch.randn(3, 2, 1, dtype=torch.float64)
    expected = network(x)[0]
    assert_same([set_engine(network, engine)(x)[0]], [expected], 1e-10)


@networks
def test_shots_reach_every_step(make: Any) -> None:
    network = make(1, 2, circuit=rpz(1), engine=engines.get("sampled", shots=100, seed=0), dtype=torch.float64)
    x = torch.randn(3, 2, 1, dtype=torch.float64)
    outputs = network(x)[0]
    exact = set_engine(network, "bloch")(x)[0]
    assert ((outputs - exact).abs() > 1e-6).all()
    assert (outputs - exact).abs().max() < 1


def test_auto_expands_long_sequences_and_says_so() -> None:
    network = QKANLSTM(1, 16)
    network(torch.randn(64, 32, 1))
    assert "Spectral" in repr(cells_of(network)[0].gates.hidden)
    assert "64 calls" in cells_of(network)[0].gates.hidden.activation.engine.last.reason


@pytest.mark.parametrize("share", [None, "out", "in", 1, 3])
def test_sharing_counts_for_x_and_for_h(share: Any) -> None:
    network = QKANLSTM(1, 2, circuit=rpz(1), share=share)
    circuits = {None: 8 + 16, "out": 1 + 2, "in": 8 + 8, 1: 1 + 1, 3: 1 + 2}[share]
    counts = parameter_count(network)
    assert counts == {
        "weight": 24,
        "base_weight": 24,
        "bias": 8,
        "theta": 2 * circuits,
        "scale": circuits,
        "shift": circuits,
    }
    network(torch.randn(3, 2, 1))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_frozen_families_stay_put() -> None:
    network = QKANLSTM(2, 3, circuit=pz(1), frozen=["scale", "shift", "bias"])
    held = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert {name.rpartition(".")[2] for name in held} == {"scale", "shift", "bias"}
    network(torch.randn(4, 2, 2))[0].sum().backward()
    assert all((parameter.grad is None) == (name in held) for name, parameter in network.named_parameters())


def test_dropout_acts_between_layers_while_training() -> None:
    network = QKANLSTM(2, 3, num_layers=2, dropout=1.0, circuit=pz(1))
    x = torch.randn(4, 5, 2)
    torch.testing.assert_close(network(x)[0], network(-x)[0])
    network.eval()
    assert (network(x)[0] - network(-x)[0]).abs().max() > 1e-3


@networks
def test_a_network_is_restored_from_its_state_dict(make: Any) -> None:
    network, other = make(2, 3, circuit=pz(1)), make(2, 3, circuit=pz(1))
    x = torch.randn(4, 5, 2)
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(x)[0], other(x)[0])
    assert torch.equal(copy.deepcopy(network)(x)[0], network(x)[0])


@networks
def test_transforms_of_torch_see_through_the_recurrence(make: Any) -> None:
    network = make(2, 3, circuit=pz(1), dtype=torch.float64)
    x = torch.randn(6, 4, 2, dtype=torch.float64)
    parameters = dict(network.named_parameters())
    each = torch.vmap(lambda sample: torch.func.functional_call(network, parameters, (sample,))[0])(x.transpose(0, 1))
    assert_same([each.transpose(0, 1)], [network(x)[0]], 1e-10)


@networks
def test_a_float32_network_follows_its_float64_twin(make: Any) -> None:
    network = make(2, 8, circuit=pz(3), dtype=torch.float64)
    x = torch.randn(50, 4, 2, dtype=torch.float64)
    expected = network(x)[0]
    assert_same([network.float()(x.float())[0].double()], [expected], 1e-4)


@networks
def test_learning_lowers_the_loss(make: Any) -> None:
    torch.manual_seed(0)
    network, x = make(1, 4, circuit=pz(2)), torch.sin(torch.linspace(0, 9, 60)).unfold(0, 8, 1).T[..., None]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = (network(x)[0][:-1, :, :1] - x[1:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("network", [QKANLSTM(2, 3, circuit=pz(1)), HQKANLSTM(2, 3), QKANGRU(2, 3, circuit=pz(1))])
@pytest.mark.parametrize(
    ("shape", "state", "message"),
    [
        ((4, 5, 3), None, r"Argument `x` must have shape \(\*batch, 2\)"),
        ((0, 5, 2), None, "at least one time step"),
        ((2,), None, "Argument `x`"),
        ((4, 5, 2), torch.zeros(1, 4, 3), "Argument `state` must"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(network: nn.Module, shape: Any, state: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(shape), state)


@networks
def test_what_is_not_finite_is_named(make: Any) -> None:
    network = make(2, 3, circuit=pz(1))
    x = torch.zeros(4, 5, 2)
    with pytest.raises(ValueError, match="Argument `x`"):
        network(x.fill_(torch.nan))
    x.zero_()
    state = torch.full((1, 5, 3), torch.nan)
    with pytest.raises(ValueError, match="Argument `h`"):
        network(x, state if make is QKANGRU else (state, torch.zeros(1, 5, 3)))
    parameter = dict(network.named_parameters())[
        "cells.0.gates.net.encoder.weight" if make is HQKANLSTM else "cells.0.gates.hidden.weight"
    ]
    parameter.data[0, 0] = torch.inf
    with pytest.raises(ValueError, match="weight"):
        network(x)


def made(input_size: int = 2, hidden_size: int = 3, **options: Any) -> QKANLSTM:
    return QKANLSTM(input_size, hidden_size, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proj_size": 3}, "`proj_size` must be smaller"),
        ({"dropout": 1.5}, "`dropout` must be a probability"),
        ({"num_layers": 0}, "`num_layers` must be positive"),
        ({"hidden_size": 0}, "`hidden_size` must be positive"),
        ({"frozen": ["rate"]}, "`frozen` must name"),
        ({"share": 0}, "`share` must be"),
    ],
)
def test_impossible_networks_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**options)


@networks
def test_an_input_of_another_dtype_is_refused(make: Any) -> None:
    with pytest.raises(TypeError, match=r"`x` is torch\.float64, but the layer is torch\.float32"):
        make(2, 3, circuit=pz(1))(torch.zeros(4, 5, 2, dtype=torch.float64))


def test_the_latent_of_an_hqkan_lstm_is_that_of_the_hqkan() -> None:
    network = HQKANLSTM(7, 32, circuit=pz(1))
    expected = parameter_count(HQKAN(39, 128, circuit=pz(1)))
    assert parameter_count(network) == expected


@networks
def test_an_empty_batch_has_empty_outputs(make: Any) -> None:
    outputs, state = make(2, 3, circuit=pz(1))(torch.zeros(4, 0, 2))
    assert outputs.shape == (4, 0, 3)
    assert (state if make is QKANGRU else state[1]).shape == (1, 0, 3)


def test_dropout_of_one_layer_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="num_layers is 1"):
        made(dropout=0.5)


@networks
def test_a_state_of_another_dtype_is_refused(make: Any) -> None:
    h, x = torch.zeros(1, 5, 3, dtype=torch.float64), torch.zeros(4, 5, 2)
    with pytest.raises(TypeError, match=r"Argument `state` is torch\.float64"):
        make(2, 3, circuit=pz(1))(x, h if make is QKANGRU else [h, h])


@networks
def test_parameters_are_drawn_anew_from_a_generator(make: Any) -> None:
    first, second = make(2, 3, circuit=pz(1)), make(2, 3, circuit=pz(1))
    for network in (first, second):
        network.reset_parameters(torch.Generator().manual_seed(0))
    x = torch.randn(4, 5, 2)
    assert torch.equal(first(x)[0], second(x)[0])


@pytest.mark.parametrize("factor", [0.0, 1e-3])
def test_far_from_the_origin_rounding_makes_no_nan(factor: float) -> None:
    """The interval of the latent inputs is then narrower than their rounding."""
    for seed in range(5):
        torch.manual_seed(seed)
        network = HQKANLSTM(1, 8, engine="spectral")
        with torch.no_grad():
            cells_of(network)[0].gates.net.encoder.weight[:, 1:] *= factor
        outputs, _ = network(350 + torch.rand(6, 4, 1))
        assert outputs.isfinite().all()


def test_states_that_overflow_are_an_error() -> None:
    network = QKANLSTM(1, 2, circuit=pz(1), proj_size=1)
    with torch.no_grad():
        cells_of(network)[0].projection.weight.fill_(3e38)
    with pytest.raises((FloatingPointError, ValueError), match=r"not finite|finite"):
        network(torch.randn(3, 2, 1))


def test_a_domain_that_holds_the_hidden_state_is_accepted() -> None:
    network = QKANLSTM(1, 4, circuit=pz(2), engine=engines.get("spectral", domain=(-1, 1)), dtype=torch.float64)
    x = torch.rand(5, 3, 1, dtype=torch.float64)
    outputs = network(x)[0]
    assert_same([outputs], [set_engine(network, "bloch")(x)[0]], 1e-10)


@pytest.mark.parametrize("share", ["out", "in", 1])
def test_shared_activations_are_scanned_too(share: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr("qkan.cells.scan", lambda *inputs: seen.append(1) or scan(*inputs))
    network = QKANLSTM(2, 3, circuit=pz(1), share=share, engine="spectral", dtype=torch.float64)
    x = torch.randn(5, 3, 2, dtype=torch.float64, requires_grad=True)
    fast, value = gradients(network, total(network(x)), x), network(x)[0]
    assert seen
    set_engine(network, "bloch")
    assert_same([value], [network(x)[0]], 1e-10)
    assert_same(fast, gradients(network, total(network(x)), x), 1e-9)


@networks
def test_networks_compile_to_one_graph(make: Any) -> None:
    if not TAKES_CONSTANTS:
        pytest.skip("this torch breaks the graph at what is derived from a circuit")
    network = make(2, 3, circuit=pz(1, scale=1, shift=0), engine="bloch")
    x = torch.randn(3, 2, 2)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x)[0], network(x)[0])


@networks
def test_expansions_keep_full_precision(make: Any) -> None:
    network, x = make(2, 8, circuit=pz(3), engine="spectral"), torch.randn(6, 4, 2)
    expected = network(x)[0]
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(network(x)[0], expected)
    finally:
        torch.set_float32_matmul_precision(before)
