"""Series are what their formulas and files say, and nothing that comes later leaks into training."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import jv

from benchmarks.series import (
    Scale,
    Series,
    bessel_j2,
    damped_pendulum,
    forecasting,
    mauna_loa,
    milan,
    min_max,
    narma,
    one_season_before,
    standardise,
    sunspots,
    urban_traffic,
)
from benchmarks.series.milan import ACTIVITIES
from benchmarks.series.narma import narma_output
from benchmarks.series.physics import pendulum_motion
from benchmarks.series.records import bridged
from benchmarks.series.traffic import rhythm

SHIPPED = {
    series.name: series
    for series in (damped_pendulum(), bessel_j2(), sunspots(), mauna_loa(), narma(5), narma(10), urban_traffic())
}
PARTS = ("train", "validation", "test")


def ramp(length: int, features: int = 1) -> Series:
    values = np.arange(length * features, dtype=float).reshape(length, features)
    return Series("ramp", "m", values[:, 0] if features == 1 else values, np.arange(length), "made up")


# Values.


@pytest.mark.parametrize("series", SHIPPED.values(), ids=SHIPPED)
def test_a_series_cannot_be_changed_and_says_where_it_comes_from(series):
    with pytest.raises(ValueError, match="read-only"):
        series.values[0] = 0
    assert series.source
    assert series.unit
    assert series.table.shape == (len(series), series.values.ndim)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.array([1.0, np.nan, 2.0])}, "`values` must be finite, but is nan at index \\(1,\\)"),
        ({"values": np.zeros((3, 1, 1))}, "`values` must have shape"),
        ({"values": np.zeros(0), "times": np.zeros(0)}, "`values` must have shape"),
        ({"times": np.arange(4)}, "`times` must have shape \\(3,\\)"),
        ({"times": np.array([0, 1, 1])}, "`times` must increase"),
        ({"season": 0}, "`season` must be positive"),
    ],
)
def test_impossible_series_are_refused(change, message):
    arguments = {"name": "a", "unit": "m", "values": np.zeros(3), "times": np.arange(3), "source": "b"} | change
    with pytest.raises(ValueError, match=message):
        Series(**arguments)


def test_the_seasonal_naive_forecast_is_the_value_one_season_before():
    series = Series("a", "m", np.arange(10.0), np.arange(10) + 1990, "b", season=3)
    np.testing.assert_array_equal(one_season_before(series, np.array([1993, 1999])), [0.0, 6.0])
    for times, message in (([1992], "first season"), ([2000], "of the series"), ([1995.5], "of the series")):
        with pytest.raises(ValueError, match=message):
            one_season_before(series, np.array(times))


# Windows.


@given(st.integers(4, 60), st.integers(1, 8), st.integers(1, 3), st.sampled_from([(0.6, 0.2), (0.5, 0.25), (0.8, 0.1)]))
def test_windows_hold_what_comes_before_their_target(length, window, features, parts):
    series = ramp(length, features)
    try:
        data = forecasting(series, window, parts)
    except ValueError:
        assert length - window < 10 / min(parts)
        return
    times = np.concatenate([getattr(data, part).times for part in PARTS])
    np.testing.assert_array_equal(times, np.arange(window, length))
    for part in PARTS:
        windows = getattr(data, part)
        assert windows.x.shape == ((len(windows.times), window) + ((features,) if features > 1 else ()))
        assert windows.y.shape == (len(windows.times), 1)
        for time, x, y in zip(windows.times, windows.x, windows.y, strict=True):
            first = x.reshape(window, -1)[:, 0]
            before = torch.as_tensor(series.table[time - window : time, 0].copy())
            torch.testing.assert_close(data.restore(first), before, rtol=0, atol=1e-9)
            assert data.restore(y).item() == pytest.approx(series.table[time, 0])


@pytest.mark.parametrize("scaler", [standardise, min_max])
def test_each_feature_has_the_scale_of_its_training_values(scaler):
    series = narma(5, size=200)
    data = forecasting(series, 10, scaler=scaler)
    known = series.table[: 10 + len(data.train.x)]
    assert data.scale == scaler(known[:, 0])
    scaled = torch.cat([data.train.x[0], data.train.x[10::10].flatten(0, 1)])  # each value of some windows once
    for feature in range(2):
        scale = scaler(known[:, feature])
        expected = (known[: len(scaled), feature] - scale.centre) / scale.spread
        torch.testing.assert_close(scaled[:, feature], torch.as_tensor(expected))


def test_scales_are_what_they_are_called():
    values = np.array([1.0, 2.0, 6.0])
    assert standardise(values) == Scale(3.0, values.std())
    assert min_max(values) == Scale(3.5, 2.5)
    assert min_max(values, 0, 1) == Scale(1.0, 5.0)
    torch.testing.assert_close(Scale(3.5, 2.5).restore(torch.tensor([-1.0, 1.0])), torch.tensor([1.0, 6.0]))


@pytest.mark.parametrize("scaler", [standardise, min_max])
def test_later_values_change_nothing_in_training(scaler):
    series = narma(5, size=100)
    data = forecasting(series, 5, scaler=scaler)
    changed = series.values.copy()
    changed[5 + len(data.train.x) :] *= 7
    other = forecasting(Series("a", "m", changed, series.times, "b"), 5, scaler=scaler)
    assert other.scale == data.scale
    assert torch.equal(other.train.x, data.train.x)
    assert torch.equal(other.train.y, data.train.y)
    assert not other.validation.y.eq(data.validation.y).any()


@pytest.mark.parametrize(
    ("series", "window", "parts", "message"),
    [
        (ramp(10), 0, (0.6, 0.2), "`window` must be from 1 to 9"),
        (ramp(10), 10, (0.6, 0.2), "`window` must be from 1 to 9"),
        (ramp(10), 2, (0.8, 0.2), "`parts` must leave targets"),
        (ramp(10), 2, (0.0, 0.2), "`parts` must leave targets"),
        (ramp(10), 2, (0.6, -0.1), "`parts` must leave targets"),
        (Series("flat", "m", np.ones(20), np.arange(20), "b"), 2, (0.6, 0.2), "Feature 0 of flat must vary"),
    ],
)
def test_what_leaves_nothing_to_learn_is_refused(series, window, parts, message):
    with pytest.raises(ValueError, match=message):
        forecasting(series, window, parts)


# Formulas.


def test_a_small_pendulum_is_the_damped_oscillator():
    times, decay = np.linspace(0, 20, 240), 0.15 / 2
    frequency = math.sqrt(9.81 - decay**2)
    envelope = 1e-4 * np.exp(-decay * times)
    angle = envelope / frequency * np.sin(frequency * times)
    velocity = envelope * np.cos(frequency * times) - decay * angle
    # sin x = x - x^3/6 shifts the frequency by about 1e-10 of itself.
    np.testing.assert_allclose(pendulum_motion(times, (0.0, 1e-4)), [angle, velocity], rtol=0, atol=1e-12)


def test_the_pendulum_loses_the_energy_that_friction_takes():
    times = np.linspace(0, 20, 20_001)
    angle, velocity = pendulum_motion(times, (0.0, 3.0))
    energy = velocity**2 / 2 + 9.81 * (1 - np.cos(angle))
    assert (np.diff(energy) < 0).all()
    power = 0.15 * velocity**2
    lost = np.concatenate([[0], np.cumsum((power[1:] + power[:-1]) / 2 * np.diff(times))])
    np.testing.assert_allclose(energy + lost, 4.5, rtol=1e-5)


def test_the_pendulum_series_is_its_angular_velocity():
    series = damped_pendulum()
    assert (len(series), series.times[0], series.times[-1], series.values[0]) == (240, 0, 20, 3)
    dense = pendulum_motion(np.linspace(0, 20, 2 * 240 - 1), (0.0, 3.0))
    np.testing.assert_allclose(series.values, dense[1, ::2], atol=1e-9)
    assert series.season == 24


def test_bessel_fulfils_its_recurrence():
    series = bessel_j2()
    x = series.times
    assert (len(x), x[0], x[-1]) == (256, 2, 100)
    np.testing.assert_allclose(series.values, 2 / x * jv(1, x) - jv(0, x), atol=1e-13)


@pytest.mark.parametrize("order", [5, 10])
def test_narma_obeys_its_recurrence_and_a_window_determines_what_follows(order):
    y, u = narma(order, size=60).values.T
    for t in range(order - 1, 59):
        past = sum(y[t - i] for i in range(order))
        following = 0.3 * y[t] + 0.05 * y[t] * past + 1.5 * u[t - (order - 1)] * u[t] + 0.1
        assert y[t + 1] == pytest.approx(following, rel=1e-13)
    assert u.min() >= 0
    assert u.max() < 0.5


def test_narma_follows_its_seed():
    first, again, other = narma(10, 50, seed=1), narma(10, 50, seed=1), narma(10, 50, seed=2)
    np.testing.assert_array_equal(first.values, again.values)
    assert not (first.values == other.values).any()


def test_inputs_that_make_narma_diverge_are_drawn_anew(monkeypatch):
    harmful = np.full(250, 0.5)
    assert np.isinf(narma_output(harmful, 10)[-1])
    assert narma_output(harmful, 5)[-1] < 1.5, "order 5 has a fixed point for every input"
    drawn = np.random.default_rng(0).uniform(0, 0.5, 250)

    class Random:
        answers = iter([harmful, drawn])

        def uniform(self, low, high, size):
            assert (low, high, size) == (0, 0.5, 250)
            return next(self.answers)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Random())
    np.testing.assert_array_equal(narma(10, 50).values[:, 1], drawn[200:])
    Random.answers = iter(100 * [harmful])
    with pytest.raises(FloatingPointError, match="NARMA-10 diverged for 100 inputs"):
        narma(10, 50)


@pytest.mark.parametrize(("arguments", "message"), [((7,), "`order` must be 5 or 10"), ((5, 0), "`size` must be pos")])
def test_impossible_narmas_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        narma(*arguments)


# Records.


def test_gaps_are_bridged_inside_and_cut_at_the_ends():
    nan = math.nan
    days = np.array(["2000-01-01", "2000-01-02", "2000-01-03", "2000-01-05", "2000-01-06", "2000-01-07"], "M8[D]")
    times, values = bridged(days, np.array([nan, 1.0, nan, 4.0, 2.0, nan]))
    np.testing.assert_array_equal(times, days[1:-1])
    np.testing.assert_allclose(values, [1, 2, 4, 2])  # in time: a third of the way after one of three days
    with pytest.raises(ValueError, match="all are NaN"):
        bridged(days, np.full(6, nan))


def test_mauna_loa_is_weekly_and_no_bridge_crosses_into_another_part():
    import statsmodels.api as sm

    series = mauna_loa()
    frame: Any = sm.datasets.co2.load_pandas().data
    raw = frame["co2"].to_numpy()
    known = ~np.isnan(raw)
    assert (known[0], known[-1], (~known).sum()) == (True, True, 59)
    np.testing.assert_array_equal(series.values[known], raw[known])
    assert set(np.diff(series.times)) == {np.timedelta64(7, "D")}
    for window in (4, 12, 52):
        data = forecasting(series, window)
        for part in (data.validation, data.test):
            start = np.searchsorted(series.times, part.times[0])
            assert known[start - 1 : start + 1].all()


# Synthetic traffic.


def test_synthetic_traffic_says_so_and_has_the_rhythms_of_its_formula():
    series = urban_traffic(seed=3, days=28)
    assert "synthetic" in series.name
    assert "SYNTHETIC" in series.source
    assert (len(series), series.season) == (28 * 24, 168)
    assert series.times[0] == np.datetime64("2024-01-01T00:00"), "a Monday"
    hours = np.arange(28 * 24)
    assert rhythm(np.array([16.0]))[0] == pytest.approx(1 + 0.6 - 0.15)
    np.testing.assert_allclose(rhythm(hours), rhythm(hours + 168))
    np.testing.assert_allclose(rhythm(hours[5 * 24 : 7 * 24]), 0.65 * np.tile(rhythm(hours[:24]), 2))
    surplus = series.values / (100 * rhythm(hours))
    assert 0.95 < np.median(surplus) < 1.1
    assert surplus.max() > 1.4, "bursts stand out"
    assert series.values.min() > 0


def test_synthetic_traffic_follows_its_seed_and_step():
    assert np.array_equal(urban_traffic(1).values, urban_traffic(1).values)
    assert not np.equal(urban_traffic(1).values, urban_traffic(2).values).any()
    fine = urban_traffic(1, days=7, minutes=10)
    assert (len(fine), fine.season) == (7 * 144, 7 * 144)
    assert fine.times[1] - fine.times[0] == np.timedelta64(10, "m")
    for arguments, message in (({"days": 0}, "`days`"), ({"minutes": 45}, "`minutes` must divide 60")):
        with pytest.raises(ValueError, match=message):
            urban_traffic(**arguments)


# Milan.

START = int(np.datetime64("2013-11-01T00:00", "ms").astype(int))


def line(square: int, interval: int, country: int = 39, **activity: float) -> str:
    cells = [square, START + 600_000 * interval, country, *(activity.get(name, "") for name in ACTIVITIES)]
    return "\t".join(map(str, cells)) + "\n"


def day(folder: Path, number: int, *lines: str) -> Path:
    path = folder / f"sms-call-internet-mi-2013-11-{number:02}.txt"
    path.write_text("".join(lines))
    return path


def test_milan_sums_countries_over_all_files(tmp_path):
    day(tmp_path, 2, *(line(5, i, internet=i, sms_in=1) for i in range(6, 12)))
    day(tmp_path, 1, *(line(5, i, country, internet=0.25) for i in range(6) for country in (0, 39)), line(7, 3))
    (tmp_path / "notes.txt").write_text("not data")
    fine = milan(tmp_path, [5, 7], minutes=10)
    assert list(fine) == [5, 7]
    np.testing.assert_array_equal(fine[5].values, [*6 * [0.5], 6, 7, 8, 9, 10, 11])
    np.testing.assert_array_equal(fine[7].values, np.zeros(12))
    np.testing.assert_array_equal(fine[5].times, np.datetime64("2013-11-01T00:00") + 10 * np.arange(12))
    hourly = milan(tmp_path, [5])[5]
    np.testing.assert_array_equal(hourly.values, [3, 51])
    np.testing.assert_array_equal(hourly.times, np.array(["2013-11-01T00:00", "2013-11-01T01:00"], "M8[m]"))
    assert (fine[5].season, hourly.season) == (1008, 168)
    np.testing.assert_array_equal(milan(tmp_path, [5], "sms_in")[5].values, [0, 6])


def test_each_activity_is_its_own_column(tmp_path):
    amounts = dict(zip(ACTIVITIES, (1.0, 2.0, 3.0, 4.0, 5.0), strict=True))
    day(tmp_path, 1, line(1, 0, **amounts), line(1, 1, **amounts))
    for name, amount in amounts.items():
        np.testing.assert_array_equal(milan(tmp_path, [1], name, minutes=10)[1].values, [amount, amount])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("1\t2\t3\n", "8 columns between tabs, but has 3"),
        (line(1, 1).replace("\t", " "), "8 columns between tabs, but has 1"),
        (line(1, 1)[:-6] + "\n", "8 columns between tabs"),
        (line(1, 1, internet=-1), "activity must be a number that is not negative, or empty, but is '-1'"),
        (line(1, 1).replace("\t\t\n", "\t\tmuch\n"), "but is 'much'"),
        (line(1, 1, internet=math.nan), "but is 'nan'"),
        (f"2\t{START + 1}\t0\t\t\t\t\t\n", "interval must be ten minutes"),
        ("2\t2013-11-01\t0\t\t\t\t\t\n", "but is '2013-11-01'"),
        ("\n", "but has 1"),
    ],
)
def test_a_malformed_line_is_named_by_file_and_number(tmp_path, bad, message):
    path = day(tmp_path, 1, line(1, 0), bad, line(1, 2))
    with pytest.raises(ValueError, match=message) as caught:
        milan(tmp_path, [1])
    assert str(caught.value).startswith(f"{path}, line 2: ")


def test_a_gap_in_time_is_named(tmp_path):
    day(tmp_path, 1, *(line(1, i) for i in range(6)))
    day(tmp_path, 3, *(line(1, i) for i in range(12, 18)))
    with pytest.raises(ValueError, match="Between 2013-11-01T00:50 and 2013-11-01T02:00 UTC, 6 intervals"):
        milan(tmp_path, [1])


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"sms-call-internet-mi-YYYY-MM-DD.txt in .*: get them from doi"):
        milan(tmp_path, [1])
    day(tmp_path, 1)
    with pytest.raises(ValueError, match="all are empty"):
        milan(tmp_path, [1])
    day(tmp_path, 1, line(1, 0), line(1, 1))
    with pytest.raises(ValueError, match="Square 2 is in no file"):
        milan(tmp_path, [2])
    with pytest.raises(
        ValueError, match="begin and end with an hour, but go from 2013-11-01T00:00 to 2013-11-01T00:10"
    ):
        milan(tmp_path, [1])
    with pytest.raises(ValueError, match="`activity` must be one of sms_in"):
        milan(tmp_path, [1], "fax")
    with pytest.raises(ValueError, match="`minutes` must be 10 or 60"):
        milan(tmp_path, [1], minutes=30)
