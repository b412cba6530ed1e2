"""The workloads: what each measures, and who takes part."""

import msgspec


class Side(msgspec.Struct, frozen=True):
    """One participant of a workload.

    Attributes:
        name: As it stands in the table.
        place: ``module:function`` below ``bench``; called with the size.
        share: Which part of the workload's size it is given: slow peers do less, and figures are per item.
        needs: The distribution it cannot do without; LiteLLM is looked for in an environment of its own.
    """

    name: str
    place: str
    share: float = 1.0
    needs: str = ""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """Something to measure.

    Attributes:
        title: What is done.
        size: How often.
        figure: The figure that is compared; less is better unless it ends in ``_per_s`` or is ``per_s``.
        sides: Ours first.
        quick: The size with ``--quick``.
        warm: The size at which each side is run in its process before it is measured; 0 where the first time counts,
            or takes as long as any.
    """

    title: str
    size: int
    figure: str
    sides: tuple[Side, ...]
    quick: int
    warm: int = 0


CPU, WALL = "cpu_us", "per_s"
LITELLM = "litellm"

WORKLOADS = {
    "W1": Workload(
        title="two agents hand a message to and fro, per hop",
        size=20_000,
        quick=2_000,
        warm=1_000,
        figure=CPU,
        sides=(
            Side("organism", "messages_ours:ping_pong"),
            Side("autogen-core", "peers_autogen:ping_pong", 0.2, "autogen-core"),
            Side("pykka", "peers:pykka_ping_pong", 1.0, "pykka"),
            Side("llama-index-workflows", "peers:llama_index_ping_pong", 0.05, "llama-index-workflows"),
            Side("floor: asyncio.Queue", "floors:queue_ping_pong"),
            Side("floor: await", "floors:await_ping_pong"),
        ),
    ),
    "W2": Workload(
        title="1,000 threads at once, a chain of 10 agents each, per message",
        size=1_000,
        quick=100,
        warm=100,
        figure=CPU,
        sides=(
            Side("organism", "messages_ours:chains"),
            Side("organism, a tenth of the threads", "messages_ours:chains", 0.1),
            Side("organism, ten times the threads", "messages_ours:chains", 10),
            Side("autogen-core", "peers_autogen:chains", 1.0, "autogen-core"),
            Side("floor: asyncio.Queue", "floors:queue_chains"),
        ),
    ),
    "W3": Workload(
        title="one publisher, 100 subscribers, 500 publishes, per delivery",
        size=500,
        quick=50,
        warm=10,
        figure=CPU,
        sides=(
            Side("organism", "messages_ours:fan_out"),
            Side("autogen-core", "peers_autogen:fan_out", 0.5, "autogen-core"),
            Side("floor: asyncio.Queue", "floors:queue_fan_out"),
        ),
    ),
    "W4 alone": Workload(
        title="10,000 questions, one at a time, per question",
        size=10_000,
        quick=1_000,
        warm=1_000,
        figure=CPU,
        sides=(
            Side("organism", "messages_ours:asks_alone"),
            Side("autogen-core", "peers_autogen:asks", 0.2, "autogen-core"),
            Side("floor: a future", "floors:future_asks"),
        ),
    ),
    "W4 together": Workload(
        title="10,000 questions, 100 at a time, per question",
        size=10_000,
        quick=1_000,
        warm=1_000,
        figure=CPU,
        sides=(
            Side("organism", "messages_ours:asks_together"),
            Side("autogen-core", "peers_autogen:asks_together", 0.2, "autogen-core"),
            Side("floor: a future", "floors:future_asks_together"),
        ),
    ),
    "W5": Workload(
        title="100,000 idle threads, each with a budget",
        size=100_000,
        quick=5_000,
        figure="bytes_per_thread",
        sides=(Side("organism", "budgets_ours:idle"),),
    ),
    "W6 alone": Workload(
        title="calls to a stub on this machine, one at a time",
        size=500,
        quick=50,
        figure=CPU,
        sides=(
            Side("organism", "calls:ours"),
            Side("organism, without the network", "calls:without_network"),
            Side("pydantic-ai with UsageLimits", "calls:pydantic_ai", 1.0, "pydantic-ai-slim"),
            Side("floor: the SDK", "calls:bare_sdk"),
            Side("floor: the SDK without its types", "calls:raw_sdk"),
        ),
    ),
    "W6 together": Workload(
        title="calls to a stub on this machine, 50 at a time",
        size=1_000,
        quick=100,
        figure=CPU,
        sides=(
            Side("organism", "calls:ours_together"),
            Side("pydantic-ai with UsageLimits", "calls:pydantic_ai_together", 1.0, "pydantic-ai-slim"),
            Side("floor: the SDK", "calls:bare_sdk_together"),
            Side("floor: the SDK without its types", "calls:raw_sdk_together"),
        ),
    ),
    "gateway alone": Workload(
        title="calls through a proxy with a budget, one at a time, per call; time of the proxy's process",
        size=1_000,
        quick=50,
        figure=CPU,
        sides=(
            Side("organism's gateway", "through:ours"),
            Side("LiteLLM's proxy", "through:litellm", 0.2, LITELLM),
            Side("floor: the official SDK and no proxy, its own time", "through:sdk"),
            Side("floor: the measuring client and no proxy, its own time", "through:bare"),
        ),
    ),
    "gateway together": Workload(
        title="the same, 50 at a time",
        size=3_000,
        quick=100,
        figure=CPU,
        sides=(
            Side("organism's gateway", "through:ours_together"),
            Side("LiteLLM's proxy", "through:litellm_together", 0.2, LITELLM),
            Side("floor: the official SDK and no proxy, its own time", "through:sdk_together"),
            Side("floor: the measuring client and no proxy, its own time", "through:bare_together"),
        ),
    ),
    "gateway streaming": Workload(
        title="50 answers at a time of 200 chunks, one every 10 ms, per chunk; time of the proxy's process",
        size=150,
        quick=50,
        figure=CPU,
        sides=(
            Side("organism's gateway", "through:ours_streamed"),
            Side("LiteLLM's proxy", "through:litellm_streamed", 0.4, LITELLM),
            Side("floor: the official SDK and no proxy, its own time", "through:sdk_streamed"),
            Side("floor: the measuring client and no proxy, its own time", "through:bare_streamed"),
        ),
    ),
    "W7 ping-pong": Workload(
        title="W1 with every message in an SQLite journal, hops a second",
        size=20_000,
        quick=2_000,
        figure=WALL,
        sides=(
            Side("organism", "messages_ours:durable_ping_pong"),
            Side("langgraph + SQLite", "peers:langgraph_sqlite", 0.02, "langgraph-checkpoint-sqlite"),
            Side("floor: group commit", "floors:group_commit"),
        ),
    ),
    "W7 chains": Workload(
        title="W2 with every message in an SQLite journal, messages a second",
        size=1_000,
        quick=100,
        figure=WALL,
        sides=(
            Side("organism", "messages_ours:durable_chains"),
            Side("floor: group commit", "floors:group_commit", 10),
        ),
    ),
    "W8": Workload(
        title="10,000 holds at once, per hold",
        size=10_000,
        quick=1_000,
        figure=CPU,
        sides=(
            Side("organism, one thread", "budgets_ours:on_one_thread"),
            Side("organism, 100 threads", "budgets_ours:on_hundred_threads"),
            Side("organism, 1,000 threads", "budgets_ours:on_many_threads"),
            Side("organism, 10,000 threads", "budgets_ours:on_ten_thousand_threads"),
            Side("organism, 4 nested scopes", "budgets_ours:nested"),
            Side("organism, durable", "budgets_ours:durable"),
            Side("floor: as many rows in SQLite", "budgets_ours:rows"),
        ),
    ),
    "W9 start": Workload(
        title="from nothing to something, in milliseconds",
        size=1,
        quick=1,
        figure="import_ms",
        sides=(Side("organism", "startup:start"),),
    ),
    "W9 recover": Workload(
        title="100,000 ledger entries read back, in seconds",
        size=100_000,
        quick=5_000,
        figure="seconds",
        sides=(Side("organism", "startup:recover"),),
    ),
    "W10": Workload(
        title="1,000 subscribers, per event delivered",
        size=300,
        quick=20,
        figure=CPU,
        sides=(Side("organism", "events:subscribers"),),
    ),
}
