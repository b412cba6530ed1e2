"""What would stop a daemon at its start is found by `organism check` before, in the same words."""

# ruff: noqa: E501 - a row of a table on a line

import sys
from pathlib import Path

import pytest

from organism.cli.commands.check import check
from organism.daemon import Daemon
from organism.errors import ConfigError

pytestmark = pytest.mark.anyio

CONFIG = """\
name: shop
entry: writer
python_path: ["."]
daemon: {port: 0}
llm:
  providers:
    fake: {type: scripted, answers: [hello]}
  models:
    main: fake/big
agents:
  writer: {model: main}
  echo: {handler: "shop_handlers:echo"}
"""
HANDLERS = '''\
"""Agents and tools of a shop."""
from organism import Context, Text

async def echo(message: Text, ctx: Context) -> Text:
    return message

def undocumented(text: str) -> str:
    return text
'''
KEY = "0123456789abcdef" * 4

REFUSED = {
    "handler": ("shop_handlers:echo", "shop_handlers:ecko", "12:10: agents.echo.handler: .*did you mean 'echo'"),
    "module": ("shop_handlers:echo", "nowhere:echo", "12:10: agents.echo.handler: .*does not import"),
    "folder": ('["."]', '["src"]', "3:15: .*there is no folder"),
    "tool": ("{model: main}", "{model: main, tools: ['shop_handlers:undocumented']}", "11:33: .*has no docstring"),
    "response": ("{model: main}", "{model: main, response_type: 'shop_handlers:echo'}", "11:25: .*no message type"),
    "vendor tools": ("{model: main}", "{model: main, vendor_tools: {web_search: 1, web_search_20250305: 1}}", "11:25: agents.writer.vendor_tools: "),
    "MCP command": ("agents:", "mcp: {files: {command: [no-such-program-here]}}\nagents:", "10:15: .*no program 'no-such"),
    "MCP path": ("agents:", "mcp: {files: {command: [./server]}}\nagents:", "10:15: .*no program './server'"),
    "MCP folder": ("agents:", "mcp: {files: {command: [sh], folder: x}}\nagents:", "10:30: .*there is no folder"),
    "MCP variable": ("agents:", "mcp: {files: {command: [sh], env: [NONE]}}\nagents:", "10:36: .*NONE is not set"),
    "MCP address": ("agents:", "mcp: {files: {url: example.com}}\nagents:", "10:15: mcp.files.url: .*no address"),
    "MCP name": ("agents:", "mcp: {fi/les: {command: [sh]}}\nagents:", "10:7: .*cannot be a server's name"),
    "vendor key": ("    fake:", "    real: {type: openai}\n    fake:", "7:5: .*set OPENAI_API_KEY"),
    "secret": ("    fake:", "    real: {type: openai, api_key: sk-1}\n    fake:", "7:35: .*a secret is never written"),
    "variable": ("    fake:", "    real: {type: openai, api_key: '${env:K}'}\n    fake:", "7:35: .*K is not set"),
    "base URL": ("    fake:", "    real: {type: openai, base_url: localhost}\n    fake:", "7:26: .*real.base_url: "),
    "proxy": ("    fake:", "    real: {type: ollama, proxy: x}\n    fake:", "7:26: .*real.proxy: .*no address of a proxy"),
    "certificates": ("    fake:", "    real: {type: ollama, ca_file: x.pem}\n    fake:", "7:5: .*no certificates"),
    "event": ("agents:", "exporters: {x: {type: jsonl, path: x, events: [UsageEvnt]}}\nagents:", "10:48: .*'UsageEvent'"),
    "exporter": ("agents:", "exporters: {x: {type: jsonl}}\nagents:", "10:16: .*the key 'path' is missing"),
    "webhook": ("agents:", "exporters: {x: {type: webhook, url: billing}}\nagents:", "10:32: exporters.x.url: .*no address"),
    "webhook port": ("agents:", "exporters: {x: {type: webhook, url: 'http://h:99999/'}}\nagents:", "10:32: .*no address"),
    "signing key": (
        "agents:",
        "exporters: {x: {type: webhook, url: 'http://h/', secret: '${env:WEAK}'}}\nagents:",
        "10:50: .*no key to sign with",
    ),
    "answer links": (
        "agents:",
        "exporters: {x: {type: webhook, url: 'http://h/', answer_link_hours: 3}}\nagents:",
        "10:50: .*links are in the event",
    ),
    "host": ("{port: 0}", "{port: 0, host: 0.0.0.0}", "4:19: daemon.host: the daemon listens on loopback only"),
    "no host": ("{port: 0}", "{port: 0, host: nonsense}", "4:19: daemon.host: the daemon listens on loopback only"),
    "proxy's host": ("{port: 0}", "{port: 0, hosts: ['https://x.example']}", r"4:27: daemon.hosts\[0\]: .*no name of a host"),
    "public URL": ("{port: 0}", "{port: 0, public_url: agents.example}", "4:19: daemon.public_url: .*no address"),
    "port": ("{port: 0}", "{port: 66000}", "4:16: daemon.port: 66000 is out of range"),
    "store": ("daemon:", "store: sqllite\ndaemon:", "4:1: store: 'sqllite' is no place for a journal"),
    "database": ("daemon:", "store: postgres\ndaemon:", "4:1: store: which database"),
    "price": ("agents:", "prices: {fake/bgi: {input: 1, output: 2}}\nagents:", "10:10: .*did you mean 'fake/big'"),
    "price's tool": ("agents:", "prices: {fake/big: {input: 1, output: 2, tools: {x: 1}}}\nagents:", "10:50: .*no vendor's tool"),
    "price of nothing": (
        "agents:",
        "prices: {fake/big: {input: 0.0000000001, output: 2}}\nagents:",
        "10:28: .*finer than a nano-dollar",
    ),
    "limit of nothing": ("agents:", "limits: {day: {usd: 0.0000000004}}\nagents:", "10:21: .*finer than a nano-dollar"),
    "time of nothing": ("agents:", "limits: {thread: {seconds: 0.0000000004}}\nagents:", "10:28: .*nanosecond"),
    "empty key": ("agents:", "gateway: {keys: {ci: {key: '${env:EMPTY:-}'}}}\nagents:", "10:28: .*"),
    "key twice": (
        "agents:",
        f"gateway: {{keys: {{a: {{sha256: {KEY}}}, b: {{sha256: {KEY}}}}}}}\nagents:",
        "10:97: gateway.keys.b: this is the key of 'a' too",
    ),
    "key's thread": (
        "agents:",
        f"gateway:\n  keys:\n    a: {{sha256: {KEY}, thread: t, labels: {{x: y}}}}\n    b: {{sha256: {KEY[::-1]}, thread: t}}\nagents:",
        "13:83: gateway.keys.b.thread: the key 'a' spends from",
    ),
    "label": ("agents:", "limits: {labels: {tenant: {usd: 1, per: fortnight}}}\nagents:", "10:36: .*'fortnight'"),
    "threshold": ("daemon:", "thresholds: {200: park}\ndaemon:", "4:14: thresholds.200: "),
    "model": ("main: fake/big", "main: fke/big", "9:5: .*did you mean 'fake'"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with handlers that are forgotten after the test, where no key is set."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setitem(sys.modules, "shop_handlers", None)
    del sys.modules["shop_handlers"]
    for name in ("OPENAI_API_KEY", "DATABASE_URL", "NONE", "K", "EMPTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WEAK", "whsec_!")
    (tmp_path / "shop_handlers.py").write_text(HANDLERS, encoding="utf-8")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    """Write a configuration and return it."""
    path = folder / "organism.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def listing(folder: Path) -> list[str]:
    """Return the files of a folder, without Python's own."""
    return sorted(each.name for each in folder.iterdir() if each.name != "__pycache__")


@pytest.mark.parametrize("case", REFUSED)
async def test_check_refuses_what_the_daemon_refuses_in_the_same_words(folder: Path, case: str) -> None:
    """Whatever would stop the daemon at its start, `check` names before, with its place; neither opens anything."""
    old, new, said = REFUSED[case]
    assert CONFIG.count(old) == 1
    path = written(folder, CONFIG.replace(old, new))
    before = listing(folder)
    with pytest.raises(ConfigError, match=f"organism.yaml:{said}") as by_check:
        check(file=path)
    assert len(by_check.value.sentences) == 1
    assert listing(folder) == before
    with pytest.raises(ConfigError) as by_daemon:
        async with Daemon(path):
            pass
    assert str(by_daemon.value) == str(by_check.value)


async def test_what_is_right_is_right_for_both(folder: Path) -> None:
    """The configuration that the others were made of is checked and runs."""
    path = written(folder, CONFIG)
    assert check(file=path) == 0
    async with Daemon(path) as daemon:
        assert daemon.url


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_TRACES_EXPORTER", "jaeger", "OTEL_TRACES_EXPORTER is 'jaeger'; there are: otlp"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc", "only 'http/protobuf' is spoken"),
    ],
)
async def test_what_the_environment_asks_for_is_checked_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    """An exporter of OpenTelemetry that is not there is named by `check` as by the daemon."""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    monkeypatch.setenv(variable, value)
    path = written(folder, CONFIG)
    with pytest.raises(ConfigError, match=said) as by_check:
        check(file=path)
    with pytest.raises(ConfigError) as by_daemon:
        async with Daemon(path):
            pass
    assert str(by_daemon.value) == str(by_check.value)


