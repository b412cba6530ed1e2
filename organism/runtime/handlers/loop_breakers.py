"""Breakers at work: what agents do is counted, and an agent that repeats itself is reported, paused or ended.

A pause is the operator's pause with a reason: the thread and its whole tree start nothing more, and its further calls
are refused before they are made, so that a handler in the middle of a loop stops there and is run again afterwards.
"""

from hashlib import sha256

import msgspec

from organism.agents.budget_notes import note_for
from organism.budget.guards.breakers import WHAT_FOLLOWS, Breakers, SpendRate, Trip, rounds_trip
from organism.errors import Refusal
from organism.messages import LoopWarning
from organism.router.call import Call
from organism.runtime.delivery import Delivery
from organism.runtime.lifecycle import Lifecycle
from organism.runtime.loop_services import LoopServices
from organism.threads.thread import Thread
from organism.usage.events import BreakerTripped

BREAKER_ACCOUNT = "breaker"
"""What a refusal by a breaker names in the place of an account."""


class LoopBreakers:
    """Counts what agents do, and acts when it goes round.

    Args:
        services: What trips, what threads have spent, and where events go.
    """

    def __init__(self, services: LoopServices, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._active = services.active
        self._registry = services.registry
        self._stops, self._notes = services.registry.stops, services.registry.notes
        self._outbox = services.outbox
        self._clock = services.clock
        self._delivery = delivery
        self._life = lifecycle
        self._threads = lifecycle.threads

    def on_call(self, call: Call) -> None:
        """Count a model call that is about to be held; one that a breaker stops is refused there."""
        thread = self._threads.find(call.spender.thread_id)
        if thread is None or thread.status == "closing":
            return
        agent = call.spender.agent
        breakers = self._breakers_of(agent)
        place = (call.message_id, call.index) if call.message_id else None
        trip = thread.watch.sequence(agent, "calls").add(call.digest, "the same call", breakers, place)
        self._act(thread, agent, breakers, trip)
        if breakers.rate is not None:
            spent, now_ns = self._registry.budget(thread.id).spent, self._clock.now_ns()
            amount = spent.cost_nanousd or spent.tokens
            rate = thread.watch.rate
            if rate is None:
                rate = thread.watch.rate = SpendRate(now_ns, amount)
            self._act(thread, agent, breakers, rate.look(now_ns, amount, breakers.rate))

    def on_tool(
        self, thread: Thread, agent: str, place: tuple[str, int], name: str, arguments: str, result: str
    ) -> str | None:
        """Count what a tool has given.

        Args:
            agent: The agent whose model has called the tool.
            place: The message that is being handled, and the number of the run of a tool in it.
            arguments: Its arguments as the model wrote them.

        Returns:
            What the model has to read with the results, if anything.
        """
        breakers = self._breakers_of(agent)
        item = sha256("\0".join((name, _canonical(arguments), result)).encode()).hexdigest()
        trip = thread.watch.sequence(agent, "tools").add(item, f"the same result of tool {name!r}", breakers, place)
        return self._act(thread, agent, breakers, trip, told=True)

    def on_rounds(self, thread: Thread, sender: str, recipient: str, rounds: int) -> None:
        """Look at two agents that have written to nobody but each other for so many rounds."""
        breakers = self._breakers_of(recipient)
        if (trip := rounds_trip(sender, recipient, rounds, breakers)) is not None:
            self._act(thread, recipient, breakers, trip)

    def _breakers_of(self, agent: str) -> Breakers:
        known = self._active.agents.get(agent)
        own = known.breakers if known is not None else None
        return own if own is not None else self._active.bounds.breakers

    def _act(
        self, thread: Thread, agent: str, breakers: Breakers, trip: Trip | None, *, told: bool = False
    ) -> str | None:
        """Do what follows from a trip; returns the note, if the caller takes it to the model."""
        if trip is None or thread.status not in ("open", "blocked"):
            return None
        if not breakers.actions and trip.step & (trip.step - 1):
            return None  # nothing follows, so the event comes as the count doubles: 1, 2, 4, 8
        action = breakers.action(trip.step)
        if action == "stop" and thread.standing:
            action = "pause"  # what has ended can never be opened again, and its programs have no other
        self._outbox.emit(
            BreakerTripped(
                thread_id=thread.id,
                root_thread_id=thread.root,
                agent=agent,
                breaker=trip.kind,
                action=action or "",
                step=trip.step,
                text=trip.text,
            )
        )
        why = f"the breaker '{trip.kind}' has tripped on agent {agent}: {trip.text}"
        self._notes.remark(thread.id, f"{why}; {WHAT_FOLLOWS[action or '']}")
        match action:
            case "note" if told:
                return note_for(LoopWarning(breaker=trip.kind, step=trip.step, text=trip.text))
            case "note" if not thread.standing and agent in self._active.agents:
                warning = LoopWarning(breaker=trip.kind, step=trip.step, text=trip.text)
                self._delivery.warn(thread, (agent,), warning)
            case "pause":
                self._pause(thread, f"{why}; look at it, and let it go on: organism unpause {thread.root}")
            case "stop":
                self._stops.stop(thread.id, _refusal(why))
                self._life.begin_close(thread, "terminated", why)
            case _:
                pass
        return None

    def _pause(self, thread: Thread, why: str) -> None:
        """Pause the whole tree: who waits at its top finds out there, and what others of it do may be part of it."""
        tree = [self._threads.get(thread.root, closing=True)]
        for each in tree:
            children = map(self._threads.find, each.children)
            tree += [child for child in children if child is not None]
        for each in tree:
            if each.status in ("open", "blocked"):
                self._life.pause(each, _refusal(why))


def _refusal(why: str) -> Refusal:
    return Refusal(BREAKER_ACCOUNT, "calls", 0, 0, 0, 1, cause="breaker", note=why)


def _canonical(arguments: str) -> str:
    """Write arguments in one way, so that spaces and the order of names make no difference."""
    try:
        return msgspec.json.encode(msgspec.json.decode(arguments), order="sorted").decode()
    except (msgspec.MsgspecError, RecursionError):
        return arguments
