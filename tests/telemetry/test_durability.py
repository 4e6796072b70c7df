"""Off, interval, always: when an append reaches the disk, seen from what is synced and when."""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from recorded import intent, outcome, segments

from telemetry import durability
from telemetry.durability import INTERVAL_S, AuditSync, Durability
from telemetry.journal import Journal, JournalError


class Disk:
    """Counts syncs of regular files; holds them up while `held`, fails while `broken`."""

    def __init__(self) -> None:
        self.synced: list[int] = []
        self.failures: list[OSError] = []
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Semaphore(0)
        self.broken = False

    def sync(self, fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            return
        self.begun.release()
        assert self.go.wait(10)
        if self.broken:
            raise OSError(5, "Input/output error")
        self.synced.append(os.fstat(fd).st_size)

    def journal(self, folder: Path, mode: AuditSync, **more: int) -> Journal:
        durability = Durability(mode, on_failure=self.failures.append, sync=self.sync)
        return Journal(folder, durability=durability, **more)


async def until(found: Callable[[], bool]) -> None:
    """What the disk said reaches the event loop by itself."""
    async with asyncio.timeout(5):
        while not found():
            await asyncio.sleep(0.005)


async def test_always_waits_for_the_disk_before_a_call_goes_on(tmp_path: Path) -> None:
    disk = Disk()
    disk.go.clear()
    journal = disk.journal(tmp_path, "always")
    journal.intent(intent())
    waiting = asyncio.ensure_future(journal.durable())
    await asyncio.to_thread(disk.begun.acquire)
    assert (journal.waits, waiting.done(), disk.synced) == (True, False, [])
    disk.go.set()
    await waiting
    assert disk.synced == [segments(tmp_path)[0].stat().st_size]
    journal.close()


async def test_calls_that_wait_together_share_one_sync(tmp_path: Path) -> None:
    disk = Disk()
    disk.go.clear()
    journal = disk.journal(tmp_path, "always")
    journal.intent(intent("first"))
    first = asyncio.ensure_future(journal.durable())
    await asyncio.to_thread(disk.begun.acquire)
    others = []
    for n in range(50):
        journal.intent(intent(f"c-{n}"))
        others.append(asyncio.ensure_future(journal.durable()))
    disk.go.set()
    await asyncio.gather(first, *others)
    print(f"promise 1: 51 calls waited, {len(disk.synced)} syncs")
    assert len(disk.synced) == 2
    journal.close()


async def test_a_disk_that_fails_refuses_the_call(tmp_path: Path) -> None:
    disk = Disk()
    disk.broken = True
    journal = disk.journal(tmp_path, "always")
    journal.intent(intent())
    with pytest.raises(JournalError, match="Input/output error"):
        await journal.durable()
    assert journal.failing
    assert len(disk.failures) == 1
    disk.broken = False
    journal.outcome(outcome())
    await journal.durable()
    assert not journal.failing
    journal.close()


async def test_who_appended_while_a_sync_failed_is_not_told_by_the_next_one_that_all_is_well(
    tmp_path: Path,
) -> None:
    """The system tells of an error once, and what it lost may be theirs."""
    disk = Disk()
    disk.broken = True
    disk.go.clear()
    journal = disk.journal(tmp_path, "always")
    journal.intent(intent("c-1"))
    first = asyncio.ensure_future(journal.durable())
    await asyncio.to_thread(disk.begun.acquire)
    journal.intent(intent("c-2"))
    second = asyncio.ensure_future(journal.durable())
    await asyncio.sleep(0)
    disk.go.set()
    told = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(error) for error in told] == [JournalError, JournalError]
    journal.close()


async def test_a_sync_that_failed_leaves_one_segment_however_many_waited(tmp_path: Path) -> None:
    disk = Disk()
    disk.broken = True
    journal = disk.journal(tmp_path, "always")

    async def ended(n: int) -> None:
        journal.announce(outcome(f"c-{n}"))
        with pytest.raises(JournalError):
            await journal.durable()
        journal.outcome(outcome(f"c-{n}", outcome="AUDIT_UNAVAILABLE"))

    await asyncio.gather(*(ended(n) for n in range(100)))
    assert len(segments(tmp_path)) <= 3
    journal.close()


async def test_a_disk_that_does_not_answer_is_told_before_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "LONG_S", 0.0)
    disk = Disk()
    disk.go.clear()
    journal = disk.journal(tmp_path, "interval")
    journal.intent(intent())
    await asyncio.to_thread(disk.begun.acquire)
    await until(lambda: journal.is_unsynced)
    disk.go.set()
    await until(lambda: not journal.is_unsynced)
    journal.close()


async def test_nobody_is_kept_waiting_by_a_disk_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "LONG_S", 0.1)
    disk = Disk()
    disk.go.clear()
    journal = disk.journal(tmp_path, "always")
    journal.intent(intent("c-1"))
    under_way = asyncio.ensure_future(journal.durable())
    await asyncio.to_thread(disk.begun.acquire)
    journal.intent(intent("c-2"))
    behind = asyncio.ensure_future(journal.durable())
    async with asyncio.timeout(2):
        told = await asyncio.gather(under_way, behind, return_exceptions=True)
        assert [str(error) for error in told] == [
            "The journal cannot be brought to the disk: the disk does not answer"
        ] * 2
        journal.intent(intent("c-3"))
        with pytest.raises(JournalError, match="does not answer"):
            await journal.durable()
    disk.go.set()
    await until(lambda: not journal.failing)
    await until(lambda: len(disk.synced) >= 2)  # what came meanwhile is brought to the disk too
    journal.intent(intent("c-4"))
    await journal.durable()
    journal.close()


