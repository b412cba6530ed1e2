"""Canaries: secrets and prompts that errors of providers, handlers and tools quote are in nothing that is written."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
import structlog

from organism import Bounds, Context, Organism, Text, agent
from organism.billing.delivery import EventSource, Export, exporting
from organism.billing.jsonl import JsonLines
from organism.billing.period import Period, report_period
from organism.billing.reports.html_report import render_html
from organism.billing.reports.markdown_report import render_markdown
from organism.errors import RejectedError, UncertainError
from organism.llm.requests import CompletionRequest
from organism.router.call import RouterSettings
from organism.router.limits.circuit import CircuitSettings
from organism.router.limits.provider_settings import ProviderSettings
from organism.stores.sqlite import SqliteJournal
from organism.telemetry.logs import LogSettings, set_up
from organism.testing import ScriptedProvider
from organism.text.credentials import header_secret
from tests.text.test_redaction import WRITINGS

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]

KEY = 'sk/canary+0123 "of" the=key&7'
PROMPT = "canary of a diagnosis"
SAYS = [(name, kind) for name in WRITINGS for kind in ("refused", "uncertain", "bug", "handler", "group", "gateway")]


def hits(text: str, *, prompt: bool) -> list[str]:
    """Return what of the key, in any writing, or of the prompt stands in a text."""
    written = {WRITINGS[name](KEY).strip() for name in WRITINGS}
    found = [form for form in written if form in text]
    return found + ([PROMPT] if prompt and PROMPT in text else [])


@agent()
async def head(message: Text, ctx: Context) -> Text:
    """Fail in the way it was told to, quoting what it was sent."""
    kind, _, said = message.text.partition("\n")
    if kind == "handler":
        raise ValueError(said)
    if kind == "group":
        raise ExceptionGroup(said, [OSError(said), KeyError(said)])
    return Text((await ctx.llm.complete(message.text, max_output_tokens=8)).text)


def answer(request: CompletionRequest) -> str:
    kind, _, said = str(request.messages[-1].content).partition("\n")
    if kind == "refused":
        raise RejectedError("up", said, status=400)
    if kind == "uncertain":
        raise UncertainError("up", said, status=502)
    raise RuntimeError(said)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    set_up(LogSettings(format="json", level="debug"), (), stream)
    yield stream
    structlog.reset_defaults()


async def test_no_canary_is_in_anything_that_is_written(served: Served, tmp_path: Path, logged: io.StringIO) -> None:
    """In 27 writings, by providers, handlers and bugs: no file, log, event, answer, metric or report holds the key.

    And what people say is in no line of the log and no answer to who may only read, though all these errors quote it.
    """
    header_secret("UP_KEY", KEY)
    journal = SqliteJournal(tmp_path / "journal.db")
    organism = Organism(
        [head],
        models={"main": "up/m"},
        providers={"up": ScriptedProvider(answer)},
        provider_kinds={"up": "local"},
        bounds=Bounds(attempts=1, restarts=10_000),
        router=RouterSettings(attempts=1, providers={"up": ProviderSettings(circuit=CircuitSettings(failures=10_000))}),
        journal=journal,
    )
    seen: dict[str, str] = {}
    public: dict[str, str] = {}
    async with served(organism=organism) as (_, client):
        made = await client.post("/v1/tokens", json={"name": "reader", "scopes": ["read"]})
        reader = {"authorization": f"Bearer {made.json()['secret']}"}
        origin = EventSource(organism.journal, organism.usage, organism.control.cursors, lambda: "s")
        async with exporting([Export(name="file", sink=JsonLines(tmp_path / "events.jsonl"))], origin):
            for number, (name, kind) in enumerate(SAYS):
                said = f"{kind}\nit was {PROMPT} with {WRITINGS[name](KEY)} {PROMPT}"
                if name == "cut off":
                    said = f"{kind}\nit was {PROMPT} with {WRITINGS[name](KEY)}"
                if kind == "gateway":
                    body = {"model": "main", "messages": [{"role": "user", "content": said}], "max_tokens": 8}
                    refused = await client.post("/v1/chat/completions", json=body)
                    assert refused.status_code >= 400
                    seen[f"gateway, {name}"] = refused.text
                    continue
                thread = f"t{number}"
                # What an agent is sent is kept as it was: here it only says how to fail, and the errors quote it.
                assert (await client.post("/v1/threads", json={"text": said, "thread_id": thread})).status_code == 202
            with anyio.fail_after(60):
                while organism.statistics().threads > 1:  # noqa: ASYNC110 - but for the gateway's own
                    await anyio.sleep(0.02)
            await organism.journal.commit()
            await anyio.sleep(0.3)
        paths = ["/v1/events/page?limit=1000", "/v1/dead-letters", "/v1/agents", "/v1/status", "/metrics", "/v1/usage"]
        paths += [
            "/v1/threads?state=failed&state=terminated&limit=500",
            "/v1/threads/t0",
            "/v1/approvals",
            "/v1/budgets",
            *(f"/v1/threads/t{number}/timeline" for number, (_, kind) in enumerate(SAYS[:12]) if kind != "gateway"),
            "/v1/budgets/t0/story",
            "/v1/exporters/set-aside",
            "/v1/usage/series?measure=refusals",
        ]
        for path in paths:
            told = await client.get(path, headers=reader)
            assert told.status_code == 200, path
            public[path] = told.text
            asked = await client.get(path + ("&" if "?" in path else "?") + "content=true", headers=reader)
            public[f"{path}, asked for content"] = asked.text
        seen["events for operators"] = (await client.get("/v1/events/page?limit=1000&content=true")).text
        letters = (await client.get("/v1/dead-letters?content=true")).json()
        seen["letters for operators"] = str([one["detail"] for one in letters])
        events = await organism.events_after("", 1000)
    public["log"] = logged.getvalue()
    public["exported"] = (tmp_path / "events.jsonl").read_text()
    report = report_period(events, Period())
    public["reports"] = render_html(report) + render_markdown(report)
    seen["events"] = msgspec.json.encode(events).decode()

    for where, text in {**seen, **public}.items():
        assert not hits(text, prompt=where in public), where
    assert PROMPT in seen["letters for operators"], "operators see the text, without the key"
    assert "answered 400" in public["/v1/events/page?limit=1000"], "readers see which error it was"
