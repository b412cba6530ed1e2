"""The router's call, settings and statistics."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Required, TypedDict, Unpack

import msgspec

from organism.budget.holds import Spender
from organism.budget.policy import Loop
from organism.errors import ConfigError
from organism.llm.provider import Request
from organism.llm.requests import DEFAULT_OUTPUT_TOKENS, ChatMessage, CompletionRequest
from organism.router.limits.backoff import Backoff
from organism.router.limits.limiter import ProviderHealth
from organism.router.limits.provider_settings import ProviderSettings

Estimate = Literal["tight", "strict"]
"""``tight``: close, may be overrun a little. ``strict``: counts bytes, a true bound for text."""


LastWord = Callable[[Callable[[CompletionRequest], bool]], CompletionRequest]
"""Returns the request for a final answer, given a check of whether a request fits the budget."""


class RouterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How calls are made.

    Attributes:
        estimate: How the input is counted before the call.
        output_min: The shortest answer worth a call, in tokens.
        attempts: How often a rejected call is tried in all.
        retry_uncertain: Whether attempts that were charged without an answer (timeouts, resets, gateways' errors) are
            tried again too, as new holds.
        backoff: How long the waits between attempts at one provider are.
        deadline_s: Seconds a call may take in all: waiting, attempts and pauses.
        timeout_s: Seconds an attempt may take whose answer comes whole.
        drain_s: Seconds an abandoned attempt may go on, to learn its real usage.
        calls_in_flight: Calls at a time that handlers of one thread make.
        direct_calls_in_flight: Calls at a time that one thread pays for and no handler makes: a key of the gateway is
            used by many programs at once, where a handler that asks so often is out of hand.
        refuse_unpriced: Whether a USD limit in mode ``enforce`` refuses models without a price.
        providers: How each provider is treated, by its name.
    """

    estimate: Estimate = "tight"
    output_min: int = 16
    attempts: int = 3
    retry_uncertain: bool = False
    backoff: Backoff = Backoff()
    deadline_s: float = 3600.0
    timeout_s: float = 600.0
    drain_s: float = 10.0
    calls_in_flight: int = 8
    direct_calls_in_flight: int = 100
    refuse_unpriced: bool = True
    providers: Mapping[str, ProviderSettings] = {}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One model call of an agent.

    Attributes:
        spender: The thread that pays, the agent that asks, the model as the configuration names it.
        root_thread_id: The thread at the top of the tree.
        request: What to send; its ``model`` and output cap are filled in by the router.
        labels: The thread's labels.
        message_id: The message whose handling asks; empty when none does, and then the answer is not remembered.
        index: Which call of that handling it is, counted from 0: the same in every run of the handler.
        asked_s: When it was asked for, on the event loop's clock: its deadline counts from there; ``None`` for now.
        raises: Whether the caller gets a refusal as an error, and does not wait: then it is an event even if only what
            is kept for a last call stands between it and the call.
        digest: Of the request; filled in by the router.
        last_word: Makes the request the last one that fits, by a check of whether one does; ``None`` where a refusal
            stands. Only a call that has it leaves room for another one as large.
    """

    spender: Spender
    root_thread_id: str
    request: Request
    labels: dict[str, str] = {}
    message_id: str = ""
    index: int = 0
    asked_s: float | None = None
    raises: bool = False
    digest: str = ""
    last_word: "LastWord | None" = None


def loop_of(call: Call) -> Loop:
    """Return the tool loop that a call belongs to."""
    return call.spender.thread_id, call.spender.agent, call.message_id


class CallOptions(TypedDict, total=False):
    """What goes with a prompt in :meth:`LLMRouter.complete`; ``model`` and ``thread_id`` must be there.

    ``metadata`` becomes labels of the call's usage event; ``agent`` is whose limits count and who is named in it.
    """

    model: Required[str]
    thread_id: Required[str]
    agent: str
    metadata: Mapping[str, str]
    max_output_tokens: int
    temperature: float


def direct_call(prompt: str | Sequence[ChatMessage], **about: Unpack[CallOptions]) -> Call:
    """Spell out a call of a program that is no agent.

    Raises:
        ConfigError: If it is not said which model is asked or who pays.
    """
    if missing := [name for name in ("model", "thread_id") if not about.get(name)]:
        raise ConfigError(f"a call needs {' and '.join(missing)}", path=missing[0])
    messages = (ChatMessage("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
    return Call(
        spender=Spender(about["thread_id"], about.get("agent", ""), about["model"]),
        root_thread_id=about["thread_id"],
        request=CompletionRequest(
            model="",
            messages=messages,
            max_output_tokens=about.get("max_output_tokens", DEFAULT_OUTPUT_TOKENS),
            temperature=about.get("temperature"),
        ),
        labels=dict(about.get("metadata", {})),
        raises=True,
    )


class RouterStatistics(msgspec.Struct, frozen=True):
    """Counts of what is under way.

    Attributes:
        attempts_open: Attempts under way.
        threads: Threads with open attempts.
        providers: How each provider is doing.
    """

    attempts_open: int
    threads: int
    providers: dict[str, ProviderHealth]
