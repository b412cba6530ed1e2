"""Metrics, for a scraper that holds a token."""

from collections.abc import Callable
from typing import Any, cast

from litestar import Request, Response, get

from organism.api.mounts import Mount
from organism.api.scopes import needs

Render = Callable[[str], tuple[str, bytes]]
"""From an ``Accept`` header to the content type and the body of all metrics."""

METRICS = "organism.metrics"
"""Where a request's scope says whose metrics are rendered; not there where there is only one organism."""


def metrics_group(render: Render) -> Mount:
    """Return the route that a scraper reads, rendered by an exporter that the API does not know."""

    @get("/metrics", opt=needs("read"), include_in_schema=False)
    async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Answer a scraper."""
        its: Render = cast("Any", request.scope).get(METRICS, render)
        content_type, body = its(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    return Mount((metrics,))
