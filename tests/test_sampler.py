"""Circuits on devices behind Qiskit's samplers: packed, corrected, extrapolated, and safe when providers fail."""

import math
import os
import random
import signal
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from circuits import Circuit, Encode, Gate, Slot, UnsupportedCircuit, pz
from circuits.calibration import best_path, noise_model_of, noise_of, rank_qubits, samplers_of
from circuits.engines import get
from circuits.engines.limits import Limits
from circuits.engines.sampler import Sampler
from circuits.errors import DeviceError
from circuits.gradient import Simulator
from circuits.journal import Journal
from circuits.mitigation import corrected_signs, estimated, extrapolated, intercept, summed
from circuits.native import folded, native, pulses
from circuits.shots import standard_error
from judge import report
from models import PAIR
from random_circuits import inputs
from tolerances import EXACT, FOREIGN, bernstein, rms_window

F64 = torch.float64
aer = pytest.importorskip("qiskit_aer")
fakes = pytest.importorskip("qiskit_ibm_runtime.fake_provider")
primitives = pytest.importorskip("qiskit.primitives")
MANILA = fakes.FakeManilaV2()


def fresh(seed):
    """Aer, noise-free, with random numbers that depend on the job."""
    return aer.primitives.SamplerV2(seed=seed)


manila = samplers_of(MANILA)


def on_manila(**options):
    return Sampler(manila, backend=MANILA, seed=options.pop("seed", 0), **options)


ENTANGLED = Circuit(
    PAIR,
    ("ZX", "YI", "ZZ"),
)


# Without noise.


@pytest.mark.parametrize("qubits", [1, 3, 7, 20])
@pytest.mark.parametrize("structure", ["keep", "fuse"])
def test_values_are_binomial_whatever_runs_side_by_side(qubits, structure):
    x, params = inputs(pz(2), (25, 1), (2,))
    engine = Sampler(fresh, shots=500, qubits=qubits, structure=structure, readout_correction=False, seed=1)
    exact = get("bloch")(pz(2), x, params)
    values, errors = engine(pz(2), x, params, with_error=True)
    assert ((values - exact).abs() <= bernstein(exact, 500)).all()
    inner = exact.abs() < 0.9
    scores = ((values - exact) / errors)[inner]
    assert abs(scores.square().mean().sqrt() - 1) <= rms_window(len(scores))


@pytest.mark.parametrize("correction", [False, True])
def test_circuits_of_several_wires_and_readouts(correction):
    x, params = inputs(ENTANGLED, (30,), (30,))
    exact = get("statevector")(ENTANGLED, x, params)
    values = Sampler(fresh, shots=800, readout_correction=correction, seed=0)(ENTANGLED, x, params)
    assert ((values - exact).abs() <= 1.1 * bernstein(exact, 800)).all()


@pytest.mark.parametrize("sampler", ["StatevectorSampler", "BackendSamplerV2"])
def test_any_sampler_will_do(sampler):
    made = {
        "StatevectorSampler": lambda seed: primitives.StatevectorSampler(seed=np.random.default_rng(seed)),
        "BackendSamplerV2": lambda seed: primitives.BackendSamplerV2(
            backend=aer.AerSimulator(), options={"seed_simulator": seed}
        ),
    }[sampler]
    x, params = inputs(pz(1), (6,), ())
    exact = get("bloch")(pz(1), x, params)
    engine = Sampler(made, shots=400, qubits=2, seed=0)
    assert ((engine(pz(1), x, params) - exact).abs() <= 1.2 * bernstein(exact, 400)).all()


def test_seeds_repeat_runs_and_not_steps():
    x, params = inputs(pz(1), (20,), ())
    first, second = (Sampler(fresh, shots=100, seed=3) for _ in range(2))
    one, two = first(pz(1), x, params), first(pz(1), x, params)
    assert not torch.equal(one, two)
    assert torch.equal(second(pz(1), x, params), one)
    assert torch.equal(second(pz(1), x, params), two)


def test_rows_with_shots_of_their_own():
    x, params = inputs(pz(1), (10, 1), (2,))
    shots = torch.tensor([10, 2000])
    values = Sampler(fresh, shots=shots, qubits=4, readout_correction=False, seed=0)(pz(1), x, params)
    exact = get("bloch")(pz(1), x, params)
    tenths = (values[:, 0] + 1) * 5
    torch.testing.assert_close(tenths, tenths.round(), rtol=0, atol=1e-9)
    assert ((values - exact)[:, 1].abs() <= bernstein(exact[:, 1], 2000)).all()


def recorded(**options):
    """An engine whose jobs are only written down."""
    jobs = []

    class Recorder:
        def run(self, pubs):
            jobs.append(pubs)
            return fresh(0).run(pubs)

    return Sampler(Recorder(), **options), jobs


def test_a_table_is_one_part_of_few_rows_and_the_program_is_made_once():
    engine, jobs = recorded(shots=10, qubits=4, readout_correction=False)
    x, params = inputs(pz(2), (5, 1), (3,))
    engine(pz(2), x, params)
    engine(pz(2), x + 0.1, params)
    (((program, values, shots),), ((again, _, _),)) = jobs
    assert values.shape == (4, 4 * 6)
    assert shots == 10
    assert again is program


@pytest.mark.parametrize("shots", [10, 50, 111])
def test_jobs_stay_within_the_limits_and_have_one_number_of_shots(shots):
    engine, jobs = recorded(shots=shots, qubits=2, limits=Limits(executions=1000, rows=3))
    x, params = inputs(pz(1), (37,), ())
    engine(pz(1), x, params)
    for job in jobs:
        assert sum(len(values) * each for _, values, each in job) <= 1000
        assert all(len(values) <= 3 and each == shots for _, values, each in job)
        assert len({id(program) for program, _, _ in job[-8:]}) == 2  # |0> and |1>, four times each, in every job
    assert sum(len(values) for job in jobs for _, values, _ in job[:-8]) == math.ceil(37 / 2)


