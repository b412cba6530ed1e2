"""Takes each request that a node has let in to the partitions that answer it, here or at another node."""

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import anyio
import msgspec

from organism.api.auth_middleware import CALLER, ASGIApp, ASGIReceive, ASGIScope, ASGISend
from organism.api.problems import MEDIA_TYPE, SAY, Problem
from organism.api.tokens.token_book import Caller
from organism.cluster.node import ClusterNode
from organism.cluster.node_labels import needs_label
from organism.cluster.routing.forwarded import PATH
from organism.cluster.routing.forwarding import Forwarding, ForwardOutcome
from organism.cluster.routing.local_parts import LocalParts, PartAnswer, RoutedRequest, caller_name
from organism.cluster.routing.merging import FOUND_ONCE, GatheredAnswers, merged
from organism.cluster.routing.placement import Destination, PlacedRequest, place_of
from organism.gateway.headers import THREAD
from organism.gateway.routes import FORMATS
from organism.stores.leases import NodeRow

OWNER_WAIT_S = 10.0
"""So long a request waits for a partition that is on its way from one node to another."""

GATHER_S = 2.0
"""So long questions about all of the cluster wait for those that do not answer."""

_LOOK_S = 0.1
_GONE = (404, 410)
_ANSWERED = 409
"""A question of the same id was answered otherwise in another partition, long before this one took an answer."""
_FAILED = 400
_UNAVAILABLE = 503
_TOO_LARGE = Problem(
    status=431,
    code="head_too_large",
    title="headers too large",
    detail="in a cluster, send at most some 8,000 bytes of request line and headers: they are passed on, signed",
)
_WITHOUT_RECEIPT = ("/v1/sessions", "/v1/tokens")


PayerOf = Callable[[Caller, str], str]


