"""Lines for what may be a pipe: a reader that pauses is waited for a little, and what was cut off costs no later line."""

import os
import select

READER_WAIT_S = 1.0
"""Whoever reads nothing for longer is stuck, and must not stop the log."""
LINE_END = b"\n"


class WholeLines:
    """`torn`: what was written last ends in the midst of a line, so that the next one begins with a line end."""

    def __init__(self) -> None:
        self.torn = self._is_stuck = False

    def write(self, fd: int, lines: bytes) -> None:
        """Raises `OSError` when not all of them could be written."""
        data = LINE_END + lines if self.torn else lines
        left = memoryview(data)
        try:
            while left:
                left = left[self._written(fd, left) :]
        finally:
            written = len(data) - len(left)
            if written:
                self.torn = data[written - 1 : written] != LINE_END

    def _written(self, fd: int, data: memoryview) -> int:
        """Bytes. A reader that was waited for in vain is not waited for again before it has read something."""
        try:
            written = os.write(fd, data)
        except BlockingIOError:
            if self._is_stuck or not _is_writable(fd):
                self._is_stuck = True
                raise
            written = os.write(fd, data)
        self._is_stuck = False
        return written


def _is_writable(fd: int) -> bool:
    """Waits for it. Not `select`: that takes no descriptor past 1023, and each connection is one."""
    waiting = select.poll()
    waiting.register(fd, select.POLLOUT)
    return bool(waiting.poll(READER_WAIT_S * 1000))