def test_rows_of_equal_shots_count_together():
    """Evaluations with shots of their own as so many rows, side by side, in one job; each has all of its shots."""
    x, params = inputs(pz(1), (12, 1), (3,))
    shots, exact = torch.tensor([20, 100, 400]), get("bloch")(pz(1), x, params)
    engine, jobs = recorded(shots=shots, row_shots=20, qubits=8, readout_correction=False)
    values, errors = engine(pz(1), x, params, with_error=True)
    ((_, rows, each),) = jobs[0]
    assert each == 20
    assert len(rows) == 12 * (1 + 5 + 20) // 8
    steps = (values + 1) / 2 * shots
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-9)
    torch.testing.assert_close(errors, standard_error(values, shots), **EXACT)
    for column, count in enumerate(shots.tolist()):
        assert ((values - exact)[:, column].abs() <= bernstein(exact[:, column], count)).all()


@pytest.mark.parametrize("wires", [1, 2])
def test_sums_of_rows_are_those_of_all_their_shots(wires):
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], (3, 90, wires))
    zero, one = (np.where(rng.random((200, wires)) < p, 1.0, -1.0) for p in (0.95, 0.1))
    for calibration in ((), (zero, one)):
        whole = summed(signs, *calibration)
        parts = np.sum([summed(part, *calibration) for part in np.split(signs, [20, 50], axis=1)], axis=0)
        # But for the error of the calibration, which depends on the value.
        np.testing.assert_allclose(parts[:-1], whole[:-1], rtol=1e-12)
        values, errors = estimated(parts)
        np.testing.assert_allclose(values, estimated(whole)[0], rtol=1e-12)
        np.testing.assert_allclose(errors, estimated(whole)[1], rtol=0.02)


def test_calibrations_are_as_many_as_rows_on_average():
    """In shots: four times what a row of a job has on average, in |0> and in |1>."""
    engine = Sampler(fresh, shots=torch.tensor([20, 60, 160]), row_shots=20, qubits=2)
    circuit, table = template_of(pz(1), 3)
    (job,) = engine.jobs(circuit, table, torch.tensor([20, 60, 160]))
    assert job.calibrations == 4 * 4
    assert job.rows == 6 + 2 * 16


def test_costs_are_rows_times_shots_times_seconds():
    """Of every part by its program: the pulses of the busiest qubit, its measurement, and the wait in between."""
    engine = on_manila(shots=300, qubits=[3, 1], scales=(1.0, 3.0))
    circuit, table = template_of(pz(1), 7)
    costs = engine.costs(circuit, table, torch.full((7,), 300))
    target, delay = MANILA.target, MANILA.configuration().default_rep_delay
    pulse = {q: target["sx"][q,].duration for q in (1, 3)}
    read = {q: target["measure"][q,].duration for q in (1, 3)}
    count = pulses(native(Circuit(circuit.gates, "Z")))
    rows = [max(scale * count * pulse[q] + read[q] for q in (1, 3)) + delay for scale in (1, 3)]
    down, up = (max(often * target["x"][q,].duration + read[q] for q in (1, 3)) + delay for often in (0, 1))
    assert (costs.circuits, costs.jobs) == (7, 1)
    assert costs.rows == 2 * 4 + 2 * 4  # seven circuits in pairs at two scales, and the calibrations
    assert costs.executions == 300 * costs.rows
    assert costs.seconds == pytest.approx(300 * (4 * sum(rows) + 4 * (down + up)), rel=1e-12)


def test_costs_without_a_backend_have_no_seconds_and_jobs_within_the_limits():
    engine = Sampler(fresh, shots=100, qubits=2, limits=Limits(executions=2_000, rows=6))
    costs = engine.costs(*template_of(pz(1), 43), torch.full((43,), 100))
    assert costs.jobs == 2  # 22 rows in parts of 6, two of them beside eight calibrations, and the rest
    assert (costs.circuits, costs.rows, costs.seconds) == (43, 22 + 2 * 8, 0.0)


def test_shots_that_no_job_can_take_are_refused_before_anything_is_submitted():
    engine, jobs = recorded(shots=112, limits=Limits(executions=1000))
    with pytest.raises(ValueError, match="`shots` is 112, but a job has 1000 executions at most"):
        engine(pz(1), *inputs(pz(1)))
    assert jobs == []


@pytest.mark.parametrize("qubits", [1, 3])
def test_readouts_that_see_other_angles_do_not_mix_up_copies(qubits):
    """Z does not see the last angle, X does: rows of parameters differ in length."""
    circuit = Circuit((Gate("RY", 0, Encode(Slot("a"))), Gate("RZ", 0, Slot("a", 1))), ("Z", "X"))
    x, params = inputs(circuit, (30,), (30,))
    exact = get("statevector")(circuit, x, params)
    values = Sampler(fresh, shots=2000, qubits=qubits, readout_correction=False, seed=0)(circuit, x, params)
    assert ((values - exact).abs() <= bernstein(exact, 2000)).all()


def test_copies_of_an_engine_draw_other_numbers():
    x, params = inputs(pz(1), (30,), ())
    engine = Sampler(fresh, shots=100, seed=0)
    assert not torch.equal(*(engine.with_shots(200)(pz(1), x, params) for _ in range(2)))


def test_a_gradient_is_one_more_job():
    engine, jobs = recorded(shots=10, qubits=4, readout_correction=False)
    x, params = inputs(pz(2), (5,), ())
    report(engine, pz(2), x, params)
    assert len(jobs) == 2
    assert jobs[1][0][1].shape == (math.ceil(5 * 12 / 4), 4 * 6)


TRIANGLE = Circuit(
    (
        Gate("RY", 0, Slot("a")),
        Gate("RX", 1, Encode()),
        Gate("RY", 2, Slot("a", 1)),
        Gate("CNOT", (0, 2)),
        Gate("CNOT", (1, 0)),
        Gate("RX", 0, Slot("a", 2)),
    ),
    ("ZIZ", "IZI"),
)
"""Couplings that no chain has: one pair must be brought together."""


