"""The gateway's settings."""

from typing import Literal

import msgspec

from organism.amounts import Limits

DEFAULT_OUTPUT_TOKENS = 4096
"""The output cap of a request without one; what is left of the budget caps it too."""

DEFAULT_TOKENS = 5_000_000
"""The limit of the gateway's threads where none is configured: some hours of a coding agent."""

DEFAULT_THREADS = 1000
"""The default number of open threads that one key may have named."""


Warn = Literal["headers", "text"]
"""Where people are told that a budget runs low."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, and the thread that pays for it.

    Attributes:
        name: The name recorded in place of an agent.
        sha256: The hash of the key, in hexadecimal.
        thread: The thread that pays for requests that name none; the key's own thread unless given.
        fixed: Whether that thread pays for all requests, so that its limits are those of the key.
        limits: Limits of each thread that is opened for the key, capped by the gateway's.
        labels: Labels of each thread that is opened for the key.
    """

    name: str
    sha256: str
    thread: str | None = None
    fixed: bool = False
    limits: Limits | None = None
    labels: dict[str, str] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's settings.

    Attributes:
        models: The models it offers; all that are configured unless some are named.
        keys: Its API keys.
        tokens: Whether tokens with the scope ``send`` are accepted, too.
        limits: Limits of each thread it opens; those of all threads unless given.
        max_output_tokens: The output cap of a request without one.
        inject_note: Whether a note at the end of a request tells the model that a threshold was crossed.
        warn: Whether people are told so in headers only, or in a line of the answer, too.
        threads: How many open threads one key may have named.
        keep_answers: How many answers of each key are kept for later requests to refer to; 0 for none.
        keep_days: For how many days they are kept.
    """

    models: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    tokens: bool = True
    limits: Limits | None = None
    max_output_tokens: int = DEFAULT_OUTPUT_TOKENS
    inject_note: bool = False
    warn: Warn = "headers"
    threads: int = DEFAULT_THREADS
    keep_answers: int = 1000
    keep_days: int = 30
