"""Organisms of random shape, for runs that are not about an organism of one's own."""

import random
from collections.abc import Callable
from typing import Any

import anyio
from msgspec.structs import replace

from organism.agents.agent import Agent, agent
from organism.agents.context import Context
from organism.agents.llm_agent import LLMSettings, llm_agent
from organism.amounts import Limits
from organism.app import Organism
from organism.budget.guards.actions import Actions, warned_at
from organism.budget.guards.breakers import ONLY_TOLD, Breakers
from organism.budget.scopes import BudgetPlan, LabelLimits, ScopedLimits, ScopeRule
from organism.control.components import OrganismSpec
from organism.errors import MailboxFullError
from organism.messages import Message, Text
from organism.router.call import RouterSettings
from organism.router.planning.plan import Degrade, ModelPlan, Route
from organism.runtime.bounds import Bounds
from organism.testing.simulate.subject import Opening, Subject
from organism.testing.simulate.tasks import CAP, MODEL, Task, carry_out, draw_task
from organism.testing.simulate.world import World
from organism.tools import tool

_BUYER = "buyer"
_TENANTS = ("acme", "beta")
_MODELS = {
    MODEL: ModelPlan(name=MODEL, routes=(Route("simulated", "m"), Route("spare", "m")), degrade=Degrade(None, "small")),
    "small": ModelPlan(name="small", routes=(Route("simulated", "s"),)),
}
_KINDS = {"simulated": "local", "spare": "local"}
_TOOL_S = (0.0, 0.0, 0.3, 5.0)
"""Seconds that a run of a tool takes: some are over at once, some are under way when the process ends, or too long."""

_REFUSED_TOOLS = 0.1

_ACTIONS: tuple[Actions, ...] = (
    (),
    (),
    ((50, "warn"), (70, "approve")),
    ((40, "approve"), (80, "approve"), (100, "refuse")),
    ((50, "degrade"), (90, "park")),
    ((60, "refuse"),),
)


class SendingOrder:
    """Notes whether messages of one sender to one recipient are begun in the order in which they were sent.

    Args:
        wrong: Told, in a sentence, of one that has overtaken another.
    """

    def __init__(self, wrong: Callable[[str], None]) -> None:
        self._wrong = wrong
        self._last: dict[tuple[str, str, str], int] = {}
        self._seen: set[str] = set()

    def begun(self, message: Task, ctx: Context, recipient: str) -> None:
        """Note that a handler begins a message; one that was begun before may begin again at any time."""
        envelope = ctx.envelope
        if not message.ordered or envelope.id in self._seen:
            return
        self._seen.add(envelope.id)
        number = int(envelope.id.rpartition("_")[2], 16)  # those of clusters are; decimal ones keep their order so
        line = (envelope.thread_id, envelope.sender, recipient)
        if number < self._last.get(line, 0):
            self._wrong(f"message {envelope.id} of {envelope.sender} to {recipient} was overtaken by a later one")
        self._last[line] = max(number, self._last.get(line, 0))


