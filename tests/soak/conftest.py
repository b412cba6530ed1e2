import pytest


@pytest.fixture
def soak_seconds(request: pytest.FixtureRequest) -> float:
    """How long the daemon is loaded: ``--soak-seconds N``."""
    return float(request.config.getoption("--soak-seconds"))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Where chance begins: ``--seed N``."""
    return int(request.config.getoption("--seed"))
