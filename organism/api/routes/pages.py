"""The dashboard: files of this package, found once at import. They hold no secret; what they show needs a session."""

import gzip
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from litestar import Request, Response, get
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
    if path == "/":
        body = body.replace(b"</head>", b"\n".join((*_PRELOADED, b"</head>")))
    headers = {"content-type": media_type, "vary": "Accept-Encoding"}

    @cache
    def packed() -> bytes:
        return gzip.compress(body, mtime=0)

    @get(path, opt=OPEN, include_in_schema=False)
    async def page(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Give out a file of the dashboard, compressed for those who take it so."""
        if _takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(packed(), headers={**headers, "content-encoding": "gzip"})
        return Response(body, headers=headers)

    return page


def _takes_gzip(accepted: str) -> bool:
    """Whether a header ``accept-encoding`` names gzip, and not to refuse it."""
    for part in accepted.replace(" ", "").lower().split(","):
        name, _, weight = part.partition(";q=")
        if name == "gzip":
            return weight == "" or weight.strip("0.") != ""
    return False


_FILES = tuple(_found(files("organism.api") / "dashboard", "/dashboard/"))
_PRELOADED = tuple(
    f'<link rel="modulepreload" href="{path}">'.encode() for path, _, _ in _FILES if path.endswith(".js")
)
"""What the page's first script imports, and that imports: asked for at once, and not as each is read."""

DASHBOARD = Mount(
    tuple(_page(path, media_type, file) for path, media_type, file in _FILES),
    tuple(AccessRule(path, None) for path, _, _ in _FILES),
)
"""The page at ``/`` and what it loads; its host and origin are checked like everything else."""
