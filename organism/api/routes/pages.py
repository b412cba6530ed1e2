"""The dashboard: files of this package in a fixed table. They hold no secret; what they show needs a session."""

from importlib.resources import files

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from organism.api.auth_middleware import AccessRule
from organism.api.mounts import Mount
from organism.api.scopes import OPEN

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/dashboard/style.css": ("style.css", "text/css; charset=utf-8"),
    "/dashboard/icon.svg": ("icon.svg", "image/svg+xml"),
    "/dashboard/main.js": ("main.js", "text/javascript; charset=utf-8"),
    "/dashboard/api.js": ("api.js", "text/javascript; charset=utf-8"),
    "/dashboard/draw.js": ("draw.js", "text/javascript; charset=utf-8"),
    "/dashboard/keys.js": ("keys.js", "text/javascript; charset=utf-8"),
    "/dashboard/format.js": ("format.js", "text/javascript; charset=utf-8"),
}


def _page(path: str, name: str, media_type: str) -> HTTPRouteHandler:
    body = (files("organism.api") / "dashboard" / name).read_bytes()

    @get(path, opt=OPEN, include_in_schema=False)
    async def page() -> Response[bytes]:
        """Give out a file of the dashboard."""
        return Response(body, headers={"content-type": media_type})

    return page


DASHBOARD = Mount(
    tuple(_page(path, name, media_type) for path, (name, media_type) in _FILES.items()),
    tuple(AccessRule(path, None) for path in _FILES),
)
"""The page at ``/`` and what it loads; its host and origin are checked like everything else."""
