"""Parses the address of a provider's server as people paste it: host, base, endpoint, Azure deployment. Pure.

Sources: the vendors' own quick starts, which give bases with and without ``/v1``, and Azure's address of a deployment,
which carries its version as a query.
"""

import re
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec

from organism.formats.vendors import VENDORS

Speaks = Literal["chat", "responses", "messages"]
"""The format that a server speaks."""

_ENDPOINTS: dict[str, Speaks | None] = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/messages": "messages",
    "/embeddings": None,
    "/models": None,
}
"""Paths of endpoints at the end of an address, with their format; ``None`` if they do not tell it."""

_SIBLINGS: dict[Speaks, str] = {
    "chat": "type: openai (or the vendor's) with api: chat",
    "responses": "type: openai (or the vendor's) with api: responses",
    "messages": "type: anthropic",
}
_HOMES = {urlsplit(vendor.base_url).hostname: urlsplit(vendor.base_url).path for vendor in VENDORS.values()
          if vendor.base_url is not None} | {
    "api.anthropic.com": "/v1",
    "api.together.xyz": "/v1",
    "api.fireworks.ai": "/inference/v1",
    "router.huggingface.co": "/v1",
    "api.perplexity.ai": "",
    "models.inference.ai.azure.com": "",
    "models.github.ai": "/inference",
}  # fmt: skip
"""The path of vendors' OpenAI format, by host."""

_AZURE = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
_DEPLOYMENT = "/openai/deployments/"
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")


LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that the daemon may listen on."""


def not_loopback(host: str) -> str:
    """Return the error message for a host that others could reach."""
    return f"the daemon listens on loopback only, not on {host!r}; put a reverse proxy with TLS in front of it"


class AddressError(ValueError):
    """The text is not an address, or one of another kind of server; the message says what to write instead."""


class ServerAddress(msgspec.Struct, frozen=True):
    """A server's address.

    Attributes:
        base: The part before an endpoint's path, without a trailing slash.
        query: The query sent with each request, without the question mark.
    """

    base: str
    query: str = ""

    def url(self, path: str) -> str:
        """Return the URL of an endpoint such as ``/chat/completions``."""
        return f"{self.base}{path}?{self.query}" if self.query else f"{self.base}{path}"

    def shown(self, path: str) -> str:
        """Return the URL for messages: without the query, which may hold a secret."""
        return f"{self.base}{path}"

    @property
    def secure(self) -> bool:
        """Whether it uses TLS."""
        return self.base.startswith("https:")

    @property
    def of_deployment(self) -> bool:
        """Whether it is an Azure deployment, which takes its key in its own header."""
        return _DEPLOYMENT in f"{self.base}/"


def address_of(written: str, speaks: Speaks) -> ServerAddress:
    """Parse the address of a server.

    An endpoint is cut down to its base, repeated slashes are dropped, a bare host gets the usual path of the format.

    Args:
        written: The text as pasted.
        speaks: The format to be spoken there.

    Raises:
        AddressError: It is not an address. The message does not repeat the text, which may hold a secret.
    """
    text = written.strip().strip("'\"").strip()
    _check(text)
    parts = urlsplit(text)
    path = re.sub(r"/{2,}", "/", parts.path).rstrip("/")
    if (base := _without_endpoint(path, speaks)) is not None:
        path = base
    elif speaks == "messages":
        path = path.removesuffix("/v1")
    else:
        path = _completed(parts.hostname or "", path)
    return ServerAddress(urlunsplit((parts.scheme.lower(), parts.netloc, path, "", "")), parts.query)


def _check(text: str) -> None:
    example = "write one such as https://api.example.com/v1"
    if not text:
        raise AddressError(f"this is no address of a server; {example}")
    if re.search(r"\s|[\x00-\x1f\x7f]", text):
        raise AddressError(f"an address has no spaces in it; {example}")
    if not _SCHEME.match(text):
        raise AddressError("this is no address of a server: write https:// before it, or http:// for one of your own")
    try:
        parts = urlsplit(text)
        sound = parts.scheme.lower() in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port beyond 65535, or brackets that do not close
        sound = False
    if not sound:
        raise AddressError(f"this is no address of a server; {example}")
    if parts.username is not None or parts.password is not None:
        raise AddressError("an address holds no user or password here; write the key as api_key: ${env:NAME}, or what "
                           "the server wants under headers")  # fmt: skip
    if parts.fragment or text.endswith("#"):
        raise AddressError("what follows '#' is never sent to a server; leave it out")


def _without_endpoint(path: str, speaks: Speaks) -> str | None:
    """Return the base of an endpoint's path; ``None`` if the path is not an endpoint.

    Raises:
        AddressError: If it is an endpoint of another format.
    """
    lowered = path.lower()
    if lowered.endswith("/completions") and not lowered.endswith("/chat/completions"):
        raise AddressError("the old completions format is not spoken here; write the address of chat completions")
    for end, meant in _ENDPOINTS.items():
        if not lowered.endswith(end):
            continue
        if meant is not None and meant != speaks:
            raise AddressError(f"this is an endpoint {end!r}; it is for {_SIBLINGS[meant]}")
        rest = path[: -len(end)]
        return rest.removesuffix("/v1") if speaks == "messages" else rest
    if speaks != "messages" and lowered.endswith("/anthropic"):
        raise AddressError(f"this speaks Anthropic's messages; it is for {_SIBLINGS['messages']}")
    return None


def _completed(host: str, path: str) -> str:
    """Complete an empty or partial path."""
    home = _HOMES.get(host)
    if host.endswith(_AZURE) and path in {"", "/openai"}:
        home = "/openai/v1"
    if home is not None:
        return home if home.startswith(path) else path
    return path or "/v1"


def is_own(written: str, speaks: Speaks, own: str | None) -> bool:
    """Whether an address, in whatever form, is the vendor's own."""
    try:
        return own is not None and address_of(written, speaks) == address_of(own, speaks)
    except AddressError:
        return False
