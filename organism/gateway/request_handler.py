"""Handles one request of any format: reads it, finds its payer, makes the call and sends the answer."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from functools import partial
from typing import Any, cast

import anyio
import msgspec
from msgspec.structs import replace

from organism.amounts import NS_PER_S
from organism.api.auth_middleware import ASGIReceive, ASGIScope, ASGISend
from organism.api.tokens.token_book import Caller
from organism.control.control import Control
from organism.errors import OrganismError
from organism.formats.errors.faults import Fault, FaultError, bad_request
from organism.formats.server_format import Asked, AskedFor, Json, Meta, ServerFormat, with_headers
from organism.gateway.errors import fault_of, unknown_model
from organism.gateway.headers import THREAD, Headers, encoded, fault_headers, reads_failures_in_stream
from organism.gateway.model_calls import ModelCalls
from organism.gateway.passed_over import PassedOver
from organism.gateway.payer import Payer, Payers
from organism.gateway.settings import Settings
from organism.gateway.stored_conversations import StoredConversations, StoredTurn
from organism.gateway.streaming import Streamed
from organism.llm.answers import Completion
from organism.llm.provider import Answer
from organism.router.planning.plan import pattern_of

GATEWAY = "organism.gateway"
"""The key of the gateway that answers a request in its ASGI scope, where there are several."""


class GatewayRequest(msgspec.Struct, frozen=True):
    """A request as it came.

    Attributes:
        caller: The caller, by its key or token.
        headers: Its headers, by lower-case names.
        body: Its body.
        fields: Fields of the body that its path gives.
    """

    caller: Caller
    headers: Mapping[str, str]
    body: bytes
    fields: Json = {}


class Gateway:
    """Answers requests in any format.

    Args:
        control: The organism.
        settings: What it offers, and who pays.
    """

    def __init__(self, control: Control, settings: Settings) -> None:
        self.payers = Payers(control, settings)
        self.conversations = StoredConversations(control.stored_answers)
        self._passed_over = PassedOver()
        self.calls = ModelCalls(control)
        components = control.components
        self._router = components.router
        self._budgets = components.budgets
        self._journal = components.journal
        self._clock = components.clock
        self._ids = components.ids
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Use other settings from the next request on; a key that is gone opens no more threads.

        Requests under way keep the settings they began with, and open threads keep their limits.
        """
        self.settings = settings
        self.payers.apply(settings)
        self.calls.apply(settings)
        self.conversations.bound(settings.keep_answers, settings.keep_days)

    @property
    def offered(self) -> tuple[str, ...]:
        """The names of the models it offers, without those that only a pattern covers."""
        return self.settings.models or tuple(self._router.models)

    def offers(self, model: str) -> bool:
        """Whether it offers a model, by name or by a pattern."""
        named = self.settings.models
        if model in self.offered:
            return True
        return model in self._router.models and (not named or pattern_of(model, named) is not None)

    async def read(self, format_: ServerFormat, caller: Caller, raw: Json) -> AskedFor[Any]:
        """Translate a request that is only counted: it opens no thread and keeps no answer.

        Raises:
            FaultError: It cannot be honoured, asks for a model that is not offered, or refers to what is not kept.
        """
        if format_.keeps_answers:
            raw, _turn = await self.conversations.made_whole(caller.name, raw)
        return self._read(format_, raw)

    def _read(self, format_: ServerFormat, raw: Json) -> AskedFor[Any]:
        asked = format_.read(raw, self.settings.max_output_tokens)
        if not self.offers(asked.request.model):
            raise unknown_model(asked.request.model, self.offered)
        return asked if self.settings.keep_answers else replace(asked, keeps=False)

    async def understood(
        self, format_: ServerFormat, request: GatewayRequest
    ) -> tuple[AskedFor[Any], Payer, StoredTurn | None]:
        """Translate a request; return it with its payer and what is to be kept with its answer.

        Raises:
            FaultError: It cannot be honoured.
            OrganismError: Its thread cannot pay.
        """
        raw, turn = with_headers(format_, parsed(request.body) | request.fields, request.headers), None
        if format_.keeps_answers:
            raw, turn = await self.conversations.made_whole(request.caller.name, raw)
        asked, headers = self._read(format_, raw), request.headers
        self._passed_over.note(format_, request.caller.name, raw)
        payer = await self.payers.payer(request.caller, headers.get(THREAD, ""), headers.get("traceparent"))
        keeps = asked.keeps or (turn is not None and turn.conversation is not None)
        return asked, payer, turn if keeps else None

    async def keep(self, by: str, turn: StoredTurn, response: Json) -> None:
        """Keep an answer and return when that is durable: a client may refer to it as soon as it has it."""
        self.conversations.keep(by, turn, response)
        await self.commit()

    def fault(self, error: FaultError | OrganismError) -> Fault:
        """Return the fault of an error."""
        if isinstance(error, FaultError):
            return error.fault
        plan = self._budgets.plan
        return fault_of(error, datetime.fromtimestamp(self._clock.now_ns() / NS_PER_S, plan.time_zone))

    async def commit(self) -> None:
        """Wait until everything so far is durable."""
        await self._journal.commit()

    def meta(self) -> Meta:
        """Return a new identity for an answer that begins now."""
        call_id = self._ids.next("gw").partition("_")[2]
        return Meta(id=call_id, created_s=self._clock.now_ns() // NS_PER_S)


def gateway_of(scope: Mapping[str, Any], gateway: Gateway) -> Gateway:
    """Return the gateway that answers a request: the one its scope names, else the given one."""
    return cast("Gateway", scope.get(GATEWAY, gateway))


class RequestHandler:
    """Answers one request, as an ASGI application.

    Args:
        gateway: The gateway.
        format_: The request's format.
        request: The request.
    """

    def __init__(self, gateway: Gateway, format_: ServerFormat, request: GatewayRequest) -> None:
        self._gateway = gateway
        self._calls = gateway.calls
        self._format = format_
        self._request = request
        self._id = ""
        self._turn: StoredTurn | None = None

    async def __call__(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        """Answer."""
        self._id = str(scope.get("organism.request_id", ""))
        payer: Payer | None = None
        try:
            asked, payer, self._turn = await self._gateway.understood(self._format, self._request)
            answer = self._stream if asked.stream else self._whole
            await _while_connected(receive, partial(answer, asked, payer, send))
        except (FaultError, OrganismError) as error:
            fault = self._fault(error)
            headers = self._headers(payer) if payer is not None else []
            await send_json(send, fault.status, self._format.error(fault), headers + fault_headers(fault))

    async def _whole(self, asked: AskedFor[Any], payer: Payer, send: ASGISend) -> None:
        answer = await self._calls.answer(payer, asked.request)
        meta = self._gateway.meta()
        body = await self._kept(asked, meta, answer)
        if isinstance(answer, Completion) and (line := self._calls.persons_line(payer, asked.request)):
            body = self._format.whole(asked, meta, await self._calls.with_line(line, answer))
        await send_json(send, 200, body, self._headers(payer))

    async def _stream(self, asked: Asked, payer: Payer, send: ASGISend) -> None:
        meta = self._gateway.meta()
        writer = self._format.writer(asked, meta)
        streamed = Streamed(writer, asked.stream_type, send, lambda: self._headers(payer))

        line = self._calls.persons_line(payer, asked.request)
        sink = streamed.add if line is None else line.beside(streamed.add)

        async def answer() -> None:
            try:
                completion = await self._calls.complete(payer, asked.request, sink)
                if self._turn is not None:
                    await self._kept(asked, meta, completion)
                await streamed.end(await self._calls.with_line(line, completion))
            except (FaultError, OrganismError) as error:
                fault = self._fault(error)
                in_stream = fault.retry is False and reads_failures_in_stream(self._request.headers)
                if not await streamed.fail(fault, begin=in_stream):
                    raise

        await _beside(streamed.carry, answer)

    async def _kept(self, asked: AskedFor[Any], meta: Meta, answer: Answer) -> Json:
        """Return an answer as the format writes it, after keeping it if it is to be kept."""
        body = self._format.whole(asked, meta, answer)
        if self._turn is not None:
            await self._gateway.keep(self._request.caller.name, self._turn, body)
        return body

    def _headers(self, payer: Payer) -> Headers:
        """Return the headers of an answer: the budget's, and the request's id as Anthropic's clients look for it."""
        return self._calls.headers(payer) + encoded([("request-id", self._id)])

    def _fault(self, error: FaultError | OrganismError) -> Fault:
        return replace(self._gateway.fault(error), request_id=self._id)


def parsed(body: bytes) -> Json:
    """Parse a body.

    Raises:
        FaultError: If it is not a JSON object.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"the body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise bad_request("the body must be a JSON object")
    return cast("Json", value)


async def _while_connected(receive: ASGIReceive, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``work`` and cancel it when the client disconnects; its call is then charged as an abandoned one."""
    with anyio.CancelScope() as working:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            working.cancel()

        # A bare task: it has nothing to fail with, and a group costs as much as several steps of the call.
        watching = asyncio.get_running_loop().create_task(watch())
        try:
            await work()
        finally:
            watching.cancel()


async def _beside(
    attend: Callable[[], Coroutine[Any, Any, None]], work: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Run ``work`` with ``attend`` beside it; an error of ``work`` is raised as it is, not in a group."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attend)
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - raised below, where no task group wraps it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def send_json(send: ASGISend, status: int, body: Json, headers: Headers) -> None:
    """Send a JSON response."""
    data = msgspec.json.encode(body)
    plain = encoded([("content-type", "application/json"), ("content-length", str(len(data)))])
    await send({"type": "http.response.start", "status": status, "headers": plain + headers})
    await send({"type": "http.response.body", "body": data, "more_body": False})
