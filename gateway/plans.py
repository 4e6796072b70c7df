"""Plans between being shown and being applied: sealed files in the state folder, for one person and a quarter of an hour.

What is uploaded may carry plaintext tokens. It is kept under the product's encryption keys, bound to the plan and
to who made it, and nowhere else: not in the session, not in a form.
"""

import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from django.conf import settings

from gateway import backups
from gateway.reading import Content, Loaded
from providers.secrets import KeyRing, SealError

LIFETIME_S = 15 * 60
_ID = re.compile(r"[A-Za-z0-9_-]{20,60}")


class PlanGone(Exception):
    """No such plan: applied, cancelled or expired."""


class PlanOfAnother(Exception):
    """There is one, which this person cannot open."""


class Plan(NamedTuple):
    contents: tuple[Content, ...]
    merge: bool
    reason: str


class _Kept(msgspec.Struct):
    contents: list[tuple[str, str, str, bool]]
    merge: bool
    reason: str
    expires_at: float

    def __repr__(self) -> str:
        return "<a kept plan>"


def keep(
    loaded: Sequence[Loaded], user: int, *, merge: bool, reason: str, lifetime_s: float = LIFETIME_S
) -> str:
    """The new plan's id. `user`: who alone may see and apply it. Raises `OSError`."""
    sweep()
    plan_id = secrets.token_urlsafe(24)
    kept = _Kept(
        contents=[(item.name, item.content.label, item.raw.decode(), item.content.own) for item in loaded],
        merge=merge,
        reason=reason,
        expires_at=time.time() + lifetime_s,
    )
    sealed = _keys().seal(msgspec.json.encode(kept).decode(), bound_to=_bound(plan_id, user))
    _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    backups.write_new(_folder() / plan_id, sealed)
    return plan_id


def find(plan_id: str, user: int) -> Plan:
    """Raises `PlanGone`, `PlanOfAnother`."""
    try:
        opened = _keys().open(_path(plan_id).read_bytes(), bound_to=_bound(plan_id, user))
    except OSError:
        raise PlanGone from None
    except SealError:
        raise PlanOfAnother from None
    kept = msgspec.json.decode(opened.reveal(), type=_Kept)
    if kept.expires_at < time.time():
        discard(plan_id)
        raise PlanGone
    contents = tuple(Content(name, label, text.encode(), own) for name, label, text, own in kept.contents)
    return Plan(contents, kept.merge, kept.reason)


def discard(plan_id: str) -> None:
    _path(plan_id).unlink(missing_ok=True)


def sweep() -> None:
    """Removes what is older than a plan may be."""
    if not _folder().is_dir():
        return
    for path in _folder().iterdir():
        try:
            if path.stat().st_mtime < time.time() - LIFETIME_S:
                path.unlink()
        except FileNotFoundError:
            continue  # applied or swept by somebody else meanwhile


def _folder() -> Path:
    return Path(settings.STATE_DIR) / "plans"


def _path(plan_id: str) -> Path:
    """Raises `PlanGone` for what cannot be an id, so that no other file is ever named."""
    if not _ID.fullmatch(plan_id):
        raise PlanGone
    return _folder() / plan_id


def _bound(plan_id: str, user: int) -> str:
    return f"plan {plan_id} of user {user}"


def _keys() -> KeyRing:
    return KeyRing(settings.ENCRYPTION_KEYS)
