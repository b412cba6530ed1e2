"""OpenTelemetry's conventions for GenAI: which set of names is wanted, and what it calls providers. Pure.

The conventions are still in development; names changed when they got a repository of their own:
https://github.com/open-telemetry/semantic-conventions-genai
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

GenAINames = Literal["old", "new"]
"""``old``: the names up to semantic conventions v1.41, which dashboards read today. ``new``: those after."""

OPT_IN_VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"
OPT_IN_VALUE = "gen_ai_latest_experimental"

_WELL_KNOWN = {"azure": "azure.ai.openai", "google": "gcp.gemini", "mistral": "mistral_ai", "x-ai": "x_ai"}
"""What ``gen_ai.provider.name`` calls those whom the price data call otherwise."""


class Conventions(msgspec.Struct, frozen=True):
    """How things are named.

    Attributes:
        names: Which set of names.
        kinds: What the price data call each provider of the configuration.
    """

    names: GenAINames = "old"
    kinds: Mapping[str, str] = {}

    def provider(self, name: str) -> str:
        """Return the well-known name of a provider, or its own where it has none."""
        kind = self.kinds.get(name, name)
        return name if kind == "local" else _WELL_KNOWN.get(kind, kind)


def genai_names(environment: Mapping[str, str]) -> GenAINames:
    """Read the official opt-in variable: a list of words with commas between them."""
    words = {word.strip() for word in environment.get(OPT_IN_VARIABLE, "").split(",")}
    return "new" if OPT_IN_VALUE in words else "old"
