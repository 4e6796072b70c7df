"""A gateway to be hurt: started, killed with or without its writer, and its SQLite record read from outside."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import bench

LOCK_WAIT_S = 60


STAY = frozenset({"writer.lock", "progress.json", "standing.json"})
"""What the writer keeps beside the journal: who it is, how far it came, and what it found wrong."""


class Row(NamedTuple):
    call_id: str
    request_id: str
    outcome: str


class Victim:
    """`folder`: its installation. A kill takes processes at once; `stop` drains."""

    def __init__(self, folder: Path, stub_port: int) -> None:
        self.folder, self.port = folder, bench.free_port()
        self.env = bench.prepare_gateway(stub_port, folder, self.port)
        self.database = folder / "var" / "llm-caller.sqlite3"
        self.journal = folder / "var" / "journal"
        self.process: subprocess.Popen[bytes] | None = None
        self.start_took_s = 0.0
        self._writers: set[int] = set()

    def start(self) -> None:
        """Returns when it listens."""
        began = time.monotonic()
        self.process = bench.start(bench.SERVE, self.env, self.port)
        self.start_took_s = time.monotonic() - began

    def spawn(self) -> None:
        """Returns at once."""
        self.process = bench.spawn(bench.SERVE, self.env)

    def writer(self) -> int | None:
        """The process id of its journal's writer, when one runs."""
        if self.process is None:
            return None
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            try:
                if b"write_journal" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
            except (FileNotFoundError, ProcessLookupError):  # it has just ended
                continue
        return None

    def writes(self) -> bool:
        """Whether a writer has taken up its work. Asked of the kernel, because trying would take the lock."""
        lock = self.journal / "writer.lock"
        return lock.exists() and f":{lock.stat().st_ino} " in Path("/proc/locks").read_text()

    def writer_cpu_s(self) -> float:
        pid = self.writer()
        return bench.cpu_seconds(pid) if pid is not None else 0.0

    def kill(self, *, server: bool, writer: bool) -> None:
        pid = self.writer()
        if pid is not None:
            self._writers.add(pid)
            if writer:
                os.kill(pid, signal.SIGKILL)
        if server and self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int | None:
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process = None
        return code

    def segments(self) -> list[Path]:
        return list(self.journal.glob("*.spool"))

    def drain(self) -> None:
        """What a next start would do: stores what is left in the journal."""
        command = [sys.executable, "manage.py", "write_journal"]
        subprocess.run(command, cwd=bench.ROOT, env=self.env, check=True)

    def findings(self) -> list[str]:
        """What `audit_verify` says, a line each; behind them it tells how many rows were verified, and with what."""
        command = [sys.executable, "manage.py", "audit_verify"]
        done = subprocess.run(command, cwd=bench.ROOT, env=self.env, capture_output=True, text=True)
        lines = done.stdout.splitlines()
        told = next((n for n, line in enumerate(lines) if " rows verified in " in line), None)
        assert told is not None, done.stderr
        return lines[:told]

    def close(self) -> None:
        """Nothing runs on: a writer whose server was killed ends by itself, but later."""
        self.kill(server=True, writer=True)
        mine = f"LLM_CALLER_STATE_DIR={self.folder / 'var'}".encode()
        for pid in self._writers:
            try:
                if mine in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    os.kill(pid, signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                continue

    def rows(self) -> list[Row]:
        return rows_of(self.database)

    def count(self) -> int:
        return self._number("SELECT COUNT(*) FROM telemetry_requestlog")

    def summed_up(self) -> int:
        """The calls that the roll-ups tell of."""
        asked = "SELECT COALESCE(SUM(calls), 0) FROM telemetry_callrollup"
        return self._number(f"{asked} WHERE period = 'day' AND dimension = 'all'")

    def _number(self, asked: str) -> int:
        with opened(self.database) as connection:
            return int(connection.execute(asked).fetchone()[0])

    def left_over(self) -> list[str]:
        """What a journal that is drained and has no owner should not hold."""
        return sorted(path.name for path in self.journal.iterdir() if path.name not in STAY)


@contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """With the one function of Django's that a constraint of ours calls."""
    with closing(sqlite3.connect(database, timeout=LOCK_WAIT_S, isolation_level=None)) as connection:
        connection.create_function("REGEXP", 2, lambda pattern, text: bool(re.search(pattern, str(text))))
        yield connection


def rows_of(database: Path) -> list[Row]:
    asked = "SELECT call_id, request_id, outcome FROM telemetry_requestlog"
    with opened(database) as connection:
        return [Row(*row) for row in connection.execute(asked)]


def integrity(database: Path) -> str:
    """`ok`, or the first thing that SQLite finds wrong."""
    with opened(database) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def seconds_until(true: Callable[[], bool], most: float) -> float:
    """How long it took to become true; infinite when it did not in time."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > most:
            return float("inf")
        time.sleep(0.02)
    return time.monotonic() - began
