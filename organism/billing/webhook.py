"""Events to an HTTP endpoint: signed as Standard Webhooks has it, sent again until it takes them."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from organism.billing.answer_links import SIGNATURE
from organism.billing.delivery import Rejected, UndeliveredError
from organism.billing.signatures import all_keys, signatures
from organism.billing.verdicts import DeliveryVerdict, Later, Refused, SinkAnswer, Taken, verdict
from organism.errors import MissingExtraError
from organism.usage.cloudevents import BATCH_MEDIA_TYPE, CloudEvent

if TYPE_CHECKING:
    import ssl

    import httpx2

_TIMEOUT_S = 10.0
_NS_PER_S = 1_000_000_000
_EVENTS_MAX = 100
_ANSWER_BYTES = 65_536
_DOUBTS_MAX = 5
"""So many events in a row may be refused for a reason that may be the address's; more behind them are not offered."""


@cache
def _certificates() -> "ssl.SSLContext":
    """Return whom to believe, read once for all webhooks: it takes 50 ms of the event loop's time."""
    import httpx2

    return httpx2.create_ssl_context(trust_env=False)


class WebhookRequest(msgspec.Struct, frozen=True):
    """One request.

    Attributes:
        id: The same whenever it is sent.
        body: What it says.
        media_type: In which form.
    """

    id: str
    body: bytes
    media_type: str


class BodyFormat(msgspec.Struct, frozen=True):
    """Turns events into the requests that another system expects.

    Attributes:
        write: Does it; events that are not for that system give none.
        events_max: So many events go together.
        reads_body: Whether an answer of 2xx can tell of events that were not taken.
    """

    write: Callable[[Sequence[CloudEvent]], list[WebhookRequest]]
    events_max: int = _EVENTS_MAX
    reads_body: bool = False

    def __call__(self, events: Sequence[CloudEvent]) -> list[WebhookRequest]:
        """Return the requests for these events."""
        return self.write(events)


def _as_cloudevents(events: Sequence[CloudEvent]) -> list[WebhookRequest]:
    name = f"{events[0].id}-{events[-1].id}"
    return [WebhookRequest(name, msgspec.json.encode(list(events)), BATCH_MEDIA_TYPE)]


as_cloudevents = BodyFormat(_as_cloudevents)
"""Events as one batch of CloudEvents."""


