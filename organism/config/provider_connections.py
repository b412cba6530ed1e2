"""How a provider's server is reached: its address, a proxy, whom to believe, what to send beside the key.

Proxies and certificates come from the section, or from the variables that other programs go by too.
"""

import importlib.util
import re
from collections.abc import Container, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import assert_never
from urllib.parse import urlsplit

from organism.config.checking import Report
from organism.config.schema.llm import (
    AnthropicProviderSection,
    LocalProviderSection,
    OpenAIProviderSection,
    ProviderSection,
    ServerSection,
)
from organism.config.schema.root import Config
from organism.error_root import install
from organism.errors import ConfigError
from organism.formats.vendors import vendor_of
from organism.providers.addresses import AddressError, Speaks, address_of, is_own
from organism.providers.anthropic import BASE_URL
from organism.providers.http import ConnectionSettings, tls_context

_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR")
_PROXIES = frozenset({"http", "https", "socks5", "socks5h"})
_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = frozenset({"accept-encoding", "connection", "content-length", "content-type", "host", "transfer-encoding"})


def check_reach(config: Config, report: Report) -> None:
    """Check how each server is reached."""
    for name, section in config.llm.providers.items():
        if not isinstance(section, ServerSection):
            continue
        at = ("llm", "providers", name)
        if section.base_url is not None:
            try:
                address_of(section.base_url, speaks(section))
            except AddressError as error:
                report(str(error), *at, "base_url")
        if section.proxy is not None and not _is_proxy(section.proxy):
            # Not shown: it may hold a password.
            report("this is no address of a proxy; write one such as http://proxy.example.com:3128, or 'none'",
                        *at, "proxy")  # fmt: skip
        for header, value in section.headers.items():
            if not _HEADER.fullmatch(header) or header.lower() in _OURS:
                report(f"{header!r} is no header that can be added", *at, "headers", header)
            if not value.isprintable() or not value.isascii():
                report("no header can carry this value", *at, "headers", header)


Server = OpenAIProviderSection | AnthropicProviderSection
"""A section of a server that is asked over the network: one class a wire format."""


def speaks(section: Server) -> Speaks:
    """Return the format of a server's conversations."""
    match section:
        case OpenAIProviderSection():
            return section.api
        case AnthropicProviderSection():
            return "messages"
        case _:
            assert_never(section)


def _own_address(section: Server) -> str | None:
    """Return the vendor's own address; ``None`` where a format has no vendor."""
    match section:
        case OpenAIProviderSection():
            return vendor_of(str(section.__struct_config__.tag)).base_url
        case AnthropicProviderSection():
            return BASE_URL
        case _:
            assert_never(section)


def is_vendors_own(section: Server) -> bool:
    """Whether a section leads to the vendor itself: without an address, or with the vendor's own, however pasted."""
    own = _own_address(section)
    return section.base_url is None or own is None or is_own(section.base_url, speaks(section), own)


def is_per_machine(section: ProviderSection) -> bool:
    """Whether each machine has a provider of its own: a model in the process, or a server at the machine's own address.

    The nodes of a cluster share no limit of it.
    """
    if isinstance(section, LocalProviderSection):
        return True
    if not isinstance(section, OpenAIProviderSection | AnthropicProviderSection):
        return False
    return urlsplit(section.base_url or _own_address(section) or "").hostname in _THIS_MACHINE


def connection_of(folder: Path, section: Server, environment: Mapping[str, str]) -> ConnectionSettings:
    """Return how a server is reached.

    Raises:
        ConfigError: If certificates cannot be read, or a variable of the environment names what cannot be used.
    """
    url = section.base_url or _own_address(section)
    proxy = section.proxy or _proxy_of(url or "", environment)
    if proxy is not None and proxy.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise ConfigError(f"a SOCKS proxy needs one more package; run: {install('socksio')}")
    return ConnectionSettings(
        connect_timeout_s=float(section.timeouts.connect_seconds),
        proxy=None if proxy == "none" else proxy,
        ca_file=_ca_of(folder, section, environment),
        stops_when_closed=section.stops_when_closed,
        headers=section.headers,
    )


def _ca_of(folder: Path, section: Server, environment: Mapping[str, str]) -> str | None:
    """Return whom to believe: what the section names, or the first variable that names anybody."""
    named = {name: environment[name] for name in _CA_VARIABLES if environment.get(name)}
    if section.ca_file is not None:
        named = {"ca_file": str(folder / Path(section.ca_file).expanduser())}
    for name, path in named.items():
        try:
            if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
                raise OSError("it is no file and no folder")  # a pipe would be waited for
            tls_context(path)
        except OSError as error:
            raise ConfigError(f"{name} names no certificates that can be read: {error.strerror or error}") from None
        return path
    return None


def _proxy_of(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the proxy that the environment names for an address; ``None`` to go there directly.

    As other programs do: small letters before capitals, the scheme's own variable before the one for all, and none for
    hosts that ``NO_PROXY`` names.
    """
    parts = urlsplit(url.strip())
    named = {name.lower().removesuffix("_proxy"): value for name, value in sorted(environment.items()) if value
             and name.lower().endswith("_proxy")}  # fmt: skip
    if _goes_directly(parts.hostname or "", parts.port, named.get("no", "")):
        return None
    proxy = named.get(parts.scheme.lower()) or named.get("all")
    if proxy is None:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not _is_proxy(proxy):
        raise ConfigError(f"{parts.scheme.upper()}_PROXY or ALL_PROXY is no address of a proxy")
    return proxy


def _goes_directly(host: str, port: int | None, listed: str) -> bool:
    """Whether ``NO_PROXY`` names a host: itself, a domain above it, its network, or everything."""
    for entry in re.split(r"[,\s]+", listed.strip().lower()):
        name, _, wanted = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
        if entry == "*":
            return True
        if not name or (wanted and wanted != str(port)):
            continue
        try:
            if ip_address(host) in ip_network(name, strict=False):
                return True
        except ValueError:  # a name, or an address of the other family
            bare = name.strip("[]").removeprefix("*").removeprefix(".")
            if host == bare or host.endswith(f".{bare}"):
                return True
    return False


def _is_proxy(written: str) -> bool:
    return written == "none" or is_address(written, _PROXIES)


def is_address(written: str, schemes: Container[str]) -> bool:
    """Whether a text is the address of a server that is reached by one of these schemes."""
    try:
        parts = urlsplit(written)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port beyond 65535, or brackets that do not close
        return False
