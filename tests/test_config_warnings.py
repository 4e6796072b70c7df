"""What an import is told of beside problems: names that lead nowhere, and who is not served any more."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import provider_entry, registry
from django.conf import settings

from gateway.configfile import CLIENTS, PROVIDERS, import_files
from providers.models import Provider
from providers.secrets import KeyRing
from providers.stored_keys import keep
from providers.types import Secret

pytestmark = pytest.mark.django_db
ENTRY = provider_entry("http://localhost:1/v1")


def write(folder: Path, name: str, document: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(document))
    return path


def warnings(folder: Path, **files: Any) -> list[str]:
    names = {"providers": PROVIDERS, "clients": CLIENTS}
    return import_files({names[kind]: write(folder, names[kind], files[kind]) for kind in files}).warnings


def test_an_import_that_leaves_no_enabled_provider_says_so(tmp_path: Path) -> None:
    said = "No provider is left: nothing answers anybody."
    entry = provider_entry("http://localhost:1/v1")

    def consequences(**providers: Any) -> list[str]:
        return import_files({PROVIDERS: write(tmp_path, PROVIDERS, {"providers": providers})}).consequences

    assert said not in consequences(a=entry, b=entry)
    assert said not in consequences(a=entry, b=entry | {"enabled": False})
    assert consequences(a=entry | {"enabled": False})[0] == said
    assert said not in consequences(), "nobody was left before"


def test_an_alias_that_hides_a_model_is_told_of_by_the_import_that_brings_it(tmp_path: Path) -> None:
    file = {"providers": {"a": ENTRY, "b": ENTRY | {"models": ["small"]}}, "aliases": {"small": "a/big"}}
    (told,) = warnings(tmp_path, providers=file)
    assert "“small” is also a model of b. The alias wins" in told
    changed_elsewhere = file | {"description": "The same alias"}
    assert warnings(tmp_path, providers=changed_elsewhere) == [], "told once, not each time"
    (told,) = warnings(tmp_path, providers=file | {"aliases": {"small": "a/other"}})
    assert "gets a/other" in told


def test_an_alias_for_a_model_that_the_provider_does_not_list_is_told_of(tmp_path: Path) -> None:
    import_files({PROVIDERS: write(tmp_path, PROVIDERS, {"providers": {"a": ENTRY}})})
    Provider.objects.get().model_rows.create(model_id="found", discovered_at="2026-11-25T00:00:00Z")
    (told,) = warnings(tmp_path, providers={"providers": {"a": ENTRY}, "aliases": {"fast": "a/gone"}})
    assert "did not list “gone”: calls for “fast” may fail" in told


def test_allowed_models_that_nobody_offers_are_told_of_after_all_files_were_read(tmp_path: Path) -> None:
    providers = {"providers": {"a": ENTRY | {"models": ["small"]}}}
    bob = registry()["clients"][0]
    clients = {"clients": [bob | {"allowedModels": ["small", "typo"]}]}
    (told,) = warnings(tmp_path, clients=clients, providers=providers)
    assert told.startswith("bob: No provider lists “typo”")


def test_allowed_providers_that_are_none_are_told_of_after_all_files_were_read(tmp_path: Path) -> None:
    bob, charlie = registry()["clients"]
    clients = {
        "clients": [bob | {"allowedProviders": ["a", "typo", "gone"]}, charlie | {"allowedProviders": []}]
    }
    files = {"clients": clients, "providers": {"providers": {"a": ENTRY}}}
    (told,) = warnings(tmp_path, **files)
    assert told == "bob: There is no provider called gone, typo. Calls go to no provider by such a name."
    assert warnings(tmp_path, **files) == [], "told once, not each time"


@pytest.mark.parametrize("token", [" bob", "bob ", "bob\t", "bob\n", "bo\r\nb", "bob\x7f"])
def test_a_token_that_no_header_can_carry_is_imported_and_told_of(tmp_path: Path, token: str) -> None:
    bob, charlie = registry()["clients"]
    (told,) = warnings(tmp_path, clients={"clients": [charlie, bob | {"token": token}]})
    assert "client-registry.json#/clients/1/token: No request can carry this token" in told
    assert token.strip() not in told.partition("token:")[2]


def test_odd_tokens_that_a_header_carries_are_nothing_to_tell_of(tmp_path: Path) -> None:
    bob = registry()["clients"][0]
    for token in ("b o\tb", "tök😀", "' OR 1=1 --"):
        assert warnings(tmp_path, clients={"clients": [bob | {"token": token}]}) == []


@pytest.mark.parametrize(
    "then",
    [
        {},
        {"keyed": ENTRY | {"apiKey": {"env": "SOME_KEY"}}},
        {"keyed": ENTRY | {"baseUrl": "http://localhost:2/v1", "apiKey": {"stored": True}}},
        {"renamed": ENTRY | {"apiKey": {"stored": True}}},
    ],
    ids=["removed", "another source", "another address", "another name"],
)
def test_an_import_that_drops_a_stored_key_says_so(tmp_path: Path, then: dict[str, Any]) -> None:
    said = "The key stored for keyed is deleted for good: no roll back brings it back."
    first = {"providers": {"keyed": ENTRY | {"apiKey": {"stored": True}}}}

    def consequences(document: Any, **more: Any) -> list[str]:
        return import_files({PROVIDERS: write(tmp_path, PROVIDERS, document)}, **more).consequences

    assert said not in consequences(first)
    assert said not in consequences({"providers": then}, dry_run=True), "none is stored yet"
    consequences(first)
    keep("keyed", Secret("sk-canary"), KeyRing(settings.ENCRYPTION_KEYS))
    assert said not in consequences(first | {"description": "The key stays"})
    assert said not in consequences({"providers": {"other": ENTRY}}, merge=True, dry_run=True)
    assert said in consequences({"providers": then}, dry_run=True)
    assert Provider.objects.filter(stored_credential__isnull=False).exists(), "it was only tried"
    assert said in consequences({"providers": then})
    assert said not in consequences({"providers": then})
