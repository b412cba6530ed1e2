"""How a provider's server is reached, from organism.yaml and from the environment."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from organism.app import Organism
from organism.config.build.providers import build_provider
from organism.config.load import parse_config
from organism.config.provider_connections import connection_of, is_vendors_own
from organism.config.schema.llm import AnthropicProviderSection, OpenAIProviderSection, ServerSection
from organism.errors import ConfigError
from organism.providers.http import ConnectionSettings
from organism.router.adapters import stops_when_closed

TEXT = """name: o
entry: a
llm: {{providers: {{p: {provider}}}, models: {{m: p/x}}}}
agents: {{a: {{model: m, system: s}}}}
"""
URL = "https://llm.example.com/v1"


def section_of(provider: str, folder: Path = Path(), **environment: str) -> ServerSection:
    loaded = parse_config(TEXT.format(provider=provider), "organism.yaml", folder, environment)
    section = loaded.config.llm.providers["p"]
    assert isinstance(section, ServerSection)
    return section


def connection(provider: str, folder: Path = Path(), **environment: Any) -> ConnectionSettings:
    return connection_of(folder, section_of(provider, folder, **environment), environment)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "http://small:1", "HTTPS_PROXY": "http://big:1"}, "http://small:1"),
        ({"HTTPS_PROXY": "p:3128"}, "http://p:3128"),
        ({"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "llm.example.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "localhost, .example.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "example.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other.com,ample.com"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "llm.example.com:8443"}, "http://p:1"),
    ],
)
def test_proxy_of_the_environment_is_gone_through(environment: dict[str, str], proxy: str | None) -> None:
    """A machine that reaches the world through a proxy alone reaches providers too, but for hosts it is told of."""
    assert connection(f"{{type: openai, base_url: '{URL}'}}", **environment).proxy == proxy


@pytest.mark.parametrize(("no_proxy", "proxied"), [("10.0.0.0/8", False), ("10.1.2.3", False), ("11.0.0.0/8", True)])
def test_networks_may_be_exempt_from_a_proxy(no_proxy: str, proxied: bool) -> None:
    """``NO_PROXY`` takes addresses and networks as it takes names."""
    found = connection("{type: vllm, base_url: 'http://10.1.2.3:8000/v1'}", HTTP_PROXY="http://p:1", NO_PROXY=no_proxy)

    assert (found.proxy is not None) == proxied


def test_file_decides_before_the_environment() -> None:
    """A provider has its own proxy, or none, whatever the machine has."""
    own = "{type: openai, base_url: '%s', proxy: %s}"

    assert connection(own % (URL, "'http://own:1'"), HTTPS_PROXY="http://p:1").proxy == "http://own:1"
    assert connection(own % (URL, "none"), HTTPS_PROXY="http://p:1").proxy is None
    assert connection(own % (URL, "'${env:P}'"), P="http://u:secret@own:1").proxy == "http://u:secret@own:1"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_of_the_environment_are_believed(variable: str) -> None:
    """A company's own authority is named once for all programs."""
    system = ssl.get_default_verify_paths().cafile
    if system is None:
        pytest.skip("this machine has no file of certificates")

    assert connection("{type: openai}", **{variable: system}).ca_file == system


@pytest.mark.parametrize(
    ("provider", "key", "remedy"),
    [
        ("{type: openai, api_key: '${env:K}', base_url: api.openai.com/v1}", "base_url", "https://"),
        ("{type: anthropic, api_key: '${env:K}', base_url: 'https://h/v1/chat/completions'}", "base_url", "openai"),
        ("{type: openai, api_key: '${env:K}', proxy: 'ftp://p'}", "proxy", "http://proxy.example.com:3128"),
        ("{type: openai, api_key: '${env:K}', proxy: nowhere}", "proxy", "none"),
        ("{type: openai, api_key: '${env:K}', headers: {'bad name': x}}", "headers.bad name", "no header"),
        ("{type: openai, api_key: '${env:K}', headers: {host: x}}", "headers.host", "no header"),
        ("{type: openai, api_key: '${env:K}', headers: {x: 'é'}}", "headers.x", "carry"),
    ],
)
def test_what_leads_nowhere_is_refused_with_its_line(provider: str, key: str, remedy: str) -> None:
    """A mistake in how a server is reached is found by ``organism check``, not by the first call."""
    with pytest.raises(ConfigError, match=r"organism.yaml:3") as caught:
        section_of(provider, K="sk-k")

    assert caught.value.path == f"llm.providers.p.{key}"
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "environment"),
    [
        ("{type: openai, ca_file: nowhere.pem}", {}),
        ("{type: openai, ca_file: organism.yaml}", {}),
        ("{type: openai}", {"SSL_CERT_FILE": "/nowhere/ca.pem"}),
        ("{type: openai, base_url: 'https://h/v1'}", {"HTTPS_PROXY": "socks9://x"}),
        ("{type: openai, base_url: 'https://h/v1', proxy: 'socks5://p:1'}", {}),
    ],
)
def test_what_cannot_be_used_is_found_before_the_first_call(
    tmp_path: Path, provider: str, environment: dict[str, str]
) -> None:
    """Certificates that are not there, and proxies that cannot be spoken to, are said when the provider is made."""
    (tmp_path / "organism.yaml").write_text("no certificate")
    loaded = parse_config(TEXT.format(provider=provider), "organism.yaml", tmp_path, environment)
    with pytest.raises(ConfigError, match=r"organism.yaml:3"):
        Organism.from_config(loaded, {"OPENAI_API_KEY": "sk-k", **environment})


@pytest.mark.parametrize(
    ("section", "own"),
    [
        (OpenAIProviderSection(), True),
        (OpenAIProviderSection(base_url="https://api.openai.com/v1/"), True),
        (OpenAIProviderSection(base_url="https://api.openai.com"), True),
        (OpenAIProviderSection(base_url="http://127.0.0.1:8000/v1"), False),
        (AnthropicProviderSection(base_url="https://api.anthropic.com/v1"), True),
        (AnthropicProviderSection(base_url="https://api.deepseek.com/anthropic"), False),
    ],
)
def test_vendors_own_address_may_be_written_out(section: OpenAIProviderSection, own: bool) -> None:
    """Its key and its prices hold for a vendor whether or not its address is written."""
    assert is_vendors_own(section) == own


@pytest.mark.parametrize(
    ("provider", "stops"),
    [
        ("{type: openai}", True),
        ("{type: openai, base_url: 'https://llm.example.com/v1'}", False),
        ("{type: openai, base_url: 'https://llm.example.com/v1', stops_when_closed: true}", True),
        ("{type: openai, api: responses, base_url: 'https://llm.example.com/v1', stops_when_closed: true}", True),
        ("{type: groq}", False),
        ("{type: groq, stops_when_closed: true}", True),
        ("{type: vllm}", True),
        ("{type: vllm, stops_when_closed: false}", False),
        ("{type: anthropic}", True),
        ("{type: anthropic, stops_when_closed: false}", False),
    ],
)
def test_users_know_better_whether_a_closed_stream_is_billed_on(provider: str, stops: bool) -> None:
    """What the file says of a server decides how Ctrl-C is charged; else what is known of the vendor."""
    loaded = parse_config(TEXT.format(provider=provider), "organism.yaml", Path(), {})
    keys = dict.fromkeys(("OPENAI_API_KEY", "GROQ_API_KEY", "ANTHROPIC_API_KEY"), "k")
    built = build_provider(loaded, "p", loaded.config.llm.providers["p"], keys, lambda _text: None)
    assert stops_when_closed(built) is stops