async def test_a_file_that_everybody_can_write_is_refused_by_both(folder: Path) -> None:
    """Who could change the file could have the daemon run anything; `check` says so before it is started."""
    path = written(folder, CONFIG)
    path.chmod(0o602)
    with pytest.raises(ConfigError, match="everybody can write it"):
        check(file=path)
    with pytest.raises(ConfigError, match="everybody can write it"):
        async with Daemon(path):
            pass


def test_mistakes_of_names_and_of_what_is_outside_are_shown_together(folder: Path) -> None:
    """Handlers, keys, events and commands are looked at although names in the file are wrong as well."""
    text = CONFIG.replace("entry: writer", "entry: wirter").replace("shop_handlers:echo", "shop_handlers:ecko")
    text = text.replace("    fake:", "    real: {type: openai}\n    fake:").replace("{port: 0}", "{port: 0, host: x}")
    text += "exporters: {x: {type: jsonl, path: x, events: [UsageEvnt, Thing]}}\n"
    text += "mcp: {files: {command: [no-such-program-here]}}\ngateway: {keys: {ci: {key: '${env:NONE}'}}}\n"
    with pytest.raises(ConfigError) as caught:
        check(file=written(folder, text))
    lines = [int(sentence.partition("organism.yaml:")[2].partition(":")[0]) for sentence in caught.value.sentences]
    assert lines == [2, 4, 7, 13, 14, 14, 15, 16]
