"""`fit` finds the best weights, says what happened, and leaves nothing else behind."""

import logging
import math
import os
import signal
import subprocess
import sys
import warnings
from io import StringIO
from itertools import chain

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from circuits import EngineUnavailable
from qkan.fit import FitResult
from qkan.fit import fit as fit_with_progress
from qkan.training import UNITS

F64 = torch.float64


def fit(*args, **kwargs):
    return fit_with_progress(*args, progress=False, **kwargs)


def linear_data(samples=40, features=3, noise=0.1, seed=0, dtype=F64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, features, generator=generator, dtype=dtype)
    slope = torch.arange(1.0, features + 1, dtype=dtype)
    return x, x @ slope[:, None] + 2 + noise * torch.randn(samples, 1, generator=generator, dtype=dtype)


def network(seed=0, dtype=F64):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 8, dtype=dtype), nn.Tanh(), nn.Linear(8, 1, dtype=dtype))


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def error(model, data):
    with torch.no_grad():
        return nn.functional.mse_loss(model(data[0]), data[1]).item()


class Scripted(nn.Module):
    """Predicts 0 in training; in validation the square of this prediction is the next entry of a script."""

    def __init__(self, script, action=None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("epoch", torch.tensor(-1))
        self.script, self.action = script, action

    def forward(self, x):
        if self.training:
            if self.action is not None:
                self.action(int(self.epoch) + 1)
            return self.weight * x
        self.epoch += 1
        return self.script[self.epoch] ** 0.5 + 0 * self.weight * x


SCRIPTED_DATA = torch.ones(4, 1), torch.zeros(4, 1)


def scripted(script, action=None, **kwargs):
    model = Scripted(torch.tensor(script), action)
    return model, fit(model, SCRIPTED_DATA, SCRIPTED_DATA, **{"epochs": len(script)} | kwargs)


# What it finds.


@pytest.mark.parametrize("history", [None, 5])
def test_lbfgs_recovers_least_squares(history):
    data, model = linear_data(), nn.Linear(3, 1, dtype=F64)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    fit(model, data, data, optimizer="lbfgs", epochs=20, history=history)
    design = torch.cat([data[0], torch.ones(40, 1, dtype=F64)], 1)
    solution = torch.linalg.lstsq(design, data[1]).solution[:, 0]
    torch.testing.assert_close(torch.cat([model.weight[0], model.bias]), solution, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_full_batch_adam_is_the_loop_that_anyone_would_write(seed):
    train, validation = linear_data(seed=1), linear_data(seed=2)
    model, plain = network(seed), network(seed)
    result = fit(model, train, validation, lr=0.01, epochs=20)

    optimizer, train_loss, validation_loss = torch.optim.Adam(plain.parameters(), lr=0.01), [], []
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(plain(train[0]), train[1])
        loss.backward()
        optimizer.step()
        train_loss.append(loss.item())
        validation_loss.append(error(plain, validation))
    assert result.train_loss == tuple(train_loss)
    assert result.validation_loss == tuple(validation_loss)
    assert same(model, plain.state_dict())


def test_lbfgs_reports_the_loss_before_its_first_step():
    data, model = linear_data(), network()
    before = error(model, data)
    result = fit(model, data, data, optimizer="lbfgs", epochs=3)
    assert result.train_loss == (before, *result.validation_loss[:-1])


def test_losses_are_means_over_samples_and_not_over_batches():
    data, model = linear_data(samples=7), network()
    before = error(model, data)
    result = fit(model, data, data, optimizer=lambda p: torch.optim.SGD(p, lr=1e-300), epochs=1, batch_size=3)
    assert result.train_loss[0] == pytest.approx(before, rel=1e-12)
    assert result.validation_loss[0] == pytest.approx(before, rel=1e-12)


def test_every_sample_is_seen_once_per_epoch_in_an_order_that_changes():
    seen = []

    class Spy(nn.Linear):
        def forward(self, input):
            if self.training:
                seen.append(input[:, 0].tolist())
            return super().forward(input)

    x = torch.arange(7.0)[:, None]
    fit(Spy(1, 1), (x, x), (x, x), lr=1e-9, epochs=2, batch_size=3, seed=0)
    assert [len(batch) for batch in seen] == [3, 3, 1, 3, 3, 1]
    first, second = list(chain(*seen[:3])), list(chain(*seen[3:]))
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


def test_a_loader_trains_like_the_tensors_it_holds():
    data, from_tensors, from_loader = linear_data(), network(), network()
    loader = DataLoader(TensorDataset(*data), batch_size=len(data[0]))
    expected = fit(from_tensors, data, data, epochs=5)
    result = fit(from_loader, loader, loader, epochs=5)
    assert result.validation_loss == pytest.approx(expected.validation_loss, rel=1e-12)


def test_only_parameters_that_require_a_gradient_are_trained():
    data, model = linear_data(), network()
    model[0].requires_grad_(False)
    before = copied(model)
    fit(model, data, data, epochs=3)
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"2.weight", "2.bias"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_the_dtype_of_the_model_is_kept(dtype, optimizer):
    data, model = linear_data(dtype=dtype), network(dtype=dtype)
    fit(model, data, data, optimizer=optimizer, epochs=2)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}


def test_another_loss_may_have_integer_targets():
    x, _ = linear_data()
    y, model = (x[:, 0] > 0).long(), nn.Sequential(network(), nn.Linear(1, 2, dtype=F64))
    fit(model, (x, y), (x, y), loss=nn.CrossEntropyLoss(), lr=0.1, epochs=50)
    assert (model(x).argmax(1) == y).double().mean() > 0.9


# When it stops, and with which weights.


def test_patience_restores_the_best_epoch():
    train, validation = linear_data(samples=5, features=3, noise=2.0, seed=1), linear_data(seed=2)
    model = network()
    result = fit(model, train, validation, lr=0.1, epochs=500, patience=7)
    assert result.stopped == "patience"
    assert result.epochs == result.best_epoch + 1 + 7 < 500
    assert error(model, validation) == result.best_validation_loss == min(result.validation_loss)


def test_patience_counts_epochs_since_the_first_best_one():
    model, result = scripted([4.0, 2.0, 3.0, 2.0, 9.0, 1.0], patience=3)
    assert (result.stopped, result.epochs, result.best_epoch) == ("patience", 5, 1)
    assert int(model.epoch) == 1


def test_without_patience_all_epochs_run_and_the_best_is_restored():
    model, result = scripted([4.0, 1.0, 9.0])
    assert result.train_loss == (0.0, 0.0, 0.0)
    assert result.validation_loss == (4.0, 1.0, 9.0)
    assert (result.stopped, result.epochs, result.best_epoch, int(model.epoch)) == ("epochs", 3, 1, 1)


def test_improvements_below_single_precision_count():
    """Lightning logs a float in single precision, where these losses would all be equal and patience would end."""
    offset = 1 - torch.arange(6, dtype=F64) * 1e-12
    model = Scripted(offset).double()
    data = tuple(tensor.double() for tensor in SCRIPTED_DATA)
    assert fit(model, data, data, epochs=6, patience=1).stopped == "epochs"


def test_time_stops_after_the_epoch_in_which_it_is_over():
    data = linear_data()
    result = fit(network(), data, data, epochs=10_000, max_seconds=0.05)
    assert result.stopped == "time"
    assert 0.05 <= result.seconds < 5
    assert result.epochs < 10_000


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_divergence_stops_and_restores_the_best_finite_weights(value):
    model, result = scripted([4.0, 1.0, 2.0, value, 0.5], patience=10)
    assert (result.stopped, result.epochs, result.best_epoch, int(model.epoch)) == ("diverged", 4, 1, 1)


def test_a_training_loss_that_diverges_stops_too():
    data, model = linear_data(), network()
    result = fit(model, data, data, optimizer=lambda p: torch.optim.SGD(p, lr=1e4), epochs=100)
    assert result.stopped == "diverged"
    assert error(model, data) == result.best_validation_loss


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_weights_that_were_never_finite_are_an_error_and_set_back(optimizer):
    data, model = linear_data(), network()
    state = copied(model)
    with pytest.raises(FloatingPointError, match=r"not finite in any of 1 epochs.* lower `lr`, which is 0.5, or resc"):
        fit(model, data, data, optimizer=optimizer, lr=0.5, loss=lambda p, y: p.mean() * math.nan)
    assert same(model, state)


def interrupt(epoch):
    if epoch == 3:
        raise KeyboardInterrupt("from the model")


def press_ctrl_c(epoch):
    if epoch == 3:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts, as in a terminal; in the background shells have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("action", [interrupt, press_ctrl_c])
@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_restores_the_best_weights_and_propagates(action):
    model, handler = Scripted(torch.tensor([4.0, 1.0, 2.0, 0.5]), action), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(model, SCRIPTED_DATA, SCRIPTED_DATA, epochs=4)
    assert int(model.epoch) == 1
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("exception", [RuntimeError, SystemExit])
def test_an_error_in_the_model_restores_the_best_weights_and_propagates(exception):
    batches = []

    def fail_in_the_middle_of_an_epoch(epoch):
        batches.append(epoch)
        if batches == [0, 0, 1, 1, 2, 2]:
            raise exception("from the model")

    model = Scripted(torch.tensor([1.0, 2.0, 3.0]), fail_in_the_middle_of_an_epoch)
    with pytest.raises(exception, match="from the model"):
        fit(model, DataLoader(TensorDataset(*SCRIPTED_DATA), batch_size=2), SCRIPTED_DATA, epochs=3)
    assert int(model.epoch) == 0
    assert model.weight.grad is None


def test_an_interrupt_before_the_first_epoch_leaves_ctrl_c_working():
    """Lightning ignores SIGINT during its shutdown, and has not yet noted what to set it back to."""

    class InterruptedMove(nn.Linear):
        moves = 0

        def _apply(self, *args, **kwargs):
            self.moves += 1
            if self.moves == 1:
                raise KeyboardInterrupt
            return super()._apply(*args, **kwargs)

    model, handler = InterruptedMove(1, 1), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(model, SCRIPTED_DATA, SCRIPTED_DATA)
    assert model.moves > 1
    assert signal.getsignal(signal.SIGINT) is handler


# What it leaves behind.


@pytest.mark.parametrize("batch_size", [None, 8])
def test_the_same_seed_gives_the_same_result(batch_size):
    data = linear_data()
    runs = []
    for seed in (1, 1, 2):
        torch.rand(1)  # the state of the global generator is another one each time
        model = nn.Sequential(network(), nn.Dropout(0.5))
        result = fit(model, data, data, epochs=3, batch_size=batch_size, seed=seed)
        runs.append((result.train_loss, result.validation_loss, error(model.eval(), data)))
    assert runs[0] == runs[1] != runs[2]


def test_a_seed_makes_a_shuffling_loader_reproducible():
    data = linear_data()
    loader = DataLoader(TensorDataset(*data), batch_size=8, shuffle=True)
    first = fit(network(), loader, data, epochs=3, seed=3).train_loss
    torch.rand(1)
    assert fit(network(), loader, data, epochs=3, seed=3).train_loss == first


def test_a_seed_leaves_the_global_generator_alone():
    data, state = linear_data(), torch.get_rng_state()
    fit(nn.Sequential(network(), nn.Dropout(0.5)), data, data, epochs=3, batch_size=8, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_seed_the_global_generator_decides():
    data, losses = linear_data(), []
    for _ in range(2):
        with torch.random.fork_rng([]):
            torch.manual_seed(5)
            losses.append(fit(network(), data, data, epochs=3, batch_size=8).train_loss)
            losses.append(fit(network(), data, data, epochs=3, batch_size=8).train_loss)
    assert losses[:2] == losses[2:]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("training", [True, False])
def test_modes_are_those_from_before(training):
    data, model = linear_data(), nn.Sequential(network(), nn.Dropout(0.5), nn.BatchNorm1d(1, dtype=F64))
    model.train(training)
    model[2].eval()
    fit(model, data, data, epochs=2, seed=0)
    assert [module.training for module in model] == [training, training, False]


def test_a_frozen_submodule_stays_in_evaluation_mode():
    data, model = linear_data(), nn.Sequential(network(), nn.BatchNorm1d(1, dtype=F64))
    model[1].eval()
    fit(model, data, data, epochs=2)
    assert model[1].num_batches_tracked == 0


def test_a_model_in_evaluation_mode_is_trained_in_training_mode():
    data, model = linear_data(), nn.Sequential(network(), nn.BatchNorm1d(1, dtype=F64)).eval()
    fit(model, data, data, optimizer=lambda p: torch.optim.SGD(p, lr=1e-3), epochs=1)
    assert model[1].num_batches_tracked == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_model_on_the_gpu_stays_there_and_so_does_its_generator(optimizer):
    train, validation, state = linear_data(seed=1), linear_data(seed=2), torch.cuda.get_rng_state()
    on_cpu, on_gpu = network(), network().cuda()
    expected = fit(on_cpu, train, validation, optimizer=optimizer, epochs=5)
    result = fit(on_gpu, train, validation, optimizer=optimizer, epochs=5, seed=0)
    assert {parameter.device for parameter in on_gpu.parameters()} == {torch.device("cuda", 0)}
    assert result.validation_loss == pytest.approx(expected.validation_loss, rel=1e-6)
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_no_gradients_are_left():
    data, model = linear_data(), network()
    fit(model, data, data, epochs=2)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_cache_filled_in_validation_can_be_used_in_training():
    class Caching(nn.Linear):
        cache = None

        def forward(self, input):
            output = super().forward(input)
            if not self.training:
                self.cache = torch.ones_like(output)
            return output if self.cache is None else output * self.cache

    data = linear_data()
    fit(Caching(3, 1, dtype=F64), data, data, epochs=3)


def test_no_files_are_left(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    data = linear_data()
    fit(network(), data, data, epochs=3, patience=2, max_seconds=60)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_nothing_is_printed_and_logging_and_environment_are_as_before(capfd, monkeypatch):
    import lightning.pytorch

    names = ("lightning", "lightning.pytorch", "lightning.fabric")
    for name in names:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.INFO)
    before = [logging.getLogger(name).level for name in names], warnings.filters[:], dict(os.environ)
    data = linear_data()
    fit(network(), data, data, epochs=3, patience=2, max_seconds=60, seed=0)
    fit_with_progress(network(), data, data, epochs=3)  # a captured stream is no terminal
    assert lightning.pytorch.Trainer is not None
    assert capfd.readouterr() == ("", "")
    assert ([logging.getLogger(name).level for name in names], warnings.filters[:], dict(os.environ)) == before


def test_the_first_run_of_a_process_is_silent_too(tmp_path):
    code = """
import torch
from qkan.fit import fit
x = torch.ones(3, 1)
fit(torch.nn.Linear(1, 1), (x, x), (x, x), epochs=2, patience=2)
"""
    # torch 2.6 leaves a temporary directory to the end of the process, which is not ours to mend.
    command = [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", code]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_shows_the_epochs(monkeypatch):
    class Terminal(StringIO):
        def isatty(self):
            return True

    data, terminal = linear_data(), Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fit_with_progress(network(), data, data, epochs=3)
    assert "3/3" in terminal.getvalue()
    assert "validation=" in terminal.getvalue()


def test_a_result_says_what_matters():
    result = FitResult((3.0, 2.0, 1.0), (2.0, 0.5, math.nan), 1.5, "diverged")
    assert (
        repr(result) == "FitResult(epochs=3, best_epoch=1, best_validation_loss=0.5, seconds=1.5, stopped='diverged')"
    )


def test_importing_the_module_does_not_import_lightning():
    code = "import sys, qkan.fit; sys.exit('lightning' in sys.modules)"
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | path)


# What it refuses.


def test_a_missing_lightning_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'daruan\[train\]'"):
        fit(network(), linear_data(), linear_data())


def test_a_broken_lightning_is_not_called_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    with pytest.raises(ModuleNotFoundError, match=r"lightning\.pytorch"):
        fit(network(), linear_data(), linear_data())


class NoSamples(IterableDataset):
    def __iter__(self):
        return iter(())


X, Y = linear_data()
HOLED = Y.index_fill(0, torch.tensor([3]), math.nan)
EMPTY = DataLoader(TensorDataset(X[:0], Y[:0]))
HALVES = DataLoader(TensorDataset(X, Y), batch_size=20)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, r"Argument `epochs` must be positive, but is 0\."),
        ({"epochs": 1.5}, TypeError, r"Argument `epochs` must be an integer, but is 1\.5\."),
        ({"epochs": None}, TypeError, r"Argument `epochs` must be an integer, but is None\."),
        ({"lr": -0.1}, ValueError, r"Argument `lr` must be positive, but is -0\.1\."),
        ({"lr": math.nan}, ValueError, r"Argument `lr` must be positive, but is nan\."),
        ({"lr": "fast"}, TypeError, r"Argument `lr` must be a number, but is 'fast'\."),
        ({"patience": 0}, ValueError, r"Argument `patience` must be positive, but is 0\."),
        ({"batch_size": -1}, ValueError, r"Argument `batch_size` must be positive, but is -1\."),
        ({"history": 0}, ValueError, r"Argument `history` must be positive, but is 0\."),
        ({"max_seconds": 0}, ValueError, r"Argument `max_seconds` must be positive, but is 0\."),
        ({"optimizer": "sgd"}, ValueError, r"`optimizer` must be 'adam', 'lbfgs' or a callable .*, but is 'sgd'\."),
        ({"optimizer": None}, ValueError, r"`optimizer` must be .*, but is None\."),
        ({"optimizer": lambda p: p}, TypeError, r"`optimizer` must return an `Optimizer`, but returns list\."),
        ({"history": 9}, ValueError, r"`history` must be left out with optimizer 'adam', but is 9\."),
        (
            {"optimizer": torch.optim.SGD, "lr": 0.1},
            ValueError,
            r"`lr` must be left out with optimizer .*, but is 0\.1",
        ),
        (
            {"optimizer": "lbfgs", "batch_size": 9},
            ValueError,
            r"`train` must be one full batch .* has 5 batches; leave",
        ),
        ({"optimizer": "lbfgs", "train": HALVES}, ValueError, r"`train` must be one full batch .* but has 2 batches"),
        (
            {"optimizer": "lbfgs", "train": DataLoader(NoSamples())},
            ValueError,
            r"one full batch .* but has inf batches",
        ),
        ({"model": nn.ReLU()}, ValueError, r"`model` must have parameters with `requires_grad`, but has none to train"),
        ({"model": torch.sin}, TypeError, r"`model` must be a `torch\.nn\.Module`, but is a `builtin_function"),
        ({"model": nn.Linear(3, 1, device="meta")}, ValueError, r"on one CPU or CUDA device, but is on meta; use"),
        ({"train": X}, TypeError, r"`train` must be a pair `\(x, y\)` of tensors or a `DataLoader`, but is a `Tensor`"),
        ({"train": (X, Y.numpy())}, TypeError, r"`train` must be a pair"),
        ({"train": (X, Y[:-1])}, ValueError, r"`train` must .* shapes are \(40, 3\) and \(39, 1\)\."),
        ({"validation": (X[:0], Y[:0])}, ValueError, r"`validation` must .* shapes are \(0, 3\) and \(0, 1\)\."),
        ({"train": EMPTY}, ValueError, r"`train` must have samples, but its `DataLoader` has none\."),
        ({"train": DataLoader(NoSamples())}, ValueError, r"`train` must have samples, but its `DataLoader` has none\."),
        ({"train": (X.long(), Y)}, TypeError, r"`train` must have `x` in the dtype torch\.float64 .* is torch\.int64"),
        ({"train": (X, Y.float())}, TypeError, r"`train` must have `y` in the dtype torch\.float64 .* torch\.float32"),
        ({"train": (X / 0, Y)}, ValueError, r"`train` must be finite, but `x` has 120 entries that are not\."),
        (
            {"validation": (X, HOLED)},
            ValueError,
            r"`validation` .* `y` has 1 entries that",
        ),
        (
            {"train": (X, Y[:, 0])},
            ValueError,
            r"needs `y` in the shape \(40, 1\) .*, but it has \(40,\); reshape",
        ),
    ],
)
def test_an_impossible_argument_is_named_with_its_value_and_changes_nothing(arguments, error, message):
    model = network()
    state = copied(model)
    with pytest.raises(error, match=message):
        fit(**{"model": model, "train": (X, Y), "validation": (X, Y)} | arguments)
    assert same(model, state)


