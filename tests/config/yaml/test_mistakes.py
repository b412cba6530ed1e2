"""A configuration that is wrong in several places is refused once, with every mistake where it stands."""

from pathlib import Path

import pytest

from organism.config.load import parse_config
from organism.config.price_section import load_prices
from organism.config.yaml.mistakes import MISTAKES_MAX
from organism.errors import ConfigError
from tests.config.test_load import GOOD

TEN = """\
name: 12
entry: wirter
mode: enfroce
limits:
  thread: {tokens: -1, usd: much}
  day: {usd: 1, usd: 2}
  modles: {main: {usd: 1}}
llm:
  providers:
    fake: {type: scripted, answers: [hello]}
    oops: {type: scriptd}
  models:
    main: {routes: [fke/any, oops/any]}
    broken: any
agents:
  writer: {model: mian, max_output_tokens: lots, next: [critic, nobody]}
  critic: {modle: main}
  user: {model: main}
  late: {model: main, gather: [writer], nxt: critic}
prices:
  fake/any: {inptu: 1, output: 2}
  a: b
  b: a
gateway:
  keys:
    ci: {sha256: abc, thread: a/b}
    bad name: {}
exporters:
  x: {type: webhok}
"""
WRONG_AT = [
    ("1:7", "name: expected text"),
    ("2:1", "entry: no agent is called 'wirter'; did you mean 'writer'?"),
    ("3:7", "mode: 'enfroce' is not one of"),
    ("5:20", "limits.thread.tokens: -1 is out of range; it must be at least 0"),
    ("5:29", "limits.thread.usd: expected a number such as 0.50"),
    ("6:17", "limits.day.usd: key 'usd' stands twice"),
    ("7:3", "limits.modles: unknown key 'modles'; did you mean 'models'?"),
    ("11:18", "llm.providers.oops.type: 'scriptd' is not one of"),
    ("13:21", "llm.models.main.routes[0]: no provider is called 'fke'; did you mean 'fake'?"),
    ("14:5", "llm.models.broken: 'any' must have the form provider/model"),
    ("16:12", "agents.writer.model: no model is called 'mian'"),
    ("16:44", "agents.writer.max_output_tokens: expected a whole number"),
    ("16:65", "agents.writer.next[1]: no agent is called 'nobody'"),
    ("17:11", "agents.critic: needs either 'model' or 'handler'; did you mean 'model' by 'modle'?"),
    ("18:3", "agents.user: 'user' cannot be an agent's name"),
    ("19:41", "agents.late.nxt: unknown key 'nxt'"),
    ("21:14", "prices.fake/any.inptu: unknown key 'inptu'"),
    ("22:3", "prices.a: prices refer to each other in a circle: a -> b -> a"),
    ("26:10", "gateway.keys.ci.sha256: this is no hash"),
    ("26:23", "gateway.keys.ci.thread: 'a/b' cannot be a thread's id"),
    ("27:5", "gateway.keys.bad name: 'bad name' cannot be a key's name"),
    ("27:5", "gateway.keys.bad name: give either the key"),
    ("29:13", "exporters.x.type: 'webhok' is not one of"),
]


