"""Where a chaos test happens: a folder of its own, the provider that writes down, the gateway to be hurt."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import bench
import chaos_stub
from chaos_gateway import Victim, opened


class Stage(NamedTuple):
    folder: Path
    victim: Victim

    def told(self) -> chaos_stub.Told:
        """What the provider has written down."""
        return chaos_stub.read(log_of(self.folder))


def log_of(folder: Path) -> Path:
    return folder / "provider.log"


@contextmanager
def staged() -> Iterator[Stage]:
    """Whatever happens, nothing of it runs on afterwards."""
    with tempfile.TemporaryDirectory(prefix="llm-caller-chaos-") as name:
        folder, port = Path(name), bench.free_port()
        command = [sys.executable, "uat/chaos_stub.py", str(port), str(log_of(folder))]
        stub = bench.start(command, port=port)
        try:
            victim = Victim(folder, port)
            try:
                yield Stage(folder, victim)
            finally:
                victim.close()
        finally:
            stub.terminate()
            stub.wait(30)


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Nobody else can read or write it meanwhile. The gateway is another process."""
    with opened(database) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


class NoMount(Exception):
    """This machine lets us mount nothing."""


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[None]:
    """Raises `NoMount`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoMount("there is no mount command") from None
    if done.returncode != 0:
        raise NoMount(done.stderr.strip())
    try:
        yield
    finally:
        # Lazily: after a failure, a process that is about to end may still have a file open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
