"""A configuration file's bytes, checked field by field so that every problem is found, each with its JSON pointer.

What must hold beyond the shape is asked of the apps.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from clients import document as clients_document
from clients import loader as clients_loader
from clients.tokens import Pepper
from gateway import keepable
from gateway.invisible import complaint
from gateway.rendering import PROVIDERS
from providers import document as providers_document
from providers import loader as providers_loader
from providers.document import escape
from providers.egress import EgressPolicy

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


class Content(NamedTuple):
    """A file on its way in. `name`: its kind. `label`: how problems call it. `own`: it is the folder's own."""

    name: str
    label: str
    source: Path | bytes
    own: bool = False

    def __repr__(self) -> str:
        return f"<Content {self.label}>"


class Rules(NamedTuple):
    """What of the settings decides whether a file is good."""

    peppers: tuple[Pepper, ...]
    egress: EgressPolicy


class Loaded(NamedTuple):
    """A file found good: its bytes, its document, its entries."""

    content: Content
    raw: bytes
    document: Any
    entries: Any
    warnings: list[str]

    @property
    def name(self) -> str:
        return self.content.name

    def __repr__(self) -> str:
        return f"<Loaded {self.content.label}>"


def read(contents: Sequence[Content], rules: Rules, *, merge: bool = False) -> list[Loaded]:
    """Raises `ImportRefused` with every problem of all files."""
    loaded: list[Loaded] = []
    problems: list[FileProblem] = []
    for content in contents:
        try:
            loaded.append(_read(content, rules, merge=merge))
        except ImportRefused as error:
            problems += error.problems
    if problems:
        raise ImportRefused(problems)
    return loaded


def _read(content: Content, rules: Rules, *, merge: bool) -> Loaded:
    source = content.source
    try:
        raw = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise ImportRefused([FileProblem(content.label, "", f"cannot be read ({error.strerror})")]) from None
    value = _parse(content.label, raw)
    if content.name == PROVIDERS:
        document, entries, warnings = _read_providers(content.label, value, rules, merge=merge)
    else:
        document, entries, warnings = _read_clients(content.label, value, rules)
    return Loaded(content, raw, document, entries, warnings)


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
        value, found = keepable.parse(raw.decode("utf-8-sig"), members)
    except UnicodeDecodeError:
        raise ImportRefused([FileProblem(file, "", "is not UTF-8")]) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ImportRefused([FileProblem(file, "", f"is not JSON: {error.msg} at {where}")]) from None
    problems = [FileProblem(file, "", f"has the same key twice: {key!r}") for key in repeated]
    problems += [FileProblem(file, pointer, message) for pointer, message in found]
    if problems:
        raise ImportRefused(problems)
    return value


def _read_providers(file: str, value: Any, rules: Rules, *, merge: bool) -> tuple[Any, Any, list[str]]:
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
        if not found and (warning := providers_document.egress_warning(entry.base_url, rules.egress)):
            warnings.append(f"{file}#{pointer}/baseUrl: {warning}")
    hidden = {f"/aliases/{escape(name)}": name for name in document.aliases} if document else {}
    problems += _unseen(file, hidden, providers_loader.alias_names)
    if document is not None and not problems:
        names = set(entries) | (providers_loader.provider_names() if merge else set())
        found = providers_document.alias_problems(document.aliases, names)
        problems += [FileProblem(file, pointer, message) for pointer, message in found]
    if problems:
        raise ImportRefused(problems)
    return document, entries, warnings


def _read_clients(file: str, value: Any, rules: Rules) -> tuple[Any, Any, list[str]]:
    problems: list[FileProblem] = []
    document = _convert(clients_document.RegistryDocument, value, file, "", problems)
    entries: list[tuple[int, clients_document.ClientEntry]] = []
    warnings: list[str] = []
    for n, item in enumerate(document.clients if document else ()):
        pointer = f"/clients/{n}"
        entry = _convert(clients_document.ClientEntry, item, file, pointer, problems)
        if entry is None:
            continue
        found = clients_document.problems_of(entry, rules.peppers)
        problems += [FileProblem(file, pointer + below, message) for below, message in found]
        said = clients_document.warnings_of(entry)
        warnings += [str(FileProblem(file, pointer + below, message)) for below, message in said]
        entries.append((n, entry))
    problems += _unseen(
        file, {f"/clients/{n}/toolId": entry.tool_id for n, entry in entries}, clients_loader.tool_ids
    )
    registered, found = clients_document.gather(entries)
    problems += [FileProblem(file, pointer, message) for pointer, message in found]
    if problems:
        raise ImportRefused(problems)
    return document, registered, warnings


def _unseen(file: str, names: Mapping[str, str], kept: Callable[[], set[str]]) -> list[FileProblem]:
    """Of new names by their pointers; what is `kept` already goes on as it is."""
    found = {pointer: said for pointer, name in names.items() if (said := complaint(name))}
    known = kept() if found else set()
    return [
        FileProblem(file, pointer, said) for pointer, said in found.items() if names[pointer] not in known
    ]


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
            place = f"{pointer}/{escape(name)}"
            problems += _members(field.type, value[name], file, place) or [_problem(file, place, str(error))]
    if len(problems) > before:
        return None
    return msgspec.convert(value, kind)


def _members(kind: Any, value: Any, file: str, pointer: str) -> list[FileProblem]:
    """Of a mapping, member by member: msgspec does not say which one it means."""
    found = []
    for name, item in value.items() if isinstance(value, dict) else ():
        try:
            msgspec.convert({name: item}, kind)
        except msgspec.ValidationError as error:
            # A mapping that is a struct's names its members, and lacks those that were left out here.
            if "[...]" in str(error) or "`key` in" in str(error):
                found.append(_problem(file, f"{pointer}/{escape(name)}", str(error)))
    return found


def _problem(file: str, pointer: str, text: str) -> FileProblem:
    """msgspec writes places as `$.a[0].b`, `$[...]` for a member of a mapping, and "`key` in `$`" for its name."""
    message, _, place = text.partition(" - at `")
    path = place.removeprefix("key` in `").removesuffix("`").removeprefix("$").replace("[...]", "")
    below = path.replace(".", "/").replace("[", "/").replace("]", "")
    return FileProblem(file, pointer + below, message.replace("Invalid enum value", "Unknown value"))
