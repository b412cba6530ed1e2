"""The sides of pykka, llama-index-workflows and langgraph, each in the form its own documentation shows."""

import asyncio
import tempfile
import threading
from pathlib import Path
from typing import Any, TypedDict

from bench.stopwatch import Figures, Stopwatch


def pykka_ping_pong(hops: int) -> Figures:
    """W1: two actors on threads of the operating system."""
    import pykka

    done = threading.Event()

    class Passing(pykka.ThreadingActor):  # type: ignore[misc]
        other: Any = None

        def on_receive(self, message: Any) -> None:
            if isinstance(message, int):
                if message < hops:
                    self.other.tell(message + 1)
                else:
                    done.set()
            else:
                self.other = message

    ping, pong = Passing.start(), Passing.start()
    ping.tell(pong)
    pong.tell(ping)
    with Stopwatch() as watch:
        ping.tell(0)
        done.wait()
    pykka.ActorRegistry.stop_all()
    return watch.per(hops)


def llama_index_ping_pong(hops: int) -> Figures:
    """W1: a workflow of two steps that send events to each other."""
    from workflows import Workflow, step
    from workflows.events import Event, StartEvent, StopEvent

    class Ping(Event):
        hop: int

    class Pong(Event):
        hop: int

    # The library reads annotations from the module, where these classes are not.
    globals().update(Ping=Ping, Pong=Pong, StartEvent=StartEvent, StopEvent=StopEvent)

    class Passing(Workflow):  # type: ignore[misc]
        @step
        async def begin(self, ev: StartEvent) -> Ping:  # noqa: ARG002 - the library looks at it
            return Ping(hop=0)

        @step
        async def ping(self, ev: Ping) -> Pong | StopEvent:
            return Pong(hop=ev.hop + 1) if ev.hop < hops else StopEvent()

        @step
        async def pong(self, ev: Pong) -> Ping | StopEvent:
            return Ping(hop=ev.hop + 1) if ev.hop < hops else StopEvent()

    async def main() -> Figures:
        with Stopwatch() as watch:
            await Passing(timeout=600).run()
        return watch.per(hops)

    return asyncio.run(main())


class _Hop(TypedDict):
    hop: int


def langgraph_sqlite(hops: int) -> Figures:
    """W7: a graph of two nodes with the SQLite checkpointer."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
    from langgraph.graph import END, START, StateGraph

    async def pass_on(state: _Hop) -> _Hop:
        return {"hop": state["hop"] + 1}

    def onward(to: str) -> Any:
        return lambda state: to if state["hop"] < hops else END

    async def main() -> Figures:
        with tempfile.TemporaryDirectory() as folder:
            async with AsyncSqliteSaver.from_conn_string(str(Path(folder) / "checkpoints.sqlite")) as saver:
                graph = StateGraph(_Hop)
                graph.add_node("ping", pass_on)
                graph.add_node("pong", pass_on)
                graph.add_edge(START, "ping")
                graph.add_conditional_edges("ping", onward("pong"))
                graph.add_conditional_edges("pong", onward("ping"))
                compiled = graph.compile(checkpointer=saver)
                with Stopwatch() as watch:
                    await compiled.ainvoke(
                        {"hop": 0}, {"configurable": {"thread_id": "one"}, "recursion_limit": hops + 10}
                    )
                return watch.per(hops)

    return asyncio.run(main())
