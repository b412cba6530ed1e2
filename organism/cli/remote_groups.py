"""Groups of commands that talk to the running daemon: budgets, approvals, dead letters, tokens."""

from typing import Literal

from cyclopts import App

from organism.cli.options import DEFAULT_FILE, NO_STEP, File, Json, State, Step, Whole

budget = App(name="budget", help="Limits of every scope: show, explain, raise, lower.")
approvals = App(name="approvals", help="What waits for a person: list, allow, deny.")
letters = App(name="dead-letters", help="Messages that were given up on: list, retry, discard.")
token = App(name="token", help="Tokens for programs and people: make, list, revoke.")


@budget.command(name="show")
def show_budget(
    account: str | None = None, *, file: File = DEFAULT_FILE, state: State = None, json: Json = False
) -> int:
    """Show a budget, or all of them.

    Args:
        account: A thread's id, or an account such as organism@day:2026-11-24.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.show_budgets(Client.of(file, state), account, as_json=json)


@budget.command(name="explain")
def explain_budget(thread: str, *, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Tell where a thread's budget has gone: every hold, what became of it, its price, and what was refused.

    Args:
        thread: The thread's id. Without a daemon the journal of the state folder is read.
    """
    from organism.cli.ledger import explain_budget as explain

    return explain(thread, file, state, as_json=json)


@budget.command(name="raise")
def raise_budget(
    account: str, *, by: Step = NO_STEP, file: File = DEFAULT_FILE, state: State = None, json: Json = False
) -> int:
    """Raise a budget by so much; what waited for it goes on.

    Args:
        account: A thread's id, or an account such as organism@day:2026-11-24.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.move(Client.of(file, state), account, by, as_json=json)


@budget.command(name="lower")
def lower_budget(
    account: str, *, by: Step = NO_STEP, file: File = DEFAULT_FILE, state: State = None, json: Json = False
) -> int:
    """Lower a budget by so much, never below zero.

    Args:
        account: A thread's id, or an account such as organism@day:2026-11-24.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.move(Client.of(file, state), account, by.down(), as_json=json)


@budget.command(name="adjust")
def adjust_budget(
    account: str,
    *,
    reason: str,
    usd: str | None = None,
    tokens: Whole = 0,
    calls: Whole = 0,
    yes: bool = False,
    file: File = DEFAULT_FILE,
    state: State = None,
    json: Json = False,
) -> int:
    """Correct what a budget says is spent, after a provider's invoice or a refund; what there is room for goes on.

    Args:
        account: A thread's id, or an account such as organism@day:2026-11-24. A thread's correction counts on the
            threads above it and on the organism's day and month too.
        reason: Why, such as the number of the invoice; kept with the correction.
        usd: So many dollars more, or with a minus less, such as --usd=-0.50.
        tokens: So many tokens more or less.
        calls: So many calls more or less.
        yes: Do not ask.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    by = operating.Correction(tokens=tokens, usd=usd, calls=calls, reason=reason)
    return operating.adjust(Client.of(file, state), account, by, confirmed=yes, as_json=json)


@approvals.default
def list_approvals(*, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """List what agents want to do and a person must allow, with all that there is to decide by."""
    from organism.cli import answering
    from organism.cli.client import Client

    return answering.list_approvals(Client.of(file, state), as_json=json)


@approvals.command(name="allow")
def allow(approval: str, *, note: str = "", file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Let it be done; the message that waits goes on.

    Args:
        approval: Its id.
        note: A word on it, for the log and the agent.
    """
    from organism.cli import answering
    from organism.cli.client import Client

    return answering.decide(Client.of(file, state), approval, allowed=True, note=note, as_json=json)


@approvals.command(name="deny")
def deny(approval: str, *, note: str = "", file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Do not let it be done; the agent is told, and goes on without.

    Args:
        approval: Its id.
        note: Why, or what to do instead; the agent is told.
    """
    from organism.cli import answering
    from organism.cli.client import Client

    return answering.decide(Client.of(file, state), approval, allowed=False, note=note, as_json=json)


@letters.default
def list_letters(*, file: File = DEFAULT_FILE, state: State = None, content: bool = False, json: Json = False) -> int:
    """List messages that were given up on, with the reason.

    Args:
        content: Also what they say.
    """
    from organism.cli import answering
    from organism.cli.client import Client

    return answering.list_letters(Client.of(file, state), content=content, as_json=json)


@letters.command(name="retry")
def retry_letter(message: str, *, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Send a dead letter's message again: in its thread, or in a new one if that has ended.

    Args:
        message: Its id.
    """
    from organism.cli import answering
    from organism.cli.client import Client

    return answering.retry_letter(Client.of(file, state), message, as_json=json)


@letters.command(name="discard")
def discard_letter(message: str, *, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Forget a dead letter.

    Args:
        message: Its id.
    """
    from organism.cli import answering
    from organism.cli.client import Client

    return answering.discard_letter(Client.of(file, state), message, as_json=json)


@token.command(name="make")
def make_token(
    name: str,
    *,
    scope: list[Literal["read", "send", "operate", "admin"]],
    days: Whole | None = None,
    file: File = DEFAULT_FILE,
    state: State = None,
    json: Json = False,
) -> int:
    """Make a token and print its secret, this once.

    Args:
        name: What the audit calls it.
        scope: What it may do; may be repeated.
        days: How long it lasts; for ever unless given.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.make_token(Client.of(file, state), name, list(scope), days, as_json=json)


@token.command(name="list")
def list_tokens(*, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """List tokens, without their secrets."""
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.list_tokens(Client.of(file, state), as_json=json)


@token.command(name="revoke")
def revoke_token(name: str, *, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Revoke a token from now on.

    Args:
        name: Its name.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.revoke_token(Client.of(file, state), name, as_json=json)
