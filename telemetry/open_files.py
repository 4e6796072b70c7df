"""What is asked of a file that is open: whether it still lies where it did, and how it ends."""

import os
from pathlib import Path


def lies_at(fd: int, path: Path) -> bool:
    """Whether this path still leads to the open file: it may have been deleted, or its folder moved away."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


def is_torn(fd: int) -> bool:
    """Whether it ends in the midst of a line: whoever wrote that was ended there. Raises `OSError`."""
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
