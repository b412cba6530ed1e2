"""Settings of the gateway."""

from typing import Literal

import msgspec

from organism.amounts import Limits

DEFAULT_OUTPUT_TOKENS = 4096
"""The cap of an answer whose request has none; what is left of the budget caps it too."""

DEFAULT_TOKENS = 5_000_000
"""The limit of a thread that the gateway opens where no configuration says one: some hours of a coding agent."""

DEFAULT_THREADS = 1000
"""So many open threads one key may have named itself, unless more are allowed."""


Warn = Literal["headers", "text"]
"""Where a person reads that a budget runs low."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One API key, and who pays for it.

    Attributes:
        name: What its calls are charged as, in the place of an agent.
        sha256: The hash of the key, in hexadecimal.
        thread: The thread that pays where a request names none; one of the key's own unless given.
        fixed: Whether it pays for all requests, so that the limits of one thread are those of the key.
        limits: Of each thread that is opened for the key: the gateway's, where these are not lower.
        labels: Of each thread that is opened for the key.
    """

    name: str
    sha256: str
    thread: str | None = None
    fixed: bool = False
    limits: Limits | None = None
    labels: dict[str, str] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the gateway serves.

    Attributes:
        models: The models it offers; all that there are at the time unless some are named.
        keys: The keys it knows beside tokens.
        tokens: Whether tokens with the scope ``send`` are keys too.
        limits: Of each thread it opens; those of all threads unless given.
        max_output_tokens: The cap of an answer whose request has none.
        inject_note: Whether a note at the end of a request says to the model that a threshold was crossed.
        warn: Whether that is said in headers only, or in a line of the answer for people too.
        threads: How many open threads a key may have named itself.
        keep_answers: How many answers of each key are kept for later requests to refer to; with 0 none.
        keep_days: For how many days.
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
