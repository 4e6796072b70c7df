"""A small file that others read while it is written anew: they see it as it was or as it is, never half of it."""

import os
from pathlib import Path


def replace_file(target: Path, data: bytes, *, durable: bool = False) -> None:
    """In one step, with mode 0600. `durable`: on the disk when this returns. Raises `OSError` and leaves the file as
    it was."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        _write(temporary, data, durable=durable)
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync(target.parent)


def _write(path: Path, data: bytes, *, durable: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
