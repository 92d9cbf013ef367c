"""The report on a device is what sampling there gives, and says when our noise is not Aer's."""

import pytest
import torch
from matplotlib.image import imread

from circuits import engines, entangled, pz
from circuits.calibration import fake_backend, noise_of, rank_qubits
from circuits.errors import UnsupportedCircuit
from qkan import QKAN, deploy_check, set_engine

pytest.importorskip("qiskit_ibm_runtime")
F64 = torch.float64


@pytest.fixture(scope="module")
def trained():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = QKAN([2, 3, 1], circuit=pz(2), dtype=F64)
        x = 2 * torch.rand(60, 2, dtype=F64) - 1
    with torch.no_grad():
        return model, x, model(x)  # its own outputs: without noise the error is nothing


@pytest.fixture(scope="module")
def report(trained):
    model, x, y = trained
    return deploy_check(model, x, y, ["FakeManilaV2"], shots=2000, repeats=3)


def line(report, backend, treatment):
    (found,) = (check for check in report.checks if (check.backend, check.treatment) == (backend, treatment))
    return found


def test_metrics_are_in_the_order_that_noise_makes(report):
    exact, shots = (line(report, "simulator", treatment).metric for treatment in ("exact", "shots"))
    raw, corrected = (line(report, "fake_manila", treatment).metric for treatment in ("raw", "corrected"))
    assert exact <= 1e-20
    assert exact < shots < corrected < raw


def test_the_metric_is_that_of_the_noise_of_the_best_qubit(trained, report):
    """Without shot noise, the raw metric is within the spread of the shots of what the noisy engine says."""
    model, x, y = trained
    backend = fake_backend("FakeManilaV2")
    qubit = rank_qubits(backend)[0]
    raw = line(report, "fake_manila", "raw")
    assert raw.qubit == qubit
    set_engine(model, engines.get("noisy", noise=noise_of(backend, qubit)))
    with torch.no_grad():
        bias = (model(x) - y).square().mean().item()
    set_engine(model, "auto")
    shots = line(report, "simulator", "shots").metric
    assert raw.metric == pytest.approx(bias + shots, rel=0.25)


def test_aer_says_the_same(report):
    assert 0 < line(report, "fake_manila", "raw").deviation <= 1e-12


def test_models_are_left_as_they_were(trained, report):
    model, x, y = trained
    with torch.no_grad():
        assert torch.equal(model(x), y)


def test_reports_are_readable_and_drawn(report, tmp_path):
    assert "fake_manila" in str(report)
    report.plot(tmp_path / "report.png")
    assert imread(tmp_path / "report.png").std() > 0


def test_what_cannot_be_checked_is_refused(trained):
    model, x, y = trained
    with pytest.raises(TypeError, match="`backends`"):
        deploy_check(model, x, y, "FakeManilaV2")
    with pytest.raises(ValueError, match="must be a fake backend such as Fake"):
        deploy_check(model, x, y, ["FakeNowhere"])
    with pytest.raises(UnsupportedCircuit, match="has 2 wires, and calibrations are read for one"):
        deploy_check(QKAN([2, 1], circuit=entangled(1), dtype=F64), x, y, ["FakeManilaV2"])


def test_layers_may_stand_behind_others_and_dropout_is_off():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Dropout(0.5), QKAN([3, 2], circuit=pz(1))).double()
        x = torch.rand(20, 5, dtype=F64)
    model.eval()
    with torch.no_grad():
        y = model(x)
    model.train()
    found = deploy_check(model, x, y, ["FakeManilaV2"], shots=100, repeats=1)
    assert line(found, "simulator", "exact").metric <= 1e-20
    assert model.training
