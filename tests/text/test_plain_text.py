"""Nothing that is printed moves a terminal, forges a line, or is run by a spreadsheet."""

import csv
import io
import json

import pytest

from organism.text.plain_text import counted, csv_lines, lines_of, one_line, plain, visible_json


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 threads were open"),
        (1, "1 thread was open"),
        (2, "2 threads were open"),
        (1000, "1,000 threads were open"),
    ],
)
def test_how_many_there_are_is_said_as_people_say_it(number: int, text: str) -> None:
    """One is one, and its verb agrees."""
    assert counted(number, "thread was open", "threads were open") == text
    assert [counted(-1, "call", signed=True), counted(2, "call", signed=True)] == ["-1 call", "+2 calls"]


UNSEEN = {
    "escape": "\x1b[2J",
    "operating system command": "\x1b]52;c;cm0=\x07",
    "control sequence in one character": "\x9b31m",
    "device control string": "\x90q\x9c",
    "backspace": "safe\b\b\b\bevil",
    "delete": "\x7f",
    "null": "\x00",
    "bell": "\x07",
    "return": "shown\rforged",
    "shift out": "\x0e",
    "right to left override": "\u202egnp.exe",
    "isolates": "\u2066a\u2069",
    "marks of direction": "\u200e\u200f\u061c",
    "zero width space": "pass\u200bword",
    "byte order mark": "\ufeff",
    "word joiner": "\u2060",
    "soft hyphen": "\u00ad",
    "tags": "\U000e0041\U000e007f",
    "half a character": "\ud800",
    "annotation": "\ufff9x\ufffb",
}
BREAKS = {
    "line feed": "\n",
    "return and line feed": "\r\n",
    "vertical tab": "\x0b",
    "form feed": "\x0c",
    "next line": "\x85",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "file separator": "\x1c",
}


@pytest.mark.parametrize("text", UNSEEN.values(), ids=UNSEEN)
def test_what_a_terminal_could_obey_is_replaced(text: str) -> None:
    """Sequences, directions and what nobody sees are shown as replacement characters, and can be written anywhere."""
    for made in (plain(text), one_line(text)):
        assert all(one.isprintable() or one in "\n\t" for one in made)
        assert "\N{REPLACEMENT CHARACTER}" in made
        made.encode()


@pytest.mark.parametrize("text", BREAKS.values(), ids=BREAKS)
def test_no_break_begins_a_line_of_its_own(text: str) -> None:
    """Of every kind of line break one line comes out; only a line feed is one where lines are meant."""
    assert len(one_line(f"a{text}th_forged").splitlines()) == 1
    assert len(plain(f"a{text}b").splitlines()) == (2 if text.endswith("\n") else 1)


@pytest.mark.parametrize("text", BREAKS.values(), ids=BREAKS)
def test_value_with_a_strange_break_is_one_line(text: str) -> None:
    """Lines end where editors and protocols end them, and nowhere else."""
    ends = text in ("\n", "\r", "\r\n")
    assert lines_of(f"NAME=a{text}b") == (["NAME=a", "b"] if ends else [f"NAME=a{text}b"])


@pytest.mark.parametrize("text", ["Grüße", "日本語", "مرحبا", "👩\u200d💻", "क\u094d\u200dष", "a b", "tab\there"])
def test_writing_is_left_alone(text: str) -> None:
    """Letters of every script, and what joins them, stay as they are."""
    assert plain(text) == text


@pytest.mark.parametrize("text", [*UNSEEN.values(), *BREAKS.values()], ids=[*UNSEEN, *BREAKS])
def test_json_keeps_its_values_and_loses_what_a_terminal_obeys(text: str) -> None:
    """JSON says the same as before, in letters that are harmless to print."""
    if "\ud800" in text:
        return  # JSON in UTF-8 cannot hold it
    written = visible_json(json.dumps({text: [text]}, ensure_ascii=False))

    assert json.loads(written) == {text: [text]}
    assert written.isprintable()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")', "\n=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    """What a spreadsheet would run is text there; numbers stay numbers."""
    ((cell, number),) = csv.reader(io.StringIO(csv_lines([[text, -5]])))

    assert cell.startswith("'")
    assert number == "-5"
