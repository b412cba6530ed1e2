import pytest


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often daemons are killed: ``--kills N``."""
    return int(request.config.getoption("--kills"))


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> int:
    """How many faults come upon a cluster: ``--faults N``."""
    return int(request.config.getoption("--faults"))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Where chance begins: ``--seed N``."""
    return int(request.config.getoption("--seed"))