def test_routed_circuits_are_calibrated_where_they_are_measured():
    engine = on_manila(shots=2000, qubits=[2, 3, 4])
    x, params = inputs(TRIANGLE, (12,), (12,))
    for job in engine.jobs(*template_of(TRIANGLE), torch.full((2,), 50)):
        program = job.parts[0].program
        assert set(program.qubits) == {2, 3, 4}
        assert job.parts[-1].program.qubits == job.qubits
        assert set(job.qubits) == {2, 3, 4}
    exact = get("statevector")(TRIANGLE, x, params)
    found = engine(TRIANGLE, x, params)
    raw = on_manila(shots=2000, qubits=[2, 3, 4], readout_correction=False)(TRIANGLE, x, params)
    assert (found - exact).square().mean() < 0.5 * (raw - exact).square().mean()


def test_routing_never_leaves_the_qubits_that_are_named():
    with pytest.raises(ValueError, match="take the circuit through"):
        on_manila(shots=10, qubits=[0, 2, 4])(TRIANGLE, *inputs(TRIANGLE))


def test_folding_comes_after_routing():
    counts = {}
    for scale in (1.0, 3.0):
        engine, jobs = recorded(backend=MANILA, shots=10, scales=(scale,), qubits=[2, 3, 4], readout_correction=False)
        engine(TRIANGLE, *inputs(TRIANGLE))
        counts[scale] = [program.count_ops() for program, _, _ in jobs[0]]
    assert counts[1.0][0]["cx"] > 2  # the two of the circuit, and a swap
    for plain, stretched in zip(counts[1.0], counts[3.0], strict=True):
        assert all(stretched[name] == 3 * plain[name] for name in plain.keys() & {"cx", "sx"})


def test_extrapolation_starts_from_the_factors_that_are_reached():
    engine = Sampler(fresh, scales=(1.0, 1.5), shots=10)
    job = next(engine.jobs(*template_of(pz(3)), torch.full((2,), 10)))
    assert [part.program.stretch for part in job.parts[:2]] == [1.0, 13 / 9]
    with pytest.raises(ValueError, match="take odd numbers"):
        Sampler(fresh, scales=(1.0, 1.4), structure="fuse", shots=10)(pz(1), *inputs(pz(1)))


def template_of(circuit, rows=2):
    from circuits.angles import template
    from circuits.lower import simplify

    plain, angles = template(simplify(circuit))
    return Circuit(plain.gates, plain.strings), torch.zeros(rows, len(angles), dtype=F64)


@pytest.mark.parametrize("kind", ["old", "new"])
def test_primitives_of_the_runtime_run_in_local_mode(kind):
    if kind == "old":
        primitive = pytest.importorskip("qiskit_ibm_runtime").SamplerV2
    else:
        primitive = pytest.importorskip("qiskit_ibm_runtime.executor_sampler").Sampler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the old one, which is still what people have
        engine = Sampler(primitive(mode=MANILA), shots=500, qubits=5)
        x, params = inputs(pz(1), (10,), ())
        values = engine(pz(1), x, params)
    assert engine.backend is MANILA or engine.backend.name == MANILA.name
    exact = get("bloch")(pz(1), x, params)
    assert ((values - exact).abs() <= 1.5 * bernstein(exact, 500)).all()


# Calibrations.


@pytest.mark.parametrize("qubit", range(5))
def test_noise_of_a_backend_is_that_of_aer(qubit):
    """Our engine against Aer's density matrix with the full model of FakeManilaV2, on the qubit itself."""
    x, params = inputs(pz(3), (6,), (6,))
    ours = get("noisy", noise=noise_of(MANILA, qubit))
    plain = native(pz(3))
    assert (ours(pz(3), x, params) - full_aer(MANILA, plain, qubit, x, params)).abs().max() <= 1e-12
    cut = get("qiskit", noise_model=noise_model_of(MANILA, qubit, readout=False))
    without_readout = get("noisy", noise=noise_without_readout(MANILA, qubit))
    torch.testing.assert_close(cut(plain, x, params), without_readout(pz(3), x, params), **FOREIGN)


def noise_without_readout(backend, qubit):
    from circuits.noise import Noise

    return Noise(noise_of(backend, qubit).gates)


def full_aer(backend, circuit, qubit, x, params):
    """Every row as one bound program on the physical qubit, transpiled for the backend, with its whole noise model."""
    from qiskit import transpile

    from circuits import to_qiskit

    simulator = aer.AerSimulator.from_backend(backend, method="density_matrix")
    error = noise_of(backend, qubit).readout
    assert error is not None
    columns = {"x": x, **params}
    values = []
    for k in range(len(x)):
        program = to_qiskit(circuit)
        bound = {each: columns[each.vector.name][k, each.index].item() for each in program.parameters}
        isa = transpile(program.assign_parameters(bound), backend, initial_layout=[qubit], optimization_level=0)
        assert isa.count_ops()["sx"] == pulses(circuit)
        isa.save_density_matrix([qubit])
        rho = simulator.run(isa).result().data()["density_matrix"].data
        values.append(np.real(rho[0, 0] - rho[1, 1]) * error.slope.item() + error.offset.item())
    return torch.tensor(values, dtype=F64)


def test_the_best_qubits_have_the_least_errors():
    ranked = rank_qubits(MANILA)
    assert sorted(ranked) == list(range(5))
    errors = [MANILA.target["measure"][(q,)].error + 10 * MANILA.target["sx"][(q,)].error for q in ranked]
    assert errors == sorted(errors)
    assert best_path(MANILA, 2) in ([0, 1], [1, 0], [1, 2], [2, 1], [2, 3], [3, 2], [3, 4], [4, 3])


