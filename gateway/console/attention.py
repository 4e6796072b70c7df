"""What an operator should look at: a few lines, each with words and the place where it is mended."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from clients.loader import GrantNote, RestrictedNote, expiring_tokens, restricted_clients, usable_grants
from gateway.changes import added_since
from gateway.configfile import FILES, Drift, drift
from gateway.models import ConfigFile, ConfigVersion
from gateway.monitor import NO_PROVIDER
from gateway.runtime import Observations
from providers.loader import ProviderNote, enabled_names
from telemetry import uses
from telemetry.log_file import LARGE_BYTES
from telemetry.logs import log

EXPIRY_NOTICE = timedelta(days=14)
UNUSED_AFTER = timedelta(days=30)
SHOWN = 5
"""Lines of one sort; what is left is counted in one more."""


class Line(NamedTuple):
    """`state`: `failed` or `degraded`. `action`: the words of the link to `url`."""

    state: str
    words: str
    action: str
    url: str


PARTS = {
    "transport": "Answering in time",
    "orchestrator": "Sending calls on to providers",
    "audit": "Keeping the record",
    "database": "The database",
}
"""What the gateway's own parts do, by their names in the answer of its health."""


class Seen(NamedTuple):
    """What the page has read already. `observed`: None where no gateway runs in this process."""

    now: datetime
    providers: Sequence[ProviderNote]
    observed: Observations | None
    recorded: bool


def attention(request: HttpRequest, seen: Seen) -> list[Line]:
    """What the visitor may see, the worst first. The same number of queries whatever there is."""
    lines: list[Line] = []
    for permission, find in SORTS:
        if request.user.has_perm(permission):  # type: ignore[union-attr]
            lines += find(seen)
    return sorted(lines, key=lambda line: line.state != "failed")


def failing_providers(seen: Seen) -> Iterable[Line]:
    if seen.observed is None:
        return ()
    lines = []
    for note in seen.providers:
        observation = seen.observed.providers.get(note.name)
        if note.enabled and not note.missing and observation and observation.status != "ok":
            failed = observation.status == "failed"
            how = "failed its last check" if failed else "answers, but is degraded"
            words = f"Provider {note.name} {how}{_because(observation.detail)}"
            lines.append(Line(observation.status, words, "Open the provider", _provider(note)))
    return _few(lines, "providers are not well", "admin:providers_provider_changelist")


def missing_credentials(seen: Seen) -> Iterable[Line]:
    lines = [
        Line("failed", f"Provider {n.name} gets no calls: {n.missing}.", "Set its credential", _provider(n))
        for n in seen.providers
        if n.enabled and n.missing
    ]
    return _few(lines, "providers have no credential", "admin:providers_provider_changelist")


def expired_tokens(seen: Seen) -> Iterable[Line]:
    ended, ending = [], []
    for note in expiring_tokens(seen.now + EXPIRY_NOTICE):
        url = reverse("admin:clients_client_change", args=[note.client])
        whose, day = f"Token {note.token_id} of {note.tool_id}", f"{note.expires_at:%Y-%m-%d}"
        if note.expires_at <= seen.now:
            words = f"{whose} expired on {day} and is still listed."
            ended.append(Line("degraded", words, "Revoke or replace it", url))
        else:
            words = f"{whose} expires on {day}."
            ending.append(Line("degraded", words, "Issue its successor", url))
    ended.reverse()
    list_of_tokens = "admin:clients_clienttoken_changelist"
    yield from _few(ending, f"tokens expire within {EXPIRY_NOTICE.days} days", list_of_tokens)
    yield from _few(ended, "tokens have expired and are still listed", list_of_tokens)


def unanswered_clients(seen: Seen) -> Iterable[Line]:
    """Whose providers were renamed, deleted, disabled or misspelt. Where none is enabled, that is said once."""
    enabled, restricted = enabled_names(), restricted_clients()
    if not any(enabled.values()):
        return ()
    lines = [
        Line("failed", _unanswered_words(note, enabled), "Ask why", _explained(note))
        for note in restricted
        if not any(enabled.get(name) for name in note.providers)
    ]
    return _few(lines, "clients are answered by nothing", "admin:clients_client_changelist")


def _unanswered_words(note: RestrictedNote, enabled: Mapping[str, bool]) -> str:
    unknown = [name for name in note.providers if name not in enabled]
    off = [name for name in note.providers if name in enabled]
    why = [f"there is no provider called {_names(unknown)}"] if unknown else []
    why += [f"{_names(off)} {'is' if len(off) == 1 else 'are'} disabled"] if off else []
    return f"Nothing answers client {note.tool_id}: {' and '.join(why)}."


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _explained(note: RestrictedNote) -> str:
    return reverse("admin:client_explain", args=[note.client])


