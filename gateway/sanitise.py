"""Streamed text made safe to frame: control characters removed, binary dropped, long deltas split.

Pure. The rules are the contract's (§1, chatStream); every text character arrives.
"""

import re
from collections.abc import Iterator

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
    """`chunk_chars`: the longest text that one delta may carry, in characters."""
    if event.garbled:
        return Sanitised((), dropped=1)
    delta = event.delta
    if delta is None:
        return NOTHING
    content = delta.content
    if not delta.tool_calls and (content is None or (content.isprintable() and len(content) <= chunk_chars)):
        return Sanitised((delta,))
    clean = _clean(delta)
    before, after = _length(delta), _length(clean)
    if before > after and before - after >= before * BINARY_SHARE:
        return Sanitised((), dropped=1)
    deltas = tuple(_split(clean, chunk_chars))
    return Sanitised(deltas, removed=int(before > after), split=int(len(deltas) > 1))


def _clean(delta: Delta) -> Delta:
    """Control characters have no place in a tool call either: JSON escapes them in its arguments."""
    calls = tuple(
        ToolCallDelta(
            index=call.index, id=_plain(call.id), name=_plain(call.name), arguments=_plain(call.arguments)
        )
        for call in delta.tool_calls
    )
    return Delta(role=delta.role, content=_plain(delta.content), tool_calls=calls)


def _plain(text: str | None) -> str | None:
    return _CONTROL.sub("", text) if text else text


def _length(delta: Delta) -> int:
    calls = sum(len(part or "") for call in delta.tool_calls for part in (call.id, call.name, call.arguments))
    return len(delta.content or "") + calls


def _split(delta: Delta, chunk_chars: int) -> Iterator[Delta]:
    """Content first, then each call's arguments; what is not text stays with the first piece."""
    content, *more = _pieces(delta.content, chunk_chars)
    arguments = [_pieces(call.arguments, chunk_chars) for call in delta.tool_calls]
    calls = tuple(
        msgspec.structs.replace(call, arguments=parts[0])
        for call, parts in zip(delta.tool_calls, arguments, strict=True)
    )
    head = Delta(role=delta.role, content=content or None, tool_calls=() if more else calls)
    if head:
        yield head
    yield from (Delta(content=piece) for piece in more)
    if more and calls:
        yield Delta(tool_calls=calls)
    for call, parts in zip(delta.tool_calls, arguments, strict=True):
        for part in parts[1:]:
            yield Delta(tool_calls=(ToolCallDelta(index=call.index, arguments=part),))


def _pieces(text: str | None, chars: int) -> list[str | None]:
    if not text or len(text) <= chars:
        return [text]
    return [text[at : at + chars] for at in range(0, len(text), chars)]


class Assembly:
    """Puts the streamed deltas together again: the message of the completion event."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._calls: dict[int, tuple[list[str], list[str], list[str]]] = {}

    def add(self, delta: Delta) -> None:
        if delta.content:
            self._text.append(delta.content)
        for call in delta.tool_calls:
            self._add_call(call)

    def _add_call(self, call: ToolCallDelta) -> None:
        """Kept in pieces: text that grows by each of them would be copied each time."""
        ids, names, arguments = self._calls.setdefault(call.index, ([], [], []))
        if call.id and not ids:
            ids.append(call.id)
        if call.name:
            names.append(call.name)
        if call.arguments:
            arguments.append(call.arguments)

    @property
    def content(self) -> str:
        if len(self._text) > 1:
            self._text = ["".join(self._text)]
        return self._text[0] if self._text else ""

    def tool_calls(self) -> list[tuple[str, str, str]]:
        """`(id, name, arguments)` in the order of their index."""
        return [
            ("".join(ids), "".join(names), "".join(arguments))
            for _, (ids, names, arguments) in sorted(self._calls.items())
        ]