def made_up(sx, measure, cx):
    """A line of five qubits with these errors, of qubits and of couplings."""
    from qiskit.transpiler import InstructionProperties

    backend = fakes.FakeManilaV2()
    for name, errors in (("sx", sx), ("measure", measure)):
        for qubit, error in enumerate(errors):
            backend.target.update_instruction_properties(name, (qubit,), InstructionProperties(error=error))
    for first, error in enumerate(cx):
        for place in ((first, first + 1), (first + 1, first)):
            backend.target.update_instruction_properties("cx", place, InstructionProperties(error=error))
    return backend


def test_qubits_are_ranked_by_readout_and_ten_pulses():
    backend = made_up([1e-3, 1e-2, 1e-3, 2e-3, 1e-3], [0.03, 0.01, 0.02, 0.02, 0.02], [0.01] * 4)
    assert rank_qubits(backend) == [2, 4, 0, 3, 1]  # 0.03, 0.03, 0.04, 0.04 and 0.11
    assert rank_qubits(backend, pulses=0) == [1, 2, 3, 4, 0]
    assert rank_qubits(backend, pulses=100)[-1] == 1


def test_the_best_chain_has_the_least_errors_in_sum():
    perfect = [0.0] * 5
    assert set(best_path(made_up(perfect, [0.1, 0.1, 0.01, 0.01, 0.1], [0.01] * 4), 2)) == {2, 3}
    # A bad coupling between good qubits costs more than a worse qubit.
    assert set(best_path(made_up(perfect, [0.1, 0.1, 0.01, 0.01, 0.05], [0.01, 0.01, 0.2, 0.01]), 2)) == {3, 4}
    assert sorted(best_path(made_up(perfect, [0.3, 0.01, 0.01, 0.01, 0.02], [0.01] * 4), 3)) == [1, 2, 3]
    # Through no dead qubit and over no dead coupling, however good the rest.
    assert set(best_path(made_up(perfect, [0.2, 0.2, math.nan, 0.01, 0.01], [0.01] * 4), 2)) == {3, 4}
    with pytest.raises(ValueError, match="has no chain of 3 coupled"):
        best_path(made_up(perfect, [0.01, 0.01, math.nan, 0.01, 0.01], [0.01] * 4), 3)
    with pytest.raises(ValueError, match="has no chain of 3 coupled"):
        best_path(made_up(perfect, [0.01] * 5, [0.01, 0.6, 0.01, math.nan]), 3)


def broken(what, qubit=2, error=1.0):
    from qiskit.transpiler import InstructionProperties

    backend = fakes.FakeManilaV2()
    backend.target.update_instruction_properties(what, (qubit,), InstructionProperties(error=error))
    return backend


@pytest.mark.parametrize("what", ["measure", "sx"])
@pytest.mark.parametrize("error", [1.0, math.nan])
def test_dead_qubits_are_refused(what, error):
    backend = broken(what, error=error)
    assert 2 not in rank_qubits(backend)
    with pytest.raises(ValueError, match=r"Qubit 2 of .* is dead"):
        Sampler(manila, backend=backend, qubits=[1, 2])
    with pytest.raises(ValueError, match="has 4 working qubits"):
        Sampler(manila, backend=backend, qubits=5)
    assert Sampler(manila, backend=backend, qubits="all").qubits == tuple(rank_qubits(backend))


def layout_of(engine, circuit, rows):
    (job,) = list(engine.jobs(circuit, torch.zeros(rows, 6, dtype=F64), torch.full((rows,), 10)))
    program = job.parts[0].program
    measured = {each.clbits[0]: each.qubits[0] for each in program.circuit.data if each.operation.name == "measure"}
    found = [program.circuit.find_bit(measured[bit]).index for bit in program.circuit.clbits]
    assert tuple(found) == program.qubits == job.parts[-1].program.qubits
    return found


def test_qubits_are_the_best_those_named_or_all():
    from circuits.angles import template
    from circuits.lower import simplify

    circuit, _ = template(simplify(pz(2)))
    assert layout_of(on_manila(qubits=3), circuit, 9) == rank_qubits(MANILA)[:3]
    assert layout_of(on_manila(qubits=[4, 0]), circuit, 9) == [4, 0]
    assert layout_of(on_manila(qubits="all"), circuit, 9) == rank_qubits(MANILA)


# Mitigation.


@pytest.fixture(scope="module")
def packed():
    """Circuits on all qubits of FakeManilaV2, raw and corrected: errors against gates without readout error."""
    shots, x = 4000, torch.linspace(-1, 1, 1500, dtype=F64)[:, None]
    _, params = inputs(pz(1), (), ())
    results = {}
    order = rank_qubits(MANILA)
    truth = torch.stack(
        [get("noisy", noise=noise_without_readout(MANILA, q))(pz(1), x[k::5], params) for k, q in enumerate(order)]
    )
    for correction in (False, True):
        engine = on_manila(shots=shots, qubits="all", readout_correction=correction)
        values, errors = engine(pz(1), x, params, with_error=True)
        results[correction] = values.reshape(300, 5).T - truth, errors.reshape(300, 5).T
    floor = ((1 - truth**2) / shots).mean(1).sqrt()
    return results, floor


def test_readout_correction_comes_within_half_of_the_shot_floor_on_every_qubit(packed):
    results, floor = packed
    wrong, _ = results[True]
    assert (wrong.square().mean(1).sqrt() <= 1.5 * floor).all()
    raw, _ = results[False]
    assert (raw.square().mean(1).sqrt() > 1.5 * floor).any()


def test_corrected_errors_are_honest(packed):
    wrong, errors = packed[0][True]
    scores = wrong / errors
    assert abs(scores.square().mean().sqrt() - 1) <= rms_window(300)  # the calibration is one draw for all rows


