"""The JSON files and the database: read, check, import, export (contract §3).

Shapes are checked field by field so that every problem is found, each with its JSON pointer; what must hold
beyond the shape is asked of the apps. An import is one transaction: all of it, or nothing.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from django.conf import settings
from django.db import transaction

from clients import document as clients_document
from clients import loader as clients_loader
from clients.tokens import Pepper, parse_peppers
from gateway import changelog
from gateway.attribution import attributed
from gateway.environment import SettingsError
from gateway.models import ConfigFile
from providers import document as providers_document
from providers import loader as providers_loader
from providers.document import escape
from providers.egress import EgressPolicy, parse_networks

PROVIDERS, CLIENTS = "providers.json", "client-registry.json"
FILES = (PROVIDERS, CLIENTS)
MAX_FILE_BYTES = 32 * 1024 * 1024
T = TypeVar("T", bound=msgspec.Struct)


class FileProblem(NamedTuple):
    """`pointer`: RFC 6901, "" for the whole file."""

    file: str
    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}#{self.pointer}: {self.message}"


class ImportRefused(Exception):
    """Nothing was changed. `problems`: all that is wrong, in the order of the files."""

    def __init__(self, problems: Sequence[FileProblem]) -> None:
        super().__init__(f"{len(problems)} problem(s)")
        self.problems = tuple(problems)


class Loaded(NamedTuple):
    """A file found good: its bytes, its document, its entries."""

    name: str
    file: Path
    raw: bytes
    document: Any
    entries: Any
    warnings: list[str]


class Outcome(NamedTuple):
    changed: list[str]
    unchanged: list[str]
    warnings: list[str]


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


def import_files(
    paths: dict[str, Path], *, merge: bool = False, dry_run: bool = False, author: str = "import"
) -> Outcome:
    """`paths`: kind (`PROVIDERS`, `CLIENTS`) → file. Raises `ImportRefused` with every problem of all files."""
    loaded: list[Loaded] = []
    problems: list[FileProblem] = []
    for name, path in paths.items():
        try:
            loaded.append(_read(name, path, merge=merge))
        except ImportRefused as error:
            problems += error.problems
    if problems:
        raise ImportRefused(problems)
    with transaction.atomic(), attributed(author, f"import of {', '.join(str(p) for p in paths.values())}"):
        outcome = _apply(loaded, merge=merge)
        if dry_run:
            transaction.set_rollback(True)
    return outcome


def _apply(loaded: Sequence[Loaded], *, merge: bool) -> Outcome:
    changed, unchanged, warnings = [], [], []
    for item in loaded:
        before = render(item.name)
        # In a savepoint, so that an import that changes nothing leaves no version behind.
        with transaction.atomic():
            _store(item, merge=merge)
            same = render(item.name) == before
            if same:
                transaction.set_rollback(True)
        (unchanged if same else changed).append(item.name)
        warnings += item.warnings
        if item.file.resolve() == (settings.CONFIG_DIR / item.name).resolve():
            # A file from elsewhere changes the database's side only: the folder's own has not met it.
            note_synced(item.name, item.raw)
    return Outcome(changed, unchanged, warnings)


def _store(item: Loaded, *, merge: bool) -> None:
    if item.name == PROVIDERS:
        providers_loader.store(item.document, item.entries, merge=merge)
    else:
        clients_loader.store(item.document, item.entries, peppers(), merge=merge)


def render(name: str) -> bytes:
    """What an export writes: canonical, so that the same tables always give the same bytes."""
    document = providers_loader.dump() if name == PROVIDERS else clients_loader.dump()
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def export_file(name: str, folder: Path) -> list[Path]:
    """Writes the file with its backup and returns the old backups removed. Raises `backups.SaveError`."""
    data = render(name)
    removed = changelog.save(folder / name, data)
    if folder.resolve() == settings.CONFIG_DIR.resolve():
        note_synced(name, data)
    return removed


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


def drift(name: str, path: Path) -> Drift | None:
    """None when there is no file."""
    try:
        digest = _digest(path.read_bytes())
    except FileNotFoundError:
        return None
    known = ConfigFile.objects.filter(name=name).first()
    if known is None:
        empty = providers_loader.is_empty() if name == PROVIDERS else clients_loader.is_empty()
        return Drift(file_changed=True, database_changed=not empty)
    return Drift(
        file_changed=known.file_digest != digest,
        database_changed=known.content_digest != _digest(render(name)),
    )


def _read(name: str, path: Path, *, merge: bool) -> Loaded:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ImportRefused([FileProblem(str(path), "", f"cannot be read ({error.strerror})")]) from None
    value = _parse(str(path), raw)
    if name == PROVIDERS:
        return _read_providers(str(path), raw, value, merge=merge)
    return _read_clients(str(path), raw, value)


def _parse(file: str, raw: bytes) -> Any:
    if len(raw) > MAX_FILE_BYTES:
        raise ImportRefused([FileProblem(file, "", "is larger than 32 MiB")])
    repeated: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            repeated.extend(sorted({key for key in keys if keys.count(key) > 1}))
        return found

    try:
        value = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=members)
        msgspec.json.encode(value)
    except UnicodeDecodeError:
        raise ImportRefused([FileProblem(file, "", "is not UTF-8")]) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ImportRefused([FileProblem(file, "", f"is not JSON: {error.msg} at {where}")]) from None
    except (ValueError, RecursionError, OverflowError):
        raise ImportRefused([FileProblem(file, "", "holds a value that cannot be kept")]) from None
    if repeated:
        raise ImportRefused([FileProblem(file, "", f"has the same key twice: {key!r}") for key in repeated])
    return value


def _read_providers(file: str, raw: bytes, value: Any, *, merge: bool) -> Loaded:
    problems: list[FileProblem] = []
    document = _convert(providers_document.ProvidersDocument, value, file, "", problems)
    entries: dict[str, providers_document.ProviderEntry] = {}
    warnings: list[str] = []
    for name, item in (document.providers if document else {}).items():
        pointer = f"/providers/{escape(name)}"
        entry = _convert(providers_document.ProviderEntry, item, file, pointer, problems)
        if entry is None:
            continue
        found = providers_document.problems_of(name, entry)
        problems += [FileProblem(file, pointer + below, message) for below, message in found]
        entries[name] = entry
        if not found and (warning := providers_document.egress_warning(entry.base_url, egress())):
            warnings.append(f"{file}#{pointer}/baseUrl: {warning}")
    if document is not None and not problems:
        names = set(entries) | (providers_loader.provider_names() if merge else set())
        found = providers_document.alias_problems(document.aliases, names)
        problems += [FileProblem(file, pointer, message) for pointer, message in found]
    if problems:
        raise ImportRefused(problems)
    return Loaded(PROVIDERS, Path(file), raw, document, entries, warnings)


def _read_clients(file: str, raw: bytes, value: Any) -> Loaded:
    problems: list[FileProblem] = []
    document = _convert(clients_document.RegistryDocument, value, file, "", problems)
    entries: list[tuple[int, clients_document.ClientEntry]] = []
    for n, item in enumerate(document.clients if document else ()):
        pointer = f"/clients/{n}"
        entry = _convert(clients_document.ClientEntry, item, file, pointer, problems)
        if entry is None:
            continue
        found = clients_document.problems_of(entry, peppers())
        problems += [FileProblem(file, pointer + below, message) for below, message in found]
        entries.append((n, entry))
    registered, found = clients_document.gather(entries)
    problems += [FileProblem(file, pointer, message) for pointer, message in found]
    if problems:
        raise ImportRefused(problems)
    return Loaded(CLIENTS, Path(file), raw, document, registered, [])


def _convert(kind: type[T], value: Any, file: str, pointer: str, problems: list[FileProblem]) -> T | None:
    """The struct, or None after adding a problem for each field that does not fit."""
    if not isinstance(value, dict):
        problems.append(FileProblem(file, pointer, "An object is needed"))
        return None
    before = len(problems)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in value:
        if name not in fields:
            problems.append(FileProblem(file, f"{pointer}/{escape(name)}", "Unknown field"))
    for name, field in fields.items():
        if name not in value:
            if field.required:
                problems.append(FileProblem(file, pointer, f"`{name}` is missing"))
            continue
        try:
            msgspec.convert(value[name], field.type)
        except msgspec.ValidationError as error:
            problems.append(_field_problem(file, f"{pointer}/{escape(name)}", str(error)))
    if len(problems) > before:
        return None
    return msgspec.convert(value, kind)


def _field_problem(file: str, pointer: str, text: str) -> FileProblem:
    """msgspec writes places as `$.a[0].b`, or `$[...]` for a member of a mapping."""
    message, _, place = text.partition(" - at `")
    path = place.removesuffix("`").removeprefix("$").removeprefix("key in ").replace("[...]", "")
    below = path.replace(".", "/").replace("[", "/").replace("]", "")
    return FileProblem(file, pointer + below, message)
