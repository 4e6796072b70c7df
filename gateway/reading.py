"""A configuration file's bytes, checked field by field so that every problem is found, each with its JSON pointer.

What must hold beyond the shape is asked of the apps.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from clients import document as clients_document
from clients import loader as clients_loader
from clients.tokens import Pepper
from gateway import keepable
from gateway.invisible import complaint
from gateway.rendering import PROVIDERS
from gateway.shape import Problem, fit, is_whole
from providers import document as providers_document
from providers import loader as providers_loader
from providers.document import escape
from providers.egress import EgressPolicy

MAX_FILE_BYTES = 32 * 1024 * 1024


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
    value, repeated, unkept = _parse(content.label, raw)
    reading = _Reading(value, repeated + unkept, passed_over=[pointer for pointer, _ in unkept])
    if content.name == PROVIDERS:
        document, entries, warnings = _read_providers(reading, rules, merge=merge)
    else:
        document, entries, warnings = _read_clients(reading, rules)
    if reading.problems:
        raise ImportRefused([FileProblem(content.label, *problem) for problem in reading.in_order()])
    return Loaded(content, raw, document, entries, [f"{content.label}#{said}" for said in warnings])


def _parse(file: str, raw: bytes) -> tuple[Any, list[Problem], list[Problem]]:
    """The value, which keys it has twice, and what of it cannot be kept. Raises `ImportRefused` where there is none to go on with."""
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
    if value is None and found:  # too deep to be read at all
        raise ImportRefused([FileProblem(file, *problem) for problem in found])
    return value, [("", f"has the same key twice: {key!r}") for key in repeated], found


class _Reading:
    """A file's value with what is wrong with it so far. `passed_over`: pointers of what is not judged any more."""

    def __init__(self, value: Any, problems: list[Problem], passed_over: Sequence[str]) -> None:
        self.value, self.problems, self._passed_over = value, problems, passed_over
        self._numbers: dict[int, dict[str, int]] = {}

    def fit(self, kind: type[msgspec.Struct], value: Any, pointer: str) -> dict[str, Any]:
        fitted = fit(kind, value, pointer, self._passed_over)
        self.problems += fitted.problems
        return fitted.known

    def say(self, found: Iterable[Problem], pointer: str = "") -> None:
        self.problems += [(pointer + below, message) for below, message in found]

    def top(self, kind: type[msgspec.Struct], entries: str, others: str, hint: str) -> dict[str, Any]:
        """The fields of the top level. `others`: what the other of the two files has in place of `entries`."""
        value = self.value
        if isinstance(value, dict) and others in value and entries not in value:
            self.problems.append((f"/{others}", hint))
            value = {name: item for name, item in value.items() if name != others} | {
                entries: _EMPTY[entries]
            }
        return self.fit(kind, value, "")

    def below(self, name: str) -> Any:
        return self.value.get(name) if isinstance(self.value, dict) else None

    def in_order(self) -> list[Problem]:
        """Each once, in the order of the file; what is said of an object as a whole comes before its members."""
        return sorted(dict.fromkeys(self.problems), key=lambda problem: self._place(problem[0]))

    def _place(self, pointer: str) -> tuple[int, ...]:
        value, place = self.value, []
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(value, list) and name.isdigit() and int(name) < len(value):
                place.append(int(name))
                value = value[int(name)]
            elif isinstance(value, dict) and name in value:
                if id(value) not in self._numbers:
                    self._numbers[id(value)] = {one: n for n, one in enumerate(value)}
                place.append(self._numbers[id(value)][name])
                value = value[name]
            else:
                break
        return tuple(place)


_EMPTY: dict[str, Any] = {"providers": {}, "clients": []}
_IS_REGISTRY = "This is a client registry: it goes to client-registry.json (import_config --clients)"
_IS_PROVIDERS = "These are providers: they go to providers.json (import_config --providers)"


def _read_providers(reading: _Reading, rules: Rules, *, merge: bool) -> tuple[Any, Any, list[str]]:
    top = reading.top(providers_document.ProvidersDocument, "providers", "clients", _IS_REGISTRY)
    entries: dict[str, providers_document.ProviderEntry] = {}
    warnings: list[str] = []
    providers = reading.below("providers")
    for name, item in providers.items() if isinstance(providers, dict) else ():
        if not keepable.is_kept(name):
            continue
        pointer = f"/providers/{escape(name)}"
        before = len(reading.problems)
        known = reading.fit(providers_document.ProviderEntry, item, pointer)
        reading.say(providers_document.problems_of(name, known), pointer)
        if len(reading.problems) == before and is_whole(providers_document.ProviderEntry, known):
            entries[name] = providers_document.ProviderEntry(**known)
            if warning := providers_document.egress_warning(known["base_url"], rules.egress):
                warnings.append(f"{pointer}/baseUrl: {warning}")
    _judge_aliases(reading, merge=merge)
    document = None if reading.problems else providers_document.ProvidersDocument(**top)
    return document, entries, warnings


def _judge_aliases(reading: _Reading, *, merge: bool) -> None:
    """Those that have the right shape, beside others that have not."""
    aliases, providers = reading.below("aliases"), reading.below("providers")
    wrong = {pointer for pointer, _ in reading.problems}
    good = {
        name: target
        for name, target in (aliases.items() if isinstance(aliases, dict) else ())
        if not wrong & {"/aliases", f"/aliases/{escape(name)}"}
    }
    reading.say(_unseen({f"/aliases/{escape(name)}": name for name in good}, providers_loader.alias_names))
    if good and isinstance(providers, dict):
        names = set(providers) | (providers_loader.provider_names() if merge else set())
        reading.say(providers_document.alias_problems(good, names))


def _read_clients(reading: _Reading, rules: Rules) -> tuple[Any, Any, list[str]]:
    top = reading.top(clients_document.RegistryDocument, "clients", "providers", _IS_PROVIDERS)
    items: list[clients_document.Item] = []
    clients = reading.below("clients")
    for n, item in enumerate(clients if isinstance(clients, list) else ()):
        before = len(reading.problems)
        known = reading.fit(clients_document.ClientEntry, item, f"/clients/{n}")
        reading.say(clients_document.problems_of(known, rules.peppers), f"/clients/{n}")
        is_good = len(reading.problems) == before and is_whole(clients_document.ClientEntry, known)
        entry = clients_document.ClientEntry(**known) if is_good else None
        items.append(clients_document.Item(n, item if isinstance(item, dict) else {}, known, entry))
    names = {f"/clients/{item.n}/toolId": item.known["tool_id"] for item in items if "tool_id" in item.known}
    reading.say(_unseen(names, clients_loader.tool_ids))
    reading.say(clients_document.clashes(items))
    document = None if reading.problems else clients_document.RegistryDocument(**top)
    warnings = [
        f"/clients/{item.n}{below}: {said}"
        for item in items
        if item.entry is not None
        for below, said in clients_document.warnings_of(item.entry)
    ]
    return document, clients_document.gather(items), warnings


def _unseen(names: Mapping[str, str], kept: Callable[[], set[str]]) -> list[Problem]:
    """Of new names by their pointers; what is `kept` already goes on as it is."""
    found = {pointer: said for pointer, name in names.items() if (said := complaint(name))}
    known = kept() if found else set()
    return [(pointer, said) for pointer, said in found.items() if names[pointer] not in known]
