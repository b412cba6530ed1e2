"""A Python function as a tool: its schema from its annotations, its description from its docstring."""

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec

from organism.agents.agent import is_async
from organism.agents.context import Context
from organism.agents.structured import object_schema
from organism.agents.tools.tool import AgentTool, OnProgress, ToolContent, ToolOutput, ToolRules
from organism.errors import ConfigError
from organism.llm.requests import ImagePart, TextPart, Tool
from organism.text.error_text import describe, shown


def function_tool(
    function: Callable[..., Any], *, name: str | None = None, rules: ToolRules | None = None
) -> AgentTool:
    """Make a tool of a function.

    A parameter annotated with :class:`Context` is given the handler's context and not shown to the model. Arguments
    are checked against the annotations before the function runs. A plain function runs on a worker thread. What it
    returns is shown as it is when it is text, else as JSON; images are returned as
    :class:`~organism.llm.requests.ImagePart`.

    Args:
        function: The function, with a docstring and annotated parameters.
        name: What the model calls it; the function's own name unless given.
        rules: Bounds.

    Raises:
        ConfigError: If it has no docstring, or a parameter is not annotated with something that JSON can say.
    """
    name = name or str(getattr(function, "__name__", "tool"))
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
            return ToolOutput(f"wrong arguments: {error}", is_error=True)
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
        rules=rules or ToolRules(),
        replayed=context_name is not None,
    )


def _parameters(function: Callable[..., Any], where: str) -> tuple[str | None, list[tuple[str, Any, Any]]]:
    """Read a function's parameters: the one that takes the context, and the fields the model fills in."""
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
    """Say what a function has returned: text as it is, images as images, anything else as JSON.

    Raises:
        TypeError: If JSON cannot say it.
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
