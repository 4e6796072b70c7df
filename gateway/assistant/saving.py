"""Between the draft and what lasts: the database in one transaction, then the files with their backups (contract §3)."""

import json
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from clients.loader import issue
from gateway import configfile, versions
from gateway.assistant.changes import compared
from gateway.assistant.checking import contents
from gateway.assistant.draft import Documents, Draft, TokenRequest, is_changed
from gateway.attribution import attributed
from gateway.models import ConfigVersion
from gateway.reading import ImportRefused
from gateway.reload import default_timeouts
from gateway.rendering import FILES, render
from providers.loader import load_catalog
from providers.secrets import KeyRing
from providers.stored_keys import keep


class ChangedMeanwhile(Exception):
    """Somebody else changed the configuration since the draft began. `who`: in words; `lines`: what changed."""

    def __init__(self, who: str, lines: list[str]) -> None:
        super().__init__(who)
        self.who, self.lines = who, lines


class Issued(NamedTuple):
    """`text` is shown once and kept nowhere."""

    tool_id: str
    token_id: str
    text: str

    def __repr__(self) -> str:
        return f"<Issued {self.token_id}>"


class Saved(NamedTuple):
    issued: list[Issued]
    warnings: list[str]


def begin() -> Draft:
    """A draft of what is in the database now."""
    version = versions.newest()
    documents = _documents()
    catalog = load_catalog(default_timeouts(), KeyRing(settings.ENCRYPTION_KEYS))
    stored = [
        name
        for name, entry in documents.providers["providers"].items()
        if entry.get("apiKey") == {"stored": True} and catalog.providers[name].api_key is not None
    ]
    return Draft(version=version, before=documents, now=documents, stored=frozenset(stored))


def _documents() -> Documents:
    return Documents(*(json.loads(render(name)) for name in FILES))


def save(draft: Draft, *, author: str, reason: str, overwrite: bool = False) -> Saved:
    """The draft into the database: all of it, or nothing.

    Raises `ChangedMeanwhile` unless `overwrite`, `ImportRefused` and `DatabaseError`.
    """
    with transaction.atomic(), attributed(author, reason):
        versions.remember()  # and waits for whoever else is changing something
        if not overwrite and versions.newest() != draft.version:
            raise ChangedMeanwhile(_last_author(), compared(draft.before, _documents()))
        if not is_changed(draft) and not overwrite:
            return Saved([], [])
        outcome = configfile.import_contents(contents(draft.now), author=author, reason=reason)
        ring = KeyRing(settings.ENCRYPTION_KEYS)
        for name, key in draft.keys.items():
            keep(name, key, ring)
        issued = [_issue(request) for request in draft.tokens]
    return Saved(issued, [warning for warning in outcome.warnings if not _is_settled(warning, draft)])


def consequences(draft: Draft) -> list[str]:
    """Who would not be served any more, and which keys would be lost; of a draft that cannot be saved, nothing:
    saving it says why."""
    try:
        found = configfile.import_contents(contents(draft.now), dry_run=True).consequences
    except ImportRefused:
        return []
    # A key that was typed takes the lost one's place.
    replaced = {configfile.KEY_LOST.format(name) for name in draft.keys}
    return [said for said in found if said not in replaced]


def _is_settled(warning: str, draft: Draft) -> bool:
    """An import misses keys that only come into the database after it."""
    return any(f": no key is stored for {name};" in warning for name in draft.keys)


def _issue(request: TokenRequest) -> Issued:
    expires_at = (
        None if request.lifetime_s is None else timezone.now() + timedelta(seconds=request.lifetime_s)
    )
    minted = issue(request.tool_id, (), configfile.peppers()[0], expires_at)
    return Issued(request.tool_id, minted.token_id, minted.text)


def _last_author() -> str:
    last = ConfigVersion.objects.first()
    if last is None:
        return "somebody"
    when = last.created_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{last.author or 'somebody'} at {when}" + (f" ({last.reason})" if last.reason else "")


def edited_by_hand() -> list[str]:
    """Files that were changed since they last met the database: a save would replace those changes."""
    found = []
    for name in FILES:
        path = settings.CONFIG_DIR / name
        with suppress(OSError):  # a file that cannot be read is told of when it is written
            drift = configfile.drift(name, path)
            if drift is not None and drift.file_changed and path.read_bytes() != render(name):
                found.append(name)
    return found


def write_file(name: str, author: str, reason: str) -> configfile.Exported:
    """One of the two files. Raises `SaveError`."""
    with attributed(author, reason):
        return configfile.export_file(name, settings.CONFIG_DIR)
