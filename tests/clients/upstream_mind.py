"""What the stub upstream says: what the cell that a prompt names wants of a model.

A prompt that is tried holds ``[cell NAME in FOLDER]``. Whatever a client asks besides, such as a title for the
conversation, is answered with a sentence.
"""

import json
import re
import struct
from typing import Any

import msgspec

from tests.clients.upstream_requests import Asked, Tool, Turn

STEPS = 5
HEARD = "harbour-7421"
DONE = "All five steps are done"
WEATHER = {"city": "Oslo", "degrees": 7}
LONG = " ".join(f"wave {number}" for number in range(1500))

_MARK = re.compile(r"\[cell (\w+) in ([^\]]*)\]")
_SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
_SHELLS = (
    "Bash|bash|shell|exec_command|shell_command|run_shell_command|execute_command|run_commands|run_command|"
    "run_terminal_command|Shell|terminal"
)
_WRITES = "Write|write|write_file|write_to_file|create_file"
_EDITS = "Edit|edit|edit_file|replace|str_replace|search_replace"
_READS = "Read|read|read_file|view_file|read_files"


class Call(msgspec.Struct, frozen=True):
    """A call of a tool: an object, or a text for a custom one."""

    name: str
    arguments: dict[str, Any] | str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is said, thought and called."""

    text: str = ""
    thoughts: str = ""
    calls: tuple[Call, ...] = ()
    slow: bool = False


def answer(asked: Asked) -> Answer:
    """Decide what a model would say."""
    thoughts = "They want an answer. I shall think about it, and then give one." if asked.thinks else ""
    place, cell, folder = _cell(asked.turns)
    since = asked.turns[place + 1 :]
    if asked.schema is not None:
        return Answer(thoughts=thoughts, text=json.dumps(_instance(asked.schema, asked.schema)))
    if cell == "cancel":
        return Answer(thoughts=thoughts, text=LONG, slow=True)
    # Some write calls and results back as plain text, others all calls so far as those of one turn.
    done = max(sum(turn.role == role for turn in since) for role in ("assistant", "tool"))
    if cell in ("tools", "parallel", "images", "structured") and asked.tools:
        calls = _calls(cell, folder, asked.tools, done)
        if calls:
            return Answer(thoughts=thoughts, text="", calls=calls)
    if cell == "tools" and not asked.tools:
        return Answer(thoughts=thoughts, text=_edit_in_text(folder))
    text = _summary(cell, asked.turns[place:], since)
    return Answer(thoughts=thoughts, text=text, calls=_submit(asked, text) if cell else ())


def _submit(asked: Asked, text: str) -> tuple[Call, ...]:
    """Return the call that ends the work of agents that know no other end."""
    by_name = {tool.name: tool for tool in asked.tools}
    if "final_answer" in by_name:
        return (Call("final_answer", {"answer": text}),)
    shell = _find(by_name, _SHELLS)
    if shell is None or not any(_SUBMIT in turn.text for turn in asked.turns):
        return ()
    return (_use(shell, command=f"echo {_SUBMIT} && echo '{text}'"),)


def _cell(turns: list[Turn]) -> tuple[int, str, str]:
    """Return the turn that names a cell last, the cell and its folder."""
    for place in range(len(turns) - 1, -1, -1):
        found = _MARK.findall(turns[place].text) if turns[place].role == "user" else []
        if found:
            return place, *found[-1]
    return 0, "", ""


def _summary(cell: str, turns: list[Turn], since: list[Turn]) -> str:
    pictures = [_size(picture) for turn in turns for picture in turn.pictures]
    if cell == "images" and pictures:
        return f"The picture has {pictures[-1]} pixels."
    results = [turn.text for turn in since if turn.role == "tool"]
    results = results or [result for turn in since for result in re.findall(r"result-\d+", turn.text)]
    if cell in ("tools", "parallel") and results:
        return f"{DONE}: {len(results)} results: " + "; ".join(text[:60] for text in results)
    return f"The lamp of {HEARD} is seen from a long way off, by day and by night, and it always was."


def _size(picture: bytes) -> str:
    """Read the size of a PNG, or of a JPEG, if somebody has made one of it."""
    if picture[:4] == b"\x89PNG":
        return "{}x{}".format(*struct.unpack(">II", picture[16:24]))
    frame = re.search(rb"\xff[\xc0-\xc2]..\x08(..)(..)", picture, re.DOTALL)
    return f"{int.from_bytes(frame[2])}x{int.from_bytes(frame[1])}" if frame else "unknown"


def _calls(cell: str, folder: str, tools: list[Tool], done: int) -> tuple[Call, ...]:
    """Return the calls of the next step, none when all are done."""
    by_name = {tool.name: tool for tool in tools}
    if cell == "structured":
        one = next((tool for tool in tools if "degrees" in (tool.schema.get("properties") or {})), tools[-1])
        return () if done else (Call(one.name, _instance(one.schema, one.schema)),)
    step = next((name for name in by_name if re.split(r"__|-", name)[-1] == "step"), None)
    if step is not None:
        numbers = range(done + 1, min(done + 1, STEPS) + 1) if cell == "tools" else range(1, 1 if done else STEPS + 1)
        return tuple(Call(step, {"number": number}) for number in numbers)
    if cell == "tools":
        return (_edit_step(by_name, folder, done),) if done < STEPS else ()
    tool = _find(by_name, _READS if cell == "images" else _SHELLS)
    if done or tool is None:
        return ()
    uses = [{"path": f"{folder}/picture.png"}]
    if cell == "parallel":
        uses = [{"command": f"echo result-{number * 7}"} for number in range(1, STEPS + 1)]
    return tuple(_use(tool, **values) for values in uses)


def _edit_step(by_name: dict[str, Tool], folder: str, done: int) -> Call:
    """Return one of five steps that write, read, change and use a file, by tools of that kind or the shell."""
    path = f"{folder}/notes.txt"
    write, read, edit, shell = (_find(by_name, names) for names in (_WRITES, _READS, _EDITS, _SHELLS))
    patch = by_name.get("apply_patch")
    commands = (
        f"printf 'one\\ntwo\\n' > {path}",
        f"cat {path}",
        f"sed -i s/two/TWO/ {path}",
        f"wc -l < {path} > {folder}/count.txt",
        f"cat {folder}/count.txt",
    )
    if done == 0 and write is not None:
        return _use(write, path=path, content="one\ntwo\n")
    if done == 1 and read is not None:
        return _use(read, path=path)
    if done == 2 and edit is not None:
        return _use(edit, path=path, old="two", new="TWO")
    if done == 2 and patch is not None:
        text = "*** Begin Patch\n*** Update File: notes.txt\n@@\n one\n-two\n+TWO\n*** End Patch"
        return Call(patch.name, text if patch.custom else {"input": text})
    if shell is None:
        raise LookupError(f"none of {sorted(by_name)} runs a command")
    return _use(shell, command=commands[done])


def _edit_in_text(folder: str) -> str:
    """Return a change to a file in the words of agents that read it out of the text."""
    return (
        f"I write the file.\n\nnotes.txt\n```\n<<<<<<< SEARCH\n=======\none\nTWO\n>>>>>>> REPLACE\n```\n\n{DONE}.\n"
        if folder
        else f"{DONE}."
    )


def _find(by_name: dict[str, Tool], names: str) -> Tool | None:
    return next((by_name[name] for name in names.split("|") if name in by_name), None)


_ROLES = {
    "path": ("filepath", "path", "file", "filename", "absolutepath", "targetfile"),
    "content": ("content", "contents", "text", "filetext"),
    "command": ("command", "cmd", "commands"),
    "old": ("oldstring", "oldstr", "oldtext", "search"),
    "new": ("newstring", "newstr", "newtext", "replace"),
}


def _use(tool: Tool, **values: str) -> Call:
    """Call a tool with values in the fields that its schema has for them."""
    known = {field: values[role] for role, fields in _ROLES.items() if role in values for field in fields}
    found = _instance(tool.schema, tool.schema, known)
    for name, schema in (tool.schema.get("properties") or {}).items():
        value = known.get(name.lower().replace("_", ""))
        if value is not None and name not in found and schema.get("type", "string") == "string":
            found[name] = value
    return Call(tool.name, found)


def _instance(schema: dict[str, Any], root: dict[str, Any], known: dict[str, str] | None = None, name: str = "") -> Any:
    """Return a value that fits a schema: what is known by its name, else the plainest."""
    if "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].lstrip("#/").split("/"):
            found = found[part]
        return _instance(found, root, known, name)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            choices = [each for each in schema[several] if each.get("type") != "null"]
            return _instance(choices[0], root, known, name)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        fields = schema.get("properties") or {}
        return {
            each: _instance(fields[each], root, known, each) for each in schema.get("required") or () if each in fields
        }
    if kind == "array":
        return [_instance(schema.get("items") or {"type": "string"}, root, known, name)]
    text = (known or {}).get(name.lower().replace("_", ""), WEATHER["city"] if name == "city" else name or "text")
    degrees = WEATHER["degrees"]
    return {"integer": degrees, "number": degrees, "boolean": False, "null": None}.get(kind, text)
