"""What is sent to the other nodes of a cluster, over connections that are kept."""

import ssl

from organism.cluster.routing.forwarded import HEADER, PATH
from organism.providers.http_direct import DirectResponse, DirectTransport

_CONNECT_S = 3.0


class Peers:
    """The other nodes, by where they answer."""

    def __init__(self) -> None:
        self._transports: dict[str, DirectTransport] = {}

    async def send(self, url: str, signed: str, body: bytes) -> DirectResponse:
        """Send a signed request and return the response when the head of it is there; raises as its transport does."""
        if (transport := self._transports.get(url)) is None:
            tls = ssl.create_default_context() if url.startswith("https:") else None
            transport = self._transports[url] = DirectTransport(url, _CONNECT_S, tls)
        headers = {HEADER: signed, "content-type": "application/json"}
        return await transport.post(url.rstrip("/") + PATH, headers, body)

    async def aclose(self) -> None:
        """End the connections that are idle."""
        for transport in self._transports.values():
            await transport.aclose()
