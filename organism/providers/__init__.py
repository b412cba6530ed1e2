"""The providers; each imports its packages when it is first used."""

from typing import TYPE_CHECKING

from organism.moved import lazy

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

__getattr__ = lazy(__name__, _HOMES)
