"""Commands that talk to the running daemon."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from organism.api.tokens import TOKEN_FILE
from organism.cli import exits
from organism.cli.state import read_address, state_folder
from organism.cli.terminal import one_line, plain
from organism.errors import ConfigError, MissingExtraError, OrganismError, Shortfall

if TYPE_CHECKING:
    import httpx2

_TIMEOUT_S = 30.0


class UnreachableError(OrganismError):
    """No daemon answers."""

    def __init__(self, state: Path) -> None:
        super().__init__(f"no daemon answers for {state}; start one with 'organism daemon', or name its --state")


class RefusedError(OrganismError):
    """The daemon refused a request, and said why."""


class Client:
    """Talks to the daemon of a state folder.

    Args:
        url: Its API.
        token: Its secret.
        state: The folder, for error messages.
    """

    def __init__(self, url: str, token: str, state: Path) -> None:
        self._url = url
        self._token = token
        self._state = state

    @classmethod
    def of(cls, file: Path, state: Path | None) -> "Client":
        """Find the daemon that was started with the same arguments.

        Raises:
            UnreachableError: If none has said where it is.
            ConfigError: If its token cannot be read.
        """
        folder = state_folder(file, state)
        address = read_address(folder)
        if address is None:
            raise UnreachableError(folder)
        try:
            token = (folder / TOKEN_FILE).read_text(encoding="ascii").strip()
        except OSError as error:
            raise ConfigError(f"the daemon's token cannot be read: {error.strerror}", where=str(folder)) from None
        return cls(address.url, token, folder)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Make a request and return its answer.

        Raises:
            UnreachableError: If nobody answers.
            RefusedError: If the daemon refuses.
        """
        with self._connected() as client:
            response = client.request(method, path, json=body)
            if response.is_error:
                problem = response.json()
                raise RefusedError(f"{problem.get('detail', response.text)} ({problem.get('code', '')})")
            return response.json()

    def follow(self, thread: str | None, types: list[str], *, content: bool) -> Iterator[dict[str, Any]]:
        """Yield events as they happen; the first item is empty and says that the daemon listens.

        Raises:
            UnreachableError: If nobody answers.
            RefusedError: If the daemon refuses.
        """
        params: list[tuple[str, str | int | float | bool | None]] = [("type", name) for name in types]
        if thread is not None:
            params.append(("thread", thread))
        if content:
            params.append(("content", "true"))
        with self._connected(endless=True) as client, client.stream("GET", "/v1/events", params=params) as response:
            if response.is_error:
                raise RefusedError(response.read().decode("utf-8", "replace"))
            yield {}
            for line in response.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])["data"]

    @contextmanager
    def _connected(self, *, endless: bool = False) -> Iterator["httpx2.Client"]:
        try:
            import httpx2
        except ImportError:
            raise MissingExtraError("talking to the daemon", "daemon") from None
        headers = {"authorization": f"Bearer {self._token}"}
        timeout = httpx2.Timeout(None if endless else _TIMEOUT_S, connect=_TIMEOUT_S)
        try:
            with httpx2.Client(base_url=self._url, headers=headers, timeout=timeout, trust_env=False) as client:
                yield client
        except httpx2.ConnectError:
            raise UnreachableError(self._state) from None
        except httpx2.TransportError as error:
            raise RefusedError(f"the daemon has gone away: {error or type(error).__name__}") from None


def send_message(client: Client, text: str, *, to: str | None, thread: str | None, wait: bool, as_json: bool) -> int:
    """Send a message and print the thread's id, or with ``wait`` its answer."""
    body = {"text": text} | ({"to": to} if to else {})
    path = f"/v1/threads/{thread}/messages" if thread else "/v1/threads"
    if not wait:
        accepted = client.call("POST", path, body)
        sys.stdout.write(json.dumps(accepted) + "\n" if as_json else f"{accepted['thread_id']}\n")
        return exits.OK
    # Following begins before sending, so that nothing the thread says can be missed.
    stream = client.follow(None, [], content=True)
    next(stream)
    thread_id = client.call("POST", path, body)["thread_id"]
    answers = []
    for event in stream:
        if event["thread_id"] != thread_id:
            continue
        match event["type"]:
            case "AgentSaid" if event["recipient"] == "user":
                answers.append(event["text"])
                if not as_json:
                    sys.stdout.write(plain(event["text"]) + "\n")
            case "ThreadBlocked":
                shortfall = msgspec.convert(event["shortfall"], Shortfall)
                sys.stderr.write(f"organism: thread {thread_id} waits for budget: {shortfall}\n")
                return exits.EXHAUSTED
            case "ThreadClosed":
                if as_json:
                    sys.stdout.write(json.dumps({"answers": answers, **event}) + "\n")
                elif event["reason"]:
                    sys.stderr.write(f"organism: {event['outcome']}: {one_line(event['reason'])}\n")
                return exits.OK if event["outcome"] == "completed" else exits.FAILED
            case _:
                pass
    return exits.FAILED


def follow_events(client: Client, *, thread: str | None, types: list[str], content: bool) -> int:
    """Print events as lines of JSON until interrupted or the daemon stops."""
    for event in client.follow(thread, types, content=content):
        if event:
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()
    return exits.OK


def list_threads(client: Client) -> int:
    """Print open threads as lines of JSON."""
    for thread in client.call("GET", "/v1/threads")["threads"]:
        sys.stdout.write(json.dumps(thread) + "\n")
    return exits.OK
