"""Hypothesis draws the same examples in every run, on every machine."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "deterministic",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # drawing competes with the simulators of other tests for two cores
)
settings.load_profile("deterministic")
