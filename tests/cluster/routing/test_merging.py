"""Lists of several partitions are the list of the whole: in order, cut, and gone on with as one daemon's."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest

from organism.amounts import Amounts, BudgetState, Limits, TokenUsage
from organism.budget.guards.freezes import Freeze, Frozen
from organism.cluster.routing.merging import GatheredAnswers, MergedAnswer, merged
from organism.cluster.routing.metrics_text import merged_metrics
from organism.control.listing.account_page import ACCOUNTS_MAX, next_page
from organism.control.listing.thread_list import PageRequest, ThreadOrder, page_of
from organism.control.views import (
    AccountState,
    AgentView,
    Burn,
    Flow,
    Letter,
    OrganismStatus,
    ThreadCounts,
    ThreadPage,
    ThreadState,
    ThreadSummary,
    Usage,
    Waiting,
)
from organism.threads.approvals import Approval
from organism.usage.cursors import SetAside
from organism.usage.series import OTHERS, SHOWN_MAX, Measure, Series, UsageSeries
from organism.usage.totals import Latency, UsageTotals

ONE = Amounts(tokens=1, cost_nanousd=1, calls=1)
NONE = Amounts()


def whole(path: str, answers: Iterable[Any], query: Mapping[str, Any] | None = None, *away: str) -> MergedAnswer:
    """Return what a node answers for partitions that have answered so."""
    bodies = {number: msgspec.json.encode(answer) for number, answer in enumerate(answers)}
    return merged(path, GatheredAnswers(bodies, urlencode(query or {}, doseq=True), away))


def account(name: str, held: Amounts = ONE, spent: Amounts = NONE, limits: Limits | None = None) -> AccountState:
    return AccountState(account=name, limits=limits or Limits(), spent=spent, held=held)


def names(accounts: Iterable[BudgetState]) -> list[str]:
    return [each.account for each in accounts]


# -- accounts ---------------------------------------------------------------------------------------------------------

ACCOUNTS: dict[str, tuple[list[str], ...]] = {
    "each has its own": (["a", "d", "g"], ["b", "e", "h"], ["c", "f", "i"]),
    "all share the same": (["a", "b", "c", "d"],) * 3,
    "one has all": (["a", "b", "c", "d", "e"], [], []),
    "one is behind another": (["a", "b", "c"], ["x", "y", "z"]),
    "shared ones begin and end": (["a", "m1", "m2", "z"], ["a", "b", "z"], ["a", "n", "z"]),
    "one page and no more": (["a", "b"], ["c"]),
    "there are none": ([], []),
}


def page(part: Sequence[str], query: Mapping[str, Any]) -> list[AccountState]:
    """Return the page that one partition answers."""
    behind = [name for name in sorted(part) if name > query.get("cursor", "")]
    return [account(name) for name in behind[: int(query["limit"])]]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("case", ACCOUNTS)
def test_pages_of_accounts_hold_each_once_in_order(case: str, limit: int) -> None:
    """By the links, a client sees every account of every partition once, by name, and what all of them hold."""
    parts = ACCOUNTS[case]
    every = sorted({name for part in parts for name in part})
    query: dict[str, Any] = {"limit": limit}
    seen: list[AccountState] = []
    while True:
        answer = whole("/v1/budgets", [page(part, query) for part in parts], query)
        found = msgspec.json.decode(answer.body, type=list[AccountState])
        seen += found
        assert names(found) == every[len(seen) - len(found) : len(seen)]
        assert answer.link == next_page(found, (), "", limit)
        if not answer.link:
            break
        assert len(found) == limit
        query = following(answer.link)
    assert names(seen) == every
    assert [each.held.calls for each in seen] == [sum(name in part for part in parts) for name in every]


def following(link: str) -> dict[str, Any]:
    """Return the query of the next page."""
    address, _, relation = link.removeprefix("<").partition(">")
    assert relation == '; rel="next"'
    assert urlsplit(address).path == "/v1/budgets"
    return {name: found[-1] for name, found in parse_qs(urlsplit(address).query).items()}


def test_link_asks_for_the_same_accounts() -> None:
    """The next page is one of the same kinds and words, behind a name that may have any characters."""
    query = {"scope": ["label", "pool"], "search": "é & b", "limit": 1}
    answer = whole("/v1/budgets", [[account("label:t=%C3%A9 ?")], [account("pool:z")]], query)
    asked = parse_qs(urlsplit(answer.link[1:].partition(">")[0]).query)
    assert asked == {"scope": ["label", "pool"], "search": ["é & b"], "limit": ["1"], "cursor": ["label:t=%C3%A9 ?"]}


@pytest.mark.parametrize("limit", [None, 500])
def test_most_accounts_are_shown_unless_fewer_are_asked_for(limit: int | None) -> None:
    """Without a number a page has as many as one daemon's."""
    parts = [[account(f"{part}{number:03d}") for number in range(ACCOUNTS_MAX)] for part in "ab"]
    answer = whole("/v1/budgets", parts, {} if limit is None else {"limit": limit})
    assert names(msgspec.json.decode(answer.body, type=list[AccountState])) == names(parts[0])
    assert following(answer.link)["cursor"] == "a499"


