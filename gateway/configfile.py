"""The JSON files and the database: import, export, and how they compare (contract §3).

An import is one transaction: all of it, or nothing.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from clients import kept_by_name
from clients import loader as clients_loader
from clients.suggestions import provider_warnings
from clients.tokens import Pepper, parse_peppers
from gateway import changelog, stopped_tokens, versions
from gateway.attribution import attributed
from gateway.environment import SettingsError
from gateway.models import ConfigFile
from gateway.reading import Content, Loaded, Rules, read
from gateway.reading import ImportRefused as ImportRefused
from gateway.rendering import CLIENTS as CLIENTS
from gateway.rendering import FILES, PROVIDERS, render
from providers import loader as providers_loader
from providers import unlisted
from providers.dependents import NOBODY_LEFT, if_gone
from providers.egress import EgressPolicy, parse_networks


class Outcome(NamedTuple):
    """`warnings`: of what the files say. `consequences`: who is not served any more, and which keys are lost.
    `states`: file name → what an export would have written before and after."""

    changed: list[str]
    unchanged: list[str]
    warnings: list[str]
    consequences: list[str]
    states: dict[str, tuple[bytes, bytes]]


def peppers() -> tuple[Pepper, ...]:
    return parse_peppers(settings.TOKEN_PEPPERS)


def egress() -> EgressPolicy:
    """Raises `SettingsError`."""
    try:
        return EgressPolicy(parse_networks(settings.ENVIRONMENT["LLM_CALLER_EGRESS_ALLOW"]))
    except ValueError:
        raise SettingsError(
            "LLM_CALLER_EGRESS_ALLOW holds something that is not a network such as 10.1.0.0/16"
        ) from None


def read_contents(contents: Sequence[Content], *, merge: bool = False) -> list[Loaded]:
    """Raises `ImportRefused` with every problem of all files."""
    return read(contents, Rules(peppers(), egress()), merge=merge)


def import_files(
    paths: dict[str, Path], *, merge: bool = False, dry_run: bool = False, author: str = "import"
) -> Outcome:
    """`paths`: kind (`PROVIDERS`, `CLIENTS`) → file. Raises `ImportRefused` with every problem of all files."""
    contents = [
        # A file from elsewhere changes the database's side only: the folder's own has not met it.
        Content(name, str(path), path, own=path.resolve() == (settings.CONFIG_DIR / name).resolve())
        for name, path in paths.items()
    ]
    return import_contents(contents, merge=merge, dry_run=dry_run, author=author)


def import_contents(
    contents: Sequence[Content],
    *,
    merge: bool = False,
    dry_run: bool = False,
    author: str = "import",
    reason: str = "",
) -> Outcome:
    """`reason`: why, in the new version; which files, when it is empty. Raises as `import_files` does."""
    loaded = read_contents(contents, merge=merge)
    reason = reason or f"import of {', '.join(content.label for content in contents)}"
    with transaction.atomic(), attributed(author, reason):
        versions.remember()
        outcome = _apply(loaded, merge=merge)
        if dry_run:
            transaction.set_rollback(True)
    return outcome


def _apply(loaded: Sequence[Loaded], *, merge: bool) -> Outcome:
    outcome = Outcome([], [], [], [], {})
    keyed = providers_loader.with_stored_key()
    for item in loaded:
        before = render(item.name)
        # In a savepoint, so that an import that changes nothing leaves no version behind.
        with transaction.atomic():
            _store(item, merge=merge)
            after = render(item.name)
            if after == before:
                transaction.set_rollback(True)
        (outcome.unchanged if after == before else outcome.changed).append(item.name)
        outcome.warnings.extend(item.warnings + _missing_keys(item))
        outcome.states[item.name] = (before, after)
        if item.content.own:
            note_synced(item.name, item.raw)
    outcome.warnings.extend(_odd_names(outcome))
    outcome.consequences.extend(_consequences(outcome))
    outcome.consequences.extend(_lost_keys(keyed - providers_loader.with_stored_key()))
    return outcome


def _odd_names(outcome: Outcome) -> list[str]:
    """Of aliases, allowed providers and allowed models that the files brought or changed. Asked for after all files,
    as below."""
    said = []
    for name, (before, after) in _read_changed(outcome).items():
        if name == PROVIDERS:
            old = before.get("aliases", {})
            changed = [
                alias for alias, target in after.get("aliases", {}).items() if old.get(alias) != target
            ]
            said += unlisted.warnings_of(changed)
        else:
            known = {client["toolId"]: client for client in before.get("clients", ())}
            for client in after.get("clients", ()):
                said += _odd_restrictions(client, known.get(client["toolId"], {}))
    return said


def _odd_restrictions(client: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Of those that were not `before`."""
    said: list[str] = []
    for field, warnings_of in (
        ("allowedProviders", provider_warnings),
        ("allowedModels", unlisted.allowed_warnings),
    ):
        names = client.get(field)
        if names and names != before.get(field):
            said += [f"{client['toolId']}: {words}" for words in warnings_of(names)]
    return said


