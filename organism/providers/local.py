"""A model on one's own machine: llama.cpp's server in a child process, started at the first call.

One child serves all agents through a few parallel slots. It ends with the organism, and also when the organism is
killed: it watches its standard input, which closes with its parent.
"""

import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import IO

import anyio
import anyio.abc

from organism.concurrency.own_threads import OwnThreads
from organism.errors import ConfigError, MissingExtraError, RejectedError, UnsupportedError
from organism.formats.answers.decoder import AnswerDecoder
from organism.formats.json_reading import JsonObject
from organism.formats.media.attachments import AttachmentBounds, extra_tokens
from organism.formats.openai_chat import request as chat_request
from organism.formats.openai_chat.answer import ChatReader
from organism.formats.openai_embeddings import client as embeddings
from organism.formats.vendors import VENDORS
from organism.llm.answers import Completion
from organism.llm.deltas import ProviderSink
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest, ImagePart
from organism.providers.addresses import ServerAddress
from organism.providers.http import HTTPServer, Received
from organism.providers.model_files import DEFAULT_MODEL, Progress, fetch, find
from organism.text.plain_text import lines_of

_FETCHING = OwnThreads(2)
"""Models are fetched two at a time."""

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 3.0
_LOG_TAIL_BYTES = 2000
_ITS_WORD = 500
_VENDOR = VENDORS["llamacpp"]


