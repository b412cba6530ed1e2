"""A log that fails costs its line."""

import logging
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import pytest
import structlog

from organism import Bounds, Context, Organism, Text, agent
from organism.concurrency.safe_log import safe_logger
from organism.testing import VirtualClock, run


def exits(_logger: Any, _method: str, _event: MutableMapping[str, Any]) -> Any:
    raise SystemExit(9)


def wants_more(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
    return event["request_id"]


SET_UPS: dict[str, Callable[[], None]] = {
    "a processor that exits": lambda: structlog.configure(processors=[exits]),
    "a processor that wants a key of its own": lambda: structlog.configure(processors=[wants_more]),
    "no processor": lambda: structlog.configure(processors=[]),
    "no logger": lambda: structlog.configure(logger_factory=lambda *_: None),
}


@pytest.fixture(params=SET_UPS)
def broken_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set structlog up as a program or a handler might, and back."""
    before = structlog.get_config()
    structlog.reset_defaults()  # another test may have left one that writes no warnings
    SET_UPS[request.param]()
    yield
    structlog.configure(**before)


@pytest.fixture
def library_log(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """The standard library's log of one name, with nothing of what tests before have set up for all."""
    log = logging.getLogger("organism.test")
    monkeypatch.setattr(log, "propagate", False)
    monkeypatch.setattr(log, "level", logging.ERROR)
    monkeypatch.setattr(log, "handlers", [])
    return log


@pytest.mark.usefixtures("broken_log")
def test_a_line_that_cannot_be_written_is_said_in_a_few_words(
    library_log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not lost without a trace, and who wants to log goes on."""
    library_log.addHandler(caplog.handler)
    safe_logger("organism.test").warning("something_happened", thread_id="t")
    assert [record.name for record in caplog.records] == ["organism.test"]
    assert "something_happened (the log's own set-up failed on this line" in caplog.text


class LedToStructlog(logging.Handler):
    """What a daemon gives the standard library: its lines go where all lines go."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger("library").error(record.getMessage())


@pytest.mark.usefixtures("broken_log")
def test_a_line_that_the_standard_library_cannot_write_either_is_on_standard_error(
    library_log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """A handler that sets structlog up anew in a daemon breaks both."""
    library_log.addHandler(LedToStructlog())
    safe_logger("organism.test").warning("something_happened", thread_id="t")
    assert "something_happened (the log's own set-up failed on this line" in capsys.readouterr().err


@pytest.mark.usefixtures("broken_log")
def test_an_organism_works_on_whatever_log_is_set_up() -> None:
    """A failing handler is logged, and its message made a dead letter; that it cannot be logged ends nothing."""

    @agent
    async def bad(message: Text, ctx: Context) -> None:
        raise ValueError("mine")

    @agent
    async def good(message: Text, ctx: Context) -> Text:
        return Text("fine")

    @run
    async def _() -> None:
        async with Organism([bad, good], clock=VirtualClock(), bounds=Bounds(attempts=2)) as organism:
            assert (await organism.run("go")).reason == "bad: ValueError: mine"
            assert (await organism.run("go", to="good")).text == "fine"
