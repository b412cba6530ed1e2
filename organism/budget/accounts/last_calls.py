"""What loops of tools at work leave on each account for their last calls, so that none takes another's.

A round of a loop is admitted where its last call fits behind it. Between its rounds it holds nothing: what it has left
is known here until it has its answer, or its run ends. Kept in memory: the next round after a start notes it again.
"""

from organism.amounts import ZERO, Amounts
from organism.budget.policy import Ask, Loop


class LastCalls:
    """What is left for last calls, by loop and in sum by account.

    Attributes:
        wanted: Whether anything is left at all.
        loops: Loops at work that have left something, with the accounts and what it is.
    """

    def __init__(self) -> None:
        self.wanted = True
        self.loops: dict[Loop, tuple[tuple[str, ...], Amounts]] = {}
        self._sums: dict[str, Amounts] = {}

    def admitted(self, loop: Loop, ask: Ask, accounts: tuple[str, ...]) -> None:
        """Note what a loop's newest round has left, in place of an earlier one's; its last call leaves nothing.

        Args:
            ask: The call of a model that was admitted.
            accounts: Those of its accounts that refuse what they have no room for.
        """
        self.drop(loop)
        if (amounts := self.behind(ask)) != ZERO:
            self.loops[loop] = accounts, amounts
            for account in accounts:
                self._sums[account] = self._sums.get(account, ZERO) + amounts

    def behind(self, ask: Ask) -> Amounts:
        """Return what a round leaves for its loop's last call, or a tool that the loop pays for."""
        if ask.last_output and self.wanted:
            return ask.amounts(ask.last_output)
        return ZERO if ask.calls or ask.loop is None else self.of(ask.loop)

    def drop(self, loop: Loop) -> tuple[str, ...]:
        """Forget a loop that is over, and return the accounts on which it had left something."""
        accounts, amounts = self.loops.pop(loop, ((), ZERO))
        for account in accounts:
            left = self._sums.pop(account) - amounts
            if left != ZERO:
                self._sums[account] = left
        return accounts

    def of(self, loop: Loop) -> Amounts:
        """Return what a loop has left for its own last call."""
        return self.loops.get(loop, ((), ZERO))[1]

    def on(self, account: str) -> Amounts:
        """Return what all loops have left on an account."""
        return self._sums.get(account, ZERO)

    def beside(self, account: str, ask: Ask) -> tuple[Amounts, Amounts]:
        """Return what is to be left on an account: for the last call of the loop that asks, and for those of others."""
        if ask.loop is None:
            return self.behind(ask), ZERO
        others = self._sums.get(account, ZERO)
        if others is not ZERO:
            accounts, own = self.loops.get(ask.loop, ((), ZERO))
            others = others - own if account in accounts else others
        return self.behind(ask), others
