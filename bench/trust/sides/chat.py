"""OpenAI's chat completions over HTTP, for the sides that speak it themselves."""

import json
from typing import Any

import httpx2

from bench.trust.sides.program import MODEL, Message


def asked(messages: list[Message], *, stream: bool, cap: int) -> dict[str, Any]:
    """Return the body of a request."""
    body: dict[str, Any] = {"model": MODEL, "messages": messages, "max_tokens": cap, "stream": stream}
    return body | ({"stream_options": {"include_usage": True}} if stream else {})


async def answered(
    client: httpx2.AsyncClient, url: str, body: dict[str, Any]
) -> tuple[str, dict[str, Any] | None, httpx2.Headers]:
    """Ask, and return the text, the usage and the headers of the answer.

    Raises:
        httpx2.HTTPError: If there is none.
    """
    if not body["stream"]:
        response = await client.post(url, json=body)
        _check(response)
        page = response.json()
        return page["choices"][0]["message"]["content"] or "", page.get("usage"), response.headers
    text, usage = "", None
    async with client.stream("POST", url, json=body) as response:
        if response.status_code >= 400:
            await response.aread()
        _check(response)
        async for line in response.aiter_lines():
            if not line.startswith("data:") or line.endswith("[DONE]"):
                continue
            event = json.loads(line[5:])
            if "error" in event:
                raise httpx2.RemoteProtocolError(str(event["error"])[:200])
            usage = event.get("usage") or usage
            text += "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))
        return text, usage, response.headers


def _check(response: httpx2.Response) -> None:
    if response.status_code >= 400:
        raise httpx2.HTTPStatusError(response.text[:500], request=response.request, response=response)
