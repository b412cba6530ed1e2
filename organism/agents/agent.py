"""What an agent is: a name, a handler, the messages it takes and the agents it may write to."""

import inspect
import types
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints, overload, runtime_checkable

import msgspec

from organism.budget.guards.breakers import Breakers
from organism.errors import ConfigError
from organism.ids import AGENT_NAME, USER, is_node_label, no_node_label
from organism.messages import Message
from organism.text.error_text import describe, shown


class To(msgspec.Struct, frozen=True):
    """A message and the agent it is for: returned by a handler that chooses its recipient."""

    recipient: str
    message: Message


Output = Message | To | Sequence["Message | To"] | None
"""What a handler returns: one message, several (each sent on its own), or nothing."""

Handler = Callable[..., Awaitable[Output] | Output]
"""``handle(message, ctx)``; a plain function runs on a worker thread."""


@runtime_checkable
class HasHandle(Protocol):
    """An object with a ``handle`` method; its other attributes are the agent's private state."""

    @property
    def handle(self) -> Handler:
        """What it does with a message."""
        ...


HandlerFunction = TypeVar("HandlerFunction", bound=Callable[..., Any] | type | HasHandle)
"""What an agent can be made of."""

EVERYONE = "*"
"""In ``peers``: may write to every agent."""

DEFAULT_HANDLER_TIMEOUT_S = 120.0

TIMEOUT_MAX_S = 366 * 86_400.0
"""A year: whatever takes longer does not handle a message."""


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """One agent of an organism.

    Attributes:
        name: Unique in its organism.
        handler: What it does with a message.
        accepts: The message types it takes; the runtime's own messages need no mention.
        next: Where what it returns goes when it names no recipient; empty means back to the one who waits for it.
        peers: Whom it may write to; ``None`` means those in ``next``, empty means nobody, ``*`` everyone.
            It may always reply.
        gather: Waits for one message from each of these senders and handles them together.
        timeout_s: Seconds one run of the handler may take.
        handlers: How many runs of its handler may be at work at once, in all threads; ``None`` leaves it to the bounds.
        notes: Whether its handler takes the runtime's own messages although it does not name them, as LLM agents do.
        description: One line for people: what ``organism check`` prints.
        breakers: What trips when it goes round and round; as for all agents unless given.
        node_label: The label of the nodes that it works at, in a cluster; empty if it works at any.
    """

    name: str
    handler: Handler
    accepts: tuple[type[Message], ...] = (Message,)
    next: tuple[str, ...] = ()
    peers: tuple[str, ...] | None = None
    gather: tuple[str, ...] = ()
    timeout_s: float = DEFAULT_HANDLER_TIMEOUT_S
    handlers: int | None = None
    notes: bool = False
    description: str = ""
    breakers: Breakers | None = None
    node_label: str = ""

    def __post_init__(self) -> None:
        """Refuse a name that cannot be one, and a handler that could never handle anything.

        Raises:
            ConfigError: If so.
        """
        if self.name == USER or not AGENT_NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} cannot be an agent's name: use a letter, then letters, digits, '-' or '_', "
                f"at most 64 in all, and not {USER!r}"
            )
        _check_handler(self.name, self.handler)
        timeout_s = self.timeout_s
        if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s <= TIMEOUT_MAX_S:
            raise ConfigError(
                f"agent {self.name!r}: timeout_s must be more than 0 and at most {TIMEOUT_MAX_S:,.0f} seconds, "
                f"not {shown(timeout_s)}"
            )
        if self.handlers is not None and (type(self.handlers) is not int or self.handlers < 1):
            raise ConfigError(f"agent {self.name!r}: handlers must be 1 or more, not {shown(self.handlers)}")
        if self.node_label and not is_node_label(self.node_label):
            raise ConfigError(f"agent {self.name!r}: {no_node_label(self.node_label)}")

    def __call__(self, message: Message, ctx: Any) -> Any:
        """Call the handler as it is, as a unit test does: no thread, no budget, no check of what it returns.

        :func:`organism.testing.handle_message` is the same within an organism.
        """
        return self.handler(message, ctx)

    def on(self, *types: type[Message]) -> Callable[[HandlerFunction], HandlerFunction]:
        """Give messages of some types a function of their own, instead of a ladder of ``isinstance``.

        ``@writer.on(BudgetWarning)`` above ``async def save(message: BudgetWarning, ctx: Context)``. The agent takes
        these types from then on, and its own handler all others. Before an organism is made of it.

        Raises:
            ConfigError: If a type is no type of message, or one is async and the other a plain function.
        """
        if not types or not all(isinstance(each, type) and issubclass(each, Message) for each in types):
            raise ConfigError(f"agent {self.name!r}: on() takes types of messages, not {shown(types)}")

        def add(function: HandlerFunction) -> HandlerFunction:
            handler = handler_of(function)
            _check_handler(self.name, handler)
            if is_async(handler) != is_async(self.handler):
                raise ConfigError(
                    f"agent {self.name!r}: its handlers are all async or all plain functions; {shown(handler)} differs"
                )
            msgspec.structs.force_setattr(self, "handler", _by_type(types, handler, self.handler))
            own = () if self.accepts == (Message,) else self.accepts
            msgspec.structs.force_setattr(
                self, "accepts", tuple(dict.fromkeys((*own, *types))) if own else self.accepts
            )
            return function

        return add

    def may_write_to(self, recipient: str) -> bool:
        """Whether the recipient is on its list of peers."""
        allowed = self.next if self.peers is None else self.peers
        return recipient in allowed or EVERYONE in allowed or recipient in self.next


@overload
def agent(target: HandlerFunction, /) -> Agent: ...


