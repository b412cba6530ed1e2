"""Messages over several lines are put together; what is none never hides one that follows."""

import json

import pytest

from organism.tool_servers.messages import read_messages
from organism.tool_servers.split_messages import SplitMessages

ANSWER = {
    "jsonrpc": "2.0",
    "id": 3,
    "result": {
        "content": [{"type": "text", "text": 'a "}" {\n[ in text'}],
        "structuredContent": {"rows": [{"id": 1, "n": []}, {"id": 2, "n": {}}]},
    },
}
OTHER = {"jsonrpc": "2.0", "id": 4, "result": {"content": []}}
LINE = json.dumps(OTHER)


def read(text: str, most: int = 10_000) -> list[object]:
    split = SplitMessages(most)
    lines = [whole for line in text.encode().split(b"\n") for whole in split.feed(line)]
    return [message for line in (*lines, *split.end()) for message in read_messages(line)]


@pytest.mark.parametrize("indent", [0, 1, 2, 4, "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_indented_message_is_one(indent: int | str, end: str) -> None:
    """Whatever it is indented by, with the line ends of any system, between messages on one line each."""
    text = json.dumps(ANSWER, indent=indent).replace("\n", end)
    assert read(f"{LINE}\n{text}\n{LINE}\n") == [OTHER, ANSWER, OTHER]
    listed = json.dumps([ANSWER, OTHER], indent=indent).replace("\n", end)
    assert read(f"{listed}\n{LINE}") == [ANSWER, OTHER, OTHER]


def test_message_may_begin_on_its_first_line_and_hold_objects_on_one() -> None:
    """Each printer of JSON breaks lines elsewhere; an object with an id in the middle is no message."""
    text = json.dumps(ANSWER, indent=2).replace("{\n  ", "{ ", 1)
    assert read(text) == [ANSWER]
    text = text.replace('{\n          "id": 1,\n          "n": []\n        }', '{"id": 1, "n": []}')
    assert '\n        {"id": 1, "n": []},\n' in text
    assert read(text) == [ANSWER]


def test_row_of_a_result_is_no_answer_to_another_call() -> None:
    """A row with an id and a result of its own, on a line of its own, does not answer the call of that number."""
    row = {"id": 1, "result": "passed"}
    answer = ANSWER | {"result": {"structuredContent": {"rows": [row]}}}
    text = json.dumps(answer, indent=2)
    whole = json.dumps(row, indent=2).replace("\n", "\n" + " " * 8)
    assert whole in text
    assert read(text.replace(whole, json.dumps(row)) + f"\n{LINE}") == [answer, OTHER]


@pytest.mark.parametrize(
    "noise",
    ["{", "[", "{\n", "[info] it listens on:", "{'python': [", '{"level": "info",', "{ starting:", "{\n{\n[", "[ {"],
)
def test_what_is_no_message_hides_none(noise: str) -> None:
    """Lines of a log that look like the beginning of one end where a message comes."""
    assert read(f"{noise}\n{LINE}\n{LINE}") == [OTHER, OTHER]


def test_answer_that_breaks_off_fails_once_another_comes() -> None:
    """Who waits for it is told; the one that follows is read."""
    begun = '{"jsonrpc": "2.0", "id": 3, "result": {\n  "content": ['
    first, second = read(f"{begun}\n{LINE}")
    assert isinstance(first, dict)
    assert (first["id"], "error" in first) == (3, True)
    assert second == OTHER


def test_message_without_end_is_not_kept() -> None:
    """No more is kept of it than a message may have, and what follows is read."""
    assert read("{\n" + '"a": 1,\n' * 100 + LINE, most=50) == [OTHER]
