"""The assistant's draft: edits are new drafts, and what they come to is told in lines that show no secret."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.assistant import draft as drafts
from gateway.assistant import fields, typed
from gateway.assistant.changes import compared, pending
from gateway.assistant.draft import Documents, Draft, TokenRequest
from providers.types import Secret

CANARY = "sk-canary-1f00"
GPU: dict[str, Any] = {"baseUrl": "http://localhost:1234/v1", "defaultModel": "m", "capabilities": ["chat"]}
CLOUD: dict[str, Any] = {
    "baseUrl": "https://api.example.com",
    "defaultModel": "big",
    "capabilities": ["chat"],
}
TOKEN = {"id": "T1", "hash": f"hmac-sha256:ab:{'0' * 64}"}
BOB: dict[str, Any] = {"toolId": "bob", "tokens": [TOKEN], "allowedMethods": ["chat"]}


def begun() -> Draft:
    documents = Documents(
        {"aliases": {"fast": "gpu/m", "wide": "cloud/big"}, "providers": {"gpu": GPU, "cloud": CLOUD}},
        {"description": "ours", "clients": [BOB]},
    )
    return Draft(version=7, before=documents, now=documents, stored=frozenset({"cloud"}))


def test_a_draft_that_nobody_touched_has_nothing_to_save() -> None:
    assert not drafts.is_changed(begun())
    assert pending(begun()) == []


def test_an_edit_leaves_the_draft_that_it_began_with_alone() -> None:
    draft = begun()
    changed = drafts.put_provider(draft, "gpu", GPU | {"maxConcurrency": 2})
    assert (drafts.is_changed(draft), drafts.is_changed(changed)) == (False, True)
    assert pending(changed) == ["provider gpu: maxConcurrency not set → 2"]
    assert not drafts.is_changed(drafts.put_provider(changed, "gpu", GPU))


def test_a_deleted_provider_takes_its_aliases_and_its_new_key_along() -> None:
    draft = drafts.put_provider(begun(), "gpu", GPU | {"apiKey": {"stored": True}}, Secret(CANARY))
    gone = drafts.remove_provider(draft, "gpu")
    assert (list(drafts.providers(gone)), gone.now.providers["aliases"], gone.keys) == (
        ["cloud"],
        {"wide": "cloud/big"},
        {},
    )
    assert pending(gone) == ["provider gpu: removed", "alias fast: removed"]


def test_the_order_of_providers_is_a_change_of_its_own() -> None:
    moved = drafts.move_provider(begun(), "cloud", 1)
    assert list(drafts.providers(moved)) == ["cloud", "gpu"]
    assert drafts.is_changed(moved)
    assert pending(moved) == ["provider cloud: order moved from 2 to 1"]
    assert not drafts.is_changed(drafts.move_provider(moved, "cloud", 99))


def test_a_key_is_only_kept_for_entries_whose_key_is_in_the_database() -> None:
    stored = drafts.put_provider(begun(), "cloud", CLOUD | {"apiKey": {"stored": True}}, Secret(CANARY))
    assert stored.keys["cloud"].reveal() == CANARY
    again = drafts.put_provider(stored, "cloud", CLOUD | {"apiKey": {"stored": True}, "notes": "n"})
    assert again.keys["cloud"].reveal() == CANARY
    assert drafts.put_provider(again, "cloud", CLOUD | {"apiKey": {"env": "KEY"}}).keys == {}
    assert CANARY not in repr(again)
    assert CANARY not in "".join(pending(again))
    assert "provider cloud: a new key is sealed into the database" in pending(again)


def test_tokens_are_asked_for_withdrawn_and_revoked() -> None:
    asked = drafts.request_token(begun(), "bob", 90 * 86_400)
    assert pending(asked) == ["client bob: a token is issued, which expires after 90d"]
    assert not drafts.is_changed(drafts.withdraw_token(asked, TokenRequest("bob", 90 * 86_400)))
    assert drafts.remove_client(asked, "bob").tokens == ()
    revoked = drafts.revoke_token(begun(), "bob", "T1", datetime(2026, 1, 2, tzinfo=UTC))
    assert drafts.clients(revoked)["bob"]["tokens"][0]["revokedAt"] == "2026-01-02T00:00:00Z"
    assert pending(revoked) == ["client bob: token T1 revoked"]
    again = drafts.revoke_token(revoked, "bob", "T1", datetime(2027, 1, 2, tzinfo=UTC))
    assert again == revoked


def test_a_difference_names_what_came_went_and_changed() -> None:
    before = Documents({"providers": {"gpu": GPU}}, {"clients": [BOB]})
    now = Documents(
        {"description": "new", "providers": {"gpu": GPU | {"scores": {"chat": 5}}, "cloud": CLOUD}},
        {"clients": [BOB | {"tokens": []}, {"toolId": "eve", "allowedMethods": []}]},
    )
    assert compared(before, now) == [
        "header description: not set → new",
        "provider gpu: scores.chat 5 added",
        "provider cloud: added (baseUrl https://api.example.com, defaultModel big, capabilities chat)",
        "client bob: token T1 removed",
        "client eve: added (allowedMethods none)",
    ]
    assert "0" * 64 not in "".join(compared(now, before)), "not even a digest"


@pytest.mark.parametrize(
    ("read", "line", "value"),
    [
        (typed.names, " a, b ,,c", ["a", "b", "c"]),
        (typed.whole, "12", 12),
        (typed.number, "9.5", 9.5),
        (typed.number, "90", 90),
        (typed.yes_or_no, "Y", True),
        (typed.yes_or_no, "no", False),
        (typed.limit, "10 per 1000 ms", {"maxRequests": 10, "intervalMs": 1000}),
        (typed.limit, "10/1000", {"maxRequests": 10, "intervalMs": 1000}),
        (typed.period, "90d", 7_776_000),
        (typed.period, "2 w", 1_209_600),
    ],
)
def test_what_is_typed_becomes_a_value(read: Any, line: str, value: Any) -> None:
    assert read(line) == value


@pytest.mark.parametrize(
    ("read", "line"),
    [
        (typed.whole, "1.5"),
        (typed.whole, "٣"),
        (typed.number, "nan"),
        (typed.yes_or_no, "maybe"),
        (typed.limit, "10"),
        (typed.period, "0d"),
        (typed.period, "90"),
    ],
)
def test_what_cannot_be_read_says_what_to_type(read: Any, line: str) -> None:
    with pytest.raises(ValueError, match="Type "):
        read(line)


def test_a_field_lies_where_its_dotted_name_says() -> None:
    score = next(field for field in fields.provider_fields("gpu", GPU) if field.name == "scores.chat")
    scored = fields.put(GPU, score, 5)
    assert scored["scores"] == {"chat": 5}
    assert (fields.get(scored, score), fields.get(GPU, score), score.pointer) == (5, None, "/scores/chat")
    assert fields.put(scored, score, None) == GPU


def test_what_a_file_does_not_write_is_taken_out_of_the_entry() -> None:
    kind, *_ = fields.provider_fields("lmstudio_gpu", GPU)
    assert fields.get(GPU, kind) == "lmstudio"
    assert fields.put(fields.put(GPU, kind, "openai"), kind, "lmstudio") == GPU
    enabled = next(field for field in fields.CLIENT_FIELDS if field.name == "enabled")
    assert fields.put(BOB | {"enabled": False}, enabled, True) == BOB


def test_values_are_shown_as_they_would_be_typed() -> None:
    values = [None, True, ["a", "b"], {"maxRequests": 1, "intervalMs": 2}, "two\nlines", 5]
    assert [typed.show(value) for value in values] == ["", "yes", "a, b", "1 per 2 ms", "two lines", "5"]
