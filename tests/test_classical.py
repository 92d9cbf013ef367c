"""The baselines are what torch says they are."""

import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from classical import GRU, LSTM, MLP

F64 = torch.float64


def draw(*shape):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("widths", [[3, 1], [12, 16, 1], [2, 5, 7, 3]])
@pytest.mark.parametrize("bias", [True, False])
def test_mlp_has_one_weight_per_connection_and_one_bias_per_unit(widths, bias):
    count = sum(parameter.numel() for parameter in MLP(widths, bias=bias).parameters())
    assert count == sum(i * o + bias * o for i, o in pairwise(widths))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("family", "gates"), [(LSTM, 4), (GRU, 3)])
def test_each_gate_of_a_recurrent_layer_has_two_biases(family, gates, bias):
    count = sum(parameter.numel() for parameter in family([2, 5, 3, 1], bias=bias).parameters())
    assert count == sum(gates * o * (i + o + 2 * bias) for i, o in pairwise([2, 5, 3])) + 3 + bias


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("relu", nn.ReLU()),
        ("silu", nn.SiLU()),
        ("gelu", nn.GELU()),
        ("tanh", nn.Tanh()),
        ("sigmoid", nn.Sigmoid()),
        ("identity", nn.Identity()),
    ],
)
def test_mlp_is_the_sequential_of_its_layers(name, module):
    mlp = MLP([3, 4, 5, 2], activation=name, dtype=F64)
    first, second, third = mlp.layers
    x = draw(7, 3)
    assert torch.equal(mlp(x), nn.Sequential(first, module, second, module, third)(x))


def test_mlp_without_activation_is_affine():
    mlp = MLP([3, 4, 2], activation="identity", dtype=F64)
    x, y = draw(2, 5, 3)
    torch.testing.assert_close(mlp(0.3 * x + 0.7 * y), 0.3 * mlp(x) + 0.7 * mlp(y), rtol=1e-12, atol=1e-12)


def test_a_module_as_activation_is_trained_along():
    activation = nn.PReLU()
    assert any(parameter is activation.weight for parameter in MLP([2, 3, 1], activation=activation).parameters())


@pytest.mark.parametrize(("family", "layer"), [(LSTM, nn.LSTM), (GRU, nn.GRU)])
def test_recurrent_networks_are_those_of_torch_and_a_linear_readout(family, layer):
    network = family([2, 5, 3], dtype=F64)
    reference, readout = layer(2, 5, batch_first=True, dtype=F64), nn.Linear(5, 3, dtype=F64)
    reference.load_state_dict(network.layers[0].state_dict())
    readout.load_state_dict(network.readout.state_dict())
    x = draw(4, 6, 2)
    assert torch.equal(network(x), readout(reference(x)[0][:, -1]))


def test_lstm_with_equal_widths_is_the_stacked_lstm_of_torch():
    lstm, reference = LSTM([2, 4, 4, 1], dtype=F64), nn.LSTM(2, 4, num_layers=2, batch_first=True, dtype=F64)
    reference.load_state_dict(
        {f"{name[:-1]}{k}": value for k, layer in enumerate(lstm.layers) for name, value in layer.state_dict().items()}
    )
    x = draw(3, 6, 2)
    torch.testing.assert_close(lstm(x), lstm.readout(reference(x)[0][:, -1]), rtol=1e-12, atol=1e-12)


def test_one_step_of_the_lstm_follows_the_cell_equations():
    lstm, layer, x = LSTM([2, 3, 1], dtype=F64), nn.LSTM(2, 3, dtype=F64), draw(2)
    lstm.layers[0].load_state_dict(layer.state_dict())
    values = layer.state_dict()
    i, _, g, o = (values["weight_ih_l0"] @ x + values["bias_ih_l0"] + values["bias_hh_l0"]).chunk(4)
    hidden = o.sigmoid() * (i.sigmoid() * g.tanh()).tanh()
    torch.testing.assert_close(lstm(x[None]), lstm.readout(hidden), rtol=1e-12, atol=1e-12)


RECURRENT = pytest.mark.parametrize(("family", "cell"), [(LSTM, nn.LSTMCell), (GRU, nn.GRUCell)])


@RECURRENT
@pytest.mark.parametrize("bias", [True, False])
def test_costs_of_recurrent_networks_are_what_is_counted(family, cell, bias):
    """Products by torch's counter, of cells step by step; the rest by hand for 7 and 3 units in 5 steps."""
    model, x = family([2, 7, 3, 4], bias=bias), torch.zeros(1, 2)
    cost = model.cost(5)
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    with FlopCounterMode(display=False) as counter:
        first, second = cell(2, 7), cell(7, 3)
        for _ in range(5):
            first(x)
            second(torch.zeros(1, 7))
        model.readout(torch.zeros(1, 3))
    rest = {LSTM: 4 + 3 * 4 + 2 * 6 + 3 + 1, GRU: 3 + 2 * 4 + 6 + 1 + 3}[family]
    assert cost.flops == counter.get_total_flops() + 5 * (7 + 3) * rest


@RECURRENT
def test_recurrent_networks_start_anew_by_their_generator(family, cell):
    """Within one over the root of the hidden width, which entries come close to."""
    model, states = family([30, 20, 9, 2]), []
    for seed in (1, 1, 2):
        before = torch.get_rng_state()
        model.reset_parameters(torch.Generator().manual_seed(seed))
        assert torch.equal(torch.get_rng_state(), before)
        states.append(nn.utils.parameters_to_vector(model.parameters()).clone())
        for layer, width in ((model.layers[0], 20), (model.layers[1], 9), (model.readout, 9)):
            largest = max(parameter.abs().max() for parameter in layer.parameters())
            assert 0.9 / width**0.5 < largest <= 1 / width**0.5
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