def test_correction_is_the_closed_form_and_does_not_clip():
    rng = np.random.default_rng(0)
    signs = np.where(rng.random((3, 400, 1)) < 0.97, 1.0, -1.0)
    zero, one = np.ones((1000, 1)), -np.ones((1000, 1))
    zero[:60], one[:100] = -1, 1  # p01 = 0.06, p10 = 0.1
    values, errors = corrected_signs(signs, zero, one)
    np.testing.assert_allclose(values, (signs.mean(1)[:, 0] - 0.04) / 0.84, atol=1e-12)
    assert (values > 1).any()
    floor = np.sqrt((1 - signs.mean(1)[:, 0] ** 2) / 400) / 0.84
    assert (errors > floor).all()
    assert (errors < 2 * floor).all()
    with pytest.raises(ValueError, match="choose other qubits"):
        corrected_signs(signs, one, zero)


@pytest.mark.parametrize("wires", [1, 2])
def test_corrected_errors_are_those_of_repeated_experiments(wires):
    """The spread over many experiments, calibrations drawn anew in each, is the error that one of them reports."""
    rng = np.random.default_rng(1)
    p01, p10, shots, calibration = np.array([0.05, 0.1])[:wires], np.array([0.1, 0.02])[:wires], 300, 200
    found = []
    for _ in range(600):
        ups = rng.random((1, shots, wires)) < 0.7
        reads = np.where(ups, rng.random(ups.shape) >= p01, rng.random(ups.shape) < p10)
        zero = np.where(rng.random((calibration, wires)) >= p01, 1.0, -1.0)
        one = np.where(rng.random((calibration, wires)) < p10, 1.0, -1.0)
        values, errors = corrected_signs(np.where(reads, 1.0, -1.0), zero, one)
        found.append((values[0], errors[0]))
    values, errors = np.array(found).T
    assert abs(values.mean() - 0.4**wires) <= 5 * values.std() / math.sqrt(600) + 0.01
    assert abs(values.std() / np.sqrt((errors**2).mean()) - 1) <= 0.12


@pytest.mark.parametrize("scale", [3, 5])
def test_submitted_circuits_have_exactly_so_many_times_the_pulses(scale):
    """Counted in what is handed to the sampler, after the last transpile."""
    counts = {}
    for scales in ((1.0,), (float(scale),)):
        engine, jobs = recorded(backend=MANILA, shots=10, qubits=2, scales=scales, readout_correction=False)
        x, params = inputs(pz(3), (4,), ())
        engine(pz(3), x, params)
        ((program, _, _),) = jobs[0]
        counts[scales[0]] = program.count_ops()
    assert counts[1.0]["sx"] == 2 * 9
    assert counts[scale]["sx"] == scale * counts[1.0]["sx"]
    assert pulses(folded(native(pz(3)), scale)) == 9 * scale


def test_extrapolation_undoes_depolarising_noise_exactly():
    """v(s) = z (1 - p)^(9 s): the exponential fit is exact, the linear one better than nothing."""
    z, scales = np.array([0.7, -0.4, 0.05]), (1.0, 3.0, 5.0)
    values = np.stack([z * 0.99 ** (9 * s) for s in scales])
    exact, _ = extrapolated(values, np.full_like(values, 1e-9), scales, "exponential")
    np.testing.assert_allclose(exact, z, atol=1e-12)
    linear, _ = extrapolated(values, np.full_like(values, 1e-9), scales, "linear")
    assert (np.abs(linear - z) < np.abs(values[0] - z)).all()


@pytest.mark.parametrize("fit", ["linear", "exponential"])
def test_extrapolated_errors_grow_as_they_must(fit):
    rng, scales, z, error = np.random.default_rng(2), (1.0, 3.0, 5.0), 0.7, 0.01
    clean = np.array([z * 0.99 ** (9 * s) for s in scales])[:, None]
    values = clean + error * rng.standard_normal((3, 20_000))
    found, errors = extrapolated(values, np.full_like(values, error), scales, fit)
    assert abs(found.std() / np.sqrt((errors**2).mean()) - 1) <= 0.03
    assert errors.min() > 1.2 * error
    np.testing.assert_allclose(np.linalg.norm(intercept(scales)), math.sqrt(35 / 24), atol=1e-12)


def test_values_without_a_clear_sign_are_extrapolated_linearly():
    values, errors = np.array([[0.01, 0.5], [-0.01, 0.4]]), np.full((2, 2), 0.02)
    both = [extrapolated(values, errors, (1.0, 3.0), fit)[0] for fit in ("linear", "exponential")]
    assert both[0][0] == both[1][0]
    assert both[0][1] != both[1][1]


@pytest.mark.parametrize(("sigmas", "fit"), [(1.99, "linear"), (2.01, "exponential")])
@pytest.mark.parametrize("sign", [1, -1])
def test_values_are_clear_from_two_standard_errors_on(sigmas, fit, sign):
    """The value with the largest error decides, wherever it stands."""
    weights = intercept((1.0, 3.0, 5.0))
    for place in range(3):
        values = sign * np.array([[0.5], [0.4], [0.35]])
        errors = np.full((3, 1), 0.01)
        errors[place] = np.abs(values[place]) / sigmas
        found = extrapolated(values, errors, (1.0, 3.0, 5.0), "exponential")
        linear, exponential = weights @ values, sign * np.exp(weights @ np.log(np.abs(values)))
        assert abs(linear - exponential) > 1e-3
        np.testing.assert_allclose(found[0], linear if fit == "linear" else exponential, rtol=1e-12)


def test_extrapolation_on_a_device_brings_values_nearer():
    """FakeManilaV2 with its errors tenfold by folding: extrapolated values beat corrected ones."""
    x, params = inputs(pz(3), (40,), ())
    exact = get("bloch")(pz(3), x, params)
    base = {"shots": 20_000, "qubits": [2]}
    noisy = on_manila(scales=(15.0,), **base)(pz(3), x, params)
    better = on_manila(scales=(15.0, 31.0, 45.0), fit="exponential", **base)(pz(3), x, params)
    assert (better - exact).square().mean() < 0.5 * (noisy - exact).square().mean()


# Gradients.