class RequestRouter:
    """Takes requests where they belong.

    Args:
        node: This node.
        local: Its partitions.
        forwarding: The way to the others.
        reader: Reads the events of all partitions.
        payer_of: Tells which thread pays for a call, from its caller and the thread it names; ``None`` where there is
            no gateway.
    """

    def __init__(
        self, node: ClusterNode, local: LocalParts, forwarding: Forwarding, reader: Any, payer_of: PayerOf | None
    ) -> None:
        self._node = node
        self._local = local
        self._forwarding = forwarding
        self._reader = reader
        self._payer_of = payer_of

    async def carry(self, app: ASGIApp, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        """Take a request that the gate has let in to what answers it."""
        if scope["path"] == PATH:
            await app(scope, receive, send)
            return
        body = (await receive()).get("body", b"")
        request = RoutedRequest(app, scope, body, receive, send)
        place = place_of(self._placed(request), self._node.layout)
        if place.query is not None:
            request = msgspec.structs.replace(request, scope={**scope, "query_string": place.query.encode("latin-1")})
        if place.kind not in ("here", "refused"):
            # Asked for all alike: else what a node answers itself would be unanswerable once the partition has moved.
            if not self._forwarding.fits(request):
                await _refuse(request, _TOO_LARGE)
                return
            if _gets_key(request):
                request = request.with_key(f"node-{secrets.token_hex(12)}")
        await self._take(place, request)

    async def _take(self, place: Destination, request: RoutedRequest) -> None:
        match place.kind:
            case "here":
                await self._answer_itself(request)
            case "own":
                await self._gathered(self._local.open, request)
            case "all":
                await self._gathered(tuple(self._node.layout.every), request)
            case "at":
                await self._at(place.partition, request)
            case "any":
                await self._at(self._any_partition(place.label), request)
            case "refused":
                problem = Problem(status=400, code="not_in_a_cluster", title="not in a cluster", detail=place.reason)
                await _refuse(request, problem)

    def _placed(self, request: RoutedRequest) -> PlacedRequest:
        scope, caller = request.scope, request.scope.get(CALLER)
        payer = ""
        if self._payer_of is not None and caller is not None and _is_gateways(scope["path"]):
            payer = self._payer_of(caller, request.headers.get(THREAD, ""))
        return PlacedRequest(
            method=scope["method"],
            path=scope["path"],
            query=scope.get("query_string", b"").decode("latin-1"),
            key=request.headers.get("idempotency-key", ""),
            caller=caller_name(scope),
            payer=payer,
            body=request.body,
            label_of=self._node.label_of,
        )

    async def _answer_itself(self, request: RoutedRequest) -> None:
        if (
            request.scope["path"] == "/readyz"
            and not self._local.open
            and not self._node.view.draining(self._node.name)
        ):
            await _say(request, 200, b"ok", "text/plain; charset=utf-8")  # it has none yet, and passes on what comes
            return
        await self._local.answer_itself(request, self._reader)

    def _any_partition(self, label: str) -> int:
        """Return a partition of a label at this node, each in turn by chance, or at any other node."""
        those = self._node.layout.of(label)
        return secrets.choice([partition for partition in self._local.open if partition in those] or those)

    # -- one partition --------------------------------------------------------------------------------------------

    async def _at(self, partition: int, request: RoutedRequest) -> None:
        """Have a partition answer, wherever it is; one that is on its way is waited for."""
        deadline_s = anyio.current_time() + OWNER_WAIT_S
        while True:
            outcome = await self._try(partition, request)
            if outcome is ForwardOutcome.ANSWERED:
                return
            if outcome is ForwardOutcome.UNTOUCHED and (label := self._node.view.missing_label(partition)):
                self._node.renew_soon()  # one that has it may have begun since
                await _refuse(request, _away(f"partition {partition} needs a label: {needs_label(label)}"))
                return
            repeated = outcome is ForwardOutcome.UNTOUCHED or request.repeatable
            if not repeated or anyio.current_time() >= deadline_s:
                await _refuse(request, _not_there(f"partition {partition}", done=outcome is ForwardOutcome.UNKNOWN))
                return
            await self._look()

    async def _try(self, partition: int, request: RoutedRequest) -> ForwardOutcome:
        if self._local.is_open(partition):
            done = await self._local.answer(partition, request)
            return ForwardOutcome.ANSWERED if done else ForwardOutcome.UNKNOWN
        owner = self._other(partition)
        return ForwardOutcome.UNTOUCHED if owner is None else await self._forwarding.forward(owner, partition, request)

    def _other(self, partition: int) -> NodeRow | None:
        """Return the node that has a partition, if that is another one and can be reached."""
        owner = self._node.view.owner_of(partition)
        return owner if owner is not None and owner.name != self._node.name and owner.live and owner.url else None

    async def _look(self) -> None:
        """Wait until something may have changed."""
        self._node.renew_soon()
        with anyio.move_on_after(_LOOK_S):
            await self._node.news.wait()

    # -- several --------------------------------------------------------------------------------------------------

    async def _gathered(self, partitions: tuple[int, ...], request: RoutedRequest) -> None:
        """Answer for several partitions as one; what has not answered in time is named."""
        if "after" in parse_qs(request.scope.get("query_string", b"").decode("latin-1")):
            problem = Problem(
                status=400, code="use_cursor", title="no place", detail="in a cluster, go on with cursor=NEXT_CURSOR"
            )
            await _refuse(request, problem)
            return
        changes = request.scope["method"] not in ("GET", "HEAD")
        found = await self._collect(partitions, request, OWNER_WAIT_S if changes else GATHER_S)
        missing = {partition for partition in partitions if partition not in found}
        path: str = request.scope["path"]
        good = {number: part for number, part in found.items() if part.status < _FAILED}
        bad = [part for part in found.values() if part.status >= _FAILED]
        over = (*_GONE, _ANSWERED) if good and path.startswith(FOUND_ONCE) else _GONE
        failed = next((part for part in bad if part.status not in over), None)
        if changes and failed is None and missing and not (good and path.startswith(FOUND_ONCE)):
            await _refuse(request, _not_there(_named(missing, self._node), done=True))
        elif failed is not None or not good:
            worst = failed or next(iter(bad), None)
            if worst is None or (missing and worst is not failed):
                await _refuse(request, _not_there(_named(missing, self._node), done=False))
            else:
                await _say(request, worst.status, worst.body, worst.content_type)
        elif bad and not path.startswith(FOUND_ONCE):
            await _say(request, bad[0].status, bad[0].body, bad[0].content_type)
        else:
            await self._say_merged(request, good, _unanswered(missing, self._node))

    async def _say_merged(
        self, request: RoutedRequest, good: Mapping[int, PartAnswer], unanswered: tuple[str, ...]
    ) -> None:
        first = good[min(good)]
        query = request.scope.get("query_string", b"").decode("latin-1")
        bodies = {number: part.body for number, part in good.items()}
        pages = [*(part.node for part in good.values()), self._local.page(request)]
        nodes = {page.node: page.body for page in pages if page is not None}
        answer = merged(request.scope["path"], GatheredAnswers(bodies, query, unanswered, tuple(nodes.values())))
        said = {"link": answer.link, "organism-unanswered": ", ".join(unanswered)}
        more = [(name.encode(), text.encode("latin-1")) for name, text in said.items() if text]
        await _say(request, first.status, answer.body, first.content_type, more)

    async def _collect(
        self, partitions: tuple[int, ...], request: RoutedRequest, within_s: float
    ) -> dict[int, PartAnswer]:
        """Return the answer of each partition, asked again as long as it has none and there is time."""
        found: dict[int, PartAnswer] = {}
        with anyio.move_on_after(within_s):
            while missing := [number for number in partitions if number not in found]:
                await self._ask_all(missing, request, found)
                # A partition whose label no node has is not on its way: waiting for it would only take time.
                if all(number in found or self._node.view.missing_label(number) for number in partitions):
                    break
                await self._look()
        return found

    async def _ask_all(self, missing: list[int], request: RoutedRequest, found: dict[int, PartAnswer]) -> None:
        here = tuple(number for number in missing if self._local.is_open(number))
        elsewhere: dict[NodeRow, list[int]] = {}
        for number in missing:
            if number not in here and (owner := self._other(number)) is not None:
                elsewhere.setdefault(owner, []).append(number)

        async def keep(ask: Callable[[], Any]) -> None:
            found.update({part.partition: part for part in await ask()})

        async with anyio.create_task_group() as tasks:
            if here:
                tasks.start_soon(keep, lambda: self._local.collect(here, request))
            for owner, numbers in elsewhere.items():
                tasks.start_soon(keep, lambda at=owner, its=tuple(numbers): self._forwarding.gather(at, its, request))


def _gets_key(request: RoutedRequest) -> bool:
    """Whether a request is given a key, so that it can be sent again where its first answer was lost."""
    path: str = request.scope["path"]
    changes = request.scope["method"] not in ("GET", "HEAD") and path.startswith("/v1/") and not _is_gateways(path)
    return changes and not request.repeatable and CALLER in request.scope and path not in _WITHOUT_RECEIPT


def _is_gateways(path: str) -> bool:
    return path in FORMATS or path.startswith(
        (*(f"{each}/" for each in FORMATS), "/v1/conversations", "/v1/models", "/v1beta/")
    )


def _named(partitions: set[int], node: ClusterNode) -> str:
    return ", ".join(_unanswered(partitions, node))


def _unanswered(partitions: set[int], node: ClusterNode) -> tuple[str, ...]:
    """Name the parts that did not answer."""
    names = []
    for number in sorted(partitions):
        owner, label = node.view.owner_of(number), node.view.missing_label(number)
        where = f"no node labelled {label}" if label else f"node {owner.name}" if owner else "no node"
        names.append(f"partition {number} ({where})")
    return tuple(names)


def _not_there(what: str, *, done: bool) -> Problem:
    known = "whether it was done is not known: send it again with the same Idempotency-Key" if done else "try again"
    return _away(f"{what} is on its way to another node, or its node does not answer; {known}")


def _away(detail: str) -> Problem:
    return Problem(
        status=_UNAVAILABLE, code="partition_unavailable", title="part of the cluster is away", detail=detail
    )


async def _refuse(request: RoutedRequest, problem: Problem) -> None:
    request_id = str(request.scope.get("organism.request_id", ""))
    named = msgspec.structs.replace(problem, request_id=request_id)
    say = request.scope.get(SAY)
    body, media_type = say(named) if say is not None else (msgspec.json.encode(named), MEDIA_TYPE)
    more = [(b"retry-after", b"1")] if problem.status == _UNAVAILABLE else []
    await _say(request, problem.status, body, media_type, more)


async def _say(
    request: RoutedRequest, status: int, body: bytes, media_type: str, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode()), *(more or [])]
    with suppress(OSError):
        await request.send({"type": "http.response.start", "status": status, "headers": headers})
        await request.send({"type": "http.response.body", "body": body, "more_body": False})
