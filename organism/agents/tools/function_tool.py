"""A Python function as a tool: its schema from its annotations, its description from its docstring."""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints, overload

import msgspec

from organism.agents.agent import is_async
from organism.agents.context import Context
from organism.agents.structured import object_schema
from organism.agents.tools.tool import (
    DEFAULT_RESULT_BYTES,
    DEFAULT_TIMEOUT_S,
    AgentTool,
    OnProgress,
    Permission,
    ToolContent,
    ToolOutput,
    ToolRules,
    priced,
)
from organism.amounts import Dollars
from organism.errors import ConfigError
from organism.llm.requests import ImagePart, TextPart, Tool
from organism.pricing.tool_prices import ToolPrice, tool_price
from organism.text.error_text import describe, shown

F = TypeVar("F", bound=Callable[..., Any])


_DECLARED = "__organism_tool__"


class DeclaredTool(msgspec.Struct, frozen=True):
    """What :func:`tool` has attached to a function."""

    name: str | None
    rules: ToolRules


@overload
def tool(function: F, /) -> F: ...


@overload
def tool(
    *,
    name: str | None = None,
    price: ToolPrice | Mapping[str, object] | Dollars | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    result_bytes: int = DEFAULT_RESULT_BYTES,
    approval: Permission = "allow",
) -> Callable[[F], F]: ...


def tool(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    price: ToolPrice | Mapping[str, object] | Dollars | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    result_bytes: int = DEFAULT_RESULT_BYTES,
    approval: Permission = "allow",
) -> F | Callable[[F], F]:
    """Say at a function what holds where it is a tool: ``@tool(price={"call": "0.005"})``; it stays a plain function.

    Args:
        function: The function, where the decorator is bare.
        name: What the model calls it; the function's own name unless given.
        price: What a run costs: dollars a call, or ``{"call": ..., "second": ..., "unit": ..., "of": ...}``; see
            :class:`~organism.pricing.tool_prices.ToolPrice`.
        timeout_s: Seconds one run may take.
        result_bytes: The most of a result that the model is shown.
        approval: Whether it may run.

    Raises:
        ConfigError: If the price is none.
    """
    cost = None if price is None else tool_price(price)
    rules = ToolRules(timeout_s=timeout_s, result_bytes=result_bytes, approval=approval, price=cost)

    def declare(target: F) -> F:
        setattr(target, _DECLARED, DeclaredTool(name, rules))
        return target

    return declare if function is None else declare(function)


def declared(function: object) -> DeclaredTool:
    """Return what :func:`tool` has attached to a function; the defaults if it was not used."""
    noted = getattr(function, _DECLARED, None)
    return noted if isinstance(noted, DeclaredTool) else DeclaredTool(None, ToolRules())


def function_tool(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    rules: ToolRules | None = None,
    price: ToolPrice | Mapping[str, object] | Dollars | None = None,
) -> AgentTool:
    """Make a tool of a function.

    A parameter annotated with :class:`Context` is given the handler's context and not shown to the model. Arguments
    are checked against the annotations before the function runs. A plain function runs on a worker thread. What it
    returns is shown as it is when it is text, else as JSON; images are returned as
    :class:`~organism.llm.requests.ImagePart`.

    Args:
        function: The function, with a docstring and annotated parameters.
        name: What the model calls it; the function's own name unless given.
        rules: Bounds, and its price; what :func:`tool` has noted at the function unless given.
        price: What a run costs, as for :func:`tool`.

    Raises:
        ConfigError: If the price is none, it has no docstring, or a parameter is not annotated with something that
            JSON can say.
    """
    noted = declared(function)
    rules = priced(rules or noted.rules, price)
    name = name or noted.name or str(getattr(function, "__name__", "tool"))
    where = f"tool {name!r}"
    if not callable(function):
        raise ConfigError(f"{where} is {shown(function)}, which cannot be called")
    description = inspect.getdoc(function)
    if not description:
        raise ConfigError(f"{where} has no docstring; it is how the model knows what the tool is for")
    context_name, fields = _parameters(function, where)
    arguments_type = msgspec.defstruct(f"{name}_arguments", fields, kw_only=True, forbid_unknown_fields=True)

    async def call(arguments: str, ctx: Context, _progress: OnProgress) -> ToolOutput:
        try:
            given = msgspec.json.decode(arguments, type=arguments_type)
        except msgspec.MsgspecError as error:
            return ToolOutput(f"wrong arguments: {error}", is_error=True, ran=False)
        values = {field: getattr(given, field) for field in given.__struct_fields__}
        if context_name is not None:
            values[context_name] = ctx
        return ToolOutput(content_of(await _run(function, values, ctx)))

    try:
        schema = object_schema(arguments_type)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.reason}") from None
    return AgentTool(
        spec=Tool(name, description, schema),
        call=lambda arguments, ctx: functools.partial(call, arguments, ctx),
        rules=rules,
        replayed=context_name is not None,
    )


def _parameters(function: Callable[..., Any], where: str) -> tuple[str | None, list[tuple[str, Any, Any]]]:
    """Return the parameter that takes the context, if any, and the fields that the model fills in."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception as error:  # noqa: BLE001 - annotations are a stranger's code
        raise ConfigError(f"{where}: its annotations cannot be read: {describe(error)}") from None
    context_name: str | None = None
    fields: list[tuple[str, Any, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ConfigError(f"{where}: {parameter.name!r} cannot be filled in by name")
        if parameter.name not in hints:
            raise ConfigError(f"{where}: {parameter.name!r} has no annotation")
        if hints[parameter.name] is Context:
            context_name = parameter.name
            continue
        default: Any = msgspec.NODEFAULT
        if parameter.default is not parameter.empty:
            default = msgspec.field(default_factory=functools.partial(copy.deepcopy, parameter.default))
        fields.append((parameter.name, hints[parameter.name], default))
    return context_name, fields


async def _run(function: Callable[..., Any], values: dict[str, Any], ctx: Context) -> object:
    if is_async(function):
        return await function(**values)
    result = await ctx.on_thread(functools.partial(function, **values))
    return await result if inspect.isawaitable(result) else result


def content_of(result: object) -> ToolContent:
    """Return a function's result as content: text and images unchanged, anything else as JSON.

    Raises:
        TypeError: If it cannot be written as JSON.
    """
    match result:
        case None:
            return "done"
        case str():
            return result
        case TextPart() | ImagePart():
            return (result,)
        case list() | tuple() if result and all(isinstance(part, TextPart | ImagePart) for part in result):
            return tuple(result)
        case _:
            try:
                return msgspec.json.encode(result).decode()
            except Exception as error:  # noqa: BLE001 - it may hold a stranger's objects
                raise TypeError(f"JSON cannot say what it returned: {describe(error)}") from None
