"""Promises 1 and 22: SIGKILL under load loses no call and harms no table; and how fast a journal is replayed."""

import asyncio
import random
import sys

from chaos_gateway import Victim, integrity, seconds_until
from chaos_load import Load
from chaos_stage import Stage, held
from chaos_verdict import Figure, errors, judge

AT_ONCE = 16
VICTIMS = ("server", "server", "server", "writer", "both")
STARTS_KILLED = 1 / 8
PROGRESS_EVERY = 20


class Killer:
    """Kills at moments that no call can know, and starts again what it killed."""

    def __init__(self, victim: Victim, load: Load, chance: random.Random) -> None:
        self._victim, self._load, self._chance = victim, load, chance
        self.done = {"server": 0, "writer": 0, "both": 0, "start": 0}
        self.damaged: list[str] = []
        self._next_told = PROGRESS_EVERY

    async def run(self, rounds: int, calls: int) -> None:
        while sum(self.done.values()) < rounds:
            more = self._chance.randint(1, max(2 * calls // rounds, 2))
            await self._load.reached(len(self._load.sent) + more)
            await asyncio.sleep(self._chance.uniform(0, 0.02))
            await self._kill(self._chance.choice(VICTIMS))
            if sum(self.done.values()) < rounds and self._chance.random() < STARTS_KILLED:
                await self._kill_a_start()
            self._tell(rounds)

    def _tell(self, rounds: int) -> None:
        done = sum(self.done.values())
        if done >= self._next_told:
            self._next_told += PROGRESS_EVERY
            print(f"{done} of {rounds} kills, {len(self._load.sent):,} calls", file=sys.stderr, flush=True)

    async def _kill(self, who: str) -> None:
        if who == "writer":
            await asyncio.to_thread(seconds_until, lambda: self._victim.writer() is not None, 10)
        else:
            self._load.serving.clear()
        self._victim.kill(server=who != "writer", writer=who != "server")
        self.done[who] += 1
        looked = asyncio.create_task(self._look())
        if who != "writer":
            await asyncio.to_thread(self._victim.start)
            self._load.serving.set()
        await looked

    async def _kill_a_start(self) -> None:
        self._load.serving.clear()
        self._victim.kill(server=True, writer=False)
        self._victim.spawn()
        await asyncio.sleep(self._chance.uniform(0, self._victim.start_took_s))
        await self._kill("both")
        self.done["both"] -= 1
        self.done["start"] += 1

    async def _look(self) -> None:
        found = await asyncio.to_thread(integrity, self._victim.database)
        if found != "ok":
            self.damaged.append(found)


def kills(stage: Stage, *, rounds: int, calls: int, seed: int) -> list[Figure]:
    return asyncio.run(_kills(stage, rounds, calls, random.Random(seed)))


async def _kills(stage: Stage, rounds: int, calls: int, chance: random.Random) -> list[Figure]:
    victim = stage.victim
    await asyncio.to_thread(victim.start)
    async with Load(victim.port) as load:
        killer = Killer(victim, load, chance)
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(killer.run(rounds, calls))
            group.create_task(load.closed_loop(AT_ONCE, lambda: not killing.done() or len(load.sent) < calls))
    deaths = sum(killer.done.values()) - killer.done["writer"]
    figures = [
        *(Figure(f"kills: {who}", count) for who, count in killer.done.items()),
        Figure("integrity_check not ok after a kill", len(killer.damaged), 0),
        Figure("answers other than 200", sum(one.status not in (0, 200) for one in load.sent), 0),
        Figure(f"calls cut off, {AT_ONCE} a dead server at most", errors(load.sent), AT_ONCE * deaths),
    ]
    return figures + await asyncio.to_thread(after, stage, load)


def after(stage: Stage, load: Load) -> list[Figure]:
    """The server is stopped and the journal drained; then what is there is held against what happened."""
    victim = stage.victim
    code = victim.stop()
    left = len(victim.segments())
    if left:
        victim.drain()
    return [
        Figure("exit code of the stop", code or 0, 0),
        Figure("segments that the stop left in the journal", left),
        *judge(load.sent, stage.told(), victim.rows(), victim.summed_up()),
        Figure("files left in the journal's folder", len(victim.left_over()), 0),
        Figure("integrity_check not ok at the end", int(integrity(victim.database) != "ok"), 0),
        Figure("findings of audit_verify", len(victim.findings()), 0),
    ]


def replay(stage: Stage, *, calls: int) -> list[Figure]:
    return asyncio.run(_replay(stage, calls))


async def _replay(stage: Stage, calls: int) -> list[Figure]:
    """The database is locked while the calls are made, so that at the kill all of them are in the journal only."""
    victim = stage.victim
    await asyncio.to_thread(victim.start)
    async with Load(victim.port) as load:
        with held(victim.database):
            loading = asyncio.create_task(load.closed_loop(AT_ONCE, lambda: len(load.sent) < calls))
            await load.reached(calls)
            victim.kill(server=True, writer=True)
            await loading
        stored, left = victim.count(), victim.segments()
        await asyncio.to_thread(victim.start)
        began = await asyncio.to_thread(seconds_until, victim.writes, 60)
        busy = victim.writer_cpu_s()
        # A segment is removed when all of it is stored. Whoever asked the database would hold up the writer.
        took = await asyncio.to_thread(seconds_until, lambda: not any(path.exists() for path in left), 60)
        busy = victim.writer_cpu_s() - busy
    figures = [
        Figure("rows stored before the restart", stored, 0),
        Figure("seconds from listening to a writer at work", began),
        Figure("seconds from then to all of them stored", took, 5),
        Figure("seconds of processor time of the writer meanwhile", busy),
    ]
    return figures + await asyncio.to_thread(after, stage, load)
