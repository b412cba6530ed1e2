"""What clients and operators do to a simulated organism, by the kind of operation."""

from collections.abc import Awaitable, Callable

import anyio

from organism.amounts import NS_PER_S, Amounts, Limits
from organism.amounts.account import thread_account
from organism.app import Organism
from organism.control.accounts import LimitsChange
from organism.errors import OrganismError
from organism.testing.simulate.scenario import ScenarioStep
from organism.testing.simulate.subject import Subject
from organism.threads.approvals import Decision

_LABELS = (None, "tenant=acme", "tenant=beta")


class Operator:
    """Carries operations out on one organism; what it is refused, it lives with.

    Args:
        subject: What is simulated.
        organism: Its present organism.
    """

    def __init__(self, subject: Subject, organism: Organism) -> None:
        self._subject = subject
        self._machine = subject.world.clock
        self._organism = organism
        self._control = organism.control
        self._approvals = organism.approvals
        self._budgets = organism.budgets
        self._ledger = organism.ledger

    async def carry_out(self, operation: ScenarioStep) -> None:
        """Carry one out, and count how that went."""
        does = getattr(self, f"_{operation.kind}")
        try:
            await does(operation.number)
        except OrganismError as error:
            self._subject.saw(f"operation {operation.kind} refused: {type(error).__name__}")
        except anyio.get_cancelled_exc_class():
            self._subject.saw(f"operation {operation.kind} cut short")  # it may have come about: the process ends
            raise
        else:
            self._subject.saw(f"operation {operation.kind}")

    def _thread(self, number: int) -> str:
        views = self._organism.threads()
        return views[number % len(views)].thread_id if views else "none"

    def _account(self, number: int) -> str:
        accounts = self._ledger.accounts
        return accounts[number % len(accounts)] if accounts else thread_account("none")

    def _agent(self, number: int) -> str:
        return tuple(self._organism.agents)[number % len(self._organism.agents)]

    async def _open(self, number: int) -> None:
        opening = self._subject.opening(number)
        await self._organism.open_thread(
            opening.message, to=opening.to, limits=opening.limits, labels=opening.labels or None
        )

    async def _send(self, number: int) -> None:
        opening = self._subject.opening(number)
        await self._organism.send(self._thread(number), opening.message, to=opening.to)

    async def _raise(self, number: int) -> None:
        """Raise what the first blocked thread waits for, or any account."""
        blocked = [view.blocked_by.account for view in self._organism.threads() if view.blocked_by is not None]
        account = blocked[number % len(blocked)] if blocked else self._account(number)
        limits = self._budgets.state(account).limits
        await self._control.set_limits(account, _moved(limits, 50 + number % 500, 300_000_000))

    async def _lower(self, number: int) -> None:
        account = self._account(number)
        limits = self._budgets.state(account).limits
        await self._control.set_limits(account, _moved(limits, -(number % 300), -(number % 200) * 1_000_000))

    async def _correct(self, number: int) -> None:
        await self._control.adjust_budget(self._account(number), Amounts(tokens=number % 50), "as the bill says")

    async def _terminate(self, number: int) -> None:
        await self._organism.terminate(self._thread(number))

    async def _pause(self, number: int) -> None:
        await self._control.pause_thread(self._thread(number))

    async def _resume(self, number: int) -> None:
        await self._control.resume_thread(self._thread(number))

    async def _pause_agent(self, number: int) -> None:
        await self._control.pause_agent(self._agent(number))

    async def _resume_agent(self, number: int) -> None:
        await self._control.resume_agent(self._agent(number))

    async def _mode(self, number: int) -> None:
        await self._control.set_mode(("enforce", "audit", "enforce", "off")[number % 4])

    async def _freeze(self, number: int) -> None:
        await self._control.freeze(_LABELS[number % 3], cancel=number % 2 == 0)

    async def _unfreeze(self, number: int) -> None:
        await self._control.unfreeze(_LABELS[number % 3])

    async def _decide(self, number: int) -> None:
        waiting = self._approvals.waiting()
        if waiting:
            decision = Decision(number % 3 > 0, "as it is", seconds=30 if number % 5 == 0 else None)
            await self._control.decide(waiting[number % len(waiting)].id, decision)

    async def _retry(self, number: int) -> None:
        if letters := self._organism.dead_letters():
            await self._control.retry_letter(letters[number % len(letters)].id)

    async def _reload(self, number: int) -> None:
        self._subject.reload(self._organism, number)

    async def _clock(self, number: int) -> None:
        """Set the machine's clock back: by seconds, which are waited for, or by so much that they are not."""
        self._machine.back_ns += (1, 20, 200, 400, 4000)[number % 5] * NS_PER_S

    async def _cancel(self, number: int) -> None:
        """Wait for a thread as a client does that goes away."""
        with anyio.move_on_after(number % 100 / 50):
            await self._organism.wait(self._thread(number))

    async def lift_everything(self) -> None:
        """Take away all that may hold a thread up."""
        organism, control = self._organism, self._control
        steps: list[Callable[[], Awaitable[object]]] = [
            *(lambda label=label: control.unfreeze(label) for label in _LABELS),
            *(lambda name=name: control.resume_agent(name) for name in organism.agents),
            *(lambda view=view: control.resume_thread(view.thread_id) for view in organism.threads()),
            *(lambda each=each: control.decide(each.id, Decision(True)) for each in organism.approvals.waiting()),
            *(lambda name=name: control.set_limits(name, _AMPLE) for name in organism.ledger.accounts),
        ]
        for step in steps:
            try:
                await step()
            except OrganismError:
                continue  # it was not held up


_AMPLE = Limits(tokens=10**12, usd=10**6)


def _moved(limits: Limits, tokens: int, cost_nanousd: int) -> Limits:
    change = LimitsChange(
        tokens=tokens if limits.tokens is not None else 0,
        cost_nanousd=cost_nanousd if limits.cost_nanousd is not None else 0,
    )
    return change.applied(limits)
