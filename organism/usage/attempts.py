"""The words for attempts at model calls: what was asked for, and how it was resolved. Pure."""

from typing import Literal

Outcome = Literal["settled", "estimated", "worst_case", "disputed", "released"]
"""How an attempt was resolved.

``settled``: by the provider's own usage. ``estimated``: the provider sent none, it was estimated from the text.
``worst_case``: the work may have been done, the whole hold is charged. ``disputed``: the provider's numbers make no
sense, the whole hold is charged. ``released``: no work was done, nothing is charged.
"""

Operation = Literal["chat", "embeddings"]
"""What a model is asked for, in OpenTelemetry's words: to go on with a conversation, or for vectors of texts."""
