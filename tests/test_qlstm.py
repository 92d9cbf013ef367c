"""A QLSTM is its equations on circuits that are what the paper says, and learns."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from circuits import expectation, vqc
from circuits.engines import Auto, Engine, get
from circuits.engines.statevector import Statevector
from judge import assert_same, derivatives, report
from models import F32, F64, copied, drawn, identical
from qkan import QLSTM, QLSTMCell, parameter_count
from qkan.qlstm_cell import EXPANDED
from random_circuits import inputs
from tolerances import EXACT, FOREIGN, SINGLE

pytestmark = pytest.mark.usefixtures("seeded")
each_form = pytest.mark.parametrize("n_qubits", [None, 3], ids=["paper", "linear maps"])
each_engine = pytest.mark.parametrize("engine", ["auto", "statevector", "reference"])


def sequences(*shape: int, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=drawn(1), dtype=F64).to(dtype)


def by_hand(cell: QLSTMCell, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The equations, one circuit after the other on the reference engine."""

    def mapped(linear: nn.Linear | None, v: Tensor) -> Tensor:
        return v if linear is None else v @ linear.weight.T + linear.bias

    def circuit(k: int, v: Tensor) -> Tensor:
        data = torch.cat([torch.arctan(v), torch.arctan(v**2)], dim=-1)
        return mapped(
            cell.map_out, expectation(vqc(cell.n_qubits, cell.depth), data, {"theta": cell.theta[k]}, "reference")
        )

    v = mapped(cell.map_in, torch.cat([h, x], dim=-1))
    f, i, o = (torch.sigmoid(circuit(k, v)) for k in (0, 1, 3))
    c = f * c + i * torch.tanh(circuit(2, v))
    m = mapped(cell.map_memory, o * torch.tanh(c))
    return circuit(5, m)[..., : cell.hidden_size], (circuit(4, m)[..., : cell.hidden_size], c)


# The circuit.


@pytest.mark.parametrize("wires", [1, 2, 3, 4])
def test_the_circuit_is_that_of_the_paper_on_another_simulator(wires):
    qml = pytest.importorskip("pennylane")
    circuit, depth = vqc(wires, 2), 2

    @qml.qnode(qml.device("default.qubit", wires=wires), interface="torch", diff_method="backprop")
    def paper(x, theta):
        for wire in range(wires):
            qml.Hadamard(wire)
            qml.RY(x[:, wire], wire)
            qml.RZ(x[:, wires + wire], wire)
        for layer in theta.view(depth, wires, 3):
            for distance in (1, 2):
                for wire in range(wires):
                    if (wire + distance) % wires != wire:
                        qml.CNOT([wire, (wire + distance) % wires])
            for wire in range(wires):
                qml.Rot(*layer[wire], wire)
        return [qml.expval(qml.PauliZ(wire)) for wire in range(wires)]

    x, params = inputs(circuit, (5,))
    expected = derivatives(lambda x, theta: torch.stack(paper(x, theta), dim=-1), {"x": x, **params})
    for engine in ("statevector", "reference"):
        assert_same(report(get(engine), circuit, x, params), expected, FOREIGN)


def test_one_qubit_without_entanglement_is_a_closed_formula():
    x, params = inputs(vqc(1, 1), (7,))
    (a, b), (first, second, _) = x.unbind(-1), params["theta"]
    expected = -torch.cos(second) * torch.sin(a) - torch.sin(second) * torch.cos(a) * torch.cos(b + first)
    torch.testing.assert_close(expectation(vqc(1, 1), x, params)[..., 0], expected, **EXACT)


@pytest.mark.parametrize(("wires", "depth"), [(0, 1), (2.0, 1), (True, 1), (2, 0), (2, "1")])
def test_impossible_circuits_are_refused(wires, depth):
    with pytest.raises(ValueError, match="must be a positive int"):
        vqc(wires, depth)


# The cell.


@each_form
@each_engine
@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)], ids=str)
def test_cell_equals_the_unrolled_equations(batch, engine, n_qubits):
    cell = QLSTMCell(2, 2, n_qubits=n_qubits, engine=engine, dtype=F64)
    x, h, c = sequences(*batch, 2), sequences(*batch, 2), 2 * sequences(*batch, cell.memory_size)
    y, state = cell(x, (h, c))
    expected, wanted = by_hand(cell, x, h, c)
    torch.testing.assert_close((y, state), (expected, wanted), **EXACT)
    torch.testing.assert_close(cell(x), by_hand(cell, x, 0 * h, 0 * c), **EXACT)


@pytest.mark.parametrize("n_qubits", range(1, EXPANDED + 2))
def test_expanded_circuits_equal_evaluated_ones(n_qubits):
    """Values and every gradient; above `EXPANDED` qubits "auto" does not expand."""
    fast, plain = (QLSTM(1, 2, n_qubits=n_qubits, engine=engine, dtype=F64) for engine in ("auto", "statevector"))
    leaves = {"x": sequences(3, 2, 1), **copied(fast)}

    def found(model: QLSTM) -> dict[str, Tensor]:
        return derivatives(lambda x, **state: functional_call(model, state, (x,))[0], leaves)

    assert_same(found(fast), found(plain), EXACT)