def test_one_account_is_no_list() -> None:
    """What all of them hold of one account is one answer, without a page behind it."""
    answer = whole("/v1/budgets/agent:a", [account("agent:a"), account("agent:a")], {"limit": 1})
    assert (msgspec.json.decode(answer.body, type=AccountState).held.calls, answer.link) == (2, "")


def test_messages_between_agents_are_those_of_all_partitions() -> None:
    """Each edge has one number, of whichever partitions messages have gone over it in."""

    def part(*flows: tuple[str, str, int, int]) -> list[AgentView]:
        edges = tuple(Flow(sender=one, recipient=to, messages=all_, last_minute=new) for one, to, all_, new in flows)
        return [
            AgentView(
                name="a", description="", state="running", next=("b",), mailbox=0, mailbox_max=9, bytes=0, flows=edges
            )
        ]

    answer = whole("/v1/agents", [part(("a", "b", 3, 1)), part(), part(("a", "b", 4, 2), ("user", "a", 5, 5))])
    (agent,) = msgspec.json.decode(answer.body, type=list[AgentView])
    assert [(flow.sender, flow.recipient, flow.messages, flow.last_minute) for flow in agent.flows] == [
        ("a", "b", 7, 3),
        ("user", "a", 5, 5),
    ]


# -- threads ----------------------------------------------------------------------------------------------------------


class Part:
    """The threads of one partition, as its list finds them."""

    def __init__(self, threads: Sequence[ThreadSummary]) -> None:
        self.threads = threads

    def all(self) -> Iterable[ThreadSummary]:
        return self.threads

    def thread_id(self, thread: ThreadSummary) -> str:
        return thread.thread_id

    def state(self, thread: ThreadSummary) -> ThreadState:
        return thread.state

    def labels(self, thread: ThreadSummary) -> dict[str, str]:
        return thread.labels

    def agents(self, thread: ThreadSummary) -> tuple[str, ...]:
        return thread.agents

    def waiting(self, thread: ThreadSummary) -> Waiting:
        return thread.waiting

    def place(self, sort: ThreadOrder, thread: ThreadSummary) -> int:
        places = {"spent": thread.budget.spent.cost_nanousd, "activity": thread.active_ns}
        return places.get(sort, thread.opened_ns)

    def describe(self, thread: ThreadSummary) -> ThreadSummary:
        return thread

    def page(self, request: PageRequest) -> ThreadPage:
        return page_of([(self.place(request.sort, each), self, each) for each in self.threads], request)


def thread(name: str, opened_ns: int = 0, cost: int = 0, active_ns: int = 0) -> ThreadSummary:
    budget = BudgetState(f"thread:{name}", Limits(), Amounts(cost_nanousd=cost), NONE)
    return ThreadSummary(
        thread_id=name,
        root_thread_id=name,
        parent_thread_id=None,
        state="open",
        budget=budget,
        opened_ns=opened_ns,
        active_ns=active_ns,
    )


THREADS: dict[str, list[list[ThreadSummary]]] = {
    "opened in turn": [
        [thread("a", 1, 5, 9), thread("c", 3, 5, 4)],
        [thread("b", 2, 7, 9), thread("d", 4, 0, 5), thread("e", 5, 1, 6)],
    ],
    "opened at one instant": [[thread("d"), thread("b"), thread("e")], [thread("c"), thread("a")], []],
    "some at one instant": [[thread("d", 1), thread("b", 2)], [thread("c", 1), thread("a", 1), thread("e", 2)]],
}


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["opened", "spent", "activity"])
@pytest.mark.parametrize("case", THREADS)
def test_pages_of_threads_hold_each_once_in_order(case: str, sort: ThreadOrder, order: str, limit: int) -> None:
    """Page by page, each thread of each partition comes once and in order, those too that nothing tells apart."""
    parts = [Part(threads) for threads in THREADS[case]]
    seen: list[ThreadSummary] = []
    cursor: str | None = None
    while True:
        asked = PageRequest(sort=sort, ascending=order == "asc", limit=limit, cursor=cursor)
        query = {"sort": sort, "order": order, "limit": limit}
        answer = whole("/v1/threads", [part.page(asked) for part in parts], query)
        found = msgspec.json.decode(answer.body, type=ThreadPage)
        seen += found.threads
        assert (len(found.threads) <= limit, found.total) == (True, 5)
        assert (found.next is None) == (found.next_cursor is None) == (len(seen) >= 5)
        if (cursor := found.next_cursor) is None:
            break
    one = Part([each for part in parts for each in part.threads])
    expected = one.page(PageRequest(sort=sort, ascending=order == "asc"))
    assert [each.thread_id for each in seen] == [each.thread_id for each in expected.threads]


