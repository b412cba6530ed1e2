"""The dashboard: files of this package, found once at import. They hold no secret; what they show needs a session."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from organism.api.auth_middleware import AccessRule
from organism.api.mounts import Mount
from organism.api.scopes import OPEN

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".js": "text/javascript; charset=utf-8",
}


def _found(folder: Traversable, above: str) -> Iterator[tuple[str, str, Traversable]]:
    """Yield the address, media type and file of all that a browser loads; licences beside it are not given out."""
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.is_dir():
            yield from _found(file, f"{above}{file.name}/")
        elif (suffix := f".{file.name.rpartition('.')[2]}") in _TYPES:
            yield "/" if file.name == "index.html" else f"{above}{file.name}", _TYPES[suffix], file


def _page(path: str, media_type: str, file: Traversable) -> HTTPRouteHandler:
    body = file.read_bytes()

    @get(path, opt=OPEN, include_in_schema=False)
    async def page() -> Response[bytes]:
        """Give out a file of the dashboard."""
        return Response(body, headers={"content-type": media_type})

    return page


_FILES = tuple(_found(files("organism.api") / "dashboard", "/dashboard/"))

DASHBOARD = Mount(
    tuple(_page(path, media_type, file) for path, media_type, file in _FILES),
    tuple(AccessRule(path, None) for path, _, _ in _FILES),
)
"""The page at ``/`` and what it loads; its host and origin are checked like everything else."""