class LocalProvider:
    """llama.cpp in a child process.

    Args:
        name: The provider's name in the configuration.
        model: A known model's name or the path of a GGUF file.
        slots: Calls served at a time; more wait their turn.
        context_tokens: Prompt and answer of one call together.
        threads: Processor threads; half of the processors unless given.
        progress: Called with a line about what takes long: fetching the model, starting the server.

    Raises:
        MissingExtraError: If llama.cpp is not installed.
        ConfigError: If the model is neither known nor a file.
    """

    def __init__(
        self,
        name: str = "local",
        model: str = DEFAULT_MODEL,
        *,
        slots: int = 2,
        context_tokens: int = 2048,
        threads: int | None = None,
        progress: Progress = lambda _line: None,
    ) -> None:
        if importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("httpx2") is None:
            raise MissingExtraError("the local model", "local")
        find(model)
        self.name = name
        self._model = model
        self._slots = slots
        self._context_tokens = context_tokens
        self._threads = threads or default_threads()
        self._progress = progress
        self._starting = anyio.Lock()
        self._free_slots = anyio.Semaphore(slots)
        self._process: anyio.abc.Process | None = None
        self._log: IO[bytes] | None = None
        self._server: HTTPServer | None = None

    def extra_tokens(self, request: Request) -> int:
        """Bound what the model's own template adds for tools; it reads no images."""
        if isinstance(request, CompletionRequest) and (what := chat_request.untaken(request, _VENDOR)) is not None:
            raise UnsupportedError(self.name, what)
        pieces = () if isinstance(request, EmbeddingRequest) else request.attachments()
        if any(isinstance(piece, ImagePart) for piece in pieces):
            raise UnsupportedError(self.name, "images")
        return extra_tokens(request, self.name, AttachmentBounds(), tool_tokens=_VENDOR.tool_tokens)

    async def complete(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        """Make one attempt; see :class:`organism.llm.provider.Provider`."""
        body = chat_request.encode(request, _VENDOR, stream=on_text is not None)
        decoder = AnswerDecoder(self.name, ChatReader(request, _VENDOR, on_text), on_text)
        async with self._posted("/chat/completions", body) as response:
            return await response.answer(decoder)

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Make one attempt; see :class:`organism.llm.provider.Provider`. llama.cpp takes 512 tokens a text."""
        async with self._posted("/embeddings", embeddings.encode(request, _VENDOR)) as response:
            return embeddings.decode(await response.read(), _VENDOR, self.name, request)

    @asynccontextmanager
    async def _posted(self, path: str, body: JsonObject) -> AsyncIterator[Received]:
        """Send a request to the child when it has a free slot; what breaks turns into what it means for money."""
        async with self._slot():
            server = await self._ready()
            try:
                async with server.posted(path, body) as response:
                    yield response
            except RejectedError as error:
                raise _refusal(error) from None

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Hold a slot of the child's; a call whose time is up before it has one was never made, and owes nothing."""
        try:
            await self._free_slots.acquire()
        except anyio.get_cancelled_exc_class():
            raise RejectedError(self.name, f"its {self._slots} slots were taken all the time; give it more") from None
        try:
            yield
        finally:
            self._free_slots.release()

    async def warm_up(self) -> None:
        """Fetch the model and start the child; see :class:`organism.llm.provider.Provider`."""
        await (await self._ready()).warm_up()

    async def aclose(self) -> None:
        """Stop the child process."""
        server, self._server = self._server, None
        process, self._process = self._process, None
        with anyio.CancelScope(shield=True):
            if server is not None:
                await server.aclose()
            if process is not None:
                await _stop(process)
        if self._log is not None:
            self._log.close()
            self._log = None

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def _ready(self) -> HTTPServer:
        """Return the running child, starting one if there is none or it has died."""
        async with self._starting:
            if self._server is None or self.pid is None:
                await self.aclose()
                self._server = await self._start()
            return self._server

    async def _start(self) -> HTTPServer:
        try:
            path = await _FETCHING.run(fetch, self._model, self._progress)
        except ConfigError as error:
            raise RejectedError(self.name, error.reason) from None  # the model was asked nothing, so nothing is owed
        self._progress(f"starting {self._model} on this machine")
        key = secrets.token_hex(16)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the child, not as this function
        command = [sys.executable, "-m", "organism.providers.local_server", str(path), "--alias", self._model]
        command += ["--slots", str(self._slots), "--context-tokens", str(self._context_tokens)]
        command += ["--threads", str(self._threads)]
        self._process = await anyio.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "ORGANISM_LOCAL_KEY": key},
            # A session of its own: Ctrl-C in the terminal is for organism, which ends its child when it has drained.
            start_new_session=True,
        )
        address = await self._address(self._process)
        return HTTPServer(self.name, ServerAddress(f"{address}/v1"), {"authorization": f"Bearer {key}"})

    async def _address(self, process: anyio.abc.Process) -> str:
        """Wait for the child's one line, which says that it is ready and where.

        Raises:
            RejectedError: If it ends or says nothing in time.
        """
        line = b""
        if process.stdout is not None:
            with anyio.move_on_after(_START_TIMEOUT_S), suppress(anyio.EndOfStream):
                while b"\n" not in line:
                    line += await process.stdout.receive()
        if b"\n" not in line:
            await _stop(process)
            raise RejectedError(self.name, f"llama.cpp did not start: {self._last_words()}")
        return str(json.loads(line)["address"])

    def _last_words(self) -> str:
        if self._log is None:
            return "no output"
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _LOG_TAIL_BYTES))
        return lines_of(self._log.read().decode("utf-8", "replace").strip())[-1] or "no output"


def _refusal(error: RejectedError) -> RejectedError:
    """Take a 500 of llama.cpp's for what it is: its word on this one request, and not a server in trouble."""
    if error.status == _ITS_WORD:
        return RejectedError(error.provider, error.detail, status=error.status, meaning="request")
    return error


def default_threads() -> int:
    """Return half of the processors that this process may use.

    llama.cpp's threads wait for each other by spinning. As soon as one of them has to share its processor, all of them
    do little else: with as many threads as processors, anything else that runs makes answers up to fifty times slower.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // 2)


async def _stop(process: anyio.abc.Process) -> None:
    """End a child by closing its input; kill it if it does not take the hint."""
    if process.stdin is not None:
        with suppress(anyio.BrokenResourceError, OSError):
            await process.stdin.aclose()
    with anyio.move_on_after(_STOP_TIMEOUT_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    await process.aclose()