# -- lists that have no pages -----------------------------------------------------------------------------------------


def letter(at_ns: int) -> Letter:
    return Letter(
        message_id=f"msg_{at_ns}",
        thread_id="th",
        sender="a",
        recipient="b",
        message_type="Text",
        created_ns=at_ns,
        reason="failed",
        detail="",
    )


LISTS: dict[str, Callable[[int], Any]] = {
    "/v1/approvals": lambda at_ns: Approval(f"q{at_ns}", "th", "th", "a", "m", "what", "", at_ns),
    "/v1/dead-letters": letter,
    "/v1/exporters/set-aside": lambda at_ns: SetAside("bill", f"{at_ns}", "no", at_ns),
    "/v1/freeze": lambda at_ns: Freeze(labels={"tenant": f"{at_ns}"}, by="me", since_ns=at_ns),
}


@pytest.mark.parametrize("path", LISTS)
def test_lists_are_whole_and_the_oldest_comes_first(path: str) -> None:
    """Lists that nobody asked to be cut are not cut for the whole either, and are in the order of one daemon."""
    parts: list[Any] = [[LISTS[path](at_ns) for at_ns in times] for times in ([2, 5, 600], [1, 4, 6], [], [3])]
    if path == "/v1/freeze":
        parts = [Frozen(freezes=tuple(part), held=ONE) for part in parts]
    found = msgspec.json.decode(whole(path, parts, {}).body)
    listed = found["freezes"] if path == "/v1/freeze" else found
    expected = [LISTS[path](at_ns) for at_ns in (1, 2, 3, 4, 5, 6, 600)]
    assert listed == msgspec.json.decode(msgspec.json.encode(expected))


@pytest.mark.parametrize("path", ["/v1/approvals", "/v1/dead-letters"])
def test_list_is_cut_where_one_daemon_cuts_it(path: str) -> None:
    """Of what every partition gives when asked for so many, the whole gives so many, the oldest."""
    parts = [[LISTS[path](at_ns) for at_ns in times] for times in ([2, 5], [1, 4], [], [3])]
    found = msgspec.json.decode(whole(path, parts, {"limit": 2}).body)
    assert found == msgspec.json.decode(msgspec.json.encode([LISTS[path](at_ns) for at_ns in (1, 2)]))


def totals(calls: int) -> UsageTotals:
    return UsageTotals(
        calls=calls,
        attempts=calls,
        usage=TokenUsage(),
        cost_nanousd=calls,
        unpriced_calls=0,
        latency=Latency(0, 0, 0, 0),
        outcomes={},
    )


def usage(by: Any, **groups: int) -> Usage:
    return Usage(totals(sum(groups.values())), by, {name: totals(calls) for name, calls in groups.items()})


def test_days_are_in_order() -> None:
    """Usage by day begins with the first day of any partition, wherever there was work on it."""
    parts = [usage("day", d3=1), usage("day", d1=1, d3=4), usage("day", d2=2)]
    found = msgspec.json.decode(whole("/v1/usage", parts, {"by": "day"}).body, type=Usage)
    assert [(name, group.calls) for name, group in found.groups.items()] == [("d1", 1), ("d2", 2), ("d3", 5)]


def series(measure: Measure, **lines: int) -> UsageSeries:
    return UsageSeries(
        measure=measure,
        by="agent",
        step_s=3600,
        from_ns=0,
        starts_ns=(0,),
        series=tuple(Series(name.replace("others", OTHERS), (value,)) for name, value in lines.items()),
    )


@pytest.mark.parametrize(("measure", "others"), [("cost", 1000 + sum(range(1, 18))), ("latency", 1000)])
def test_chart_has_the_largest_lines_and_the_others_as_one(measure: Measure, others: int) -> None:
    """A chart of the whole has no more lines than one daemon's, and what is in none of them is in the last."""
    numbers = range(1, 37)
    parts = [
        series(measure, **{f"n{number}": number for number in numbers if number % 2 == part}, others=1000 * (not part))
        for part in (0, 1)
    ]
    found = msgspec.json.decode(whole("/v1/usage/series", parts).body, type=UsageSeries)
    expected = [Series(f"n{number}", (number,)) for number in range(36, 36 - SHOWN_MAX + 1, -1)]
    assert found.series == (*expected, Series(OTHERS, (others,)))


