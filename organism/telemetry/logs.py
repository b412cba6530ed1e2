"""Logs: structlog set up for a process. JSON or console, to standard error, with the ids of what is being worked on.

Every line passes the same steps: is its room wanted at this level, has it been said too often, which thread, agent,
call and trace does it belong to, format, take secrets out, write. Names and numbers are logged, never what agents say.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Literal, TextIO

import msgspec
import structlog

from organism.text.error_text import raised_at, stack_of
from organism.text.plain_text import lines_of, plain
from organism.text.redaction import headline, redact, remember
from organism.tracing import current_work, trace_id_of

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]
LogEvent = MutableMapping[str, Any]

LIBRARIES = "libraries"
"""The room of everything that is not organism's own."""

_NUMBERS: dict[str, int] = {
    "debug": 10,
    "info": 20,
    "warning": 30,
    "warn": 30,
    "error": 40,
    "exception": 40,
    "critical": 50,
    "fatal": 50,
}
_QUOTING = ("error", "detail")
"""Fields that say why something failed, and in saying so may quote what people have said."""

_REPEATS_MAX = 20
_REPEATS_PERIOD_S = 10.0
_REPEATS_KNOWN_MAX = 1000


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is logged, and how.

    Attributes:
        format: For people or for programs.
        level: The least that is logged.
        rooms: The least of single rooms, by the name behind ``organism.``, or ``libraries``.
    """

    format: LogFormat = "console"
    level: LogLevel = "info"
    rooms: Mapping[str, LogLevel] = {}


def set_up(settings: LogSettings, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Configure logging for this process.

    Args:
        secrets: Texts that must not appear, beside those that the process knows as secret.
        stream: Where to; standard error unless given.
    """
    remember(*secrets)
    out = sys.stderr if stream is None else stream
    least = min(_NUMBERS[level] for level in (settings.level, *settings.rooms.values()))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _RoomLevels(settings),
            structlog.stdlib.add_log_level,
            RepeatLimit(),
            add_work,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _headlines,
            *_renderers(settings.format, out),
            _redacting,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *names: _RoomLogger(str(names[0]) if names else "organism", out),
        cache_logger_on_first_use=False,
    )
    libraries = _NUMBERS[settings.rooms.get(LIBRARIES, "warning")]
    logging.basicConfig(handlers=[_ToStructlog()], level=libraries, force=True)


def add_work(_logger: object, _method: str, event: LogEvent) -> LogEvent:
    """Add the ids of what the present task works on, unless the line names them itself."""
    work = current_work()
    if work is not None:
        for name in ("thread_id", "agent", "message_id", "call_id"):
            if value := getattr(work, name):
                event.setdefault(name, value)
        if work.trace is not None:
            event.setdefault("trace_id", trace_id_of(work.trace))
    return event


class RepeatLimit:
    """Lets a warning or an error through so often per period, and tells with the next one how many were left out.

    Args:
        most: Lines of one logger, level and event per period.
        period_s: Its length in seconds.
        now: Seconds that never go back.
    """

    def __init__(
        self, most: int = _REPEATS_MAX, period_s: float = _REPEATS_PERIOD_S, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._period_s = period_s
        self._now = now
        self._seen: dict[tuple[str, str, str], tuple[float, int]] = {}

    def __call__(self, logger: Any, method: str, event: LogEvent) -> LogEvent:
        """Pass a line on, or drop it."""
        if _NUMBERS.get(method, 0) < _NUMBERS["warning"]:
            return event
        key = (getattr(logger, "name", ""), method, str(event.get("event")))
        began, count = self._seen.get(key, (self._now(), 0))
        if self._now() - began >= self._period_s:
            if count > self._most:
                event["left_out"] = count - self._most
            began, count = self._now(), 0
        if key not in self._seen and len(self._seen) >= _REPEATS_KNOWN_MAX:
            self._seen.clear()
        self._seen[key] = (began, count + 1)
        if count >= self._most:
            raise structlog.DropEvent
        return event


class _RoomLevels:
    """Drops what is below the level of its room."""

    def __init__(self, settings: LogSettings) -> None:
        self._level = _NUMBERS[settings.level]
        self._rooms = {room: _NUMBERS[level] for room, level in settings.rooms.items()}

    def __call__(self, logger: Any, method: str, event: LogEvent) -> LogEvent:
        if _NUMBERS.get(method, 0) < self._rooms.get(room_of(logger.name), self._level):
            raise structlog.DropEvent
        event["logger"] = logger.name
        return event


def room_of(name: str) -> str:
    """Return the room of a logger: ``pump`` of ``organism.pump``."""
    first, _, rest = name.partition(".")
    return rest.partition(".")[0] if first == "organism" else LIBRARIES


class _RoomLogger:
    """Writes lines, and knows whose they are."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def msg(self, text: str) -> None:
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except BrokenPipeError:
            _mute(self._stream)
        except OSError:
            pass  # a full disk, say; the caller must not fail for it, and there is nowhere else to report it

    debug = info = warning = warn = error = exception = critical = fatal = log = msg


def _mute(stream: TextIO) -> None:
    """Let everything further go nowhere: nobody reads, and what is still in the stream's buffer cannot be written."""
    with open(os.devnull, "wb") as nowhere, suppress(OSError, ValueError):  # noqa: PTH123 - no file of ours
        os.dup2(nowhere.fileno(), stream.fileno())


_JSON = json.JSONEncoder(default=repr)
"""ASCII alone, so that no text can move the cursor of a terminal; made once, for it is asked for each call."""


def _renderers(log_format: LogFormat, stream: TextIO) -> list[Any]:
    if log_format == "json":
        return [_stacks, structlog.processors.JSONRenderer(lambda event, **_: _JSON.encode(event))]
    console = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
    return [_stacks, _in_one_line, console]


def _headlines(_logger: object, _method: str, event: LogEvent) -> LogEvent:
    """Cut errors' texts to what is in our own words: log lines never say what agents and users do."""
    for name in _QUOTING:
        if isinstance(said := event.get(name), str):
            event[name] = headline(said)
    return event


def _stacks(_logger: object, _method: str, event: LogEvent) -> LogEvent:
    """Write tracebacks as places in the code and types of errors: their texts and local variables hold prompts."""
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = stack_of(error)
    return event


def _in_one_line(_logger: object, _method: str, event: LogEvent) -> LogEvent:
    """Show text for what it is, so that none can begin a line of its own or move the cursor."""
    shown = {_harmless(name): _harmless(value) for name, value in event.items() if name != "exception"}
    if (stack := event.get("exception")) is not None:
        shown["exception"] = "\n".join(f"    | {plain(line)}" for line in lines_of(str(stack)))
    return shown


def _harmless(value: Any) -> Any:
    """Return a value whose text is written as Python writes it, where there is anything in it that is not seen."""
    if isinstance(value, str):
        return value if value.isprintable() and plain(value) == value else repr(value)[1:-1]
    return value


def _redacting(_logger: Any, _method: str, line: Any) -> str:
    return redact(str(line))


class _ToStructlog(logging.Handler):
    """Brings what libraries log into the same stream, as one line and without tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
        error = record.exc_info[1] if record.exc_info else None
        fields = {"error": type(error).__name__, "where": raised_at(error)} if error is not None else {}
        said = record.getMessage()
        if record.name == "asyncio":
            said = said.partition("\n")[0]  # what follows shows the task and its exception, with all that it quotes
        structlog.get_logger(record.name).log(record.levelno, said, **fields)