def refused(text: str) -> tuple[str, ...]:
    """Return the sentences of a refusal."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "organism.yaml", Path.cwd(), {})
    assert str(caught.value) == "\n".join(caught.value.sentences)
    return caught.value.sentences


def test_every_mistake_is_named_once_in_order_with_line_and_column() -> None:
    """Who has made many mistakes reads all of them, from the top of the file to its end, and corrects them at once."""
    sentences = refused(TEN)
    assert len(sentences) == len(WRONG_AT)
    for sentence, (place, text) in zip(sentences, WRONG_AT, strict=True):
        assert sentence.startswith(f"organism.yaml:{place}: {text}")


@pytest.mark.parametrize(
    ("old", "new", "only"),
    [
        ("entry: writer", "entry: [writer]", "2:8: entry: "),
        ("name: good", "nmae: good", "1:1: nmae: unknown key"),
        ("agents:\n  writer: {model: main}\n  critic: {model: main, next: writer}\n", "", "1:1: the key 'agents' is"),
        ("agents:\n", "agents: 5\nothers:\n", "8:9: agents: expected keys and values"),
        ("  models:\n", "  modles:\n", "6:3: llm.modles: unknown key"),
        ("  models:\n", "  model:\n", "6:3: llm.model: unknown key 'model'; it belongs under agents.NAME or llm.prov"),
        ("llm:\n", "llm: 5\nllmm:\n", "3:6: llm: expected keys and values"),
        ("fake: {type: scripted, answers: [hello]}", "fake: {type: scripted, answers: []}", "5:37: llm.providers.fake"),
        ("main: fake/any", "main: {routes: 5}", "7:20: llm.models.main.routes"),
        (
            "main: fake/any",
            "main: {routes: [fake/any], degrade: {at: 200, to: small}}\n    small: fake/s",
            "7:46: llm.models.main.degrade.at",
        ),
        ("{model: main}", "{model: [main]}", "9:19: agents.writer.model"),
        ("{model: main}", "{model: main, next: {}}", "9:31: agents.writer.next"),
        ("next: writer}", "gather: [writer]}\n  writer2: {model: main, next: [~]}", "11:33: agents.writer2.next[0]"),
        ("name: good", "name: good\ngateway: {keys: {ci: {key: literal}}}", "2:28: gateway.keys.ci.key"),
        ("name: good", "name: good\nprices: {m: {input: x, output: 1}}", "2:21: prices.m.input"),
        ("name: good", "name: good\nprices: {m: [{input: 1, output: x}]}", "2:33: prices.m[0].output"),
        ("name: good", "name: &x good", "1:7: name: anchors and aliases"),
        ("name: good", "name: *x", "1:7: name: anchors and aliases"),
        ("name: good", "name: good\nlimits: {day: {thresholds: {x: warn, 5: park}}}", "2:29: limits.day.thresholds.x"),
    ],
)
def test_what_follows_from_a_mistake_is_not_said(old: str, new: str, only: str) -> None:
    """A value that cannot be read is one mistake, wherever else it would have been needed."""
    assert old in GOOD
    sentences = [each for each in refused(GOOD.replace(old, new)) if "llmm" not in each and "others" not in each]
    if "gather" in new:
        sentences = [each for each in sentences if "never writes" not in each]
    assert len(sentences) == 1, sentences
    assert sentences[0].startswith(f"organism.yaml:{only}")


def test_what_stands_before_the_end_of_yaml_is_checked_too() -> None:
    """A quote that is not closed hides nothing that can be read before it."""
    (only,) = refused(GOOD + 'mode: "of\n')
    assert "not YAML" in only
    twice = refused("name: a\nname: b\nx: [")
    assert ["2:1: name: key 'name' stands twice" in twice[0], "not YAML" in twice[1]] == [True, True]


def test_mistakes_are_bounded() -> None:
    """A file that is wrong everywhere does not fill the screen; how many more there are is said."""
    sentences = refused(GOOD + "".join(f"x{number}: 1\n" for number in range(3 * MISTAKES_MAX)))
    assert len(sentences) == MISTAKES_MAX + 1
    assert sentences[-1] == f"{2 * MISTAKES_MAX} more were found; correct these first"


def test_a_file_of_prices_shows_every_mistake(tmp_path: Path) -> None:
    """The prices of a file of their own are refused as those of an organism are."""
    path = tmp_path / "prices.yaml"
    path.write_text("prices:\n  a: {input: x, output: 1}\n  b: c\n  c: b\n  d: {input: 1}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_prices(path)
    assert [sentence.partition("prices.yaml:")[2][:12] for sentence in caught.value.sentences] == [
        "2:14: prices", "3:3: prices.", "5:6: prices.",
    ]  # fmt: skip
