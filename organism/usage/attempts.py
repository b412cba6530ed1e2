"""The words for what costs money: attempts at model calls, runs of tools, other charges. Pure."""

from typing import Literal

Outcome = Literal["settled", "estimated", "worst_case", "disputed", "released"]
"""How an attempt was resolved.

``settled``: by the provider's own usage. ``estimated``: the provider sent none, it was estimated from the text.
``worst_case``: the work may have been done, the whole hold is charged. ``disputed``: the provider's numbers make no
sense, the whole hold is charged. ``released``: no work was done, nothing is charged.
"""

Operation = Literal["chat", "embeddings", "execute_tool", "hold", "charge"]
"""What is paid for, in OpenTelemetry's words: a model goes on with a conversation or makes vectors, a tool runs.

``hold`` and ``charge``: a handler spends something itself, held before, or told when it has happened."""