def test_device_values_and_simulated_gradients(seeded):
    noise = noise_of(MANILA, 2)
    twin = get("noisy", noise=noise)
    x, params = inputs(pz(1), (8,), ())
    engine = on_manila(shots=2000, qubits=[2], readout_correction=False, gradient=Simulator(twin))
    found, expected = report(engine, pz(1), x, params), report(twin, pz(1), x, params)
    assert ((found["value"] - expected["value"]).abs() <= bernstein(expected["value"], 2000)).all()
    for name in ("d/dx", "d/dtheta", "d/dscale", "d/dshift"):
        torch.testing.assert_close(found[name], expected[name], **FOREIGN)


def test_shifted_gradients_of_a_noisy_device_are_those_of_its_noise():
    noise = noise_of(MANILA, 2)
    x, params = inputs(pz(1), (8,), ())
    engine = on_manila(shots=20_000, qubits=[2], readout_correction=False)
    found = report(engine, pz(1), x, params)["d/dx"]
    expected = report(get("noisy", noise=noise), pz(1), x, params)["d/dx"]
    weight = torch.linspace(0.5, 1.5, 8, dtype=F64)[:, None] * params["scale"].abs()
    scores = (found - expected) / weight * math.sqrt(2 * 20_000)
    assert scores.abs().max() <= 6


# Failures.


class Faulty:
    """A sampler that fails as told, a time after the other, and then works."""

    def __init__(self, *faults):
        self.faults, self.calls = list(faults), 0

    def run(self, pubs):
        self.calls += 1
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        job = fresh(0).run(pubs)
        if fault is None:
            return job
        return SimpleNamespace(job_id=job.job_id, result=lambda: fault(job.result()))


class Refused(Exception):
    def __init__(self, status_code):
        super().__init__(f"status {status_code}")
        self.status_code = status_code


def evaluated(sampler, **options):
    x, params = inputs(pz(1), (4,), ())
    options = {"shots": 10, "qubits": 2, "limits": Limits(wait=0.0)} | options
    return Sampler(sampler, **options)(pz(1), x, params)


@pytest.mark.parametrize(
    "fault", [TimeoutError("slow"), ConnectionResetError("gone"), Refused(503), Refused(429)], ids=repr
)
def test_what_may_pass_is_tried_again(fault):
    sampler = Faulty(fault, fault)
    assert torch.equal(evaluated(sampler), evaluated(Faulty()))
    assert sampler.calls == 3


def raising(error):
    def fault(result):
        raise error

    return fault


def test_results_that_time_out_are_fetched_again_not_submitted_again():
    failures = [TimeoutError("slow")] * 2

    def slow(result):
        if failures:
            raise failures.pop()
        return result

    sampler = Faulty(slow)
    evaluated(sampler)
    assert sampler.calls == 1


@pytest.mark.parametrize(
    ("fault", "calls", "message"),
    [
        (Refused(400), 1, "submission of job 0 failed: Refused: status 400"),
        (ValueError("bad circuit"), 1, "ValueError: bad circuit"),
        (raising(RuntimeError("cancelled")), 1, "failed: RuntimeError: cancelled"),
        (raising(KeyError("part")), 1, "failed: KeyError: 'part'"),
        (lambda result: list(result)[:-1], 1, "came back with 8 of 9 parts"),
        (lambda result: [SimpleNamespace(data={}) for _ in result], 1, "without the bits of register c"),
        (
            lambda result: [
                SimpleNamespace(data={"c": SimpleNamespace(array=each.data["c"].array[..., :-1, :])}) for each in result
            ],
            1,
            "bits of shape",
        ),
    ],
    ids=["refused", "bad", "cancelled", "broken", "partial", "no bits", "fewer shots"],
)
def test_what_will_not_pass_is_one_clear_error(fault, calls, message):
    sampler = Faulty(fault, fault, fault)
    with pytest.raises(DeviceError, match=message):
        evaluated(sampler)
    assert sampler.calls == calls


def test_giving_up_says_how_often_it_tried_and_what_is_kept(tmp_path):
    journal = Journal(tmp_path)
    sampler = Faulty(*[TimeoutError("slow")] * 9)
    with pytest.raises(DeviceError, match=r"after 3 attempts: TimeoutError: slow\. Finished jobs are in Journal"):
        evaluated(sampler, limits=Limits(retries=2, wait=0.0), journal=journal)
    journal.close()


def trained_on(sampler, folder, **options):
    """Three steps of gradient descent on a device, every job in the journal."""
    with Journal(folder) as journal:
        x, params = inputs(pz(1), (2,), ())
        options = {"shots": 8, "qubits": 2, "limits": Limits(executions=100, wait=0.0), "journal": journal} | options
        engine = Sampler(sampler, **options)
        theta = params.pop("theta").requires_grad_()
        for _ in range(3):
            loss = engine(pz(1), x, {"theta": theta, **params}).square().sum()
            (slope,) = torch.autograd.grad(loss, theta)
            theta = (theta - 0.1 * slope).detach().requires_grad_()
        return theta.detach()


def test_an_interrupted_training_goes_on_without_paying_twice(tmp_path):
    """Gradient descent on a device, stopped in the middle: the second run submits only what is missing."""
    quiet = Faulty()
    expected = trained_on(quiet, tmp_path / "quiet")
    for stop in (1, 4, quiet.calls - 1):
        stopped = Faulty(*[None] * stop, ValueError("out of credit"))
        folder = tmp_path / str(stop)
        with pytest.raises(DeviceError, match="out of credit"):
            trained_on(stopped, folder)
        rest = Faulty()
        assert torch.equal(trained_on(rest, folder), expected)
        assert stop + rest.calls == quiet.calls


