"""From a provider's section to the provider, and to what the price data call it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from organism.config.load import LoadedConfig
from organism.config.provider_connections import connection_of, is_vendors_own
from organism.config.schema.llm import (
    AnthropicProviderSection,
    LocalProviderSection,
    OpenAIProviderSection,
    ProviderSection,
    ScriptedProviderSection,
    ServerSection,
)
from organism.config.schema.root import Config
from organism.errors import ConfigError
from organism.formats.media.attachments import AttachmentBounds
from organism.formats.vendors import Vendor, vendor_of
from organism.llm.provider import Provider
from organism.text.credentials import header_secret

ShowProgress = Callable[[str], None]


def build_provider(
    loaded: LoadedConfig, name: str, section: ProviderSection, environment: Mapping[str, str], progress: ShowProgress
) -> Provider:
    """Make a provider; the HTTP client is looked for now, imported with the first call.

    Raises:
        ConfigError: If a key is missing or a package is not installed.
    """
    try:
        match section:
            case LocalProviderSection():
                from organism.providers.local import LocalProvider

                return LocalProvider(
                    name,
                    _model_file(loaded, section.model),
                    slots=section.slots,
                    context_tokens=section.context_tokens,
                    threads=section.threads,
                    progress=progress,
                )
            case OpenAIProviderSection():
                from organism.providers.openai import OpenAIProvider

                kind, vendor = _vendor(section)
                key = _key(section, vendor.key, environment)
                return OpenAIProvider(
                    name,
                    key,
                    section.base_url,
                    vendor=kind,
                    api=section.api,
                    bounds=_bounds(section),
                    connection=connection_of(loaded.folder, section, environment),
                )
            case AnthropicProviderSection():
                from organism.providers.anthropic import AnthropicProvider

                key = _key(section, "ANTHROPIC_API_KEY", environment)
                return AnthropicProvider(
                    name,
                    key,
                    section.base_url,
                    bounds=_bounds(section),
                    connection=connection_of(loaded.folder, section, environment),
                    structured_outputs=section.structured_outputs,
                )
            case ScriptedProviderSection():
                from organism.providers.scripted import ScriptedProvider

                return ScriptedProvider(section.answers, name=name)
    except ConfigError as error:
        loaded.fail(error.reason, "llm", "providers", name)


def provider_kinds(config: Config) -> dict[str, str]:
    """Return what the price data call each provider."""
    return {name: price_kind(name, section) for name, section in config.llm.providers.items()}


def price_kind(name: str, section: ProviderSection) -> str:
    """Return what the price data call a provider; a server of one's own goes by its name here, and costs what it says.

    So a vendor's prices, or none at all, never stand for a server that is somewhere else.
    """
    match section:
        case LocalProviderSection() | ScriptedProviderSection():
            return "local"
        case OpenAIProviderSection():
            _, vendor = _vendor(section)
            return section.prices_as or (vendor.prices_as if is_vendors_own(section) else None) or name
        case AnthropicProviderSection():
            return section.prices_as or ("anthropic" if is_vendors_own(section) else name)


def _vendor(section: OpenAIProviderSection) -> tuple[str | None, Vendor]:
    """Return whose server it is; one that calls itself OpenAI's but is elsewhere is nobody's in particular."""
    kind = str(section.__struct_config__.tag)
    if kind == "openai" and not is_vendors_own(section):
        return None, vendor_of(kind)
    return kind, vendor_of(kind)


def _key(
    section: OpenAIProviderSection | AnthropicProviderSection, variable: str | None, environment: Mapping[str, str]
) -> str:
    """Return the key to call with.

    A server other than the vendor's own gets the vendor's key only if it is written down: it must not leak there.
    """
    if section.api_key is not None:
        return section.api_key.reveal()
    if variable is None or not is_vendors_own(section):
        return "none"
    value = environment.get(variable)
    if not value:
        raise ConfigError(f"no API key: set {variable}, or write api_key: ${{env:NAME}}")
    return header_secret(f"the environment variable {variable}", value)


def _bounds(section: ServerSection) -> AttachmentBounds:
    return AttachmentBounds(image_tokens=section.image_tokens, file_tokens=section.file_tokens)


def _model_file(loaded: LoadedConfig, model: str) -> str:
    """Take a path from the file's folder, and a name as it is."""
    path = Path(model).expanduser()
    beside = loaded.folder / path
    return str(beside) if not path.is_absolute() and beside.is_file() else model
