from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Leave the log as it was: a command that runs in this process sets it up, and other tests read their lines."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
