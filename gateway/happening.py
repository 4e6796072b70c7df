"""What a difference amounts to, in a few words: "Provider lmstudio changed: scores; and 3 more". Pure."""

from collections.abc import Iterable, Iterator, Sequence

from gateway.difference import Change, Detail

SHOWN_FIELDS = 5
_TOKEN, _EXPIRES = "token ", " expires"


def happenings(changes: Iterable[Change]) -> list[str]:
    return [text[:1].upper() + text[1:] for change in changes for text in _of(change)]


def in_short(happened: Sequence[str], more: int = 0) -> str:
    """The first; the others, and `more` besides, are counted."""
    more += len(happened) - 1
    return f"{happened[0]}; and {more} more" if more else happened[0]


def fields(names: Iterable[str]) -> str:
    listed = list(dict.fromkeys(names))
    rest = len(listed) - SHOWN_FIELDS
    return ", ".join(listed[:SHOWN_FIELDS]) + (f" and {rest} more" if rest > 0 else "")


def _of(change: Change) -> Iterator[str]:
    name = change.name if change.kind == "header" else f"{change.kind} {change.name}"
    if change.action == "moved":
        yield f"{name} {change.details[0].words}"
        return
    if change.action in ("added", "removed") or change.kind in ("alias", "header"):
        yield f"{name} {change.action}"
        return
    tokens = [detail for detail in change.details if detail.field.startswith(_TOKEN)]
    others = [detail.field.partition(".")[0] for detail in change.details if detail not in tokens]
    if others:
        yield f"{name} changed: {fields(others)}"
    # A token may have several details; the first says the most.
    first = {detail.field.removesuffix(_EXPIRES): detail for detail in reversed(tokens)}
    yield from (f"{token} of {name} {_fate(first[token])}" for token in reversed(first))


def _fate(detail: Detail) -> str:
    return detail.words or f"expires {detail.new} instead of {detail.old}"
