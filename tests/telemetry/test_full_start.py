"""The machine goes down with a full journal: the next start empties it by itself."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import provider_entry, running_gateway
from fake_provider import FakeProvider
from recorded import call, outcome
from scraped import wait_until

from telemetry.journal import Journal, JournalError

COUNT = "from telemetry.models import RequestLog; print(RequestLog.objects.filter(config_version=3).count())"


@pytest.fixture
def mebibyte(tmp_path: Path) -> Iterator[Path]:
    """The journal's folder, on a disk of its own."""
    disk = tmp_path / "var" / "journal"
    disk.mkdir(parents=True, mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs a mount: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def test_a_start_with_a_full_journal_refuses_calls_until_there_is_room(
    tmp_path: Path, mebibyte: Path, fake: FakeProvider
) -> None:
    with running_gateway(
        tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}, start=False
    ) as gw:
        filler = fill(mebibyte)
        gw.start()
        assert (gw.chat().status_code, fake.hits_for("echo")) == (503, [])
        audit = next(part for part in gw.get("/health").json()["components"] if part["name"] == "audit")
        assert audit["status"] == "failed"
        (line,) = gw.wait_for_lines("no room")
        assert line["level"] == "error"
        files = len(os.listdir(mebibyte))
        filler.unlink()
        room = time.monotonic()
        wait_until(lambda: gw.chat().status_code == 200, seconds=5)
        print(f"promise 2: served again {time.monotonic() - room:.1f} s after there was room")
        assert len(os.listdir(mebibyte)) <= files + 4
        assert [row["outcome"] for row in gw.wait_for_records(1, outcome="ok")] == ["ok"]
        gw.stop()


def test_calls_that_fill_the_disk_at_the_start_are_stored_and_make_room(
    tmp_path: Path, mebibyte: Path, fake: FakeProvider
) -> None:
    with running_gateway(
        tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}, start=False
    ) as gw:
        journal = Journal(mebibyte)
        waiting = 0
        with suppress(JournalError):
            while True:
                ended = outcome(call(waiting), trace_id="t" * 200)
                journal.outcome(ended)
                waiting += 1
        journal.close()
        fill(mebibyte)
        gw.start()
        wait_until(lambda: gw.chat().status_code == 200, seconds=5)
        found = gw.manage("shell", "-v", "0", "-c", COUNT)
        assert int(found.stdout) == waiting > 1_000
        gw.stop()
