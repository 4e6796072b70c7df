"""Each version keeps what both files said before it: caught ahead of the change, once, and gone with a roll back."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import provider_entry, registry
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from clients.loader import issue, revoke
from clients.models import Client
from gateway.configfile import CLIENTS, FILES, PROVIDERS, import_files, peppers
from gateway.models import ConfigVersion
from gateway.rendering import render_all, unpack
from providers.models import Provider

TABLES = ("providers_provider", "clients_client")
pytestmark = pytest.mark.django_db(transaction=True)


def before(version: ConfigVersion | None) -> dict[str, Any]:
    assert version is not None
    assert version.before is not None
    return {name: json.loads(text) for name, text in unpack(bytes(version.before)).items()}


def import_document(folder: Path, name: str, document: Any) -> None:
    path = folder / "other.json"
    path.write_text(json.dumps(document))
    import_files({name: path})


def two_providers(**more: Any) -> dict[str, Any]:
    entry = provider_entry("http://localhost:1/v1")
    return {"providers": {"one": entry | more, "two": entry}}


def test_an_import_keeps_both_files_of_before(tmp_path: Path) -> None:
    import_document(tmp_path, PROVIDERS, two_providers())
    first = ConfigVersion.objects.get()
    assert before(first) == {PROVIDERS: {"providers": {}}, CLIENTS: {"clients": []}}
    import_document(tmp_path, CLIENTS, registry())
    assert list(before(ConfigVersion.objects.first())[PROVIDERS]["providers"]) == ["one", "two"]
    assert ConfigVersion.objects.count() == 2


def test_the_next_version_keeps_what_this_one_left(tmp_path: Path) -> None:
    import_document(tmp_path, PROVIDERS, two_providers())
    import_document(tmp_path, PROVIDERS, two_providers(notes="GPU"))
    left = render_all()
    import_document(tmp_path, PROVIDERS, {"providers": {}})
    newest = ConfigVersion.objects.first()
    assert newest is not None
    assert newest.before is not None
    assert unpack(bytes(newest.before)) == left


def test_an_admin_save_is_one_version_with_what_was(tmp_path: Path) -> None:
    import_document(tmp_path, PROVIDERS, two_providers())
    ada = Browser()
    ada.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    one = Provider.objects.get(name="one")
    alias = {"name": "fast", "provider": one.pk, "model_id": "m", "position": 0}
    assert ada.post("/admin/providers/modelalias/add/", alias).status_code == 302
    assert ada.post(f"/admin/providers/provider/{one.pk}/delete/", {"post": "yes"}).status_code == 302
    deleted, saved, _ = ConfigVersion.objects.all()
    assert (saved.author, deleted.author) == ("ada", "ada")
    assert before(saved)[PROVIDERS].get("aliases") is None
    assert before(deleted)[PROVIDERS]["aliases"] == {"fast": "one/m"}
    assert list(before(deleted)[PROVIDERS]["providers"]) == ["one", "two"]


def test_issuing_and_revoking_keep_what_was() -> None:
    with transaction.atomic():
        minted = issue("bob", ("chat", "embed"), peppers()[0])
    assert before(ConfigVersion.objects.get())[CLIENTS] == {"clients": []}
    revoke(minted.token_id)
    (token,) = before(ConfigVersion.objects.first())[CLIENTS]["clients"][0]["tokens"]
    assert (token["id"], "revokedAt" in token) == (minted.token_id, False)


def test_a_change_outside_of_a_transaction_keeps_what_was() -> None:
    client = Client.objects.create(tool_id="bob")
    client.notes = "now with notes"
    client.save()
    client.delete()
    kept = [before(version)[CLIENTS]["clients"] for version in ConfigVersion.objects.order_by("pk")]
    assert [[entry.get("notes") for entry in state] for state in kept] == [[], [None], ["now with notes"]]


def test_a_transaction_that_is_undone_leaves_nothing() -> None:
    with transaction.atomic():
        Client.objects.create(tool_id="bob")
        transaction.set_rollback(True)
    assert not ConfigVersion.objects.exists()
    with transaction.atomic():
        Client.objects.create(tool_id="charlie")
    assert before(ConfigVersion.objects.get())[CLIENTS] == {"clients": []}


def test_a_savepoint_that_is_undone_does_not_take_the_memory_along() -> None:
    with transaction.atomic():
        Client.objects.create(tool_id="bob")
        with pytest.raises(IntegrityError), transaction.atomic():
            Client.objects.create(tool_id="bob")
        Client.objects.create(tool_id="charlie")
    assert before(ConfigVersion.objects.get())[CLIENTS] == {"clients": []}


def test_the_files_are_written_out_before_and_after_a_transaction_not_at_each_change(tmp_path: Path) -> None:
    with (
        CaptureQueriesContext(
            connection,
        ) as few,
        transaction.atomic(),
    ):
        Client.objects.create(tool_id="first")
    with CaptureQueriesContext(connection) as many, transaction.atomic():
        for n in range(20):
            Client.objects.create(tool_id=f"client-{n}")
    dumps = [
        [sum(f'FROM "{table}"' in query["sql"] for query in captured.captured_queries) for table in TABLES]
        for captured in (few, many)
    ]
    assert dumps == [[1, 2], [1, 2]], "afterwards only the file that changed"


def test_nothing_kept_holds_a_plaintext_token(tmp_path: Path) -> None:
    import_document(tmp_path, CLIENTS, registry())
    import_document(tmp_path, CLIENTS, {"clients": []})
    kept = [json.dumps(before(version)) for version in ConfigVersion.objects.all()]
    assert len(kept) == len(FILES)
    assert not any("bob-token" in text for text in kept)