def unused_grants(seen: Seen) -> Iterable[Line]:
    since = seen.now - UNUSED_AFTER
    young, used = added_since("clients.methodpermission", since), uses.since(since)
    by_client = groupby(usable_grants(seen.now, since), key=lambda grant: grant.client)
    lines = []
    for client, granted in by_client:
        grants = list(granted)
        idle = [g for g in grants if str(g.grant) not in young and (g.tool_id, g.method) not in used]
        if idle:
            words, action = _unused_words(idle, every=len(idle) == len(grants))
            url = reverse("admin:clients_client_change", args=[client])
            lines.append(Line("degraded", words, action, url))
    return _few(lines, "clients have methods that they do not use", "admin:clients_client_permissions")


def _unused_words(idle: Sequence[GrantNote], *, every: bool) -> tuple[str, str]:
    """And what can be done about it."""
    who, days = idle[0].tool_id, UNUSED_AFTER.days
    if every:
        return (
            f"Client {who} has used none of its methods for {days} days.",
            "Disable it, or take methods back",
        )
    methods = ", ".join(grant.method for grant in idle)
    which = "method" if len(idle) == 1 else "methods"
    return (
        f"Client {who} has not used its {which} {methods} for {days} days.",
        "Take back what it does not need",
    )


def drifted_files(seen: Seen) -> Iterable[Line]:
    url = reverse("admin:configuration")
    version = ConfigVersion.objects.order_by("-pk").values_list("pk", "created_at").first()
    synced = tuple(ConfigFile.objects.order_by("name").values_list("name", "file_digest", "content_digest"))
    for name in FILES:
        path = settings.CONFIG_DIR / name
        try:
            found = _drift(name, path, _state(path), (version, synced))
        except OSError as error:
            yield Line("failed", f"{name} cannot be read: {error.strerror}.", "Files and database", url)
            continue
        if words := found and _drift_words(found):
            yield Line("degraded", f"{name} {words}", "Files and database", url)


@lru_cache(maxsize=16)
def _drift(name: str, path: Path, file_state: object, database_state: object) -> Drift | None:
    """To compare, all tables are written out: with a thousand clients that takes as long as the rest of the page.
    So it is done again only when the file, the newest version or what was synchronised has changed."""
    return drift(name, path)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _drift_words(found: Drift) -> str | None:
    if found.file_changed and found.database_changed:
        return "and the database have both changed since they last agreed; the database counts."
    if found.file_changed:
        return "has been edited, but not imported: the gateway does not know of it."
    return "is older than the database: export it to bring it up to date." if found.database_changed else None


def failing_parts(seen: Seen) -> Iterable[Line]:
    for part in seen.observed.components if seen.observed else ():
        if part.details == NO_PROVIDER:
            yield Line(
                part.status,
                f"{NO_PROVIDER}, so no call can be answered.",
                "Add or enable one",
                reverse("admin:providers_provider_changelist"),
            )
        elif part.status != "ok" and not part.name.startswith("provider:"):
            what = PARTS.get(part.name, f"The part {part.name}")
            how = "does not work" if part.status == "failed" else "is impaired"
            words = f"{what} {how}{_because(part.details)}"
            yield Line(part.status, words, "Runbook", reverse("guide", args=["runbook"]))


def log_file(seen: Seen) -> Iterable[Line]:
    standing = log.standing()
    if standing is None:
        return
    url = reverse("guide", args=["runbook"])
    if standing.bytes > LARGE_BYTES:
        words = f"The log file has grown to {standing.bytes / 1024 / 1024:.1f} MiB."
        yield Line("degraded", words, "Runbook", url)
    if 0 < standing.kept <= standing.rotated:
        words = f"All {standing.kept} rotated log files are in use: the oldest lines are being deleted."
        yield Line("degraded", words, "Runbook", url)


def nothing_recorded(seen: Seen) -> Iterable[Line]:
    if not seen.recorded:
        words = "Nothing has been recorded yet: no client has called with a good token."
        yield Line("degraded", words, "Clients and their tokens", reverse("admin:clients_client_changelist"))


def _because(detail: str | None) -> str:
    """Causes are whole sentences, some of them questions."""
    if not detail:
        return "."
    return f": {detail}" if detail.endswith((".", "?", "!")) else f": {detail}."


def _provider(note: ProviderNote) -> str:
    return reverse("admin:providers_provider_change", args=[note.pk])


def _few(lines: Sequence[Line], what: str, url_name: str) -> Iterable[Line]:
    if len(lines) <= SHOWN:
        return lines
    more = f"{len(lines) - SHOWN} more {what}."
    return (*lines[:SHOWN], Line(lines[SHOWN].state, more, "See them all", reverse(url_name)))


SORTS: tuple[tuple[str, Callable[[Seen], Iterable[Line]]], ...] = (
    ("providers.view_provider", failing_providers),
    ("providers.view_provider", missing_credentials),
    ("clients.view_client", unanswered_clients),
    ("clients.view_client", expired_tokens),
    ("clients.view_client", unused_grants),
    ("gateway.view_configversion", drifted_files),
    ("telemetry.view_requestlog", failing_parts),
    ("telemetry.view_requestlog", log_file),
    ("telemetry.view_requestlog", nothing_recorded),
)
"""The permission that a sort of line needs, and what finds it."""
