"""Routes that are mounted beside the API's own, such as those that speak another protocol."""

from collections.abc import Sequence

import msgspec
from litestar.types import ControllerRouterHandler

from organism.api.gate import Rule


class Group(msgspec.Struct, frozen=True):
    """Routes, and how one gets to them.

    Attributes:
        routes: Litestar handlers; each declares its scope with :func:`~organism.api.scopes.needs`, or is ``OPEN``.
        rules: Who may use their paths, and how a refusal is said there; none for the API's own rule.
    """

    routes: Sequence[ControllerRouterHandler]
    rules: Sequence[Rule] = ()
