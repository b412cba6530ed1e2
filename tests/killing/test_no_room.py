"""A daemon on a disk without room: it refuses at once, lets no call out, and goes on when there is room."""

import resource
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import httpx2
import pytest

from organism.daemon.state_folder import read_address
from organism.testing import ScriptedHTTPProvider
from organism.testing.audit import audit_journal
from tests.killing.cell import PATIENCE_S
from tests.killing.configuration import CONFIG
from tests.killing.lives import Midwife

pytestmark = [pytest.mark.anyio, pytest.mark.killing]

REFUSED_WITHIN_S = 0.1

FILE_MAX = 16_384
"""Bytes: less than the smallest commit takes in the write-ahead log, folded away or not, more than the daemon logs."""


async def until_closed(client: httpx2.AsyncClient, thread_id: str) -> None:
    with anyio.fail_after(PATIENCE_S):
        seen = await client.get(f"/v1/threads/{thread_id}")
        while seen.status_code == 200 and not seen.json()["thread"]["closed_ns"]:
            await anyio.sleep(0.05)
            seen = await client.get(f"/v1/threads/{thread_id}")
    assert seen.status_code in (200, 404), seen.text


async def test_daemon_without_room_refuses_at_once_and_goes_on_when_there_is_some(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """While files cannot grow, nothing is accepted and no call leaves; then everything is as if it had not been."""
    async with ScriptedHTTPProvider() as provider, Midwife(warm=True) as midwife:
        text = CONFIG.format(url=provider.url, crew=Path(__file__).parent)
        (tmp_path / "organism.yaml").write_text(text, encoding="utf-8")
        life = await midwife.start(tmp_path, "daemon", "--port", "0", "--log-format", "json", FAKE_API_KEY="none")
        state = tmp_path / ".organism"
        with anyio.fail_after(PATIENCE_S):
            while (address := read_address(state)) is None:  # noqa: ASYNC110 - another process
                await anyio.sleep(0.02)
        token = (state / "token").read_text(encoding="ascii").strip()
        headers = {"authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(base_url=address.url, headers=headers, timeout=PATIENCE_S) as client:
            first = await client.post("/v1/threads", json={"thread_id": "first", "text": "0 plain"})
            assert first.status_code == 202
            await until_closed(client, "first")
            calls = len(provider.requests)

            resource.prlimit(life.pid, resource.RLIMIT_FSIZE, (FILE_MAX, resource.RLIM_INFINITY))
            took = []
            for number in range(5):
                began = time.monotonic()
                refused = await client.post("/v1/threads", json={"thread_id": f"full-{number}", "text": "0 plain"})
                took.append(time.monotonic() - began)
                assert refused.status_code >= 400, refused.text
            record_property("refused in s", round(min(took), 4))
            record_property("calls while full", len(provider.requests) - calls)
            assert min(took) < REFUSED_WITHIN_S, took
            assert len(provider.requests) == calls, "no call may leave that cannot be recorded"

            resource.prlimit(life.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            later = await client.post("/v1/threads", json={"thread_id": "later", "text": "0 plain"})
            assert later.status_code == 202, later.text
            await until_closed(client, "later")
            taken = [(await client.get(f"/v1/threads/full-{number}")).status_code for number in range(5)]
            # Only the request that met the full disk first had been taken by then; no other may be carried out late.
            assert taken[1:] == [404] * 4, taken
        life.kill(15)
        with anyio.fail_after(PATIENCE_S):
            assert await life.wait() == 0

    print(f"\nrefused in {', '.join(f'{each * 1000:.0f}' for each in took)} ms: {refused.status_code} {refused.text}")  # noqa: T201
    audit = audit_journal(state / "journal.db")
    assert audit.findings == []
    assert set(audit.closed) >= {"first", "later"}
