"""Events to an HTTP endpoint: signed as Standard Webhooks has it, sent again until it takes them."""

import base64
import hmac
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from organism.errors import MissingExtraError
from organism.exporters.delivery import UndeliveredError
from organism.usage.cloudevents import BATCH_MEDIA_TYPE, CloudEvent

if TYPE_CHECKING:
    import httpx2

_TIMEOUT_S = 10.0
_NS_PER_S = 1_000_000_000


class Delivery(msgspec.Struct, frozen=True):
    """One request.

    Attributes:
        id: The same whenever it is sent.
        body: What it says.
        media_type: In which form.
    """

    id: str
    body: bytes
    media_type: str


Shape = Callable[[Sequence[CloudEvent]], list[Delivery]]
"""Turns events into the requests that another system expects."""


def as_cloudevents(events: Sequence[CloudEvent]) -> list[Delivery]:
    """Send events as one batch of CloudEvents."""
    name = f"{events[0].id}-{events[-1].id}"
    return [Delivery(name, msgspec.json.encode(list(events)), BATCH_MEDIA_TYPE)]


class Webhook:
    """Posts to one address.

    Args:
        url: The address, from the configuration; never from a request.
        now_ns: Dates the signatures.
        secret: What requests are signed with; not signed without.
        token: Sent as a bearer token, where the other side asks for one.
        shape: What the other side expects.
    """

    def __init__(
        self,
        url: str,
        now_ns: Callable[[], int],
        *,
        secret: str | None = None,
        token: str | None = None,
        shape: Shape = as_cloudevents,
    ) -> None:
        self._url = url
        self._now_ns = now_ns
        self._secret = secret
        self._token = token
        self._shape = shape
        self._client: httpx2.AsyncClient | None = None

    async def deliver(self, events: Sequence[CloudEvent]) -> None:
        """Return when every request was answered with 2xx.

        Raises:
            UndeliveredError: If one was not; what had been taken is sent again with the same ids.
        """
        for delivery in self._shape(events):
            await self._post(delivery)

    async def aclose(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _post(self, delivery: Delivery) -> None:
        try:
            import httpx2
        except ImportError:
            raise MissingExtraError("a webhook", "daemon") from None
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=_TIMEOUT_S, trust_env=False, follow_redirects=False)
        headers = self._headers(delivery)
        try:
            answer = await self._client.post(self._url, content=delivery.body, headers=headers)
        except httpx2.HTTPError as error:
            # Only the kind of the error: its text may hold the address, and an address may hold a secret.
            raise UndeliveredError(f"no answer: {type(error).__name__}") from None
        if not answer.is_success:
            raise UndeliveredError(f"answered {answer.status_code}")

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        timestamp = str(self._now_ns() // _NS_PER_S)
        headers = {
            "content-type": delivery.media_type,
            "webhook-id": delivery.id,
            "webhook-timestamp": timestamp,
        }
        if self._secret is not None:
            headers["webhook-signature"] = sign(self._secret, delivery.id, timestamp, delivery.body)
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        return headers


def sign(secret: str, name: str, timestamp: str, body: bytes) -> str:
    """Sign a request as Standard Webhooks 1.0 has it: HMAC-SHA256 over id, time and body."""
    signed = f"{name}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret.encode(), signed, sha256)).decode()
