"""Routes that are mounted beside the API's own, such as those that speak another protocol."""

from collections.abc import Sequence

import msgspec
from litestar.types import ControllerRouterHandler

from organism.api.auth_middleware import AccessRule


class Mount(msgspec.Struct, frozen=True):
    """Routes, and how one gets to them.

    Attributes:
        routes: Litestar handlers; each declares its scope with :func:`~organism.api.scopes.needs`, or is ``OPEN``.
        rules: Who may use their paths, and how a refusal is said there; none for the API's own rule.
        unserved: Say that nothing is served at a path, key or no key, each at those it covers: programs of strangers
            take a 401 there for a wrong key. Without any such a path is refused to strangers as any other.
    """

    routes: Sequence[ControllerRouterHandler]
    rules: Sequence[AccessRule] = ()
    unserved: Sequence[AccessRule] = ()
