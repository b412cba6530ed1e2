"""``organism replay``: a recorded thread under other conditions, from the journal that a run has left."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from organism import BudgetPlan, Context, Organism, ScopedLimits, Text, agent
from organism.amounts import Limits
from organism.budget.scopes import LabelLimits
from organism.cli.app import call
from organism.clock import SystemClock, utc
from organism.daemon.journal_file import JOURNAL_FILE
from organism.pricing.book import PriceBook
from organism.pricing.rates import flat_rates
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider

CONFIG = """\
name: desk
entry: clerk
thresholds: [50]
llm:
  providers:
    fake: {type: scripted, answers: [hello]}
  models:
    main: {routes: [fake/big], degrade: {at: 60, to: small}}
    small: fake/tiny
agents:
  clerk: {model: main}
prices:
  fake/big: {input: 3, output: 15}
  fake/tiny: {input: 1, output: 2}
"""

AMPLE = ScopedLimits(Limits(tokens=1_000_000), "day")

Replay = Callable[..., tuple[int, str, str]]


@agent()
async def clerk(message: Text, ctx: Context) -> Text:
    for _ in range(8):
        await ctx.llm.complete(message.text, max_output_tokens=50)
    return Text("done")


@pytest.fixture
def thread(tmp_path: Path) -> str:
    """A thread that has lived and ended, in the state folder beside its configuration."""
    (tmp_path / "organism.yaml").write_text(CONFIG)
    (tmp_path / ".organism").mkdir(mode=0o700)

    async def work() -> str:
        clock = SystemClock()
        rates = flat_rates(input=3_000_000_000, output=15_000_000_000, source="test")
        organism = Organism(
            [clerk],
            models={"main": "fake/big"},
            providers={"fake": ScriptedProvider(["one two three four five six seven eight nine ten"])},
            limits=BudgetPlan(thread=Limits(tokens=10_000), labels={"tenant": LabelLimits(each=AMPLE)}),
            prices=PriceBook({"fake/big": rates}, now=lambda: utc(clock)),
            journal=SqliteJournal(tmp_path / ".organism" / JOURNAL_FILE),
        )
        async with organism:
            return (await organism.run("hello there", labels={"tenant": "acme"})).thread_id

    return anyio.run(work)


@pytest.fixture
def replay(tmp_path: Path, thread: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Replay the thread with options; returns the exit code and what was printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*options: str, of: str = thread) -> tuple[int, str, str]:
        capsys.readouterr()
        code = call(["replay", of, "--file", str(tmp_path / "organism.yaml"), *options])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_without_options_it_is_what_was_recorded(replay: Replay) -> None:
    """Recorded and replayed are the same to the last digit, and nothing more is said."""
    code, out, _ = replay()

    assert code == 0
    assert re.search(r"^all +8 +96 +\$0\.001248 +8 +96 +\$0\.001248 +\$0\.00$", out, re.MULTILINE)
    assert "not be made" not in out


def test_a_tenant_s_limit_is_named_before_it(replay: Replay) -> None:
    """`--limit label:tenant=acme:tokens=100` decides under that limit; a scope without calls is refused."""
    code, out, _ = replay("--limit", "label:tenant=acme:tokens=100,usd=5")

    assert code == 0
    assert "in mode enforce, its own limits: 10,000 tokens, $5" in out
    assert re.search(r"call \d+: refused: label:tenant=acme@day:\S+ has 16 tokens left", out), out
    code, _, err = replay("--limit", "label:tenant=beta:tokens=100")
    assert code == 2
    assert "no call of the thread was held on 'label:tenant=beta'; there are: label:tenant=acme@day:" in err


def test_a_limit_shows_where_it_warns_degrades_and_stops(replay: Replay) -> None:
    """Thresholds and the cheaper model of the configuration are named with the call, and so is the refusal."""
    code, out, _ = replay("--limit", "calls=6", "--calls")

    assert code == 0
    assert "in mode enforce, its own limits: 10,000 tokens, 6 calls" in out
    for expected in (
        "call 3: 50 % of thread:",
        "call 5: main degrades to small, for 3 calls: 60 % of thread:",
        "call 7: refused: thread:",
        "its message would wait for a higher limit",
        "2 calls of the record (24 tokens, $0.000312) would not have been made under enforce",
        "fake/big -> fake/tiny",
        "not made",
    ):
        assert expected in out, expected


def test_other_prices_and_models_show_what_it_would_have_cost(replay: Replay, tmp_path: Path) -> None:
    """A model, a file of prices and the prices of a day each give another sum, and say whose tokens they are."""
    (tmp_path / "dear.yaml").write_text("prices: {fake/big: {input: 30, output: 150}}\n")

    _, cheaper, _ = replay("--model", "small")
    _, dearer, _ = replay("--prices", str(tmp_path / "dear.yaml"), "--json")
    code, _, _ = replay("--prices", "2026-01-31", "--model", "fake/big=fake/tiny")

    assert "+$0.000176" in cheaper
    assert "tokens are those that the recorded model has used" in cheaper
    total = json.loads(dearer)["total"]
    assert total["replayed"]["cost_nanousd"] == 10 * total["recorded"]["cost_nanousd"]
    assert code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--limit", "token=5"), "--limit: 'token=5' is no limit; write such as tokens=5000,usd=0.10"),
        (("--limit", "tokens=many"), "not a whole number: 'many'"),
        (("--limit", "usd=-1"), "not an amount of dollars"),
        (("--model", "nonesuch"), "write one of them, or provider/model"),
        (("--model", "other=small"), "no call of the thread was made with 'other'; there are: fake/big"),
        (("--prices", "nowhere.yaml"), "is neither a file nor a day"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_one_line(replay: Replay, options: tuple[str, ...], said: str) -> None:
    """A wrong option is an error of the command line that says what to write instead."""
    code, out, err = replay(*options)

    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_thread_that_nobody_knows_is_said(replay: Replay) -> None:
    """A thread that is not in the ledger is an error, not an empty table."""
    code, _, err = replay(of="th_nobody")

    assert code == 2
    assert "the ledger knows no thread 'th_nobody'" in err
