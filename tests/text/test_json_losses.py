"""What JSON would silently make something else of is found before it is kept or sent."""

import math
from typing import Any

import msgspec
import pytest

from organism import Context, Message, Organism, Text, agent
from organism.messages import PayloadError, sendable
from organism.runtime.handlers.handler_outcome import HandlerOutputError, encode_state
from organism.testing import run
from organism.text.json_losses import loss


class Facts(Message, frozen=True):
    """A message of fields that say little of what they take."""

    anything: Any = None
    number: float | None = None
    raw: bytes = b""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [1.0, math.nan], {"deep": ({"er": math.inf},)}])
def test_a_number_that_is_none_is_found_wherever_it_stands(value: object) -> None:
    """JSON says ``null`` for it, and the recipient would find nothing there."""
    assert "is no number that JSON can say" in (loss(value, msgspec.json.decode(msgspec.json.encode(value))) or "")


@pytest.mark.parametrize("value", [b"x", [bytearray(b"x")], {"output": memoryview(b"x")}])
def test_bytes_that_would_be_read_as_text_are_found(value: object) -> None:
    """They come back as letters of base64, which nobody has written."""
    assert "bytes" in (loss(value, msgspec.json.decode(msgspec.json.encode(value))) or "")


@pytest.mark.parametrize("value", [None, 1.5, "x", [1, None], {"a": (1, 2)}, {1: 2}, {"a": {1, 2}}, {"nothing": None}])
def test_what_comes_back_as_it_was_is_no_loss(value: object) -> None:
    """Tuples are lists in JSON, and keys are text; that is as usual."""
    assert loss(value, msgspec.json.decode(msgspec.json.encode(value))) is None


@pytest.mark.parametrize(
    "message",
    [Text(b"hello"), Facts(anything={"score": math.nan}), Facts(number=math.inf), Facts(anything=b"x")],  # type: ignore[arg-type]
)
def test_no_message_is_sent_as_another(message: Message) -> None:
    """The handler hears of it in its own line, and not its recipient by a field that is empty."""
    with pytest.raises(PayloadError, match=r"no number that JSON can say|bytes where text is read"):
        sendable(message, 1_000_000)


def test_what_fits_its_field_is_sent_as_it_is() -> None:
    """Bytes in a field for bytes, and a missing number, are what they say."""
    message = Facts(anything=[1, "x"], number=None, raw=b"\x00\xff")
    assert sendable(message, 1_000_000)[0] == message


def test_what_is_json_already_is_no_loss() -> None:
    """A `msgspec.Raw` is taken over as it is, beside a field that comes back as another type, and in a state too."""

    class Relayed(Message, frozen=True):
        """A message with JSON of somebody else in it."""

        body: msgspec.Raw
        rest: Any = None

    copy, _ = sendable(Relayed(msgspec.Raw(b"[1]"), (1, 2)), 1_000_000)
    assert (bytes(copy.body), copy.rest) == (b"[1]", [1, 2])  # type: ignore[attr-defined]
    assert encode_state("clerk", {"body": msgspec.Raw(b"[1]"), "rest": None}) == b'{"body":[1],"rest":null}'


@pytest.mark.parametrize("state", [{"key": b"x"}, {"key": b"x", "other": None}, {"deep": [{"key": b"x"}]}])
def test_bytes_in_a_state_are_refused_whatever_stands_beside_them(state: dict[str, Any]) -> None:
    """The next message would find base64 in their place."""
    with pytest.raises(HandlerOutputError, match="bytes where text is read"):
        encode_state("clerk", state)


def test_an_agent_is_told_of_a_number_that_its_state_would_lose() -> None:
    """The next message of the thread would find ``None`` in its place."""

    @agent
    async def scorer(message: Text, ctx: Context) -> Text:
        ctx.state["score"] = math.nan if message.text == "bad" else None
        return Text("kept")

    @run
    async def _() -> None:
        async with Organism([scorer]) as organism:
            assert (await organism.run("good")).text == "kept"
            result = await organism.run("bad")
            assert "nan is no number that JSON can say" in (result.reason or "")
