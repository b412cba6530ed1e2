import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from organism.testing.postgres_server import PostgresServer

pytest.register_assert_rewrite("organism.testing.store_contract")  # before whatever test imports it first

# A machine that is busy makes an example slow, and proves nothing about what it tests.
settings.register_profile("organism", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("organism")

# The processes that tests start would each compile all modules again: a second of each of two hundred starts.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let whoever has time kill more daemons than a usual run does."""
    parser.addoption("--kills", default=200, type=int, help="how often tests/killing kills a daemon")
    parser.addoption("--faults", default=60, type=int, help="how many faults tests/killing brings upon a cluster")
    parser.addoption("--chaos-messages", default=200, type=int, help="how many messages a run of chaos sends")
    parser.addoption("--soak-seconds", default=60, type=float, help="how long tests/soak loads a daemon")
    parser.addoption("--answers", default=100, type=int, help="how many answers of each format are read at random")
    parser.addoption("--fuzz", default=60, type=int, help="how many made-up inputs of each kind tests/fuzz reads")
    parser.addoption("--fault-scale", default=1, type=int, help="how many times as much tests/faults sends")
    parser.addoption("--seed", default=1, type=int, help="where chance begins")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say what a run of everything does and how long that takes."""
    config = session.config
    says = config.pluginmanager.get_plugin("terminalreporter")
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS or says is None or hasattr(config, "workerinput"):
        return
    says.write_line(f"Tests marked {config.option.markexpr!r}.")
    if config.option.markexpr == config.getini("addopts")[-1]:
        says.write_line("They need no more than Python and take about six minutes on two idle cores with -n auto.")
        says.write_line("A part of a minute: poe fast. What takes long and seldom fails: poe thorough.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse ids with addresses: they differ from process to process, so no test could be shared out by them."""
    named = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if named:
        raise pytest.UsageError(f"give these tests ids that are the same in each process: {named[:3]}")


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, the backend organism runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> "Iterator[PostgresServer]":
    """Return a PostgreSQL server for all tests of a process; those that use it are marked ``debian``."""
    from organism.testing.postgres_server import PostgresServer

    with PostgresServer() as server:
        yield server
