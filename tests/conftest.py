import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, the backend organism runs on."""
    return "asyncio"