class RandomShape(Subject):
    """An organism whose agents carry out tasks; how many there are and what limits them, a seed decides.

    Args:
        world: The run's surroundings.
        seed: Decides the shape.
    """

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(world)
        self._chance = random.Random(f"shape {seed}")  # noqa: S311 - repeatable, not secret
        self._order = SendingOrder(self.wrong)
        self._names = tuple(f"a{place}" for place in range(self._chance.randint(2, 4)))
        self._gone = ""
        self._agents = self._agents_now()
        faults = self._chance.choice((0.0, 0.2, 0.5))
        self._providers = {name: world.provider(faults=faults) for name in ("simulated", "spare")}
        self._plans = [self._plan(), self._plan()]
        self._bounds = [self._bounds_drawn(), self._bounds_drawn()]
        self._wait_s = self._chance.choice((0.0, 5.0, 30.0))
        self._on_exhausted = self._chance.choice(("park", "park", "fail"))

    def organism(self) -> Organism:
        """Make the organism on the present journal."""
        world, plan = self.world, self._plans[0]
        return Organism(
            self._agents,
            models=_MODELS,
            providers=self._providers,
            provider_kinds=_KINDS,
            limits=plan,
            on_exhausted=self._on_exhausted,  # type: ignore[arg-type]
            bounds=self._bounds[0],
            router=RouterSettings(output_min=4),
            messages=(Task,),
            journal=world.journal,
            clock=world.clock,
            ids=world.ids,
            chance=world.chance,
            wait_s=self._wait_s,
        )

    def opening(self, number: int) -> Opening:
        """Return how a thread is opened, or what is sent into one."""
        chance = random.Random(f"opening {number}")  # noqa: S311 - repeatable, not secret
        return Opening(
            message=draw_task(number, self._names, _BUYER),
            to=chance.choice(self._names),
            limits=chance.choice((None, None, Limits(tokens=chance.randint(0, 400)), Limits(usd="0.2"))),
            labels=chance.choice(({}, {"tenant": chance.choice(_TENANTS)})),
        )

    def reload(self, organism: Organism, number: int) -> None:
        """Swap the limits and the bounds for the others of this shape."""
        spec: dict[str, Any] = {
            "agents": self._agents,
            "tool_servers": (),
            "messages": (Task,),
            "models": _MODELS,
            "providers": self._providers,
            "provider_kinds": _KINDS,
            "prices": {},
            "unpriced_rates": None,
            "limits": self._plans[0],
            "router": RouterSettings(output_min=4),
            "bounds": self._bounds[0],
            "name": organism.name,
            "entry": self._names[0],
            "mode": organism.budgets.mode,
            "thresholds": (),
            "on_exhausted": self._on_exhausted,
            "wait_s": self._wait_s,
        }
        organism.control.apply_spec(self.changed(OrganismSpec(**spec), number))

    def changed(self, spec: OrganismSpec, number: int) -> OrganismSpec:
        """Return what a node is made of with the limits and bounds that a number stands for."""
        limits, bounds = self._plans[number % 2], self._bounds[number % 2]
        thresholds = ((75, 90, 95), (50, 100))[number // 2 % 2]
        return replace(spec, limits=limits, bounds=bounds, thresholds=thresholds, configuration=f"file {number % 4}")

    def rename(self, number: int) -> None:
        """Leave an agent out, or take it in again: who edits the configuration does not think of its messages."""
        self._gone = "" if self._gone else self._names[1 + number % (len(self._names) - 1)]
        self._agents = self._agents_now()

    def _agents_now(self) -> tuple[Agent, ...]:
        return (*(self._agent(name) for name in self._names if name != self._gone), self._buyer())

    def _agent(self, name: str) -> Agent:
        async def handle(message: Message, ctx: Context) -> Text | None:
            if not isinstance(message, Task):
                if ctx.sender != "user":
                    ctx.reply(message)
                return None
            self._order.begun(message, ctx, name)
            return await carry_out(message, ctx, self.saw)

        peers = [*(other for other in self._names if other != self._gone), _BUYER]
        return agent(name, accepts=[Message], peers=peers, timeout_s=40)(handle)

    def _buyer(self) -> Agent:
        @tool(price={"call": "0.007"})
        async def lookup() -> str:
            """Look something up, and now and then find nobody who has the time to."""
            await anyio.sleep(self.world.draw.choice(_TOOL_S))
            if self.world.chance() < _REFUSED_TOOLS:
                raise MailboxFullError("library", 1)
            return "found"

        @tool(price={"second": "0.01"}, timeout_s=2)
        async def render() -> str:
            """Render something."""
            await anyio.sleep(self.world.draw.choice(_TOOL_S))
            return "rendered"

        @tool(price={"unit": "0.001", "max_units": 3})
        async def count() -> str:
            """Count something, and now and then say how many there are in words."""
            return self.world.draw.choice(("2", "[1, 2, 3]", "some"))

        return llm_agent(
            _BUYER, tools=[lookup, render, count], settings=LLMSettings(model=MODEL, max_output_tokens=CAP)
        )

    def _plan(self) -> BudgetPlan:
        chance = self._chance
        per = chance.choice(("day", "hour", "lifetime", "2h"))
        tenant = ScopedLimits(Limits(tokens=chance.randint(100, 900)), per, self._rule())
        return BudgetPlan(
            thread=Limits(tokens=chance.randint(50, 700), usd=chance.choice((None, "0.3"))),
            windows=chance.choice(
                (
                    {},
                    {"hour": Limits(tokens=chance.randint(200, 2000))},
                    {"1h": Limits(tokens=chance.randint(200, 2000)), "call": Limits(tokens=120)},
                )
            ),
            agents=chance.choice(({}, {"a0": ScopedLimits(Limits(tokens=chance.randint(30, 300)))})),
            models=chance.choice(({}, {"main": ScopedLimits(Limits(tokens=chance.randint(100, 900)), "day")})),
            labels=chance.choice(({}, {"tenant": LabelLimits(each=tenant)})),
            rules={"thread": self._rule(), "hour": self._rule(), "1h": self._rule()},
            actions=chance.choice(_ACTIONS),
            final_reserve_percent=chance.choice((0, 5)),
        )

    def _rule(self) -> ScopeRule:
        actions = self._chance.choice(_ACTIONS)
        return ScopeRule(thresholds=warned_at(actions) or (100,), actions=actions) if actions else ScopeRule()

    def _bounds_drawn(self) -> Bounds:
        return Bounds(
            mailbox_messages=self._chance.choice((2, 1000)),
            attempts=self._chance.choice((1, 2, 5)),
            restarts=self._chance.choice((1, 2, 1 << 40)),
            handlers=self._chance.choice((1, 1000)),
            delivery_s=2.0,
            depth=3,
            breakers=self._chance.choice((ONLY_TOLD, Breakers(repeat=2), Breakers(actions=("pause", "stop")))),
        )
