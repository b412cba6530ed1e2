"""organism.yaml: every mistake is refused with file, line, key and, where one is near, the right spelling."""

from datetime import date
from pathlib import Path

import msgspec
import pytest

from organism.amounts import Limits
from organism.app import Organism
from organism.budget.scopes import ScopedLimits
from organism.config.build.limits import budget_plan
from organism.config.build.router import model_plans, otherwise, overrides, router_settings
from organism.config.describe import describe_agents, describe_graph
from organism.config.json_schema import SHIPPED, text
from organism.config.load import LoadedConfig, load_config, parse_config
from organism.config.schema.llm import OpenAIProviderSection
from organism.errors import ConfigError
from organism.router.limits.backoff import Backoff
from organism.router.limits.circuit import CircuitSettings
from organism.router.limits.provider_settings import ProviderSettings, Timeouts
from organism.router.limits.rate_limit import RateLimits
from organism.router.planning.plan import Degrade

GOOD = """\
name: good
entry: writer
llm:
  providers:
    fake: {type: scripted, answers: [hello]}
  models:
    main: fake/any
agents:
  writer: {model: main}
  critic: {model: main, next: writer}
"""


def parse(source: str, **environment: str) -> LoadedConfig:
    return parse_config(source, "organism.yaml", Path.cwd(), environment)


def with_gateway(section: str) -> str:
    return GOOD + "gateway:\n" + section


