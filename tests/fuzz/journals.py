"""Journals in which something else stands than any organism has written, with checksums that fit it."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import anyio
import apsw
import msgspec

from organism import Context, Limits, Organism, Text, agent
from organism.errors import OrganismError
from organism.journal import Journal, JournalError
from organism.stores.batch import GENESIS, chain_hash, checksum
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider
from tests.fuzz.junk import broken, written


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    """Pay, and leave something of every kind behind."""
    await ctx.llm.complete(message.text, max_output_tokens=5)
    ctx.state["said"] = message.text
    match message.text:
        case "ask":
            await ctx.approval("may I?")
        case "grant":
            await ctx.request_budget(tokens=50, reason="more")
        case "spawn":
            await ctx.spawn("writer", Text("ask"), limits=Limits(tokens=90), budget="carved")
        case "later":
            ctx.send("writer", Text("ask"), delay_s=3600)
        case "charge":
            await ctx.charge(usd="0.5", what="search")
        case "fail":
            raise ValueError("as it was told to")
        case _:
            pass
    return Text("done")


def an_organism(journal: Journal) -> Organism:
    """Return one that goes on with a journal."""
    return Organism(
        [writer],
        models={"main": "up/m"},
        providers={"up": ScriptedProvider(["some words"])},
        provider_kinds={"up": "local"},
        limits=Limits(tokens=10_000),
        journal=journal,
    )


async def fill(journal: Journal) -> None:
    """Write a journal with threads that wait: for a person, for budget, for a time and for a child."""
    async with an_organism(journal) as organism:
        for kind in ("ask", "grant", "spawn", "later", "charge", "fail", "plain"):
            limits = Limits(tokens=60) if kind == "grant" else None
            await organism.open_thread(kind, thread_id=f"t-{kind}", limits=limits, labels={"team": kind})
        for _ in range(100):
            await anyio.sleep(0.002)


def remove(path: Path) -> None:
    """Remove a journal with its logs."""
    for left in path.parent.glob(f"{path.name}*"):
        left.unlink()


def change(path: Path, chance: random.Random) -> str:
    """Put something else in place of pieces, events or entries; return what, for people."""
    connection = apsw.Connection(str(path))
    told: list[str] = []
    for _ in range(chance.choice((1, 1, 2, 3))):
        table = chance.choice(("pieces", "pieces", "pieces", "events", "entries"))
        told.append(_CHANGES[table](connection, chance))
    connection.close()
    return "; ".join(told)


def changed(body: str, chance: random.Random) -> str:
    """Return a body of JSON with something wrong."""
    value = broken(msgspec.json.decode(body), chance)
    text = written(value, chance).encode("utf-8", "replace").decode()
    return text if chance.randrange(8) else "null"


def _change_piece(connection: apsw.Connection, chance: random.Random) -> str:
    rows = connection.execute("SELECT seq, key, thread_id, body FROM pieces").fetchall()
    seq, key, thread_id, body = chance.choice(rows)
    body = changed(body, chance)
    if not _is_kept(connection, body):
        return ""
    if chance.randrange(8) == 0:
        key = f"{key.partition(':')[0]}:{chance.choice(('', 'x', '0', key[-1:]))}{chance.randrange(99)}"
    if chance.randrange(12) == 0:
        thread_id = chance.choice(("", "t-ask", "nowhere"))
    connection.execute(
        "UPDATE OR IGNORE pieces SET key = ?, thread_id = ?, body = ?, checksum = ? WHERE seq = ?",
        (key, thread_id, body, checksum(key, thread_id, body), seq),
    )
    connection.execute("UPDATE head SET pieces_sum = (SELECT coalesce(sum(checksum), 0) FROM pieces)")
    return f"piece {key} of {thread_id}: {body[:400]}"


def _change_event(connection: apsw.Connection, chance: random.Random) -> str:
    rows = connection.execute("SELECT id, body FROM events").fetchall()
    number, body = chance.choice(rows)
    body = changed(body, chance)
    if _is_kept(connection, body):
        connection.execute(
            "UPDATE events SET body = ?, checksum = ? WHERE id = ?", (body, checksum(str(number), body), number)
        )
    return f"event {number}: {body[:400]}"


def _change_entry(connection: apsw.Connection, chance: random.Random) -> str:
    rows = connection.execute("SELECT seq, body FROM entries ORDER BY seq").fetchall()
    place = chance.randrange(len(rows))
    body = changed(rows[place][1], chance)
    if not _is_kept(connection, body):
        return ""
    last = GENESIS
    for number, (seq, kept) in enumerate(rows):
        text = body if number == place else kept
        last = chain_hash(last, text)
        connection.execute("UPDATE entries SET body = ?, hash = ? WHERE seq = ?", (text, last, seq))
    connection.execute("UPDATE head SET hash = ?", (last,))
    return f"entry {place + 1}: {body[:400]}"


def _is_kept(connection: apsw.Connection, body: str) -> bool:
    """Whether SQLite takes it for JSON at all."""
    return bool(connection.execute("SELECT json_valid(?)", (body,)).fetchall()[0][0])


_CHANGES = {"pieces": _change_piece, "events": _change_event, "entries": _change_entry}


async def faults_of(filled: Path, path: Path, chance: random.Random) -> list[str]:
    """Say what is wrong with how a changed journal is opened: it is refused in words, or it works."""
    shutil.copyfile(filled, path)
    told = change(path, chance)
    return await faults_of_opening(SqliteJournal(path), told)


async def faults_of_opening(journal: Journal, told: str) -> list[str]:
    """Say what is wrong with how a changed journal is opened and gone on with.

    Args:
        journal: It.
        told: What was changed, for people.
    """
    try:
        async with an_organism(journal) as organism:
            await organism.open_thread("plain")
            await anyio.sleep(0.01)
            list(_looked_at(organism))
    except (OrganismError, JournalError):
        return []
    except Exception as error:  # noqa: BLE001 - whatever it is, nobody expected it
        import traceback

        return [f"{told}\n{''.join(traceback.format_exception(error))[-3000:]}"]
    return []


def _looked_at(organism: Organism) -> Iterator[object]:
    queries = organism.control.queries
    yield queries.budget("organism")
    yield organism.statistics()
