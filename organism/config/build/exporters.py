"""From the configuration to the exporters that the daemon runs."""

from collections.abc import Callable

from msgspec.structs import replace

from organism.billing.answer_links import AnswerLinks
from organism.billing.billing_formats import SHAPES
from organism.billing.delivery import Export
from organism.billing.jsonl import JsonLines
from organism.billing.signatures import keys_of
from organism.billing.webhook import Webhook, as_cloudevents
from organism.config.load import LoadedConfig
from organism.config.schema.exporters import JsonLinesExporterSection, WebhookExporterSection
from organism.usage.events import STORED, ApprovalRequested

_ASKED = ApprovalRequested.__name__
_KINDS = {str(kind.__struct_config__.tag) for kind in STORED}


def exports(loaded: LoadedConfig, now_ns: Callable[[], int], links: AnswerLinks | None = None) -> tuple[Export, ...]:
    """Return what is exported, and to where.

    Args:
        loaded: The configuration.
        now_ns: Dates signatures.
        links: Makes the links of webhooks that are to have them.

    Raises:
        ConfigError: If a kind of event does not exist, or a secret can stand for no key.
    """
    found = []
    for name, section in loaded.config.exporters.items():
        for place, kind in enumerate(section.events):
            if kind not in _KINDS:
                reason = f"there is no event {kind!r}; there are: {', '.join(sorted(_KINDS))}"
                loaded.fail(reason, "exporters", name, "events", place)
        match section:
            case JsonLinesExporterSection(path=path):
                sink: JsonLines | Webhook = JsonLines(loaded.folder / path)
            case WebhookExporterSection():
                meter = SHAPES.get(section.format)
                _check_secrets(loaded, name, section)
                sink = Webhook(
                    section.url,
                    now_ns,
                    secret=None if section.secret is None else section.secret.reveal(),
                    old_secrets=[secret.reveal() for secret in section.old_secrets],
                    token=None if section.token is None else section.token.reveal(),
                    shape=as_cloudevents if meter is None else meter(section.customer_label),
                )
        export = Export(name=name, sink=sink, types=frozenset(section.events))
        if isinstance(section, WebhookExporterSection) and (hours := section.answer_link_hours) is not None:
            _check_links(loaded, name, section)
            export = export if links is None else replace(export, prepare=links.for_exporter(name, hours))
        found.append(export)
    return tuple(found)


def _check_links(loaded: LoadedConfig, name: str, section: WebhookExporterSection) -> None:
    """Refuse links in what has none."""
    if section.format != "cloudevents" or (section.events and _ASKED not in section.events):
        reason = f"links are in the event {_ASKED}; name it in 'events', with the format cloudevents"
        loaded.fail(reason, "exporters", name, "answer_link_hours")


def _check_secrets(loaded: LoadedConfig, name: str, section: WebhookExporterSection) -> None:
    """Refuse a secret that no receiver could check with; the error does not show it."""
    named = [(section.secret, ("secret",))] if section.secret is not None else []
    for secret, path in [*named, *((old, ("old_secrets", place)) for place, old in enumerate(section.old_secrets))]:
        try:
            keys_of(secret.reveal())
        except ValueError as error:
            loaded.fail(f"no key to sign with: {error}", "exporters", name, *path)