MODELS = [
    pytest.param(lambda **kwargs: MLP([2, 4, 3], **kwargs), (2,), id="MLP"),
    pytest.param(lambda **kwargs: LSTM([2, 4, 5, 3], **kwargs), (6, 2), id="LSTM"),
    pytest.param(lambda **kwargs: GRU([2, 4, 5, 3], **kwargs), (6, 2), id="GRU"),
]


@pytest.mark.parametrize(("make", "sample"), MODELS)
@pytest.mark.parametrize("batch", [(), (1,), (4,), (2, 3), (2, 1, 3)])
def test_leading_axes_are_independent_samples(make, sample, batch):
    model, x = make(dtype=F64), draw(*batch, *sample)
    each = torch.stack([model(one) for one in x.reshape(-1, *sample)])
    torch.testing.assert_close(model(x), each.reshape(*batch, 3), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("make", "sample"), MODELS)
@pytest.mark.parametrize("batch", [(0,), (2, 0), (0, 3)])
def test_an_empty_batch_has_an_empty_result(make, sample, batch):
    assert make()(torch.empty(*batch, *sample)).shape == (*batch, 3)


@pytest.mark.parametrize(
    ("model", "sample"), [(MLP([2, 3, 2], dtype=F64), (2,)), (LSTM([1, 2, 3, 1], dtype=F64), (3, 1))]
)
def test_gradients_are_those_of_finite_differences(model, sample):
    names, values = zip(*model.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (draw(2, *sample).requires_grad_(), *values))


@pytest.mark.parametrize(("make", "sample"), MODELS)
def test_a_state_dict_carries_the_whole_function(make, sample):
    model, other, x = make(dtype=F64), make(dtype=F64), draw(5, *sample)
    assert not torch.equal(model(x), other(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))


@pytest.mark.parametrize(("make", "sample"), MODELS)
def test_device_and_dtype_reach_every_parameter(make, sample):
    assert {(p.device.type, p.dtype) for p in make(device="meta", dtype=F64).parameters()} == {("meta", F64)}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MLP([3]), ValueError, r"Argument `widths` must have 2 entries or more, .*, but is \(3,\)\."),
        (lambda: GRU([1, 8]), ValueError, r"`widths` must have 3 entries or more, as in GRU\(\[1, 8, 1\]\), but is"),
        (lambda: LSTM([1, 8]), ValueError, r"`widths` must have 3 entries or more, as in LSTM\(\[1, 8, 1\]\), but is"),
        (lambda: LSTM([1, 8, 1]).cost(0), ValueError, r"Argument `time` must be at least 1, but is 0\."),
        (lambda: MLP([3, 0, 1]), ValueError, r"`widths` must have positive entries only, but has 0\."),
        (lambda: LSTM([1, -8, 1]), ValueError, r"`widths` must have positive entries only, but has -8\."),
        (lambda: MLP([3, 1.5]), TypeError, r"`widths` must have integers only, .*, but has 1\.5\."),  # pyright: ignore
        (lambda: MLP([3, 1], activation="swish"), ValueError, r"`activation` must be .* relu, .*, but is 'swish'\."),
        (lambda: MLP([3, 1], activation=nn.ReLU), TypeError, r"`activation` must be .*, but is <class"),  # pyright: ignore
        (lambda: MLP([3, 1], activation=3), TypeError, r"`activation` must be .*, but is 3\."),  # pyright: ignore
        (lambda: MLP([3, 1])(torch.ones(5, 2)), ValueError, r"`x` must have shape \(\*batch, 3\), but has \(5, 2\)\."),
        (lambda: MLP([1, 1])(torch.tensor(1.0)), ValueError, r"`x` must have shape \(\*batch, 1\), but has \(\)\."),
        (lambda: LSTM([1, 8, 1])(torch.ones(5)), ValueError, r"`x` must have shape \(\*batch, time, 1\) .* has \(5,\)"),
        (lambda: LSTM([1, 8, 1])(torch.ones(5, 4, 2)), ValueError, r"\(\*batch, time, 1\) .*, but has \(5, 4, 2\)\."),
        (lambda: LSTM([1, 8, 1])(torch.ones(5, 0, 1)), ValueError, r"with time >= 1, but has \(5, 0, 1\)\."),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_baselines_import_no_quantum_package():
    code = "import sys, classical; sys.exit(bool({'circuits', 'qkan', 'lightning'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("options", "parameters"), [({}, 50_890), ({"norm": True, "bias": False}, 52_512)])
def test_the_cost_of_an_mlp_is_that_of_the_fairer_comparison(options, parameters):
    """2 in out operations for each affine layer and 5 for each SiLU."""
    model = MLP([784, 64, 10], **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters == model.cost().parameters
    norms = 4 * (784 + 64) if options else 0
    flops = 2 * (784 * 64 + 64 * 10) + 5 * 64 + norms
    assert (model.cost().flops, model.cost().published_flops) == (flops, flops)


def test_an_mlp_normalises_what_its_affine_layers_see():
    mlp = MLP([3, 4, 2], norm=True, activation="tanh", dtype=F64)
    (one, two), (first, second), x = mlp.norms, mlp.layers, draw(5, 3)
    assert torch.equal(mlp(x), second(two(torch.tanh(first(one(x))))))
