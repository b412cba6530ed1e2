"""What routes are handed beside the request's own words."""

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from organism.api.streams import Reader
from organism.api.tokens import TokenBook
from organism.control.control import Control
from organism.control.idempotency import Order

ControlOf = NamedDependency[SkipValidation[Control]]
"""The operator's hand on the organism."""

OrderOf = NamedDependency[SkipValidation[Order]]
"""Who orders, and under which key."""

TokensOf = NamedDependency[SkipValidation[TokenBook]]
"""The tokens."""

ReaderOf = NamedDependency[SkipValidation[Reader]]
"""Reads events."""
