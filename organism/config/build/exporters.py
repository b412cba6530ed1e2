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
from organism.config.schema.exporters import ExporterSection, JsonLinesExporterSection, WebhookExporterSection
from organism.config.yaml.mistakes import Mistakes, did_you_mean
from organism.usage.events import STORED, ApprovalRequested

_ASKED = ApprovalRequested.__name__
_KINDS = {str(kind.__struct_config__.tag) for kind in STORED}


def exports(loaded: LoadedConfig, now_ns: Callable[[], int], links: AnswerLinks | None = None) -> tuple[Export, ...]:
    """Return what is exported, and to where.

    Args:
        links: Makes the links of webhooks that are to have them.

    Raises:
        ConfigError: If a kind of event does not exist, or a secret can stand for no key.
    """
    found = []
    mistakes = Mistakes()
    for name, section in loaded.config.exporters.items():
        with mistakes.kept():
            _check_events(loaded, name, section)
            found.append(_export(loaded, name, section, now_ns, links))
    mistakes.refuse()
    return tuple(found)


def _check_events(loaded: LoadedConfig, name: str, section: ExporterSection) -> None:
    mistakes = Mistakes()
    for place, kind in enumerate(section.events):
        if kind not in _KINDS:
            known = sorted(_KINDS)
            meant = did_you_mean(kind, known) or f"; there are: {', '.join(known)}"
            with mistakes.kept():
                loaded.fail(f"there is no event {kind!r}{meant}", "exporters", name, "events", place)
    mistakes.refuse()


def _export(
    loaded: LoadedConfig, name: str, section: ExporterSection, now_ns: Callable[[], int], links: AnswerLinks | None
) -> Export:
    if isinstance(section, JsonLinesExporterSection):
        return Export(name=name, sink=JsonLines(loaded.folder / section.path), types=frozenset(section.events))
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
    if (hours := section.answer_link_hours) is not None:
        _check_links(loaded, name, section)
        export = export if links is None else replace(export, prepare=links.for_exporter(name, hours))
    return export


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