def test_chart_of_few_lines_keeps_them_all() -> None:
    """As many lines as are shown at most stay as they are."""
    parts = [series("cost", **{f"n{number}": number + 1 for number in range(SHOWN_MAX)})]
    found = msgspec.json.decode(whole("/v1/usage/series", parts).body, type=UsageSeries)
    assert [each.name for each in found.series] == [f"n{number}" for number in reversed(range(SHOWN_MAX))]


# -- the status -------------------------------------------------------------------------------------------------------


def status(**known: Any) -> OrganismStatus:
    return OrganismStatus(
        name="house",
        version="1",
        source="urn:organism:house:0",
        mode="enforce",
        durable=True,
        started_ns=1,
        now_ns=2,
        accepting=True,
        threads=ThreadCounts(1, 0, 0),
        dead_letters=0,
        windows=(),
        usage=totals(0),
        **{"burn": (), **known},
    )


def shown(parts: Sequence[OrganismStatus], *away: str) -> OrganismStatus:
    return msgspec.json.decode(whole("/v1/status", parts, None, *away).body, type=OrganismStatus)


def test_status_shows_the_fullest_accounts() -> None:
    """Of the accounts that the parts show, those stand first whose limits end first for all of them together."""

    def at(name: str, calls: int) -> AccountState:
        return account(name, held=Amounts(calls=calls), limits=Limits(calls=100))

    parts = [
        status(scoped=tuple(at(f"agent:a{number:02d}", 60 - number) for number in range(20))),
        status(scoped=(at("label:t=full", 99), at("agent:a19", 39), *(at(f"model:m{each}", 1) for each in range(18)))),
    ]
    found = shown(parts).scoped
    expected = ["label:t=full", "agent:a19", *(f"agent:a{number:02d}" for number in range(18))]
    assert names(found) == expected
    assert found[1].held.calls == 80


def burn(name: str, cost: int) -> Burn:
    return Burn(name=name, seconds=60, calls=1, tokens=cost, cost_nanousd=cost)


def test_status_shows_first_what_uses_most() -> None:
    """The whole stands first, then what all parts together have used most of."""
    parts = [
        status(burn=(burn("total", 9), burn("agent:a", 6), burn("thread:x", 3))),
        status(burn=(burn("total", 9), burn("thread:y", 7), burn("agent:b", 4), burn("agent:a", 2))),
    ]
    found = [(each.name, each.cost_nanousd) for each in shown(parts).burn]
    assert found == [("total", 18), ("agent:a", 8), ("thread:y", 7), ("agent:b", 4), ("thread:x", 3)]


@pytest.mark.parametrize("path", ["/v1/status", "/v1/freeze"])
def test_freeze_is_shown_once_since_the_first_part_had_it(path: str) -> None:
    """What is frozen in all partitions is one freeze, with labels in any order; the oldest stands first."""
    one = Freeze(labels={"a": "1", "b": "2"}, by="me", since_ns=5)
    again = Freeze(labels={"b": "2", "a": "1"}, by="me", since_ns=4)
    other = Freeze(labels={"a": "1"}, by="me", since_ns=1)
    freezes: list[tuple[Freeze, ...]] = [(one,), (again,), (other,)]
    parts = [status(freezes=each) if path == "/v1/status" else Frozen(freezes=each, held=NONE) for each in freezes]
    found = msgspec.json.decode(whole(path, parts).body)["freezes"]
    assert [(each["labels"], each["since_ns"]) for each in found] == [({"a": "1"}, 1), ({"b": "2", "a": "1"}, 4)]


# -- parts that are away ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/v1/status", status()),
        ("/v1/usage", usage("agent", a=1)),
        ("/v1/usage/series", series("cost", a=1)),
        ("/v1/freeze", Frozen(freezes=(), held=NONE)),
        ("/v1/threads", ThreadPage((thread("a"),), total=1)),
    ],
)
def test_parts_that_did_not_answer_are_named(path: str, part: Any) -> None:
    """An answer that is not of the whole says what is missing in it, and one that is says so too."""
    assert msgspec.json.decode(whole(path, [part], None, "partition 3 (node b)").body)["unanswered"] == [
        "partition 3 (node b)"
    ]
    assert msgspec.json.decode(whole(path, [part]).body)["unanswered"] == []


def test_value_of_a_metric_may_hold_what_text_takes_for_a_break() -> None:
    """A sample ends at a line feed: a label with another kind of break is kept whole, and so are its neighbours."""
    page = '# TYPE a counter\na{tenant="x\u2028y\x85z"} 1\na{tenant="w"} 2\n'.encode()
    found = merged_metrics({0: page, 1: page}).decode()
    assert found.count("x\u2028y\x85z") == 2
    assert found.count('tenant="w"} 2') == 2
