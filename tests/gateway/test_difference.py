"""The readable difference of two documents, with literals."""

from typing import Any

import pytest

from gateway.difference import Change, Detail, difference, moved

HASH = "hmac-sha256:ab:" + "0" * 64
OTHER_HASH = "hmac-sha256:ab:" + "1" * 64


def provider(**more: Any) -> dict[str, Any]:
    return {"baseUrl": "http://localhost:1/v1", "defaultModel": "m", "capabilities": ["chat"]} | more


def client(*tokens: dict[str, Any], **more: Any) -> dict[str, Any]:
    entry = {"toolId": "bob", "allowedMethods": ["chat"]}
    return entry | ({"tokens": list(tokens)} if tokens else {}) | more


def token(name: str = "AbC", **more: Any) -> dict[str, Any]:
    return {"id": name, "hash": HASH} | more


@pytest.mark.parametrize(
    ("old", "new", "details"),
    [
        ({}, {"defaultModel": "n"}, [Detail("defaultModel", "m", "n")]),
        ({}, {"enabled": False}, [Detail("enabled", "yes", "no")]),
        ({}, {"notes": "GPU"}, [Detail("notes", "not set", "GPU")]),
        ({"maxConcurrency": 4}, {}, [Detail("maxConcurrency", "4", "not set")]),
        ({"kind": "openai"}, {}, [Detail("kind", "openai", "by its name")]),
        (
            {},
            {"capabilities": ["embed"]},
            [Detail("capabilities", None, "embed"), Detail("capabilities", "chat", None)],
        ),
        (
            {"capabilities": ["chat", "embed"]},
            {"capabilities": ["embed", "chat"]},
            [Detail("capabilities", words="embed moved from 2 to 1")],
        ),
        (
            {"scores": {"chat": 90, "embed": 1}},
            {"scores": {"chat": 95.5, "chatStream": 2}},
            [
                Detail("scores.chat", "90", "95.5"),
                Detail("scores.embed", "1", None),
                Detail("scores.chatStream", None, "2"),
            ],
        ),
        ({"scores": {"chat": 2}}, {"scores": {"chat": 1.0}}, [Detail("scores.chat", "2", "1")]),
        ({}, {"timeouts": {"idleMs": 5}}, [Detail("timeouts.idleMs", None, "5")]),
        ({}, {"models": ["x", "y"]}, [Detail("models", "not set", "x, y")]),
        (
            {},
            {"apiKey": {"env": "MY_KEY"}},
            [Detail("apiKey", "the kind's own", "environment variable MY_KEY")],
        ),
        (
            {"apiKey": {"file": "/run/key"}},
            {"apiKey": {"stored": True}},
            [Detail("apiKey", "file /run/key", "stored in the database")],
        ),
    ],
)
def test_a_provider_changes_field_by_field(
    old: dict[str, Any], new: dict[str, Any], details: list[Detail]
) -> None:
    found = difference({"providers": {"a": provider(**old)}}, {"providers": {"a": provider(**new)}})
    assert found == (Change("provider", "a", "changed", tuple(details)),)


@pytest.mark.parametrize(
    ("old", "new", "details"),
    [
        ([], [token()], [Detail("token AbC", words="added")]),
        ([], [token(revokedAt="2026-01-01T00:00:00Z")], [Detail("token AbC", words="added, revoked")]),
        ([token()], [], [Detail("token AbC", words="removed")]),
        ([token()], [token(revokedAt="2026-01-01T00:00:00Z")], [Detail("token AbC", words="revoked")]),
        (
            [token(revokedAt="2026-01-01T00:00:00Z")],
            [token()],
            [Detail("token AbC", words="revocation taken back, it can be used again")],
        ),
        (
            [token()],
            [token(expiresAt="2027-01-01T00:00:00Z")],
            [Detail("token AbC expires", "never", "2027-01-01T00:00:00Z")],
        ),
        ([token()], [token(hash=OTHER_HASH)], [Detail("token AbC", words="stands for another token now")]),
    ],
)
def test_tokens_are_told_by_id_and_never_by_hash(
    old: list[Any], new: list[Any], details: list[Detail]
) -> None:
    found = difference({"clients": [client(*old)]}, {"clients": [client(*new)]})
    assert found == (Change("client", "bob", "changed", tuple(details)),)
    assert "hmac" not in repr(found)


def test_a_client_s_restrictions_tell_nothing_allowed_from_nothing_said() -> None:
    found = difference(
        {"clients": [client(allowedModels=["a", "b"], rateLimit={"maxRequests": 1, "intervalMs": 1000})]},
        {"clients": [client(allowedModels=["b"], allowedProviders=[])]},
    )
    assert found[0].details == (
        Detail("allowedModels", "a", None),
        Detail("rateLimit.maxRequests", "1", None),
        Detail("rateLimit.intervalMs", "1000", None),
        Detail("allowedProviders", "not set", "none"),
    )


def test_what_comes_and_what_goes_is_told_with_its_fields() -> None:
    old, new = {"providers": {"a": provider()}}, {"providers": {"b": provider(apiKey={"env": "K"})}}
    added, removed = difference(old, new)
    assert (added.name, added.action, removed.name, removed.action) == ("b", "added", "a", "removed")
    assert added.details[0] == Detail("baseUrl", None, "http://localhost:1/v1")
    assert added.details[-1] == Detail("apiKey", None, "environment variable K")
    assert removed.details[0] == Detail("baseUrl", "http://localhost:1/v1", None)


def test_aliases_and_the_header_are_entries_too() -> None:
    old = {"description": "old", "providers": {}, "aliases": {"fast": "a/m", "slow": "a/n"}}
    new = {"$schema": "s", "providers": {}, "aliases": {"fast": "a/x", "best": "a/n"}}
    assert difference(old, new) == (
        Change("header", "$schema", "changed", (Detail("", "not set", "s"),)),
        Change("header", "description", "changed", (Detail("", "old", "not set"),)),
        Change("alias", "fast", "changed", (Detail("", "a/m", "a/x"),)),
        Change("alias", "slow", "removed", (Detail("", "a/n", None),)),
        Change("alias", "best", "added", (Detail("", None, "a/n"),)),
    )


def test_routing_order_is_told() -> None:
    old = {"providers": {name: provider() for name in "abc"}}
    new = {"providers": {name: provider() for name in "cab"}}
    assert difference(old, new) == (
        Change("provider", "c", "moved", (Detail("order", words="moved from 3 to 1"),)),
    )


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("ab", "ba", {"b": "moved from 2 to 1"}),
        ("abc", "bc", {}),
        ("bc", "abc", {}),
        ("abcd", "bcda", {"a": "moved from 1 to 4"}),
        ("abc", "abc", {}),
        ("", "a", {}),
    ],
)
def test_as_few_moves_as_explain_the_order(old: str, new: str, found: dict[str, str]) -> None:
    assert moved(old, new) == found


def test_the_same_document_differs_in_nothing() -> None:
    document = {"providers": {"a": provider()}, "aliases": {"x": "a/m"}}
    assert difference(document, document) == ()
