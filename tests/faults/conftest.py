"""What the faults of the campaign share."""

import pytest


@pytest.fixture
def fault_scale(request: pytest.FixtureRequest) -> int:
    """Return how many times as much is sent as in a usual run of the tests: 1, or what the campaign asks for."""
    return int(request.config.getoption("--fault-scale"))
