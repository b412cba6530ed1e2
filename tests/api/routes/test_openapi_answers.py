"""The OpenAPI document says of every operation what its parameters mean and how it says no."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import organism.api
from organism.api.problems import ERROR_STATUS, MEDIA_TYPE
from organism.api.routes.openapi_answers import ERROR_ANSWERS

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]

ENDLESS = {("get", "/v1/events")}
ENDING = {("post", "/v1/stop"), ("post", "/v1/drain")}


async def test_every_operation_says_its_errors_and_its_parameters(served: Served) -> None:
    """Whoever writes a client reads in one place what may come back, and no parameter is without a word."""
    async with served() as (_, client):
        document = (await client.get("/v1/schema/openapi.json")).json()
    said = str(document)
    assert not [code for _, code in ERROR_STATUS.values() if code not in said]
    problem = document["components"]["schemas"]["Problem"]["properties"]
    assert {"status", "code", "title", "detail", "request_id"} <= problem.keys()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert [each["name"] for each in operation.get("parameters", ()) if not each["description"]] == []
            errors = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
            assert {"421", "431", "500"} <= errors.keys()
            assert path.startswith("/v1/") == ("401" in errors)
            assert operation["x-scope"] in (
                {"read", "send", "operate", "admin"} if path.startswith("/v1/") else {"none"}
            )
            for answer in errors.values():
                assert answer["content"][MEDIA_TYPE]["schema"] == {"$ref": "#/components/schemas/Problem"}


async def test_fields_of_bodies_and_answers_are_explained(served: Served) -> None:
    """What a field means stands beside it, in bodies, in answers and in what they are made of."""
    async with served() as (_, client):
        schemas = (await client.get("/v1/schema/openapi.json")).json()["components"]["schemas"]
    meant = {name: schema.get("properties", {}) for name, schema in schemas.items()}
    assert meant["OpenThreadBody"]["thread_id"]["description"] == "A name for the thread."
    assert meant["OpenThreadBody"]["to"]["description"] == "The agent it is for; the entry agent unless given."
    assert meant["UsageTotals"]["unpriced_calls"]["description"].endswith("with any, the cost is a lower bound.")


def test_no_error_is_missing_from_the_table() -> None:
    """Every code that stands anywhere in the API has its status and its meaning in the reference."""
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(organism.api.__file__).parent.rglob("*.py"))
    written = set(re.findall(r'code="([a-z_]+)"', sources))
    assert len(written) > 20
    assert written - {answer.code for answer in ERROR_ANSWERS} == set()


async def test_what_is_answered_is_in_the_document(served: Served) -> None:
    """Strangers, misspelt parameters, unknown names, bodies that are none: each no is one that was announced."""
    async with served() as (_, client):
        document = (await client.get("/v1/schema/openapi.json")).json()
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                address = path.replace("{", "none-").replace("}", "")
                tries: list[dict[str, Any]] = [
                    {"headers": {"authorization": "Bearer nobody"}},
                    {"params": {"zzz": "1"}},
                    {"headers": {"host": "evil.example"}},
                    {"headers": {"sec-fetch-site": "cross-site"}},
                ]
                if (method, path) not in ENDLESS | ENDING:
                    tries += [{}, {"params": {"limit": "x", "by": "x", "since": "x"}}]
                if "requestBody" in operation:
                    tries += [{"content": b"{", "headers": {"content-type": "application/json"}}, {"content": b"x"}]
                    tries += [{"json": {"zzz": 1}}, {"json": []}]
                for request in tries:
                    answer = await client.request(method.upper(), address, **request)
                    assert str(answer.status_code) in operation["responses"], (method, path, request, answer.text)