def with_line(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


BAD = [
    # the text, the line named, the key named, a phrase of the reason
    (GOOD + "zzz: 1\n", 11, "zzz", "unknown key 'zzz'; there are: "),
    (GOOD + "agnets: {}\n", 11, "agnets", "did you mean 'agents'"),
    (GOOD + "max_output_tokens: 5\n", 11, "max_output_tokens", "belongs under agents.NAME"),
    (with_line("{model: main}", "{modle: main}"), 9, "agents.writer", "did you mean 'model' by 'modle'"),
    (with_line("{model: main}", "{system: hi}"), 9, "agents.writer", "'model' or 'handler'"),
    (with_line("{model: main}", "{model: main, handler: a:b}"), 9, "agents.writer", "has both"),
    (with_line("{model: main}", "{model: main, nxt: critic}"), 9, "agents.writer.nxt", "did you mean 'next'"),
    (with_line("{model: main}", "{model: mian}"), 9, "agents.writer.model", "did you mean 'main'"),
    (with_gateway("  models: [mian]\n"), 12, "gateway.models[0]", "did you mean 'main'"),
    (with_gateway("  keys: {ci: {}}\n"), 12, "gateway.keys.ci", "either the key"),
    (with_gateway(f"  keys: {{writer: {{sha256: {'a' * 64}}}}}\n"), 12, "gateway.keys.writer", "agent is called"),
    (with_gateway(f"  keys: {{1st: {{sha256: {'a' * 64}}}}}\n"), 12, "gateway.keys.1st", "cannot be a key's name"),
    (with_gateway("  keys: {ci: {sha256: abc}}\n"), 12, "gateway.keys.ci.sha256", "64 hexadecimal"),
    (with_gateway(f"  keys: {{ci: {{sha256: {'a' * 64}, thread: a/b}}}}\n"), 12, "gateway.keys.ci.thread", "thread's"),
    (with_line("next: writer", "next: wirter"), 10, "agents.critic.next", "did you mean 'writer'"),
    (with_line("next: writer", "next: [writer, wrter]"), 10, "agents.critic.next[1]", "did you mean 'writer'"),
    (with_line("next: writer", "peers: [nobody]"), 10, "agents.critic.peers[0]", "no agent is called 'nobody'"),
    (with_line("next: writer", "gather: [writer]"), 10, "agents.critic.gather", "never writes to 'critic'"),
    (with_line("entry: writer", "entry: wrier"), 2, "entry", "did you mean 'writer'"),
    (with_line("fake/any", "fke/any"), 7, "llm.models.main", "did you mean 'fake'"),
    (with_line("fake/any", "any"), 7, "llm.models.main", "form provider/model"),
    (with_line("fake/any", "fake/any*"), 7, "llm.models.main", "may only end a route"),
    (with_line("fake/any", "fake/a\n    gpt-*: fake/*-x"), 8, "llm.models.gpt-*", "may only end a route"),
    (with_line("fake/any", "fake/a\n    g*t: fake/b"), 8, "llm.models.g*t", "may only end a model's name"),
    (with_line("main: fake/any", '"*": fake/*'), 9, "agents.writer.model", "there is no model at all"),
    (with_line("fake/any", "fake/a\n    g*: fake/g\nlimits: {models: {g*: {usd: 1}}}"), 9, "limits.models.g*", "g*"),
    (with_line("type: scripted", "type: scriptd"), 5, "llm.providers.fake.type", "did you mean 'scripted'"),
    (with_line("{type: scripted, answers: [hello]}", "{answers: [x]}"), 5, "llm.providers.fake", "'type' is missing"),
    (with_line("answers: [hello]", "answers: []"), 5, "llm.providers.fake.answers", "at least one entry"),
    (with_line("name: good", "name: 12"), 1, "name", "expected text"),
    (with_line("name: good", "name: null"), 1, "name", "expected text"),
    (with_line("name: good", "name: [good]"), 1, "name", "expected text"),
    (with_line("name: good", "name: 'a b'"), 1, "name", "is no name"),
    (with_line("name: good\n", ""), 1, None, "the key 'name' is missing"),
    (GOOD.replace("writer", "user"), 9, "agents.user", "cannot be an agent's name"),
    (GOOD + "mode: of\n", 11, "mode", "did you mean 'off'"),
    (GOOD + "mode: true\n", 11, "mode", "is not one of: audit, enforce, off"),
    (GOOD + "thresholds: [90, 75]\n", 11, "thresholds", "ascending"),
    (GOOD + "thresholds: [75, 101]\n", 11, "thresholds", "from 1 to 100"),
    (GOOD + "thresholds: [75, x]\n", 11, "thresholds[1]", "whole number"),
    (GOOD + "thresholds: 75\n", 11, "thresholds", "expected a list"),
    (GOOD + "limits: {thread: {tokens: 12:30}}\n", 11, "limits.thread.tokens", "whole number"),
    (GOOD + "limits: {thread: {tokens: 010}}\n", 11, "limits.thread.tokens", "whole number"),
    (GOOD + "limits: {thread: {tokens: 1_000}}\n", 11, "limits.thread.tokens", "whole number"),
    (GOOD + "limits: {thread: {tokens: 1e3}}\n", 11, "limits.thread.tokens", "whole number"),
    (GOOD + "limits: {thread: {tokens: .nan}}\n", 11, "limits.thread.tokens", "whole number"),
    (GOOD + "limits: {thread: {tokens: -1}}\n", 11, "limits.thread.tokens", "at least 0"),
    (GOOD + "limits: {thread: {tokens: no}}\n", 11, "limits.thread.tokens", "whole number"),
    (GOOD + "limits: {thread: {tokens: 99999999999999999999}}\n", 11, "limits.thread.tokens", "whole number"),
    (GOOD + "limits: {thread: {usd: .inf}}\n", 11, "limits.thread.usd", "such as 0.50"),
    (GOOD + "limits: {thread: {usd: -1}}\n", 11, "limits.thread.usd", "such as 0.50"),
    (GOOD + "limits: {thread: {usd: 1e9}}\n", 11, "limits.thread.usd", "such as 0.50"),
    (GOOD + "limits: {day: {seconds: 5}}\n", 11, "limits.day.seconds", "unknown key 'seconds'"),
    (GOOD + "limits: {agents: {writr: {tokens: 5}}}\n", 11, "limits.agents.writr", "did you mean 'writer'"),
    (GOOD + "limits: {models: {man: {tokens: 5}}}\n", 11, "limits.models.man", "did you mean 'main'"),
    (GOOD + "prices: {any: {input: 1}}\n", 11, "prices.any", "'output' is missing"),
    (GOOD + "prices: {any: {input: 1, output: 2, since: tomorrow}}\n", 11, "prices.any.since", "such as 2026-01-31"),
    (GOOD + "prices: {any: {input: 1, output: 2, since: 2026-02-30}}\n", 11, "prices.any.since", "such as 2026-01-31"),
    (GOOD + "prices: {a: b, b: a}\n", 11, "prices.a", "in a circle: a -> b -> a"),
    (
        GOOD + "prices:\n  any:\n    - {input: 1, output: 2}\n    - {input: 1, output: 3}\n",
        14,
        "prices.any[1]",
        "two prices for always",
    ),
    (
        GOOD + "prices: {any: {input: 1, output: 2, tiers: [{above_input_tokens: 9}, {above_input_tokens: 8}]}}\n",
        11,
        "prices.any.tiers",
        "shortest first",
    ),
    (GOOD + "llm2: {}\n", 11, "llm2", "did you mean 'llm'"),
    (with_line("llm:\n", "llm:\n  unpriced: free\n"), 4, "llm.unpriced", "not one of"),
    (with_line("llm:\n", "llm:\n  unpriced: {input: 1}\n"), 4, "llm.unpriced", "'output' is missing"),
    (GOOD + "limits: {providers: {fke: {tokens: 5}}}\n", 11, "limits.providers.fke", "did you mean 'fake'"),
    (with_line("answers: [hello]", "answers: [a], concurrency: 0"), 5, "llm.providers.fake.concurrency", "at least 1"),
    (with_line("answers: [hello]", "answers: [a], concurency: 1"), 5, "llm.providers.fake.concurency", "did you mean"),
    (
        with_line("answers: [hello]", "answers: [a], timeouts: {first_token_seconds: soon}"),
        5,
        "llm.providers.fake.timeouts.first_token_seconds",
        "whole number",
    ),
    (with_line("fake/any", "{routes: [fake/any], strategy: cheap}"), 7, "llm.models.main.strategy", "'cheapest'"),
    (
        with_line("fake/any", "{routes: [fake/any], degrade: {at: 101, to: main}}"),
        7,
        "llm.models.main.degrade.at",
        "from 1 to 100",
    ),
    (
        with_line("fake/any", "{routes: [fake/any], degrade: {at: 80, to: smal}}\n    small: fake/s"),
        7,
        "llm.models.main.degrade.to",
        "did you mean 'small'",
    ),
    (
        with_line("fake/any", "{routes: [fake/any], degrade: {at: 80, to: main}}"),
        7,
        "llm.models.main.degrade.to",
        "in a circle: main -> main",
    ),
    (GOOD + "limits: {time_zone: Europe/Berln}\n", 11, "limits.time_zone", "did you mean 'Europe/Berlin'"),
    (GOOD + "max_tokens_per_thread: 5\nlimits: {thread: {tokens: 6}}\n", 12, "limits.thread.tokens", "keep one"),
    (GOOD + "name: again\n", 11, "name", "stands twice, first on line 1"),
    (GOOD + "bounds: {hops: 5, hops: 6}\n", 11, "bounds.hops", "stands twice"),
    (with_line("name: good", "name: &a good"), 1, "name", "anchors"),
    (with_line("name: good", "name: *a"), 1, "name", "anchors and aliases"),
    (GOOD + "thresholds: [75, &a 90]\n", 11, "thresholds[1]", "anchors"),
    (with_line("name: good", "name: !!python/name:os.system x"), 1, "name", "tags"),
    (GOOD + "providers: {}\n", 11, "providers", "it belongs under limits or llm"),
    (GOOD + "limits: {thread: {tokens: '5'}}\n", 11, "limits.thread.tokens", "remove the quotes"),
    (with_line("name: good", "name: good\n\tbad: tab"), 2, None, "not YAML"),
    (with_line("name: good", "name: {"), None, None, "not YAML"),
    (with_line("name: good", "name: g\0d"), None, None, "not YAML"),
    (GOOD + "---\nname: second\n", 11, None, "second document"),
    ("", 1, None, "begins with keys"),
    ("just text", 1, None, "begins with keys"),
    ("[" * 5000, 1, None, "nested deeper"),
    ("a: " + "x" * 300_000, 1, None, "larger than 256 KiB"),
    (GOOD + "? [a, b]\n: c\n", 11, None, "a key must be text"),
    (GOOD + "? " * 20_000, 11, None, "a key must be text"),
    (GOOD + "zzz: " + "{" * 20_000, 11, "zzz", "a key must be text"),
    (with_gateway("  inject_note: yes\n"), 12, "gateway.inject_note", "'yes' is not one of: true, false"),
    (with_gateway("  inject_note: []\n"), 12, "gateway.inject_note", "expected true or false"),
]


@pytest.mark.parametrize(("source", "line", "path", "phrase"), BAD, ids=[f"{n}-{b[3][:30]}" for n, b in enumerate(BAD)])
def test_mistake_is_refused_where_it_stands(source: str, line: int | None, path: str | None, phrase: str) -> None:
    """Each mistake names its line and key and says what would be right."""
    with pytest.raises(ConfigError, match=r"organism\.yaml:") as caught:
        parse(source)

    assert phrase in caught.value.reason
    assert caught.value.path == path
    assert line is None or str(caught.value.where).startswith(f"organism.yaml:{line}:")


def test_good_file_loads_with_defaults() -> None:
    """What is not said has a finite default."""
    config = parse(GOOD).config

    assert config.mode == "enforce"
    assert config.thresholds == [75, 90, 95]
    assert budget_plan(config).thread == Limits(tokens=100_000)
    assert config.bounds.hops == 50


def test_mark_tells_files_apart_whose_limits_the_environment_says() -> None:
    """A limit that changes there counts in a cluster as one that changes in the file; a key or a name does not."""
    source = with_line("answers: [hello]", "answers: ['${env:NAME}']") + 'limits: {day: {tokens: "${env:DAILY}"}}\n'
    marks = [parse(source, NAME=name, DAILY=daily).mark for name, daily in (("a", "9"), ("b", "9"), ("a", "8"))]
    assert marks[0] == marks[1] != marks[2]
    assert parse(GOOD).mark != parse(GOOD + "# another text\n").mark
    keys = (
        GOOD
        + 'gateway: {limits: {calls: "${env:ALL}"}, keys: {ci: {key: "${env:KEY}", limits: {usd: "${env:ONE}"}}}}\n'
    )
    given = ({"ALL": all_, "KEY": key, "ONE": one} for all_, key, one in ("9a1", "9b1", "8a1", "9a2"))
    first, other_key, *other_limits = (parse(keys, **each).mark for each in given)
    assert first == other_key
    assert len({first, *other_limits}) == 3


def test_limits_are_exact_integers() -> None:
    """Ten cents are ten cents: no amount passes through a float."""
    config = parse(
        GOOD
        + "limits:\n  thread: {tokens: unlimited, usd: 0.10, seconds: 1.5, calls: 3}\n  day: {usd: '5'}\n"
        + "  agents: {writer: {tokens: 7, per: day}}\n"
    ).config

    plan = budget_plan(config)

    assert plan.thread == Limits(tokens=None, cost_nanousd=100_000_000, elapsed_ns=1_500_000_000, calls=3)
    assert plan.windows["day"] == Limits(cost_nanousd=5_000_000_000)
    assert plan.agents == {"writer": ScopedLimits(Limits(tokens=7), "day")}


def test_routing_and_treatment_of_providers_arrive_as_written() -> None:
    """Strategies, limits per minute, timeouts and circuits mean what the file says."""
    llm = """\
llm:
  retry: uncertain
  deadline_seconds: 100
  backoff: {first_seconds: 0.25, max_seconds: 8}
  providers:
    fake:
      type: scripted
      answers: [hello]
      concurrency: 3
      requests_per_minute: 60
      tokens_per_minute: 9000
      timeouts: {first_token_seconds: unlimited, between_tokens_seconds: 5, call_seconds: 40.5}
      circuit: {failures: 2, within_seconds: 10, open_seconds: 20}
    here: {type: local, slots: 3}
  models:
    main: {routes: [fake/any, here/small], strategy: least_loaded, degrade: {at: 80, to: small}}
    small: {routes: [here/small], hedge_after_seconds: 1.5}
"""
    config = parse(GOOD.replace(GOOD[GOOD.index("llm:") : GOOD.index("agents:")], llm)).config

    settings, plans = router_settings(config), model_plans(config)

    assert (settings.retry_uncertain, settings.deadline_s) == (True, 100.0)
    assert settings.backoff == Backoff(first_s=0.25, max_s=8.0)
    assert settings.providers["fake"] == ProviderSettings(
        concurrency=3,
        rates=RateLimits(requests=60, tokens=9000),
        timeouts=Timeouts(first_token_s=None, between_tokens_s=5.0, call_s=40.5),
        circuit=CircuitSettings(failures=2, within_s=10.0, open_s=20.0),
    )
    assert settings.providers["here"].concurrency == 3, "what waits for a slot waits where no timeout runs"
    assert (plans["main"].strategy, plans["main"].degrade) == ("least_loaded", Degrade(80, "small"))
    assert plans["small"].hedge_after_s == 1.5


def test_prices_arrive_as_written_and_carry_their_version() -> None:
    """Kinds of tokens, long calls, days and other names; a price that changes has another source."""
    prices = """\
prices:
  any: {input: 1, output: 2}
  fake/any:
    - {input: 1, output: 2, cached_input: 0.1, reasoning: 3, request: 0.001}
    - {input: 0.5, output: 2, since: 2026-07-01, tiers: [{above_input_tokens: 1000, input: 4}]}
  other: fake/any
"""
    config = parse(GOOD.replace("llm:\n", "llm:\n  unpriced: {input: 9, output: 9}\n") + prices).config

    found = overrides(config)
    dated = found["fake/any"]
    assert isinstance(dated, tuple)
    old, new = dated
    assert (old.since, new.since) == (None, date(2026, 7, 1))
    assert (old.rates.cached_input.base, old.rates.reasoning.base) == (100_000_000, 3_000_000_000)
    assert (old.rates.cache_write.base, old.rates.request) == (1_000_000_000, 1_000_000)
    assert new.rates.cached_input.at(1001) == new.rates.input.at(1001) == 4_000_000_000
    assert new.rates.output.at(1001) == 2_000_000_000
    assert found["other"] == "fake/any"
    assert old.rates.source.startswith("organism.yaml ")
    assert old.rates.source != new.rates.source
    assumed = otherwise(config)
    assert assumed is not None
    assert (assumed.assumed, assumed.input.base) == (True, 9_000_000_000)
    assert router_settings(config).refuse_unpriced is False


@pytest.mark.parametrize("short", ["max_tokens_per_thread: 42", "limits: {max_tokens_per_thread: 42}"])
def test_short_form_of_the_thread_limit(short: str) -> None:
    """The most common limit has a short form, on top and under limits."""
    assert budget_plan(parse(f"{GOOD}{short}\n").config).thread.tokens == 42


def test_words_that_yaml_would_twist_stay_words() -> None:
    """``off`` is a mode, not a boolean."""
    assert parse(GOOD + "mode: off\n").config.mode == "off"


@pytest.mark.parametrize(("word", "meant"), [("true", True), ("false", False)])
def test_switch_is_true_or_false(word: str, meant: bool) -> None:
    """A switch means what it says, in these two words and no others."""
    gateway = parse(with_gateway(f"  inject_note: {word}\n")).config.gateway

    assert gateway is not None
    assert gateway.inject_note is meant


KEYED = GOOD.replace("fake: {type: scripted, answers: [hello]}", "fake: {type: openai, api_key: KEY}")


def test_secret_comes_from_the_environment_and_never_shows() -> None:
    """A key is referred to, never written down, and shows as stars wherever the configuration is shown."""
    loaded = parse(KEYED.replace("KEY", '"${env:MY_KEY}"'), MY_KEY="sk-very-secret")
    section = loaded.config.llm.providers["fake"]

    assert isinstance(section, OpenAIProviderSection)
    assert section.api_key is not None
    assert section.api_key.reveal() == "sk-very-secret"
    assert "sk-very-secret" not in repr(loaded)


def test_literal_secret_is_refused_without_showing_it() -> None:
    """Whoever pastes a key gets an error that does not repeat it."""
    with pytest.raises(ConfigError, match="never written here") as caught:
        parse(KEYED.replace("KEY", "sk-very-secret"))

    assert "sk-very-secret" not in str(caught.value)


def test_missing_variable_is_named() -> None:
    """A variable that is not set is named with its line."""
    with pytest.raises(ConfigError, match=r"organism.yaml:5:[0-9]+: .*MY_KEY is not set"):
        parse(KEYED.replace("KEY", '"${env:MY_KEY}"'))


@pytest.mark.parametrize(
    ("content", "phrase"),
    [(None, "organism init"), (b"name: \xff\xfe", "not UTF-8"), (b"a" * 300_000, "larger than")],
)
def test_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, phrase: str) -> None:
    """A file that is not there, not text or far too large is refused with what to do."""
    path = tmp_path / "organism.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=phrase):
        load_config(path, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, {})


