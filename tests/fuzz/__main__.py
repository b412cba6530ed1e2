"""Read made-up input for as long as there is time: ``python -m tests.fuzz --minutes 5 --json found.json``."""

import argparse
import logging
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import anyio
import structlog

from organism.stores.sqlite import SqliteJournal
from organism.testing.postgres_server import PostgresServer, postgres_binaries
from tests.fuzz import (
    answer_checks,
    answer_streams,
    client_bodies,
    config_files,
    forwarded_headers,
    http_requests,
    journals,
    tool_messages,
    wire_answers,
)
from tests.fuzz.campaign import Check, Outcome, campaign
from tests.mutate.trial import keep_json

BATCH = 200
"""Inputs of one kind before those of the next."""


def _at_once(faults: Callable[[random.Random], Iterator[str]]) -> Check:
    async def check(chance: random.Random) -> list[str]:
        return list(faults(chance))

    return check


def _answer(name: str, chance: random.Random) -> Iterator[str]:
    answer = answer_streams.some_answer(name, chance)
    return answer_checks.faults_of(answer, answer_streams.pieces(answer.raw, chance))


def _body(path: str, chance: random.Random) -> Iterator[str]:
    return client_bodies.faults_of(client_bodies.some_body(path, chance))


def _events(chance: random.Random) -> Iterator[str]:
    raw = answer_streams.some_answer(chance.choice(("chat", "messages")), chance).raw
    return wire_answers.event_faults(raw[:6000], chance)


def kinds(folder: Path, filled: Path, http: Check) -> dict[str, Check]:
    """Return what is checked, by names.

    Args:
        folder: Where files may be written.
        filled: A journal with something in it.
        http: Checks a request to a served organism.
    """

    async def journal(chance: random.Random) -> list[str]:
        path = folder / f"{chance.randrange(2**60)}.db"
        with anyio.fail_after(60):
            faults = await journals.faults_of(filled, path, chance)
        journals.remove(path)
        return faults

    found = {f"answers: {name}": _at_once(partial(_answer, name)) for name in answer_streams.DRAFTED}
    found |= {f"requests: {path}": _at_once(partial(_body, path)) for path in client_bodies.GOOD}
    return found | {
        "HTTP responses": _at_once(
            lambda chance: wire_answers.response_faults(wire_answers.some_response(chance), chance)
        ),
        "event streams": _at_once(_events),
        "errors of providers": _at_once(lambda chance: wire_answers.error_faults(*wire_answers.some_error(chance))),
        "pictures": _at_once(wire_answers.image_faults),
        "configurations": _at_once(lambda chance: config_files.faults_of(config_files.some_config(chance), folder)),
        "MCP messages": _at_once(lambda chance: tool_messages.faults_of(tool_messages.some_lines(chance), chance)),
        "requests to every path": http,
        "headers between nodes": _at_once(forwarded_headers.faults_of),
        "journals": journal,
    }


@asynccontextmanager
async def in_postgres() -> AsyncIterator[dict[str, Check]]:
    """Yield what is checked with a PostgreSQL server, of its own; nothing where its programs are not installed."""
    if postgres_binaries() is None:
        yield {}
        return
    from organism.stores.postgres.postgres_journal import PostgresJournal
    from tests.fuzz.postgres_journals import Damaged

    with PostgresServer() as server:
        url = server.database()
        await journals.fill(PostgresJournal(url))
        with closing(Damaged(url)) as damaged:

            async def check(chance: random.Random) -> list[str]:
                with anyio.fail_after(60):
                    return await damaged.faults_of(chance)

            yield {"journals in PostgreSQL": check}


def figures(seed: int, outcomes: Mapping[str, Outcome]) -> dict[str, object]:
    """Return what is written for others to read."""
    found = {
        name: {"inputs": each.examples, "faults": len(each.found), "slowest_s": round(each.slowest_s, 3)}
        for name, each in outcomes.items()
    }
    return {"seed": seed, "kinds": found}


async def searched(
    first: int, minutes: float, only: str, keep: Callable[[Mapping[str, Outcome]], object]
) -> dict[str, Outcome]:
    """Check inputs of all kinds in turn until the time is up, each kind at least once; ``keep`` has what is known."""
    outcomes: dict[str, Outcome] = {}
    end_s = time.monotonic() + minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        filled = Path(folder) / "filled.db"
        await journals.fill(SqliteJournal(filled))
        async with http_requests.served() as http, in_postgres() as more:
            checks = {name: check for name, check in (kinds(Path(folder), filled, http) | more).items() if only in name}
            while True:
                for name, check in checks.items():
                    most = BATCH // 10 if name.startswith("journals") else BATCH
                    outcome = await campaign(name, check, first, most)
                    known = outcomes.setdefault(name, Outcome(found=[]))
                    known.examples += outcome.examples
                    known.slowest_s = max(known.slowest_s, outcome.slowest_s)
                    known.found = [*known.found, *outcome.found]
                    keep(outcomes)
                    if time.monotonic() > end_s and len(outcomes) == len(checks):
                        return outcomes
                first += 1


def main() -> int:
    """Search, say what was found, and return whether that is anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long to search")
    parser.add_argument("--seed", type=int, default=1, help="where chance begins")
    parser.add_argument("--only", default="", help="search only what has this in its name")
    parser.add_argument("--json", type=Path, help="write the figures to this file, as they come")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    def keep(outcomes: Mapping[str, Outcome]) -> None:
        keep_json(options.json, figures(options.seed, outcomes))

    outcomes = anyio.run(partial(searched, options.seed, options.minutes, options.only, keep))
    for name, outcome in outcomes.items():
        sys.stdout.write(
            f"{name:36} {outcome.examples:8,} inputs, {len(outcome.found)} faults, slowest {outcome.slowest_s:.2f} s\n"
        )
    for outcome in outcomes.values():
        if outcome.found:
            sys.stdout.write(f"\n{outcome.told}\n")
    return 1 if any(outcome.found for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