@each_form
def test_float32_is_float64_rounded(n_qubits):
    model = QLSTM(1, 3, n_qubits=n_qubits)
    x = sequences(6, 4, 1, dtype=F32)
    output, (h, c) = model(x)
    wide, (wide_h, wide_c) = copy.deepcopy(model).double()(x.double())
    for single, double in ((output, wide), (h, wide_h), (c, wide_c)):
        assert single.dtype == F32
        torch.testing.assert_close(single.double(), double, **SINGLE)


@each_form
@pytest.mark.parametrize("engine", ["auto", "statevector"])
def test_gradients_are_those_of_finite_differences(engine, n_qubits):
    model = QLSTM(1, 1, depth=1, n_qubits=n_qubits, engine=engine, dtype=F64)
    names, values = zip(*model.named_parameters(), strict=True)
    leaves = [sequences(2, 1, 1).requires_grad_(), *(value.detach().clone().requires_grad_() for value in values)]

    def function(x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        output, (h, c) = functional_call(model, dict(zip(names, parameters, strict=True)), (x,))
        return output, h, c

    assert torch.autograd.gradcheck(function, leaves)


def test_gates_reach_as_far_as_documented():
    """In the paper's form values are in [-1, 1], whatever the input."""
    model = QLSTM(2, 3, dtype=F64)
    output, (h, c) = model(100 * sequences(50, 20, 2))
    sigmoid = torch.sigmoid(torch.ones((), dtype=F64))
    assert output.abs().max() <= 1
    assert h.abs().max() <= 1
    assert c.abs().max() <= sigmoid * math.tanh(1) / (1 - sigmoid)
    assert c.abs().max() > 0.1


@pytest.mark.parametrize(("sizes", "count"), [((1, 3), 144), ((2, 2), 144), ((1, 4), 180)])
def test_parameters_are_counted_as_documented(sizes, count):
    assert parameter_count(QLSTM(*sizes)) == {"theta": count}
    wide, hidden, n = *sizes, 5
    maps = {"weight": n * (wide + hidden) + n * hidden + hidden * n, "bias": n + n + hidden}
    assert parameter_count(QLSTM(*sizes, depth=3, n_qubits=n)) == {"theta": 6 * 3 * n * 3, **maps}


def test_angles_that_count_and_do_nothing_are_those_documented():
    cell = QLSTMCell(1, 3, depth=2, dtype=F64)
    y, (h, c) = cell(*[sequences(5, 1)], (sequences(5, 3), sequences(5, 4)))
    (y + 2 * h).square().sum().add(c.square().sum()).backward()
    assert cell.theta.grad is not None
    dead = (cell.theta.grad.abs() < 1e-14).view(6, 2, 4, 3)
    last = torch.zeros(6, 2, 4, 3, dtype=torch.bool)
    last[:, 1, :, 2] = True
    last[4:, 1, 3] = True
    assert torch.equal(dead, last)


# The sequence.


@each_form
def test_sequence_equals_a_loop_over_cells(n_qubits):
    model = QLSTM(2, 2, num_layers=2 if n_qubits else 1, n_qubits=n_qubits, dtype=F64)
    x, states = sequences(5, 3, 2), [None] * len(model.cells)
    rows = []
    for row in x:
        for layer, cell in enumerate(model.cells):
            row, states[layer] = cell(row, states[layer])
        rows.append(row)
    output, (h, c) = model(x)
    torch.testing.assert_close(output, torch.stack(rows), **EXACT)
    for layer, state in enumerate(states):
        torch.testing.assert_close((h[layer], c[layer]), state, **EXACT)


@each_form
def test_a_state_carries_a_sequence_on(n_qubits):
    model, x = QLSTM(1, 3, n_qubits=n_qubits, dtype=F64), sequences(7, 2, 1)
    first, state = model(x[:4])
    second, end = model(x[4:], state)
    torch.testing.assert_close((torch.cat([first, second]), end), model(x), **EXACT)


def test_shapes_are_those_of_the_lstm_of_torch():
    """But for c in the paper's form."""
    layers = 2
    ours = QLSTM(1, 3, num_layers=layers, n_qubits=2, batch_first=True)
    theirs = nn.LSTM(1, 3, num_layers=layers, batch_first=True)
    for shape in ((4, 5, 1), (5, 1), (1, 1, 1)):
        x = torch.zeros(shape)
        (y, state), (expected, wanted) = ours(x), theirs(x)
        assert y.shape == expected.shape
        assert [part.shape for part in state] == [part.shape for part in wanted]
        assert ours(x, state)[0].shape == expected.shape
    assert ours(torch.zeros(0, 5, 1))[0].shape == (0, 5, 3)


def test_batch_first_and_no_batch_say_the_same():
    model = QLSTM(2, 3, dtype=F64)
    x = sequences(5, 4, 2)
    output, state = model(x)
    first = QLSTM(2, 3, batch_first=True, dtype=F64)
    first.load_state_dict(model.state_dict())
    torch.testing.assert_close(first(x.transpose(0, 1)), (output.transpose(0, 1), state), **EXACT)
    for place in range(4):
        alone, (h, c) = first(x[:, place])
        torch.testing.assert_close(alone, output[:, place], **EXACT)
        torch.testing.assert_close((h, c), (state[0][:, place], state[1][:, place]), **EXACT)


class CountingAuto(Auto):
    calls = 0

    def _evaluate(self, circuit, x, params):
        self.calls += 1
        return super()._evaluate(circuit, x, params)


class CountingStatevector(Statevector):
    calls = 0

    def _evaluate(self, circuit, x, params):
        self.calls += 1
        return super()._evaluate(circuit, x, params)


@pytest.mark.parametrize(("engine", "calls"), [(CountingAuto(), 1), (CountingStatevector(), 2 * 6 + 1)], ids=str)
def test_engines_are_called_once_or_twice_a_step(engine: Engine, calls):
    """The four gates are one call, and all outputs together another one."""
    QLSTM(1, 3, engine=engine)(torch.zeros(6, 2, 1))
    assert engine.calls == calls  # pyright: ignore[reportAttributeAccessIssue]


# A module.


@each_form
def test_it_learns_to_go_on(n_qubits):
    """The next value of a sine, from four: the mean squared error falls below a third of what zero makes."""
    series = torch.sin(torch.arange(60, dtype=F64) * 0.4)
    x, y = series.unfold(0, 4, 1)[:-1, :, None], series[4:, None]
    model, readout = QLSTM(1, 2, batch_first=True, n_qubits=n_qubits, dtype=F64), nn.Linear(2, 1, dtype=F64)
    optimizer = torch.optim.Adam([*model.parameters(), *readout.parameters()], lr=0.05)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = functional.mse_loss(readout(model(x)[0][:, -1]), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * y.square().mean()
    assert losses[-1] < 0.3 * losses[0]


def test_models_are_saved_loaded_copied_and_drawn_again():
    model, other = QLSTM(1, 2, n_qubits=3), QLSTM(1, 2, n_qubits=3)
    x = torch.zeros(3, 2, 1)
    assert not identical(model.state_dict(), other.state_dict())
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x)[0], model(x)[0])
    assert torch.equal(copy.deepcopy(model)(x)[0], model(x)[0])
    for each in (model, other):
        each.reset_parameters(drawn(3))
    assert identical(model.state_dict(), other.state_dict())
    assert model.cells[0].theta.abs().max() <= math.pi  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    assert repr(model.cells[0]).startswith("QLSTMCell(\n  1, 2, depth=2, n_qubits=3, engine=Auto()")


