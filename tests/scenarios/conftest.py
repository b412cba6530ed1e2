import pytest


@pytest.fixture
def chaos_messages(request: pytest.FixtureRequest) -> int:
    """How many messages a run of chaos sends: ``--chaos-messages N``."""
    return int(request.config.getoption("--chaos-messages"))
