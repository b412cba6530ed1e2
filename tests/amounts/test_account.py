"""Names of accounts: whatever a label's value holds, it names one account and no other."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism.amounts.account import Account, account_of


@pytest.mark.parametrize(
    ("text", "account", "per", "metric_label"),
    [
        ("thread:th_1", Account("thread", "th_1"), "thread", "thread"),
        ("agent:writer@thread:th_1", Account("agent", "writer", "thread:th_1"), "thread", "agent:writer@thread"),
        ("model:a@b@day:2026-11-24", Account("model", "a@b", "day:2026-11-24"), "day", "model:a@b@day"),
        (
            "model:llama3:8b@month:2026-11",
            Account("model", "llama3:8b", "month:2026-11"),
            "month",
            "model:llama3:8b@month",
        ),
        (
            "label:tenant=acme@week:2026-W48",
            Account("label", "tenant=acme", "week:2026-W48"),
            "week",
            "label:tenant@week",
        ),
        ("pool:tenant=big@lifetime", Account("pool", "tenant=big", "lifetime"), "lifetime", "pool:tenant=big@lifetime"),
        ("organism@rolling:6h", Account("organism", "", "rolling:6h"), "6h", "organism@6h"),
        ("organism@call", Account("organism", "", "call"), "call", "organism@call"),
        ("freeze", Account("freeze"), "freeze", "freeze"),
        ("", Account(""), "", ""),
    ],
)
def test_a_name_says_what_is_limited_and_over_what(text: str, account: Account, per: str, metric_label: str) -> None:
    """A name is read into its parts and written back as it was; its metric label has no thread, period or value."""
    parsed = Account.parse(text)

    assert (parsed, str(parsed), parsed.per, parsed.metric_label) == (account, text, per, metric_label)


@given(st.text(), st.text(), st.text(), st.text())
def test_strange_values_of_labels_name_accounts_of_their_own(
    label: str, value: str, other_label: str, other_value: str
) -> None:
    """No value of a label looks like another account, in ASCII without blanks, and all of it comes back."""
    made = str(Account.of_label(label, value, "day:2026-11-24"))

    assert made.isascii()
    assert made.isprintable()
    assert " " not in made
    assert "/" not in made
    assert Account.parse(made).label == (label, value)
    other = str(Account.of_label(other_label, other_value, "day:2026-11-24"))
    assert (made == other) == ((label, value) == (other_label, other_value))


@given(st.text())
def test_any_text_is_read_and_written_back(text: str) -> None:
    """A refusal may name what is no account; nothing is lost of it, and nothing fails."""
    assert str(Account.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "thread", "within"),
    [
        ("thread:t", "t", "t"),
        ("thread:t@day:2026-11-24", "", ""),
        ("agent:t", "", ""),
        ("agent:a@thread:t", "", "t"),
        ("organism", "", ""),
    ],
)
def test_only_a_thread_s_own_account_is_the_thread_s(text: str, thread: str, within: str) -> None:
    """An agent, or a day, that is called like a thread is none."""
    account = Account.parse(text)

    assert (account.thread_id, account.within_thread) == (thread, within)


def test_only_an_agent_s_account_has_an_agent() -> None:
    """Whoever is warned by its limit is named by it; a model of the same name is no agent."""
    assert Account.parse("agent:writer@day:2026-01-01").agent == "writer"
    assert [Account.parse(name).agent for name in ("model:writer@day:2026-01-01", "thread:writer", "organism@day")] == [
        "",
        "",
        "",
    ]


def test_names_are_taken_apart_in_one_place() -> None:
    """A model may be called ``a@b``: who cuts a name at the first ``@`` takes it for another account."""
    root = Path(__file__).parents[2] / "organism"
    cuts = re.compile(r"""partition\("@"\)|split\("@"|find\("@"\)""")
    found = {path.relative_to(root).as_posix() for path in root.rglob("*.py") if cuts.search(path.read_text("utf-8"))}
    found.discard("stores/postgres/postgres_errors.py")  # the @ of a database's URL

    assert found == {"amounts/account.py"}, "use Account.parse"


def test_names_are_put_together_in_one_place() -> None:
    """Who writes ``thread:`` by hand writes a name that is none the day that names are written in another way."""
    root = Path(__file__).parents[2] / "organism"
    written = re.compile(r"""["'](thread:|organism@)["'{\w]""")
    writers = (path for path in root.rglob("*.py") if written.search(path.read_text("utf-8")))

    assert [path.relative_to(root).as_posix() for path in writers] == ["amounts/account.py"], "use thread_account"


@pytest.mark.parametrize(
    ("text", "account"),
    [("t", "thread:t"), ("thread:t", "thread:t"), ("organism@day", "organism@day"), ("agent:a", "agent:a")],
)
def test_a_plain_name_is_a_thread_s(text: str, account: str) -> None:
    """An operator names the thread alone; every other account says what it is of."""
    assert account_of(text) == account
