"""Usage in the words of metering systems: OpenMeter, Lago, Stripe. Pure.

Who is billed is a label of the thread, ``tenant`` unless another is named; usage without it is nobody's and left out.
Identifiers are made of the event's own, so that what is sent twice is counted once.
"""

from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlencode

import msgspec

from organism.billing.webhook import BodyFormat, WebhookRequest
from organism.usage.cloudevents import BATCH_MEDIA_TYPE, CloudEvent
from organism.usage.events import UsageEvent

_NS_PER_S = 1_000_000_000
_NANOUSD_PER_CENT = 10_000_000
_LAGO_BATCH_MAX = 100
_STRIPE_ID_MAX = 100


def openmeter(label: str) -> BodyFormat:
    """Return events for OpenMeter's ``/api/v1/events``: one CloudEvent per kind of token, of type ``prompt``.

    A meter that sums ``$.tokens`` by ``$.model`` and ``$.type`` gives tokens; one that sums ``$.cost_nanousd`` gives
    money, which is on the input event alone.
    """

    def shape(events: Sequence[CloudEvent]) -> list[WebhookRequest]:
        batch = []
        for envelope, usage, customer in _billed(events, label):
            for kind, tokens in _kinds(usage):
                data = {"tokens": tokens, "model": usage.model or usage.tool, "type": kind, "agent": usage.agent}
                if kind == "input":
                    data["cost_nanousd"] = usage.cost_nanousd or 0
                batch.append(
                    {
                        "specversion": "1.0",
                        "id": f"{envelope.id}:{kind}",
                        "source": envelope.source,
                        "type": "prompt",
                        "subject": customer,
                        "time": envelope.time,
                        "data": data,
                    }
                )
        return [WebhookRequest(_name(events), msgspec.json.encode(batch), BATCH_MEDIA_TYPE)] if batch else []

    return BodyFormat(shape, reads_body=True)


def lago(label: str) -> BodyFormat:
    """Return events for Lago's ``/api/v1/events/batch``, of code ``organism_usage``: one per attempt, 100 a request."""

    def shape(events: Sequence[CloudEvent]) -> list[WebhookRequest]:
        lines = [
            {
                "transaction_id": f"{envelope.source}:{envelope.id}",
                "external_subscription_id": customer,
                "code": "organism_usage",
                "timestamp": usage.time_ns // _NS_PER_S,
                "precise_total_amount_cents": _cents(usage.cost_nanousd or 0),
                "properties": {
                    "model": usage.model or usage.tool,
                    "agent": usage.agent,
                    "input_tokens": usage.usage.input_total,
                    "output_tokens": usage.usage.output_total,
                },
            }
            for envelope, usage, customer in _billed(events, label)
        ]
        batches = [lines[start : start + _LAGO_BATCH_MAX] for start in range(0, len(lines), _LAGO_BATCH_MAX)]
        return [
            WebhookRequest(
                str(batch[0]["transaction_id"])[-_STRIPE_ID_MAX:],
                msgspec.json.encode({"events": batch}),
                "application/json",
            )
            for batch in batches
        ]

    return BodyFormat(shape, events_max=_LAGO_BATCH_MAX, reads_body=True)


def stripe(label: str) -> BodyFormat:
    """Return forms for Stripe's ``/v1/billing/meter_events``: one per kind of token, ``token-billing-tokens``.

    The label's value is the Stripe customer.
    """

    def shape(events: Sequence[CloudEvent]) -> list[WebhookRequest]:
        deliveries = []
        for envelope, usage, customer in _billed(events, label):
            for kind, tokens in _kinds(usage):
                if tokens == 0:
                    continue  # a sum is the same without it, and what Stripe makes of it is not documented
                identifier = f"{envelope.source.rpartition(':')[2]}:{envelope.id}:{kind}"[:_STRIPE_ID_MAX]
                form = {
                    "event_name": "token-billing-tokens",
                    "payload[stripe_customer_id]": customer,
                    "payload[value]": str(tokens),
                    "payload[model]": usage.model or usage.tool,
                    "payload[token_type]": kind,
                    "identifier": identifier,
                    "timestamp": str(usage.time_ns // _NS_PER_S),
                }
                deliveries.append(
                    WebhookRequest(identifier, urlencode(form).encode(), "application/x-www-form-urlencoded")
                )
        return deliveries

    return BodyFormat(shape, events_max=1, reads_body=True)


SHAPES: dict[str, Callable[[str], BodyFormat]] = {"openmeter": openmeter, "lago": lago, "stripe": stripe}


def _billed(events: Sequence[CloudEvent], label: str) -> Iterator[tuple[CloudEvent, UsageEvent, str]]:
    """Yield usage that somebody pays for."""
    for envelope in events:
        usage = envelope.data
        if isinstance(usage, UsageEvent) and usage.outcome != "released" and (customer := usage.labels.get(label)):
            yield envelope, usage, customer


def _kinds(usage: UsageEvent) -> Iterator[tuple[str, int]]:
    """Yield input and output, together every token once."""
    yield "input", usage.usage.input_total
    yield "output", usage.usage.output_total


def _cents(cost_nanousd: int) -> str:
    """Write nano-USD as cents, exactly."""
    whole, rest = divmod(cost_nanousd, _NANOUSD_PER_CENT)
    return f"{whole}.{rest:07d}"


def _name(events: Sequence[CloudEvent]) -> str:
    return f"{events[0].id}-{events[-1].id}"