def test_the_unit_of_the_loss_lets_lbfgs_learn_curvature():
    """Two parameters 1e-7 off: without the unit, steps times changes of gradients are too small to be kept."""

    def kept(unit):
        weight = nn.Parameter(torch.full((2,), 1e-7, dtype=torch.float64))
        optimizer = torch.optim.LBFGS([weight], max_iter=3, tolerance_grad=1e-32, tolerance_change=1e-32)

        def closure():
            optimizer.zero_grad()
            value = unit * (weight.square() * torch.tensor([1.0, 3.0], dtype=torch.float64)).sum()
            value.backward()
            return value

        optimizer.step(closure)
        return len(optimizer.state[weight]["old_dirs"])

    assert kept(1.0) == 0
    assert kept(UNITS["lbfgs"]) > 0


def test_lbfgs_reaches_losses_at_which_torch_alone_stalls():
    x = torch.linspace(-1, 1, 40, dtype=F64)[:, None]
    data, model = (x.expand(-1, 3), torch.sin(2 * x)), network()
    outcome = fit(model, data, data, optimizer="lbfgs", epochs=60)
    assert outcome.best_validation_loss < 1e-8
    assert outcome.train_loss[-1] == pytest.approx(error(model, data), rel=0.5)  # in the unit of the loss itself
