"""What routes are handed beside the request's own words."""

import msgspec
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from organism.api.streams import Reader
from organism.api.tokens.token_book import TokenBook
from organism.control.control import Control
from organism.control.idempotency import Order

SERVED = "organism.served"
"""Where a request's scope says which of several organisms answers it; not there where there is only one."""


class Served(msgspec.Struct, frozen=True):
    """What answers a request.

    Attributes:
        control: The operator's hand on the organism.
        reader: Reads events.
    """

    control: Control
    reader: Reader


ControlOf = NamedDependency[SkipValidation[Control]]
"""The operator's hand on the organism."""

OrderOf = NamedDependency[SkipValidation[Order]]
"""Who orders, and under which key."""

TokensOf = NamedDependency[SkipValidation[TokenBook]]
"""The tokens."""

ReaderOf = NamedDependency[SkipValidation[Reader]]
"""Reads events."""