@overload
def agent(
    name: str | None = None,
    *,
    next: str | Sequence[str] = (),
    peers: Sequence[str] | None = None,
    accepts: Sequence[type[Message]] | None = None,
    gather: Sequence[str] = (),
    timeout_s: float = DEFAULT_HANDLER_TIMEOUT_S,
    handlers: int | None = None,
    node_label: str = "",
) -> Callable[[HandlerFunction], Agent]: ...


def agent(
    name: HandlerFunction | str | None = None,
    *,
    next: str | Sequence[str] = (),  # noqa: A002 - the word of organism.yaml
    peers: Sequence[str] | None = None,
    accepts: Sequence[type[Message]] | None = None,
    gather: Sequence[str] = (),
    timeout_s: float = DEFAULT_HANDLER_TIMEOUT_S,
    handlers: int | None = None,
    node_label: str = "",
) -> Agent | Callable[[HandlerFunction], Agent]:
    """Make an agent of a function, of a class with a ``handle`` method, or of an object with one.

    Bare as ``@agent``, or with arguments as ``@agent(next="critic")``; ``agent("reader")(Reader(database))`` hands in
    what a handler depends on. What it accepts is read from the annotation of the handler's first parameter.

    Args:
        name: Defaults to the function's or class's own name.
        next: Where what it returns goes.
        peers: Whom it may write to besides.
        accepts: The message types it takes.
        gather: The senders whose messages it waits for and handles together.
        timeout_s: Seconds one run may take.
        handlers: How many runs of it may be at work at once, in all threads; as many as the bounds allow unless given.
        node_label: The label of the nodes that it works at, in a cluster; any unless given.

    Raises:
        ConfigError: If the name is not allowed or the handler has no readable annotation.
    """
    if not (name is None or isinstance(name, str)):
        return agent()(name)

    def make(target: HandlerFunction) -> Agent:
        handler = handler_of(target)
        return Agent(
            name=name or getattr(target, "__name__", None) or type(target).__name__,
            handler=handler,
            accepts=tuple(accepts) if accepts is not None else accepted_by(handler),
            next=(next,) if isinstance(next, str) else tuple(next),
            peers=None if peers is None else tuple(peers),
            gather=tuple(gather),
            timeout_s=timeout_s,
            handlers=handlers,
            node_label=node_label,
            description=(inspect.getdoc(target) or "").partition("\n")[0],
        )

    return make


def handler_of(target: object) -> Handler:
    """Return the handler inside a function, an :class:`Agent`, an object or a class with ``handle``.

    Raises:
        ConfigError: If there is none.
    """
    if isinstance(target, Agent):
        return target.handler
    if isinstance(target, type):
        try:
            target = target()
        except (Exception, SystemExit) as error:
            raise ConfigError(f"{shown(target)} cannot be made an agent of: {describe(error)}") from error
    try:
        if isinstance(target, HasHandle):
            return target.handle
    except (Exception, SystemExit) as error:
        raise ConfigError(f"the method 'handle' of {shown(target)} cannot be had: {describe(error)}") from error
    if callable(target):
        return target
    raise ConfigError(f"{target!r} is no handler: it must be a function of (message, ctx) or have a method 'handle'")


def _check_handler(name: str, handler: object) -> None:
    """Refuse what cannot be called with a message and a context, or would give a generator.

    Raises:
        ConfigError: If so.
    """
    if not callable(handler):
        raise ConfigError(f"the handler of agent {name!r} is {shown(handler)}, which cannot be called")
    own_call = vars(type(handler)).get("__call__")
    if any(map(inspect.isgeneratorfunction, (handler, own_call))) or any(
        map(inspect.isasyncgenfunction, (handler, own_call))
    ):
        raise ConfigError(f"the handler of agent {name!r} yields; return a message or a list of them, or use ctx.send")
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        raise ConfigError(f"the handler of agent {name!r} must take exactly (message, ctx)") from None
    except ValueError:
        return  # written in C, and says nothing of what it takes


def _by_type(types: tuple[type[Message], ...], handler: Handler, otherwise: Handler) -> Handler:
    """Make one handler of two, by the type of the message."""

    def handle(message: Message, ctx: Any) -> Any:
        return (handler if isinstance(message, types) else otherwise)(message, ctx)

    async def handle_async(message: Message, ctx: Any) -> Any:
        return await handle(message, ctx)

    return handle_async if is_async(handler) else handle


def is_async(function: object) -> bool:
    """Whether calling it gives a coroutine; else it is a plain function, and called on a worker thread."""
    own_call = vars(type(function)).get("__call__")
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(own_call)


def accepted_by(handler: Handler) -> tuple[type[Message], ...]:
    """Read the message types a handler takes from the annotation of its first parameter.

    Raises:
        ConfigError: If the handler does not take ``(message, ctx)`` or the annotation is no message type.
    """
    where = f"handler {getattr(handler, '__qualname__', repr(handler))!r}"
    if not callable(handler):
        raise ConfigError(f"{where} cannot be called")
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        raise ConfigError(f"{where} does not say what it takes; wrap it in a function of (message, ctx)") from None
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    if len(parameters) != 2:  # noqa: PLR2004 - message and ctx
        raise ConfigError(f"{where} must take exactly (message, ctx)")
    try:
        annotation = get_type_hints(handler).get(parameters[0].name, Message)
    except Exception as error:  # noqa: BLE001 - annotations are a stranger's code
        raise ConfigError(
            f"{where}: the annotation of {parameters[0].name!r} cannot be read: {describe(error)}"
        ) from None
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    if not all(isinstance(member, type) and issubclass(member, Message) for member in members):
        raise ConfigError(f"{where}: {parameters[0].name!r} must be annotated with message types, not {annotation!r}")
    return tuple(members)
