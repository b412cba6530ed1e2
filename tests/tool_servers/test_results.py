"""Results, tools and messages of MCP servers are read for their meaning; nothing that a model could use is lost."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from organism.llm.requests import ImagePart, TextPart
from organism.tool_servers.messages import UNREADABLE, LineReader, id_of_head, read_messages
from organism.tool_servers.results import IMAGES_MAX, output_schemas, plain_tools, read_result

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x03"
DATA = base64.b64encode(PNG).decode()


def block(kind: str, **fields: object) -> dict[str, Any]:
    return {"type": kind, **fields}


def text_of(result: dict[str, Any]) -> str:
    return "\n".join(
        part.text if isinstance(part, TextPart) else f"<{part.media_type}>" for part in read_result(result).parts
    )


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"content": [block("text", text="a"), block("text", text="b")]}, "a\nb"),
        ({"content": "plain"}, "plain"),
        ({"content": ["a", "b"]}, "a\nb"),
        ({"content": {"type": "text", "text": "one"}}, "one"),
        ({"content": [{"text": "no kind"}]}, "no kind"),
        ({"content": [block("text", text=None), block("text", text=5)]}, "\n5"),
        ({"content": [block("text", text={"a": 1})]}, '{"a":1}'),
        ({"content": []}, "[the tool has returned nothing]"),
        ({"content": None}, "[the tool has returned nothing]"),
        ({}, "[the tool has returned nothing]"),
        ({"content": [], "isError": True}, "the tool failed and did not say why"),
        ({"structuredContent": {"n": 1}}, '{"n":1}'),
        ({"content": [], "structuredContent": [1, 2]}, "[1,2]"),
        ({"content": [], "structuredContent": 0}, "0"),
        ({"toolResult": {"n": 1}}, '{"n":1}'),
        ({"output": "of some other form"}, '{"output":"of some other form"}'),
        ({"content": [block("text", text="3 rows")], "structuredContent": {"rows": [1]}}, '3 rows\n{"rows":[1]}'),
        ({"content": [block("text", text='{"n": 1}')], "structuredContent": {"n": 1}}, '{"n": 1}'),
        ({"content": [block("text", text="3")], "structuredContent": {"result": "3"}}, "3"),
        ({"content": [block("text", text="3")], "structuredContent": {"result": 3}}, "3"),
        (
            {"content": [block("text", text="1"), block("text", text="2")], "structuredContent": {"result": [1, 2]}},
            "1\n2",
        ),
        ({"content": [block("text", text="x")], "structuredContent": None}, "x"),
        ({"content": [block("audio", data=DATA, mimeType="audio/wav")]}, "<image/png>"),
        ({"content": [block("audio", data="AAAA", mimeType="audio/wav")]}, "[audio, audio/wav of 3 bytes left out]"),
        ({"content": [block("image", data="AAAA", mimeType="image/tiff")]}, "[image, image/tiff of 3 bytes left out]"),
        (
            {"content": [block("image", data="no base64!", mimeType="image/png")]},
            "[image, image/png left out: its data cannot be read]",
        ),
        ({"content": [block("image")]}, "[image left out: its data cannot be read]"),
        ({"content": [block("image", data=base64.b64encode(b"<svg/>").decode(), mimeType="image/svg+xml")]}, "<svg/>"),
        ({"content": [block("resource", resource={"uri": "f:/a", "text": "in it"})]}, "in it"),
        ({"content": [block("resource", resource={"uri": "f:/a", "blob": DATA})]}, "<image/png>"),
        (
            {
                "content": [
                    block("resource", resource={"uri": "f:/a", "blob": "eyJhIjoxfQ==", "mimeType": "application/json"})
                ]
            },
            '{"a":1}',
        ),
        ({"content": [block("resource", resource={"uri": "f:/a", "blob": "AAAA"})]}, "[f:/a of 3 bytes left out]"),
        ({"content": [block("resource", resource=None)]}, "[a resource]"),
        (
            {"content": [block("resource_link", uri="f:/a", name="A", description="all of it")]},
            "[link: f:/a A: all of it]",
        ),
        ({"content": [block("hologram", depth=3)]}, '[{"type":"hologram","depth":3}]'),
        ({"content": [7, None]}, "7\nnull"),
    ],
)
def test_result_says_what_it_means(result: dict[str, Any], told: str) -> None:
    """Each kind of content, in its place or out of it, is shown, or named where it cannot be."""
    assert text_of(result) == told


@pytest.mark.parametrize(
    "data",
    [
        DATA,
        DATA.rstrip("="),
        f"data:image/png;base64,{DATA}",
        "\n".join(DATA[i : i + 8] for i in range(0, len(DATA), 8)),
        base64.urlsafe_b64encode(PNG).decode(),
    ],
)
def test_picture_is_found_however_it_is_encoded(data: str) -> None:
    """Its media type is that of its bytes: with a wrong one a vendor would refuse the whole request."""
    (part,) = read_result({"content": [block("image", data=data, mimeType="image/jpeg")]}).parts

    assert part == ImagePart("image/png", PNG)


@pytest.mark.parametrize(("said", "is_error"), [(True, True), ("true", True), (1, True), (None, False), ("no", False)])
def test_error_is_one_however_it_is_said(said: object, *, is_error: bool) -> None:
    """Whether a tool has failed is read from what the server plainly means."""
    assert read_result({"content": [], "isError": said}).is_error == is_error


def test_result_of_very_many_parts_is_bounded() -> None:
    """However many parts a result has, few are looked at, and texts make one."""
    many = read_result({"content": [block("image", data=DATA)] * 100 + [block("text", text="x")] * 5000})

    assert sum(isinstance(part, ImagePart) for part in many.parts) == IMAGES_MAX
    assert len(many.parts) == IMAGES_MAX + 1
    assert "more parts left out" in str(many.parts[-1])


def test_tools_are_taken_one_by_one() -> None:
    """A tool that is wrong costs itself; what it leaves out takes any arguments."""
    page = {
        "tools": [
            {"name": "a", "inputSchema": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            {"name": "b", "inputSchema": True, "title": "B", "outputSchema": {"type": "object"}},
            {"name": 5},
            None,
            {"name": "c", "input_schema": {"properties": None}, "outputSchema": None},
        ],
        "nextCursor": "",
    }

    assert [tool["name"] for tool in plain_tools(page)["tools"]] == ["a", "b", "c"]
    assert plain_tools(page)["tools"][1]["description"] == "B"
    assert all(tool["inputSchema"]["type"] == "object" for tool in plain_tools(page)["tools"])
    assert "nextCursor" not in plain_tools(page)
    assert output_schemas(page) == {"b": {"type": "object"}}
    assert plain_tools({"tools": None}) == {"tools": []}


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_lines_are_whole_however_they_come(size: int) -> None:
    """Cut anywhere, in the middle of a character too, lines are the same."""
    lines = ['{"jsonrpc": "2.0", "method": "ä\u2028b"}', "", "x" * 300, '{"id": 1, "result": {}}']
    raw = "\n".join([*lines, ""]).encode()
    reader = LineReader(10_000)

    found = [line for at in range(0, len(raw), size) for line in reader.feed(raw[at : at + size])]

    assert [line.decode() for line, overlong in found if not overlong] == lines


@pytest.mark.parametrize("size", [10, 4096, 1_000_000])
def test_line_that_is_too_long_is_told_at_once_and_skipped(size: int) -> None:
    """Of an overlong line its head is given out, once, when the bound is passed; the lines after it are whole."""
    raw = b'{"jsonrpc":"2.0","id":7,"result":{"content":"' + b"x" * 50_000 + b'"}}\n{"id":8,"result":{}}\n'
    reader = LineReader(1000)

    def fed() -> Iterator[tuple[bytes, bool]]:
        for at in range(0, len(raw), size):
            yield from reader.feed(raw[at : at + size])

    (head, overlong), (line, whole) = fed()

    assert (overlong, whole) == (True, False)
    assert id_of_head(head) == 7
    assert json.loads(line)["id"] == 8


@pytest.mark.parametrize(
    "line",
    [b"", b"[info] it goes well", b"{", b"[]", b"[1]", b"{}", b"null", b'{"id": null, "result": {}}', b"[" * 100_000],
)
def test_what_is_no_message_is_none(line: bytes) -> None:
    """Lines of a log, broken JSON and answers to nothing are passed over."""
    assert list(read_messages(line)) == []


ANSWER = b'{"jsonrpc":"2.0","id":3,"result":{"content":"fine","v":%b}}'


@pytest.mark.parametrize(
    ("line", "value"),
    [
        pytest.param(ANSWER % b'"cut \\ud83d"', "cut ?", id="half a character, as JavaScript escapes one"),
        pytest.param(ANSWER % b"NaN", "NaN", id="not a number, as Python writes it"),
        pytest.param(ANSWER % b"-Infinity", "-Infinity", id="infinity, as Python writes it"),
        pytest.param(ANSWER % b"1234567890123456789", 1234567890123456789, id="more digits than a double has"),
        pytest.param(b"\xef\xbb\xbf" + ANSWER % b"1", 1, id="a byte order mark, as .NET writes one"),
        pytest.param(ANSWER % b'"\xff"', "\ufffd", id="bytes that are no text"),
    ],
)
def test_answer_that_is_not_quite_json_is_an_answer(line: bytes, value: object) -> None:
    """What programs write in place of JSON is read: a call does not wait in vain for an answer that has come."""
    (message,) = read_messages(line)
    assert message["result"] == {"content": "fine", "v": value}


@pytest.mark.parametrize("line", [ANSWER[:40], ANSWER % b"{'a': 1}", ANSWER % b"01", (ANSWER % (b"[" * 5000))[:5000]])
def test_answer_that_cannot_be_read_fails_its_call_at_once(line: bytes) -> None:
    """An answer that breaks off, or is garbled, says so to the call that waits for it, if it says which that is."""
    (message,) = read_messages(line)
    assert (message["id"], message["error"]["code"]) == (3, UNREADABLE)
    assert "cannot be read" in message["error"]["message"]


@pytest.mark.parametrize("head", [b'{"id":"a\rb","x":', b'{"id":"\xff","x":', b'{"id":"\xed\xa0\x80","x":'])
def test_head_whose_id_is_no_text_is_nobodys(head: bytes) -> None:
    """What stands where an id belongs ends nothing: the connection goes on."""
    assert id_of_head(head) is None
    assert list(LineReader(10).feed(head)) == [(head, True)]