def test_models_have_dtypes_and_no_device():
    model = QLSTM(1, 2, n_qubits=3, device="meta", dtype=F64)
    assert {(parameter.dtype, parameter.device.type) for parameter in model.parameters()} == {(F64, "meta")}
    assert QLSTM(1, 2).to_empty(device="cpu").requires_grad_(False).cells is not None


def test_bad_input_is_refused():
    for arguments in ({"input_size": 0}, {"hidden_size": -1}, {"num_layers": 0}, {"depth": 0}, {"n_qubits": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must be positive"):
            QLSTM(**{"input_size": 1, "hidden_size": 1} | arguments)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="`input_size` must be an int"):
        QLSTMCell("1", 3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"`num_layers` must be 1 in the paper's form.* give `n_qubits`"):
        QLSTM(1, 3, num_layers=2)
    with pytest.raises(ValueError, match="`engine`"):
        QLSTM(1, 3, engine="fast")


def test_bad_sequences_are_refused():
    model = QLSTM(1, 3)
    with pytest.raises(ValueError, match=r"`x` must have shape \(\*batch, 1\)"):
        model(torch.zeros(4, 2, 2))
    for x in (torch.zeros(1), torch.zeros(1, 2, 3, 1), [[0.0]]):
        with pytest.raises(ValueError, match=r"`x` must have shape \(time, batch, features\)"):
            model(x)
    with pytest.raises(ValueError, match="at least one time step"):
        model(torch.zeros(0, 2, 1))
    with pytest.raises(TypeError, match="float64, but the layer is"):
        model(torch.zeros(4, 2, 1, dtype=F64))
    x = torch.zeros(4, 2, 1)
    x[2, 1] = math.nan
    with pytest.raises(ValueError, match=r"`x` must be finite, but is nan at index \(2, 1, 0\)"):
        model(x)
    with pytest.raises(ValueError, match=r"`state` must be h and c of shapes \(1, 2, 3\) and \(1, 2, 4\)"):
        model(torch.zeros(4, 2, 1), (torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)))
    h, c = torch.zeros(1, 2, 3), torch.zeros(1, 2, 4)
    for state, told in (
        ((h.double(), c), "is torch.float64, but the layer is"),
        ((h, c.long()), "must be real floating"),
    ):
        with pytest.raises(TypeError, match=f"`state` {told}"):
            model(x.nan_to_num(), state)


def test_what_means_something_else_in_the_lstm_of_torch_is_named():
    """There the fourth argument is `bias`."""
    with pytest.raises(TypeError, match="positional"):
        QLSTM(1, 3, 1, True)  # pyright: ignore[reportCallIssue]
