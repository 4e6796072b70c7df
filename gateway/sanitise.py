"""Streamed text made safe to frame: control characters removed, binary dropped, long deltas split.

Pure. The rules are the contract's (§1, chatStream); every text character arrives.
"""

import re

import msgspec

from providers.types import Delta, Event, ToolCallDelta

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
BINARY_SHARE = 0.2


class Sanitised(msgspec.Struct, frozen=True):
    """The deltas to send for one event, and how often each rule applied to it."""

    deltas: tuple[Delta, ...]
    removed: int = 0
    dropped: int = 0
    split: int = 0


NOTHING = Sanitised(())


def sanitise(event: Event, chunk_chars: int) -> Sanitised:
    """`chunk_chars`: the longest content one delta may carry, in characters."""
    if event.garbled:
        return Sanitised((), dropped=1)
    delta = event.delta
    if delta is None:
        return NOTHING
    content = delta.content
    if content is None or (content.isprintable() and len(content) <= chunk_chars):
        plain = _plain_calls(delta)
        return Sanitised((plain,), removed=int(plain is not delta))
    clean = _CONTROL.sub("", content)
    removed = len(content) - len(clean)
    if removed and removed >= len(content) * BINARY_SHARE:
        return Sanitised((), dropped=1)
    pieces = [clean[at : at + chunk_chars] for at in range(0, len(clean), chunk_chars)] or [""]
    head = Delta(role=delta.role, content=pieces[0] or None, tool_calls=delta.tool_calls)
    first = _plain_calls(head)
    rest = tuple(Delta(content=piece) for piece in pieces[1:])
    deltas = (first, *rest) if first else rest
    return Sanitised(deltas, removed=int(removed > 0 or first is not head), split=int(len(pieces) > 1))


def _plain_calls(delta: Delta) -> Delta:
    """Control characters have no place in a tool call's arguments either: JSON escapes them."""
    if not any(call.arguments and _CONTROL.search(call.arguments) for call in delta.tool_calls):
        return delta
    calls = tuple(
        msgspec.structs.replace(call, arguments=_CONTROL.sub("", call.arguments)) if call.arguments else call
        for call in delta.tool_calls
    )
    return msgspec.structs.replace(delta, tool_calls=calls)


class Assembly:
    """Puts the streamed deltas together again: the message of the completion event."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._calls: dict[int, list[str]] = {}

    def add(self, delta: Delta) -> None:
        if delta.content:
            self._text.append(delta.content)
        for call in delta.tool_calls:
            self._add_call(call)

    def _add_call(self, call: ToolCallDelta) -> None:
        parts = self._calls.setdefault(call.index, ["", "", ""])
        parts[0] = parts[0] or call.id or ""
        parts[1] += call.name or ""
        parts[2] += call.arguments or ""

    @property
    def content(self) -> str:
        return "".join(self._text)

    def tool_calls(self) -> list[tuple[str, str, str]]:
        """`(id, name, arguments)` in the order of their index."""
        return [(parts[0], parts[1], parts[2]) for _, parts in sorted(self._calls.items())]
