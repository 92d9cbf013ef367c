"""Hypothesis draws the same examples in every run, on every machine; so does torch where a test asks for it."""

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "deterministic",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # drawing competes with the simulators of other tests for two cores
)
settings.load_profile("deterministic")


@pytest.fixture
def seeded():
    """Torch's global generator starts at 0, and is afterwards as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