async def test_interval_syncs_by_itself_and_only_when_something_was_appended(tmp_path: Path) -> None:
    disk = Disk()
    journal = disk.journal(tmp_path, "interval")
    assert not journal.waits
    for n in range(10):
        journal.intent(intent(f"c-{n}"))
    await asyncio.to_thread(disk.begun.acquire, timeout=5)
    await asyncio.sleep(0.1)
    assert disk.synced == [segments(tmp_path)[0].stat().st_size], "once for all ten, and not again"
    journal.close()


async def test_off_never_syncs(tmp_path: Path) -> None:
    disk = Disk()
    journal = disk.journal(tmp_path, "off", segment_bytes=1)
    for n in range(5):
        journal.intent(intent(f"c-{n}"))
    await asyncio.sleep(0.05)
    journal.close()
    assert disk.synced == []


@pytest.mark.parametrize("mode", ["interval", "always"])
async def test_a_full_segment_is_brought_to_the_disk_too(tmp_path: Path, mode: AuditSync) -> None:
    disk = Disk()
    journal = disk.journal(tmp_path, mode, segment_bytes=1)
    for n in range(3):
        journal.intent(intent(f"c-{n}"))
    if journal.waits:
        await journal.durable()
        assert len(disk.synced) == 3
    before = len(os.listdir("/proc/self/fd"))
    journal.close()
    assert len(disk.synced) >= 3
    assert sorted(set(disk.synced)) == sorted({path.stat().st_size for path in segments(tmp_path)})
    assert len(os.listdir("/proc/self/fd")) < before, "no descriptor is left open"


async def test_what_is_appended_during_a_sync_is_synced_after_it_though_nothing_more_comes(
    tmp_path: Path,
) -> None:
    disk = Disk()
    disk.go.clear()
    journal = disk.journal(tmp_path, "interval")
    journal.intent(intent())
    await asyncio.to_thread(disk.begun.acquire)
    journal.outcome(outcome())
    await asyncio.sleep(2 * INTERVAL_S)  # its timer goes off while the first sync is still under way
    disk.go.set()
    assert await asyncio.to_thread(disk.begun.acquire, timeout=5)
    journal.close()
    assert disk.synced[-1] == segments(tmp_path)[0].stat().st_size


async def test_without_a_descriptor_left_the_call_is_refused_and_the_next_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_descriptors(fd: int) -> int:
        raise OSError(24, "Too many open files")

    disk = Disk()
    journal = disk.journal(tmp_path, "always")
    journal.intent(intent())
    with monkeypatch.context() as patch:
        patch.setattr("telemetry.durability.os.dup", out_of_descriptors)
        with pytest.raises(JournalError, match="Too many open files"):
            await asyncio.wait_for(journal.durable(), 5)
    journal.outcome(outcome())
    await asyncio.wait_for(journal.durable(), 5)
    assert disk.synced == [path.stat().st_size for path in segments(tmp_path)]
    journal.close()


async def test_a_segment_that_could_not_be_begun_leaves_none_behind_the_one_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer takes the last one but one for left, and removes it once all in it is stored."""
    real = os.open

    def without_folders(path: str | Path, flags: int, *more: int) -> int:
        if flags & os.O_DIRECTORY:
            raise OSError(24, "Too many open files")
        return real(path, flags, *more)

    journal = Disk().journal(tmp_path, "interval", segment_s=0)
    journal.intent(intent("c-1"))
    before = segments(tmp_path)
    monkeypatch.setattr(os, "open", without_folders)
    with pytest.raises(JournalError, match="folder cannot be opened"):
        journal.tend()
    monkeypatch.undo()
    assert segments(tmp_path) == before
    journal.tend()
    assert len(segments(tmp_path)) == 2
    journal.close()


async def test_after_a_failed_sync_a_new_segment_begins_and_it_is_told_until_one_goes_well(
    tmp_path: Path,
) -> None:
    """In `interval` nobody waits: calls go on, and a power cut would lose them."""
    disk = Disk()
    disk.broken = True
    journal = disk.journal(tmp_path, "interval")
    journal.intent(intent())
    await until(lambda: journal.is_unsynced)
    assert not journal.failing
    journal.tend()
    assert len(segments(tmp_path)) == 2
    await until(lambda: len(disk.failures) >= 2)
    journal.tend()
    assert (journal.is_unsynced, len(segments(tmp_path))) == (True, 2), "an empty one is left as it is"
    disk.broken = False
    journal.tend()
    await until(lambda: not journal.is_unsynced)
    journal.close()


async def test_a_disk_that_is_well_again_is_found_so_though_no_call_comes(tmp_path: Path) -> None:
    disk = Disk()
    disk.broken = True
    journal = disk.journal(tmp_path, "always")
    journal.intent(intent())
    with pytest.raises(JournalError):
        await journal.durable()
    disk.broken = False
    journal.tend()
    await until(lambda: not journal.failing)
    journal.close()