@pytest.mark.parametrize(
    ("handler", "phrase"),
    [
        ("nowhere:edit", "does not import.*python_path"),
        ("team:edti", "did you mean 'edit'"),
        ("team:NUMBER", "is no handler"),
        ("team:wrong", "must take exactly"),
        ("team:untyped", "message types"),
        ("no colon", "package.module:name"),
        ("broken:edit", "ZeroDivisionError"),
        ("leaves:edit", "SystemExit"),
    ],
)
def test_handler_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path, handler: str, phrase: str) -> None:
    """Python that is named wrongly is found out before anything runs."""
    (tmp_path / "team.py").write_text(
        "from organism import Text\nNUMBER = 5\n"
        "async def edit(message: Text, ctx): ...\nasync def wrong(message): ...\nasync def untyped(m: int, ctx): ...\n"
    )
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(7)\n")
    path = tmp_path / "organism.yaml"
    path.write_text(GOOD + f"  editor: {{handler: '{handler}'}}\npython_path: [.]\n")

    with pytest.raises(ConfigError, match=phrase) as caught:
        Organism.from_yaml(path, environment={})

    assert str(caught.value.where).startswith(f"{path}:11:")
    assert caught.value.path == "agents.editor.handler"


def test_folder_of_handlers_that_is_not_there_is_refused() -> None:
    """A misspelt python_path is named itself, not by the module that then does not import."""
    loaded = parse(GOOD + "python_path: [., nowhere]\n")

    with pytest.raises(ConfigError, match="there is no folder") as caught:
        Organism.from_config(loaded, {})

    assert caught.value.path == "python_path[1]"