class Cloud:
    """A sampler and a service in a folder: jobs are there whatever becomes of those who submitted them.

    Args:
        folder: of the jobs, one file each, named by tag.
        step: called before and after everything that can be interrupted.
    """

    def __init__(self, folder, step=lambda: None):
        self.folder, self.step = folder, step
        self.options = SimpleNamespace(environment=SimpleNamespace(job_tags=["mine"]))
        folder.mkdir(exist_ok=True)

    def run(self, pubs):
        self.step()
        mine, tag = self.options.environment.job_tags
        assert mine == "mine"
        result = primitives.StatevectorSampler(seed=np.random.default_rng(int(tag[:6]))).run(pubs).result()
        bits = {f"part{k}": each.data["c"].array for k, each in enumerate(result)}
        count = len(list(self.folder.glob(f"{tag}*.npz")))
        part = self.folder / "part"
        with part.open("wb") as file:
            np.savez(file, **bits)
        part.rename(self.folder / f"{tag}-{count}.npz")
        self.step()
        return self.job(f"{tag}-{count}")

    def job(self, identity):
        path = self.folder / f"{identity}.npz"
        if not path.exists():
            raise LookupError(identity)

        def result():
            self.step()
            with np.load(path) as parts:
                arrays = [parts[f"part{k}"] for k in range(len(parts.files))]
            return [SimpleNamespace(data={"c": SimpleNamespace(array=array)}) for array in arrays]

        return SimpleNamespace(job_id=lambda: identity, result=result)

    def jobs(self, job_tags, limit):
        assert len(job_tags) == 1
        found = sorted(self.folder.glob(f"{job_tags[0]}*.npz"))
        return [self.job(path.stem) for path in found[:limit]]


def test_a_training_that_is_killed_again_and_again_ends_where_a_quiet_one_does(tmp_path):
    """Processes that kill themselves at a random step; the next one goes on. Every job is submitted exactly once."""
    quiet = Cloud(tmp_path / "quiet cloud")
    expected = trained_on(quiet, tmp_path / "quiet", service=quiet)
    assert quiet.options.environment.job_tags == ["mine"]

    def jobs_of(cloud):  # without the run, which every folder has for itself
        return sorted(path.stem[:27] + path.stem[-2:] for path in cloud.folder.glob("*.npz"))

    submitted = jobs_of(quiet)
    assert len(submitted) > 8
    chance, kills = random.Random(0), 0
    for attempt in range(3):
        place = tmp_path / str(attempt)
        place.mkdir()
        while True:
            steps = chance.randrange(1, 12)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # threads of torch, of which the child needs none
                child = os.fork()
            if not child:
                _run_or_die(trained_on, place, steps)
            _, status = os.waitpid(child, 0)
            if not os.WIFSIGNALED(status):
                assert os.WEXITSTATUS(status) == 0
                break
            kills += 1
        cloud = Cloud(place / "cloud")
        assert torch.equal(trained_on(cloud, place / "journal", service=cloud), expected)
        assert jobs_of(cloud) == submitted
    assert kills >= 10


def evaluated_on(cloud, folder, **options):
    """One evaluation of three jobs, all of which are open at a time."""
    x, params = inputs(pz(1), (5,), ())
    with Journal(folder) as journal:
        limits = Limits(executions=100, wait=0.0)
        return Sampler(cloud, shots=10, limits=limits, seed=0, journal=journal, **options)(pz(1), x, params)


def test_a_submission_that_is_tried_again_does_not_take_a_failed_job_for_its_own(tmp_path):
    """The job fails; the next run submits it anew, and the connection breaks before it arrives."""
    cloud = Cloud(tmp_path / "cloud")
    whole, broken = cloud.run, [ConnectionError("before it arrived")]

    def failing(pubs):
        job = whole(pubs)
        (cloud.folder / f"{job.job_id()}.npz").write_bytes(b"cancelled")
        return job

    options = {"service": cloud, "qubits": 2, "shots": 10, "limits": Limits(wait=0.0)}
    x, params = inputs(pz(1), (4,), ())
    cloud.run = failing
    with Journal(tmp_path / "journal") as journal, pytest.raises(DeviceError, match=r"job 000000-.*-0 failed"):
        Sampler(cloud, journal=journal, **options)(pz(1), x, params)

    def unreachable(pubs):
        if broken:
            raise broken.pop()
        return whole(pubs)

    cloud.run = unreachable
    with Journal(tmp_path / "journal") as journal:
        assert Sampler(cloud, journal=journal, **options)(pz(1), x, params).isfinite().all()
    assert not broken
    assert len(list(cloud.folder.glob("*.npz"))) == 2


def test_an_evaluation_killed_between_its_submissions_submits_each_job_once(tmp_path):
    """Killed at its first step, at the second, and so on: after every submission that was not the last, too."""
    quiet = Cloud(tmp_path / "quiet cloud")
    expected, died = evaluated_on(quiet, tmp_path / "quiet", service=quiet), []
    for steps in range(100):
        place = tmp_path / str(steps)
        place.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of torch, of which the child needs none
            child = os.fork()
        if not child:
            _run_or_die(evaluated_on, place, steps)
        _, status = os.waitpid(child, 0)
        died.append([len(list((place / name).glob("0*.npz"))) for name in ("cloud", "journal")])
        cloud = Cloud(place / "cloud")
        assert torch.equal(evaluated_on(cloud, place / "journal", service=cloud), expected)
        assert sorted(path.stem[:6] + path.stem[-2:] for path in cloud.folder.glob("*.npz")) == [
            "000000-0",
            "000001-0",
            "000002-0",
        ]
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            break
    # Submitted, and received.
    assert [0, 0] in died
    assert [1, 0] in died
    assert [2, 0] in died
    assert [3, 0] in died
    assert died[-1] == [3, 3]


def _run_or_die(run, place, steps):
    left = [steps]

    def step():
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        torch.set_num_threads(1)
        run(cloud := Cloud(place / "cloud", step), place / "journal", service=cloud)
    except BaseException:
        os._exit(1)
    os._exit(0)


