"""Fields that are passed over are in the log, for whoever wonders why one had no effect; once, not with each call."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from structlog.testing import capture_logs

from organism.formats import server_formats
from organism.gateway.passed_over import SAID_MAX, PassedOver

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
HI = {"model": "main", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "metadata": {"user_id": "u"}}


async def test_unknown_field_is_said_once_for_each_key(served: Serve) -> None:
    """Two calls with a field of a newer client are answered, and make one line."""
    async with served() as gateway:
        with capture_logs() as logs:
            for _ in range(2):
                answer = await gateway.http.post("/v1/messages", json={**HI, "mood": "mild"})
                assert answer.status_code == 200
        assert [log["field"] for log in logs if log["event"] == "field_passed_over"] == ["mood"]


def test_another_client_is_told_too_and_strangers_words_are_bounded() -> None:
    """However many names a client makes up, there is an end to what is kept and said of them."""
    said, messages = PassedOver(), server_formats.MESSAGES
    with capture_logs() as logs:
        for client in ("a", "b"):
            said.note(messages, client, {**HI, "x" * 500: 1})
        said.note(messages, "a", {str(number): 1 for number in range(SAID_MAX * 2)})
        said.note(server_formats.CHAT, "a", {"refused": 1})
    assert [(log["client"], len(log["field"])) for log in logs[:2]] == [("a", 64), ("b", 64)]
    assert len(logs) == SAID_MAX
