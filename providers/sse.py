"""Server-sent events cut from bytes (WHATWG HTML, "Parsing an event stream").

Only LF, CR and CRLF end a line. Text methods that also split at U+2028 or U+0085 would tear JSON apart,
so lines are found in the bytes and decoded afterwards.
"""

import re

from providers.errors import UpstreamError

MAX_EVENT_BYTES = 16 * 1024 * 1024
_LINE_END = re.compile(rb"\r\n|\r|\n")


class SseParser:
    """Feed it chunks, get back the complete events as `(event name, data)`; comments are dropped.

    Raises `UpstreamError` when one event grows past `MAX_EVENT_BYTES`.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0
        self._started = False

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        if self._started and b"\n" not in chunk and b"\r" not in chunk and self._pending[-1:] != b"\r":
            # No line ends here: a long one that comes in many pieces is searched and copied once.
            self._pending += chunk
            self._require_room()
            return []
        buffer = bytes(self._pending) + chunk if self._pending else chunk
        if not self._started:
            if len(buffer) < 3 and b"\xef\xbb\xbf".startswith(buffer):
                self._pending = bytearray(buffer)
                return []
            buffer, self._started = buffer.removeprefix(b"\xef\xbb\xbf"), True
        lines = self._cut(buffer)
        events: list[tuple[str, bytes]] = []
        for line in lines:
            if line:
                self._field(line)
            elif self._data:
                events.append((self._name.decode("utf-8", "replace"), b"\n".join(self._data)))
                self._name, self._data, self._size = b"", [], 0
            else:
                self._name = b""
        self._require_room()
        return events

    def end(self) -> list[tuple[str, bytes]]:
        """The stream is over: a CR held back at its very end was a line end after all."""
        return self.feed(b"\n") if self._pending.endswith(b"\r") else []

    def _cut(self, buffer: bytes) -> list[bytes]:
        if b"\r" not in buffer:
            *lines, rest = buffer.split(b"\n")
            self._pending = bytearray(rest)
            return lines
        # A CR at the very end may be the first half of CRLF: keep it until the next byte is seen.
        held = b""
        if buffer.endswith(b"\r"):
            buffer, held = buffer[:-1], b"\r"
        *lines, rest = _LINE_END.split(buffer)
        self._pending = bytearray(rest + held)
        return lines

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._size += len(value) + 1  # with its line end, or empty lines would be free
            self._require_room()
        elif name == b"event":
            self._name = value.removeprefix(b" ")

    def _require_room(self) -> None:
        if self._size + len(self._pending) > MAX_EVENT_BYTES:
            raise UpstreamError("TEMPORARY", reason="UPSTREAM_OVERSIZED")
