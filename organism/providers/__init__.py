"""The providers there are; each imports its packages when it is first asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from organism.providers.anthropic import AnthropicProvider
    from organism.providers.local import LocalProvider
    from organism.providers.openai import OpenAIProvider
    from organism.providers.scripted import ScriptedProvider

__all__ = ["AnthropicProvider", "LocalProvider", "OpenAIProvider", "ScriptedProvider"]

_HOMES = {
    "AnthropicProvider": "organism.providers.anthropic",
    "LocalProvider": "organism.providers.local",
    "OpenAIProvider": "organism.providers.openai",
    "ScriptedProvider": "organism.providers.scripted",
}


def __getattr__(name: str) -> object:
    """Import a provider when it is first asked for.

    Raises:
        AttributeError: If there is none of that name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'organism.providers' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
