"""What nobody would send on purpose, generated from the OpenAPI document: nothing is answered with a 5xx."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, cast

import anyio
import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.thorough

TOKEN = "the-first-token-of-the-tests-of-the-api"
HEADERS = {"authorization": f"Bearer {TOKEN}"}
LEFT_OUT = {("/v1/events", "get"), ("/v1/stop", "post"), ("/v1/drain", "post"), ("/v1/events/page", "get")}
"""What does not come to an end by itself, or ends what is tested; these have tests of their own."""


@contextmanager
def served_elsewhere(served: Any) -> Iterator[str]:
    """Serve on another OS thread, for clients that block."""
    address: list[str] = []
    ready, done = Event(), Event()

    async def serve() -> None:
        async with served() as (_, client):
            address.append(str(client.base_url).rstrip("/"))
            ready.set()
            await anyio.to_thread.run_sync(done.wait)

    server = Thread(target=anyio.run, args=(serve,))
    server.start()
    assert ready.wait(20)
    try:
        yield address[0]
    finally:
        done.set()
        server.join(20)


def test_no_request_that_can_be_generated_is_answered_with_5xx(served: Any) -> None:
    """For every operation: valid requests, and requests that are wrong in every way the document lets one think of."""
    with served_elsewhere(served) as url, httpx2.Client(base_url=url, headers=HEADERS, timeout=60) as client:
        schema = schemathesis.openapi.from_dict(client.get("/v1/schema/openapi.json").json())
        operations = [
            operation
            for result in cast("list[Any]", schema.get_all_operations())
            if ((operation := result.ok()).path, operation.method) not in LEFT_OUT
        ]
        assert len(operations) >= 25
        answered: dict[int, int] = {}

        @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(st.data())
        def send(data: st.DataObject) -> None:
            operation = data.draw(st.sampled_from(operations))
            modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
            case = data.draw(operation.as_strategy(generation_mode=data.draw(st.sampled_from(modes))))
            sent = case.as_transport_kwargs(base_url=url)
            try:
                request = client.build_request(
                    case.method,
                    sent["url"],
                    params=sent.get("params"),
                    json=sent.get("json"),
                    content=sent.get("data"),
                    cookies=None,
                )
            except (ValueError, TypeError, httpx2.InvalidURL):
                return  # it cannot even be written down
            answer = client.send(request)
            answered[answer.status_code] = answered.get(answer.status_code, 0) + 1
            assert answer.status_code < 500, (case.method, sent, answer.text)
            if answer.is_error:
                assert {"code", "detail", "request_id"} <= answer.json().keys()

        send()

    assert len([status for status in answered if status < 300]) >= 1, answered
    assert len(answered) >= 4, answered
