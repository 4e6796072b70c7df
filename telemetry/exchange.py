"""One truthful answer from several server processes that share a state folder.

Each process keeps what it counted in a file `OWNER.state`, and holds a lock on `OWNER.lock` as long as it lives.
Whoever is asked adds up all files. What a dead process counted is moved to `ended.state`, which names it: a total
never goes back, and nothing is counted twice, wherever a process is killed in between. Nothing is told that is not
in a file, so that a process that is killed takes back nothing. The first process that starts where none runs
begins anew.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from telemetry.families import BUCKETS_MS
from telemetry.journal import is_alive
from telemetry.metrics import State, added, bound
from telemetry.replaced_file import replace_file

ENDED = "ended.state"
REMEMBERED = 1_000
"""Names of dead processes whose counts have been moved. One is needed only until its file has been deleted."""


class Ended(msgspec.Struct, kw_only=True):
    """What dead processes counted, and which they were."""

    total: State
    owners: list[str] = []


class Merged(NamedTuple):
    """`total`: everything counted by all, dead ones included. `live`: what each running process told, for gauges."""

    total: State
    live: list[State]


_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(State).decode
_decode_ended = msgspec.msgpack.Decoder(Ended).decode


class Exchange:
    """One per process. May be used from any thread, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._owner = f"{time.time_ns() // 1_000_000:015d}-{os.getpid()}"
        self._lock_fd = -1

    def start(self) -> None:
        """Raises `OSError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._folder / f"{self._owner}.lock"
        with self._alone(wait=True):
            if not any(is_alive(other) for other in self._folder.glob("*.lock")):
                for stale in (*self._folder.glob("*.state*"), *self._folder.glob("*.lock")):
                    stale.unlink(missing_ok=True)
            self._lock_fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX)

    def others(self) -> int:
        """How many other processes run."""
        return sum(is_alive(self._folder / f"{owner}.lock") for owner in self._owners())

    def publish(self, state: State) -> None:
        """What this process counted until now. Raises `OSError`."""
        if self._lock_fd < 0 or not (self._folder / f"{self._owner}.lock").exists():
            self.stop()
            self.start()
        replace_file(self._folder / f"{self._owner}.state", _encode(state))

    def merged(self, own: State) -> Merged:
        """`own`: what was published last."""
        # The files of processes first, then the one of the dead: what is moved meanwhile is in both, never in none.
        found = dict(self._states())
        found[self._owner] = own
        ended = self._ended()
        live = [
            state
            for owner, state in found.items()
            if owner == self._owner or is_alive(self._folder / f"{owner}.lock")
        ]
        counted = [state for owner, state in found.items() if owner not in ended.owners]
        return Merged(added([ended.total, *counted]), live)

    def bury(self) -> None:
        """Moves the counts of processes that have died. Raises `OSError`."""
        if not self._dead():
            return
        with self._alone(wait=False) as mine:
            if mine:
                # Again: one that was about to lock its file lives by now, and another's counts have been moved.
                self._move(self._dead())

    def stop(self) -> None:
        """From here on others take this process for dead; what it published counts on."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _move(self, dead: list[str]) -> None:
        ended = self._ended()
        states = {owner: self._state(owner) for owner in dead if owner not in ended.owners}
        total = added([ended.total, *(state for state in states.values() if state is not None)])
        total.latencies = {}
        bound(total)
        moved = Ended(total=total, owners=[*ended.owners, *states][-REMEMBERED:])
        replace_file(self._folder / ENDED, _encode(moved))
        for owner in dead:
            (self._folder / f"{owner}.state").unlink(missing_ok=True)
            for half_written in self._folder.glob(f".{owner}.state.*"):
                half_written.unlink(missing_ok=True)
            (self._folder / f"{owner}.lock").unlink(missing_ok=True)

    def _dead(self) -> list[str]:
        return [owner for owner in self._owners() if not is_alive(self._folder / f"{owner}.lock")]

    def _owners(self) -> list[str]:
        """All other processes that have left a file."""
        files = (*self._folder.glob("[0-9]*.state"), *self._folder.glob("[0-9]*.lock"))
        return sorted({path.stem for path in files} - {self._owner})

    def _states(self) -> Iterator[tuple[str, State]]:
        for owner in self._owners():
            state = self._state(owner)
            if state is not None:
                yield owner, state

    def _state(self, owner: str) -> State | None:
        """None when there is none any more, or it was written by a version that counts otherwise."""
        with suppress(FileNotFoundError, msgspec.DecodeError):
            state = _decode_state((self._folder / f"{owner}.state").read_bytes())
            return state if state.bounds == BUCKETS_MS else None
        return None

    def _ended(self) -> Ended:
        with suppress(FileNotFoundError, msgspec.DecodeError):
            ended = _decode_ended((self._folder / ENDED).read_bytes())
            if ended.total.bounds == BUCKETS_MS:
                return ended
        return Ended(total=State())

    @contextmanager
    def _alone(self, *, wait: bool) -> Iterator[bool]:
        """One process at a time decides who is dead. Without `wait`, False when another one does."""
        fd = os.open(self._folder / "exchange", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield _locked(fd, wait=wait)
        finally:
            os.close(fd)


def _locked(fd: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
