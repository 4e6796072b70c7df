"""The readable difference of two configuration documents of one kind. Pure.

Documents are as an export writes them. Secrets have no place here: tokens are told by their ids, keys by
where they come from.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

ABSENT: Mapping[str, str] = {
    "enabled": "yes",
    "kind": "by its name",
    "apiKey": "the kind's own",
    "expiresAt": "never",
    "capture": "off",
    "captureDays": "30",
}
"""What a field means that is left out; of others it is "not set"."""
Document = Mapping[str, Any]


class Detail(NamedTuple):
    """One field, or one member of a list or map. `old` or `new` is None where there was or is nothing;
    `words` says what two values cannot."""

    field: str
    old: str | None = None
    new: str | None = None
    words: str = ""


class Change(NamedTuple):
    """`kind`: provider, client, alias or header. `action`: added, removed, changed or moved."""

    kind: str
    name: str
    action: str
    details: tuple[Detail, ...] = ()


def difference(old: Document, new: Document) -> tuple[Change, ...]:
    """In the order of the new document, with what was removed at the end of its kind."""
    found = list(_header(old, new))
    for kind, list_entries in (("provider", _providers), ("client", _clients)):
        found += _entries(kind, list_entries(old), list_entries(new))
    aliases = _members("", old.get("aliases", {}), new.get("aliases", {}))
    found += [
        Change("alias", detail.field, _action(detail), (detail._replace(field=""),)) for detail in aliases
    ]
    return tuple(found)


def _providers(document: Document) -> Document:
    found: Document = document.get("providers", {})
    return found


def _clients(document: Document) -> Document:
    return {client["toolId"]: client for client in document.get("clients", ())}


def _header(old: Document, new: Document) -> Iterable[Change]:
    for field in ("$schema", "description"):
        if old.get(field) != new.get(field):
            yield Change("header", field, "changed", (_field("", old.get(field), new.get(field)),))


def _action(detail: Detail) -> str:
    if detail.words:
        return "moved"
    if detail.old is None:
        return "added"
    return "removed" if detail.new is None else "changed"


def _entries(kind: str, old: Document, new: Document) -> Iterable[Change]:
    moves = moved(list(old), list(new))
    for name, entry in new.items():
        if name not in old:
            yield Change(kind, name, "added", tuple(_fields({}, entry)))
            continue
        details = tuple(_fields(old[name], entry)) if old[name] != entry else ()
        place = (Detail("order", words=moves[name]),) if name in moves else ()
        if details or place:
            yield Change(kind, name, "changed" if details else "moved", details + place)
    for name, entry in old.items():
        if name not in new:
            yield Change(kind, name, "removed", tuple(_fields(entry, {})))


def _fields(old: Document, new: Document) -> Iterable[Detail]:
    for field in dict.fromkeys((*old, *new)):
        before, after = old.get(field), new.get(field)
        if field == "toolId" or before == after:
            continue
        if field == "tokens":
            yield from _tokens(before or (), after or ())
        elif field == "apiKey":
            yield _field(field, _source(before), _source(after), fresh=not old, gone=not new)
        elif isinstance(before, dict) or isinstance(after, dict):
            yield from _members(f"{field}.", before or {}, after or {})
        elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
            yield from _items(field, before, after)
        else:
            yield _field(field, before, after, fresh=not old, gone=not new)


def _field(field: str, old: Any, new: Any, *, fresh: bool = False, gone: bool = False) -> Detail:
    """`fresh`, `gone`: the entry itself was not there before, or is no more."""
    return Detail(field, None if fresh else _said(field, old), None if gone else _said(field, new))


def _said(field: str, value: Any) -> str:
    if value is None:
        return ABSENT.get(field, "not set")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _source(key: Mapping[str, Any] | None) -> str | None:
    """Where a provider's key comes from, never the key."""
    if not key:
        return None
    if "env" in key:
        return f"environment variable {key['env']}"
    return f"file {key['file']}" if "file" in key else "stored in the database"


def _members(prefix: str, old: Document, new: Document) -> Iterable[Detail]:
    for name in dict.fromkeys((*old, *new)):
        if name not in old:
            yield Detail(prefix + name, None, _said(name, new[name]))
        elif name not in new:
            yield Detail(prefix + name, _said(name, old[name]), None)
        elif old[name] != new[name]:
            yield Detail(prefix + name, _said(name, old[name]), _said(name, new[name]))
    if not prefix:
        yield from (Detail(name, words=words) for name, words in moved(list(old), list(new)).items())


def _items(field: str, old: Sequence[Any], new: Sequence[Any]) -> Iterable[Detail]:
    was, now = set(old), set(new)
    yield from (Detail(field, None, str(item)) for item in new if item not in was)
    yield from (Detail(field, str(item), None) for item in old if item not in now)
    yield from (Detail(field, words=f"{item} {words}") for item, words in moved(old, new).items())


def _tokens(old: Sequence[Document], new: Sequence[Document]) -> Iterable[Detail]:
    before = {token["id"]: token for token in old}
    after = {token["id"]: token for token in new}
    for name, token in after.items():
        known = before.get(name)
        if known is None:
            yield Detail(f"token {name}", words="added, revoked" if token.get("revokedAt") else "added")
        elif known != token:
            yield from _token(f"token {name}", known, token)
    yield from (Detail(f"token {name}", words="removed") for name in before if name not in after)


def _token(field: str, old: Document, new: Document) -> Iterable[Detail]:
    if old.get("revokedAt") != new.get("revokedAt"):
        revoked = [bool(token.get("revokedAt")) for token in (old, new)]
        words = {(False, True): "revoked", (True, False): "revocation taken back, it can be used again"}
        yield Detail(field, words=words.get((revoked[0], revoked[1]), "moment of its revocation changed"))
    if old.get("expiresAt") != new.get("expiresAt"):
        said = [_said("expiresAt", token.get("expiresAt")) for token in (old, new)]
        yield Detail(f"{field} expires", said[0], said[1])
    if old["hash"] != new["hash"]:
        yield Detail(field, words="stands for another token now")


def moved(old: Sequence[Any], new: Sequence[Any]) -> dict[Any, str]:
    """What stands in both and changed places, as few as explain the new order: "moved from 2 to 1"."""
    was = {item: n for n, item in enumerate(old)}
    places = {item: n for n, item in enumerate(new)}
    common = [item for item in places if item in was]
    still = _longest_rising([was[item] for item in common])
    return {
        item: f"moved from {was[item] + 1} to {places[item] + 1}" for item in common if was[item] not in still
    }


def _longest_rising(numbers: Sequence[int]) -> set[int]:
    """A longest rising subsequence of distinct numbers, in n log n."""
    tails: list[int] = []
    before: dict[int, int | None] = {}
    for number in numbers:
        place = bisect_left(tails, number)
        before[number] = tails[place - 1] if place else None
        tails[place : place + 1] = [number]
    found: set[int] = set()
    current: int | None = tails[-1] if tails else None
    while current is not None:
        found.add(current)
        current = before[current]
    return found
