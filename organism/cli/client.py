"""HTTP client of the running daemon: questions, orders, events."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec

from organism.cli import exit_codes
from organism.cli.output import note
from organism.daemon.state_folder import read_address, read_token
from organism.errors import MissingExtraError, OrganismError
from organism.usage.cloudevents import CloudEvent

if TYPE_CHECKING:
    import httpx2

_TIMEOUT_S = 30.0

_PAGE = 1000

T = TypeVar("T")


def path_to(*names: str) -> str:
    """Return the path of what is called by names, whatever stands in them: none of it leads elsewhere."""
    return "/".join(("/v1", *(quote(name, safe="", errors="replace") for name in names)))


class Page(msgspec.Struct, frozen=True):
    """Some events, oldest first.

    Attributes:
        next: Where the next page begins.
        more: Whether there is one already.
    """

    events: list[CloudEvent]
    next: str
    more: bool


class UnreachableError(OrganismError):
    """No daemon answers."""

    exit_code = exit_codes.UNREACHABLE

    def __init__(self, state: Path, remedy: str = "start one with 'organism daemon', or name its --state") -> None:
        super().__init__(f"no daemon answers for {state}; {remedy}")


class RefusedError(OrganismError):
    """The daemon refused a request, or has gone away meanwhile.

    Attributes:
        status: The HTTP status; 0 without an answer.
        code: What went wrong, for programs.
        mistakes: Each mistake of a configuration that has several.
    """

    def __init__(self, answer: bytes | str, status: int = 0) -> None:
        self.status = status
        self.code = ""
        self.mistakes: tuple[str, ...] = ()
        text = answer if isinstance(answer, str) else answer.decode("utf-8", "replace")[:500]
        if isinstance(answer, bytes):
            try:
                problem = msgspec.json.decode(answer, type=dict[str, Any])
                self.code, text = str(problem["code"]), str(problem["detail"])
                self.mistakes = tuple(map(str, problem.get("mistakes", ())))
            except (msgspec.MsgspecError, KeyError):
                pass
        super().__init__(f"{text} ({self.code})" if self.code else text)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Each mistake by itself, or the answer."""
        return self.mistakes or super().sentences


class Client:
    """HTTP client of the daemon that owns a state folder.

    Args:
        url: Its API.
        token: Its secret.
        state: The folder, for error messages.

    Attributes:
        url: Its API.
    """

    def __init__(self, url: str, token: str, state: Path) -> None:
        self.url = url
        self._token = token
        self._state = state
        self._missing = ""

    @classmethod
    def of(cls, folder: Path) -> "Client":
        """Find the daemon of a state folder.

        Raises:
            UnreachableError: If none has said where it is.
            ConfigError: If its token cannot be read.
        """
        address = read_address(folder)
        if address is None:
            raise UnreachableError(folder)
        return cls(address.url, read_token(folder), folder)

    def ask(self, answer: type[T], path: str, **params: object) -> T:
        """Ask a question.

        Args:
            answer: What the answer is made of.
            path: Below the API's root.
            params: Query parameters; those that are ``None`` are left out.

        Raises:
            UnreachableError: If nobody answers.
            RefusedError: If the daemon refuses.
        """
        return msgspec.json.decode(self._request("GET", path, params=params), type=answer)

    def order(self, answer: type[T], method: str, path: str, body: object = None, **params: object) -> T:
        """Give an order. It has a key, so that it would be carried out once if it had to be sent again.

        Raises:
            UnreachableError: If nobody answers.
            RefusedError: If the daemon refuses.
        """
        raw = self._request(method, path, body=body, params=params, key=token_hex(16))
        return msgspec.json.decode(raw, type=answer)

    def page(self, after: str, *, thread: str | None = None, types: Iterable[str] = ()) -> Page:
        """Read stored events after the one of that id; an empty id begins with the oldest kept.

        Raises:
            UnreachableError: If nobody answers.
            RefusedError: If the daemon refuses, or some after that one are not kept any more.
        """
        wanted = list(types) or None
        return self.ask(Page, "/v1/events/page", after=after, limit=_PAGE, thread=thread, type=wanted)

    def follow(
        self, thread: str | None = None, types: Iterable[str] = (), *, content: bool = False, after: str | None = None
    ) -> Iterator[CloudEvent | None]:
        """Yield events as they happen; the first item is ``None`` and says that the daemon listens.

        Args:
            thread: Only events of this thread and its descendants.
            types: Only these kinds of events.
            content: Also what agents say.
            after: Begin with the events after this one.

        Raises:
            UnreachableError: If nobody answers.
            RefusedError: If the daemon refuses.
        """
        params = {"type": list(types), "thread": thread, "content": content or None, "after": after}
        with (
            self._connected(endless=True) as client,
            client.stream("GET", "/v1/events", params=_given(params)) as response,
        ):
            if response.is_error:
                response.read()
                raise RefusedError(response.content, response.status_code)
            yield None
            for line in _lines(response.iter_bytes()):
                if line.startswith(b"data:"):
                    yield msgspec.json.decode(line[5:], type=CloudEvent)

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, object] | None = None,
        key: str | None = None,
    ) -> bytes:
        headers = {"idempotency-key": key} if key else {}
        with self._connected() as client:
            response = client.request(method, path, json=body, params=_given(params or {}), headers=headers)
            if response.is_error:
                raise RefusedError(response.content, response.status_code)
            self._tell_missing(response.headers.get("organism-unanswered", ""))
            return bytes(response.content)

    def _tell_missing(self, parts: str) -> None:
        """Say which parts of a cluster an answer leaves out; once as long as they are the same."""
        if parts != self._missing:
            self._missing = parts
            note(f"not in this, because they did not answer: {parts}" if parts else "every part answers again")

    @contextmanager
    def _connected(self, *, endless: bool = False) -> Iterator["httpx2.Client"]:
        try:
            import httpx2
        except ImportError:
            raise MissingExtraError("talking to the daemon", "daemon") from None
        headers = {"authorization": f"Bearer {self._token}"}
        timeout = httpx2.Timeout(None if endless else _TIMEOUT_S, connect=_TIMEOUT_S)
        try:
            with httpx2.Client(base_url=self.url, headers=headers, timeout=timeout, trust_env=False) as client:
                yield client
        except httpx2.ConnectError:
            raise UnreachableError(self._state) from None
        except httpx2.TransportError as error:
            raise RefusedError(f"the daemon has gone away: {error or type(error).__name__}") from None


def _given(params: Mapping[str, object]) -> dict[str, Any]:
    """Leave out what was not given, and write booleans as the API reads them."""
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in params.items()
        if value is not None
    }


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines: what ends them is a line feed alone, for JSON may hold all else that text takes for a break."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