def _read_changed(outcome: Outcome) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    return {
        name: (json.loads(outcome.states[name][0]), json.loads(outcome.states[name][1]))
        for name in outcome.changed
    }


def _consequences(outcome: Outcome) -> list[str]:
    """Asked for after all files: whether a client counts on a provider may be what another file changes."""
    said, documents = [], _read_changed(outcome)
    if PROVIDERS in documents:
        before, after = map(_enabled, documents[PROVIDERS])
        said += [NOBODY_LEFT] if before and not after else []
        said += [
            f"{name} is gone or disabled. {words}"
            for name in sorted(before - after)
            if (words := if_gone([name]))
        ]
    if CLIENTS in documents:
        before, after = map(_tool_ids, documents[CLIENTS])
        said += kept_by_name.if_gone(before - after)
        said += stopped_tokens.warnings(stopped_tokens.stopped_tokens(*documents[CLIENTS], timezone.now()))
    return said


KEY_LOST = "The key stored for {} is deleted for good: no roll back brings it back."


def _lost_keys(names: Collection[str]) -> list[str]:
    """A provider that goes, turns to another address or takes its key from elsewhere goes without the stored one."""
    return [KEY_LOST.format(name) for name in sorted(names)]


def _enabled(document: Mapping[str, Any]) -> set[str]:
    providers = document.get("providers", {})
    return {name for name, entry in providers.items() if entry.get("enabled", True)}


def _tool_ids(document: Mapping[str, Any]) -> set[str]:
    return {client["toolId"] for client in document.get("clients", ())}


def _store(item: Loaded, *, merge: bool) -> None:
    if item.name == PROVIDERS:
        providers_loader.store(item.document, item.entries, merge=merge)
    else:
        clients_loader.store(item.document, item.entries, peppers(), merge=merge)


def _missing_keys(item: Loaded) -> list[str]:
    """A file says that a key is stored, never which; a provider that comes back comes without it."""
    if item.name != PROVIDERS:
        return []
    return [
        f"{item.content.label}: no key is stored for {name}; enter it at the provider before it is called"
        for name in providers_loader.without_stored_key()
        if name in item.entries
    ]


class Exported(NamedTuple):
    """`unchanged`: the file said the same already. `removed`: old backups that went."""

    unchanged: bool
    removed: list[Path]


def export_file(name: str, folder: Path) -> Exported:
    """Writes the file with its backup. One that says the same already is left alone: backups of nothing new would
    push out those of what somebody wrote by hand. Raises `backups.SaveError`."""
    data, path = render(name), folder / name
    unchanged = _says(path, data)
    removed = [] if unchanged else changelog.save(path, data)
    if folder.resolve() == settings.CONFIG_DIR.resolve():
        note_synced(name, data)
    return Exported(unchanged, removed)


def _says(path: Path, data: bytes) -> bool:
    """Whether the file has these bytes, and is kept from others from now on."""
    with suppress(OSError):  # what is wrong with it is for the save to tell
        if path.read_bytes() == data:
            path.chmod(0o600)
            return True
    return False


def note_synced(name: str, raw: bytes) -> None:
    ConfigFile.objects.update_or_create(
        name=name, defaults={"file_digest": _digest(raw), "content_digest": _digest(render(name))}
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Drift(NamedTuple):
    """How a file and the database compare with their last meeting."""

    file_changed: bool
    database_changed: bool

    @property
    def words(self) -> str:
        if self.file_changed and self.database_changed:
            return "the file and the database both changed since they last met"
        if self.file_changed:
            return "the file changed and was not imported since"
        return "the database changed and was not exported since" if self.database_changed else ""


def drift(name: str, path: Path) -> Drift | None:
    """None when there is no file."""
    try:
        digest = _digest(path.read_bytes())
    except FileNotFoundError:
        return None
    known = ConfigFile.objects.filter(name=name).first()
    if known is None:
        return Drift(file_changed=True, database_changed=not _is_empty(name))
    return Drift(
        file_changed=known.file_digest != digest,
        database_changed=known.content_digest != _digest(render(name)),
    )


def is_new(name: str) -> bool:
    """Whether the database never met the file and holds nothing of its kind: only then is there nothing to lose."""
    return not ConfigFile.objects.filter(name=name).exists() and _is_empty(name)


def _is_empty(name: str) -> bool:
    return providers_loader.is_empty() if name == PROVIDERS else clients_loader.is_empty()


def drifted() -> dict[str, str]:
    """File name → how it and the database differ, in words. A file that is not there differs in nothing."""
    found: dict[str, str] = {}
    for name in FILES:
        try:
            state = drift(name, settings.CONFIG_DIR / name)
        except OSError as error:
            found[name] = f"the file cannot be read ({error.strerror})"
            continue
        if state is not None and state.words:
            found[name] = state.words
    return found