@pytest.mark.parametrize(
    "url", ["localhost:11434", "127.0.0.1/v1", "http:///v1", "http://h:99999/v1", "ftp://h", "http://[::1"]
)
def test_address_that_is_none_is_refused_without_showing_it(url: str) -> None:
    """A base_url that no call could reach is found before the first call, and a password in it stays unsaid."""
    with pytest.raises(ConfigError, match="no address of a server") as caught:
        parse(GOOD.replace("{type: scripted, answers: [hello]}", "{type: openai, base_url: '${env:URL}'}"), URL=url)

    assert str(caught.value.where).startswith("organism.yaml:5:")
    assert url not in str(caught.value)


def test_address_of_a_host_needs_no_quotes() -> None:
    """Four numbers with dots are no number."""
    assert parse(GOOD + "daemon: {host: 127.0.0.1}\n").config.daemon.host == "127.0.0.1"


def test_missing_key_of_a_provider_is_named() -> None:
    """Without a key the error names the variable to set."""
    loaded = parse(GOOD.replace("{type: scripted, answers: [hello]}", "{type: anthropic}"))

    with pytest.raises(ConfigError, match="set ANTHROPIC_API_KEY"):
        Organism.from_config(loaded, {})


def test_vendor_key_does_not_go_to_another_server() -> None:
    """The key of OpenAI in the environment is not sent to a base_url that is not OpenAI's."""
    loaded = parse(
        GOOD.replace("{type: scripted, answers: [hello]}", "{type: openai, base_url: 'http://127.0.0.1:1/v1'}")
    )

    organism = Organism.from_config(loaded, {"OPENAI_API_KEY": "sk-vendor"})

    assert "sk-vendor" not in str(vars(organism.providers["fake"]))


def test_shipped_schema_is_the_structs() -> None:
    """The JSON Schema for editors is generated and never stale."""
    assert SHIPPED.read_text(encoding="utf-8") == text()
    schema = msgspec.json.decode(text())
    assert schema["$defs"]["Config"]["properties"]["mode"]["description"]
    assert {"$ref": "#/$defs/PythonAgentSection"} in schema["$defs"]["AgentSection"]["anyOf"]


def test_description_shows_every_agent_and_who_writes_to_whom() -> None:
    """The organism can be seen before it runs."""
    config = parse(GOOD.replace("entry: writer", "entry: critic")).config

    assert [row[0] for row in describe_agents(config)] == ["writer", "critic"]
    assert describe_graph(config) == "user -> critic\n└─> writer\n   └─> user"
