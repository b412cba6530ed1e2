"""The part of organism.yaml about where events go beside the daemon's API."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from organism.config.schema.values import Secret, Section


class JsonLinesExporterSection(Section, frozen=True, kw_only=True, tag_field="type", tag="jsonl"):
    """A file of CloudEvents, one a line."""

    path: Annotated[str, Meta(description="the file, from this one")]
    events: Annotated[list[str], Meta(description="kinds of events; all unless given")] = []


class WebhookExporterSection(Section, frozen=True, kw_only=True, tag_field="type", tag="webhook"):
    """An HTTP endpoint that events are posted to until it takes them."""

    url: Annotated[str, Meta(description="the address", pattern="^https?://")]
    format: Annotated[
        Literal["cloudevents", "openmeter", "lago", "stripe"], Meta(description="what the other side expects")
    ] = "cloudevents"
    secret: Annotated[Secret | None, Meta(description="${env:NAME}; requests are signed with it")] = None
    old_secrets: Annotated[
        list[Secret], Meta(description="${env:NAME}; signed with as well, while receivers change to the new secret")
    ] = []
    token: Annotated[Secret | None, Meta(description="${env:NAME}; a bearer token that the other side asks for")] = None
    events: Annotated[list[str], Meta(description="kinds of events; UsageEvent unless given")] = msgspec.field(
        default_factory=lambda: ["UsageEvent"]
    )
    answer_link_hours: Annotated[
        Annotated[int, Meta(ge=1, le=720)] | None,
        Meta(description="so many hours links in ApprovalRequested answer it, without a token; no links unless given"),
    ] = None
    customer_label: Annotated[str, Meta(description="the label that says who pays, for meters")] = "tenant"


ExporterSection = JsonLinesExporterSection | WebhookExporterSection