class Webhook:
    """Posts to one address.

    Args:
        url: The address, from the configuration; never from a request.
        now_ns: Dates the signatures.
        secret: What requests are signed with, see :mod:`organism.billing.signatures`; not signed without.
        old_secrets: What they are signed with besides, while receivers change over to ``secret``.
        token: Sent as a bearer token, where the other side asks for one.
        shape: What the other side expects.

    Raises:
        ValueError: If a secret can stand for no key.
    """

    def __init__(
        self,
        url: str,
        now_ns: Callable[[], int],
        *,
        secret: str | None = None,
        old_secrets: Iterable[str] = (),
        token: str | None = None,
        shape: BodyFormat = as_cloudevents,
    ) -> None:
        self._url = url
        self._now_ns = now_ns
        self._keys = all_keys(([] if secret is None else [secret]) + list(old_secrets))
        self._token = token
        self._hidden = sorted(filter(None, (url, *urlsplit(url)[1:], token)), key=len, reverse=True)
        self._shape = shape
        self._client: httpx2.AsyncClient | None = None
        self._doubted = ""
        """The first of the events that were refused last for what may be the address's fault."""

    async def deliver(self, events: Sequence[CloudEvent]) -> tuple[Rejected, ...]:
        """Offer events until all are taken, or known never to be.

        A batch that is refused is offered in halves, so that what is wrong with one event costs that event only. What
        the other side has already counts as taken. An event that is refused for what may as well be the address's fault
        is judged by those behind it: if one of them is taken, the address is right.

        Returns:
            Events that are refused for good.

        Raises:
            UndeliveredError: If the other side does not take any now; what is not counted by it is offered again.
        """
        step = self._shape.events_max
        waiting = deque(events[start : start + step] for start in range(0, len(events), step))
        rejected: list[Rejected] = []
        doubtful: list[Rejected] = []
        done = 0
        while waiting:
            some = waiting.popleft()
            said = await self._offer(some)
            if isinstance(said, Refused) and len(some) > 1:
                if not said.sure and self._doubted != events[0].id:
                    # An address that is being changed answers so for a moment: the whole is offered once more.
                    self._doubted = events[0].id
                    raise _undelivered(said.reason, done, rejected, doubtful)
                waiting.extendleft((some[len(some) // 2 :], some[: len(some) // 2]))
                continue
            if isinstance(said, Later):
                raise _undelivered(said.reason, done, rejected, doubtful, said.after_s)
            done += len(some)
            if isinstance(said, Taken):
                rejected += doubtful
                doubtful = []
            elif said is not None:
                (rejected if said.sure else doubtful).append(Rejected(some[0], said.reason, done - 1))
            if len(doubtful) >= _DOUBTS_MAX:
                break
        if doubtful:
            raise _undelivered(doubtful[0].reason, done, rejected, doubtful)
        return tuple(rejected)

    async def aclose(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _offer(self, events: Sequence[CloudEvent]) -> DeliveryVerdict | None:
        """Post all that is to be said of some events; the worst answer is the answer. ``None`` if there is nothing."""
        now = datetime.fromtimestamp(self._now_ns() // _NS_PER_S, UTC)
        worst: DeliveryVerdict | None = None
        for delivery in self._shape(events):
            answer = await self._post(delivery)
            said = answer if isinstance(answer, Later) else self._judge(answer, len(events), now)
            if isinstance(said, Later):
                return said
            worst = worst if isinstance(worst, Refused) else said
        return worst

    def _judge(self, answer: SinkAnswer, events: int, now: datetime) -> DeliveryVerdict:
        said = verdict(answer, events, now, reads_body=self._shape.reads_body)
        return said if isinstance(said, Taken) else replace(said, reason=self._without_address(said.reason))

    def _without_address(self, text: str) -> str:
        """Take out what the other side repeats of the address, which may hold a secret, and of links that answer."""
        text = SIGNATURE.sub("signature=...", text)
        for hidden in self._hidden:
            text = text.replace(hidden, "...") if len(hidden) > 1 else text
        return text

    async def _post(self, delivery: WebhookRequest) -> SinkAnswer | Later:
        try:
            import httpx2
        except ImportError:
            raise MissingExtraError("a webhook", "daemon") from None
        if self._client is None:
            self._client = httpx2.AsyncClient(
                verify=_certificates(), timeout=_TIMEOUT_S, trust_env=False, follow_redirects=False
            )
        request = self._client.build_request("POST", self._url, content=delivery.body, headers=self._headers(delivery))
        try:
            response = await self._client.send(request, stream=True)
            try:
                body = await _beginning(response)
            finally:
                await response.aclose()
        except httpx2.HTTPError as error:
            # Only the kind of the error: its text may hold the address, and an address may hold a secret.
            return Later(f"no answer: {type(error).__name__}")
        return SinkAnswer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, body)

    def _headers(self, delivery: WebhookRequest) -> dict[str, str]:
        timestamp = str(self._now_ns() // _NS_PER_S)
        headers = {
            "content-type": delivery.media_type,
            "webhook-id": delivery.id,
            "webhook-timestamp": timestamp,
        }
        if self._keys:
            headers["webhook-signature"] = signatures(self._keys, delivery.id, timestamp, delivery.body)
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        return headers


async def _beginning(response: "httpx2.Response") -> bytes:
    """Read what an answer says first; a system that never stops talking has said enough."""
    body = b""
    async for part in response.aiter_bytes():
        body += part
        if len(body) >= _ANSWER_BYTES:
            break
    return body[:_ANSWER_BYTES]


def _undelivered(
    reason: str, done: int, rejected: list[Rejected], doubtful: list[Rejected], after_s: float | None = None
) -> UndeliveredError:
    """Count only what comes before the first event that is still in doubt: the rest is offered again, in order."""
    settled = doubtful[0].place if doubtful else done
    return UndeliveredError(
        reason, settled=settled, rejected=[one for one in rejected if one.place < settled], after_s=after_s
    )
