"""How two states of the configuration differ, in lines for people. Pure; no line shows a secret."""

from collections.abc import Iterable

from gateway.assistant.draft import Documents, Draft
from gateway.assistant.typed import show_period
from gateway.difference import Change, Detail, difference


def pending(draft: Draft) -> list[str]:
    """What saving the draft would do."""
    lines = compared(draft.before, draft.now)
    lines += [f"provider {name}: a new key is sealed into the database" for name in draft.keys]
    for token in draft.tokens:
        lives = (
            "does not expire"
            if token.lifetime_s is None
            else f"expires after {show_period(token.lifetime_s)}"
        )
        lines.append(f"client {token.tool_id}: a token is issued, which {lives}")
    return lines


def compared(before: Documents, now: Documents) -> list[str]:
    """One line for each entry that came or went, and one for each field that changed."""
    pairs = ((before.providers, now.providers), (before.clients, now.clients))
    return [line for old, new in pairs for change in difference(old, new) for line in _lines(change)]


def _lines(change: Change) -> Iterable[str]:
    subject = f"{change.kind} {change.name}:"
    if change.action == "removed":
        yield f"{subject} removed"
    elif change.action == "added":
        said = ", ".join(f"{detail.field} {detail.new}".strip() for detail in change.details if detail.new)
        yield f"{subject} added ({said})" if said else f"{subject} added"
    else:
        yield from (f"{subject} {_said(detail)}" for detail in change.details)


def _said(detail: Detail) -> str:
    if detail.words or detail.old is None or detail.new is None:
        what = detail.words or (f"{detail.new} added" if detail.old is None else f"{detail.old} removed")
    else:
        what = f"{detail.old} → {detail.new}"
    return f"{detail.field} {what}".strip()
