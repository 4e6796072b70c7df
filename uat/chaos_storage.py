"""Promises 2 and 22: a database locked, a journal without room, a backup under load."""

import asyncio
import errno
import shutil
import subprocess
import sys
import time
from pathlib import Path

from chaos_gateway import integrity, rows_of, seconds_until
from chaos_kills import after
from chaos_load import Load, Sent
from chaos_stage import Stage, held, tmpfs
from chaos_verdict import Figure, errors, p99_ms

RATE = 50
BACKUP = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))"
"""The command of docs/operators.md."""
BACKUPS = 3
SETTLED_S = 2
"""Longer than the writer takes to store and remove what a process has left."""


def locked(stage: Stage, *, seconds: float) -> list[Figure]:
    return asyncio.run(_locked(stage, seconds))


async def _locked(stage: Stage, seconds: float) -> list[Figure]:
    victim = stage.victim
    await asyncio.to_thread(victim.start)
    async with Load(victim.port) as load:
        before = await load.at_rate(RATE, 2)
        with held(victim.database):
            during = await load.at_rate(RATE, seconds)
        late = await asyncio.to_thread(seconds_until, lambda: victim.count() >= len(load.sent), 60)
    figures = [
        Figure("seconds locked", seconds),
        Figure("calls while locked", len(during)),
        Figure("errors while locked", errors(during), 0),
        Figure("p99 before, ms", p99_ms(before)),
        Figure("p99 while locked, ms", p99_ms(during)),
        Figure("seconds until all rows were there", late, 10),
    ]
    return figures + await asyncio.to_thread(after, stage, load)


def full(stage: Stage, *, calls: int) -> list[Figure]:
    """Raises `NoMount`."""
    with tmpfs(stage.victim.journal, "1m"):
        return asyncio.run(_full(stage, calls))


async def _full(stage: Stage, calls: int) -> list[Figure]:
    filler = stage.victim.journal / "filler"
    await asyncio.to_thread(stage.victim.start)
    async with Load(stage.victim.port) as load:
        healthy = await load.at_rate(RATE, 1)
        figures = await _while_full(stage, load, calls)
        filler.unlink()
        freed = time.monotonic()
        served = await until(load, whole=True)
        recovered = time.monotonic() - freed if served[-1].whole else float("inf")
        later = await load.at_rate(RATE, 1)
    figures.append(Figure("seconds from free space to a served call", recovered, 5))
    figures.append(Figure("errors before and after", errors(healthy) + errors(later), 0))
    return figures + await asyncio.to_thread(after, stage, load)


async def _while_full(stage: Stage, load: Load, calls: int) -> list[Figure]:
    served = await _settled(load, stage.victim.journal / "filler")
    reached, begun = len(stage.told().asked), len(load.sent)
    await load.closed_loop(8, lambda: len(load.sent) < begun + calls)
    refused = load.sent[begun:]
    return [
        Figure("calls served until nothing made room any more", served),
        Figure("calls while full", len(refused)),
        Figure("... not answered with AUDIT_UNAVAILABLE", sum(not is_refusal(one) for one in refused), 0),
        Figure("... that reached the provider", len(stage.told().asked) - reached, 0),
    ]


async def _settled(load: Load, filler: Path) -> int:
    """Fills what becomes free: the page that the open segment ends in still takes a line or two, and on a full disk the
    journal leaves its segment, so that the writer stores and removes it, which makes room for as many calls again."""
    served, since = 0, time.monotonic()
    while time.monotonic() - since < SETTLED_S:
        fill(filler)
        if (await load.call()).whole:
            served, since = served + 1, time.monotonic()
        await asyncio.sleep(0.02)
    return served


def fill(path: Path) -> None:
    """Until not one byte more fits beside it."""
    with path.open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


async def until(load: Load, *, whole: bool, most: float = 10) -> list[Sent]:
    """Calls one by one up to the first that is answered so."""
    asked: list[Sent] = []
    began = time.monotonic()
    while not asked or (asked[-1].whole != whole and time.monotonic() - began < most):
        asked.append(await load.call())
    return asked


def is_refusal(one: Sent) -> bool:
    return (one.status, one.error) == (503, "AUDIT_UNAVAILABLE")


def backup(stage: Stage, *, seconds: float) -> list[Figure]:
    return asyncio.run(_backup(stage, seconds))


async def _backup(stage: Stage, seconds: float) -> list[Figure]:
    victim, copies = stage.victim, [stage.folder / f"backup-{n}.sqlite3" for n in range(BACKUPS)]
    await asyncio.to_thread(victim.start)
    missing = 0
    async with Load(victim.port) as load:
        loading = asyncio.create_task(load.at_rate(RATE, seconds))
        for number, copy in enumerate(copies, start=1):
            await load.reached(int(RATE * seconds * number / (BACKUPS + 1)))
            missing += await asyncio.to_thread(take_backup, victim.database, copy)
        under_load = await loading
    figures = [
        Figure("backups at 50 calls/s", len(copies)),
        Figure("calls meanwhile", len(under_load)),
        Figure("errors meanwhile", errors(under_load), 0),
        Figure("rows missing that were there when they began", missing, 0),
        Figure("integrity_check of backups not ok", sum(integrity(copy) != "ok" for copy in copies), 0),
    ]
    figures += await asyncio.to_thread(after, stage, load)
    return figures + await _restore(stage, copies[-1])


def take_backup(database: Path, copy: Path) -> int:
    """The number of rows that were there when it began and are not in the copy."""
    there = set(rows_of(database))
    subprocess.run([sys.executable, "-c", BACKUP, str(database), str(copy)], check=True)
    return len(there - set(rows_of(copy)))


async def _restore(stage: Stage, copy: Path) -> list[Figure]:
    """As docs/operators.md says: the file back in its place, the journal's folder removed, a start."""
    victim = stage.victim
    kept = {row.call_id for row in rows_of(copy)}
    shutil.copyfile(copy, victim.database)
    shutil.rmtree(victim.journal)
    await asyncio.to_thread(victim.start)
    async with Load(victim.port) as load:
        served = await load.at_rate(RATE, 1)
    victim.stop()
    there = {row.call_id for row in victim.rows()}
    wanted = kept | {one.call_id.replace("-", "") for one in served}
    return [
        Figure("restored: rows", len(kept)),
        Figure("restored: errors of calls", errors(served), 0),
        Figure("restored: rows missing or too many", len(there ^ wanted), 0),
        Figure("restored: integrity_check not ok", int(integrity(victim.database) != "ok"), 0),
        # What was signed after the backup is missing, and has to be told; nothing else is wrong.
        Figure(
            "restored: findings of audit_verify but that",
            sum(not told.startswith("restored") for told in victim.findings()),
            0,
        ),
    ]