@pytest.mark.parametrize("pending", [1, 2, 3, 9])
def test_jobs_of_an_evaluation_are_submitted_before_the_first_is_waited_for(tmp_path, pending):
    """But never more of them are open at a time than the provider takes."""
    seen = []

    class Watched(Cloud):
        def run(self, pubs):
            seen.append("submit")
            return super().run(pubs)

        def job(self, identity):
            handle = super().job(identity)

            def result():
                seen.append("fetch")
                return handle.result()

            return SimpleNamespace(job_id=handle.job_id, result=result)

    cloud = Watched(tmp_path / "cloud")
    x, params = inputs(pz(1), (11,), ())
    limits = Limits(executions=100, pending=pending)
    with Journal(tmp_path / "journal") as journal:
        Sampler(cloud, shots=10, limits=limits, seed=0, service=cloud, journal=journal)(pz(1), x, params)
    assert seen.count("submit") == seen.count("fetch") == 6
    ahead = [seen[:place].count("submit") - seen[:place].count("fetch") for place in range(len(seen) + 1)]
    assert max(ahead) == min(pending, 6)
    assert seen[: min(pending, 6)] == ["submit"] * min(pending, 6)


def test_simulators_run_one_job_at_a_time():
    seen = []

    class Watched:
        def run(self, pubs):
            seen.append("submit")
            job = fresh(0).run(pubs)
            return SimpleNamespace(job_id=job.job_id, result=lambda: seen.append("fetch") or job.result())

    Sampler(Watched(), shots=10, limits=Limits(executions=100))(pz(1), *inputs(pz(1), (5,), ()))
    assert seen == ["submit", "fetch"] * 3


def test_an_error_in_the_middle_of_open_jobs_loses_and_repeats_nothing(tmp_path):
    """The second of three open jobs fails: all are submitted once, and the failed one again when it is asked for."""

    class Failing(Cloud):
        def job(self, identity):
            handle = super().job(identity)
            if identity.startswith("000001") and identity.endswith("-0"):
                return SimpleNamespace(job_id=handle.job_id, result=lambda: raising(RuntimeError("cancelled"))(None))
            return handle

    cloud = Failing(tmp_path / "cloud")
    x, params = inputs(pz(1), (5,), ())
    with Journal(tmp_path / "journal") as journal:
        limits = Limits(executions=100, wait=0.0)
        engine = Sampler(cloud, shots=10, limits=limits, seed=0, service=cloud, journal=journal)
        with pytest.raises(DeviceError, match="cancelled"):
            engine(pz(1), x, params)
        assert len(list(cloud.folder.glob("*.npz"))) == 3
        engine(pz(1), x, params)
        names = sorted(path.stem[:6] + path.stem[-2:] for path in cloud.folder.glob("*.npz"))
        assert names == ["000000-0", "000001-0", "000001-1", "000002-0"]


def test_asking_again_after_an_error_goes_on_in_the_same_process(tmp_path):
    """The job that failed is asked for again, as the same job, and what was done is not."""
    journal = Journal(tmp_path)
    x, params = inputs(pz(1), (4,), ())
    sampler = Faulty(None, ValueError("out of credit"))
    engine = Sampler(sampler, shots=10, limits=Limits(wait=0.0), journal=journal, seed=0)
    first = engine(pz(1), x, params)
    with pytest.raises(DeviceError):
        engine(pz(1), x + 0.01, params)
    second = engine(pz(1), x + 0.01, params)
    journal.close()
    assert sampler.calls == 3
    again, quiet = Journal(tmp_path), Faulty()
    engine = Sampler(quiet, shots=10, limits=Limits(wait=0.0), journal=again, seed=0)
    assert torch.equal(engine(pz(1), x, params), first)
    assert torch.equal(engine(pz(1), x + 0.01, params), second)
    again.close()
    assert quiet.calls == 0


BAD = {
    "sampler": (lambda: Sampler(3), TypeError, "`sampler`"),
    "shots": (lambda: Sampler(fresh, shots=None), ValueError, "no exact values"),
    "qubits": (lambda: Sampler(fresh, qubits=0), ValueError, "`qubits`"),
    "qubits without backend": (lambda: Sampler(fresh, qubits=[0]), ValueError, "without a backend"),
    "qubit": (
        lambda: Sampler(manila, backend=MANILA, qubits=[7]),
        ValueError,
        "from 0 to 4 for fake_manila, but has 7",
    ),
    "twice": (lambda: Sampler(manila, backend=MANILA, qubits=[1, 1]), ValueError, "must not repeat"),
    "backend": (lambda: Sampler(fresh, backend=3), TypeError, "`backend`"),
    "scales": (lambda: Sampler(fresh, scales=(0.5,)), ValueError, "`scales`"),
    "equal scales": (lambda: Sampler(fresh, scales=(1, 1)), ValueError, "different"),
    "fit": (lambda: Sampler(fresh, fit="cubic"), ValueError, "linear, exponential"),
    "structure": (lambda: Sampler(fresh, structure="melt"), ValueError, "keep, fuse"),
    "limits": (lambda: Limits(rows=0), ValueError, "`Limits.rows`"),
    "wait": (lambda: Limits(wait=-1), ValueError, "`Limits.wait`"),
    "fuse": (
        lambda: Sampler(fresh, structure="fuse")(ENTANGLED, *inputs(ENTANGLED)),
        UnsupportedCircuit,
        "structure='fuse' takes one",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), BAD.values(), ids=BAD)
def test_bad_options_are_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_values_are_checked_before_anything_is_paid_for():
    engine, jobs = recorded(shots=10)
    x, params = inputs(pz(1), (4,), ())
    x[1] = math.nan
    with pytest.raises(ValueError, match="`x` must be finite"):
        engine(pz(1), x, params)
    assert jobs == []


def test_fused_circuits_have_two_pulses_whatever_the_depth():
    engine, jobs = recorded(backend=MANILA, shots=10, structure="fuse", readout_correction=False)
    x, params = inputs(pz(6), (4,), ())
    engine(pz(6), x, params)
    assert jobs[0][0][0].count_ops()["sx"] == 2
    torch.testing.assert_close(torch.tensor(jobs[0][0][1])[:, 0].cos(), get("bloch")(pz(6), x, params), **EXACT)
