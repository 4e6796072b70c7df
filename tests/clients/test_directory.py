"""From a token to its caller: who is known, and who no longer is."""

import time
from typing import Any

import pytest

from clients.directory import Directory
from clients.tokens import Pepper
from clients.types import Client, Token

NEW, OLD, GONE = (Pepper(letter * 40) for letter in "nog")
HOUR = 3600.0


def client(tool_id: str = "bob", **more: Any) -> Client:
    return Client(**({"tool_id": tool_id, "enabled": True, "methods": frozenset({"chat"})} | more))


def token(text: str, pepper: Pepper = NEW, **more: Any) -> Token:
    return Token(token_id=f"id-{text}", key_id=pepper.key_id, digest=pepper.digest(text), **more)


def directory(*entries: tuple[Client, list[Token]]) -> Directory:
    return Directory([NEW, OLD], entries)


def test_a_token_leads_to_its_client_and_its_own_id() -> None:
    bob, charlie = client("bob"), client("charlie")
    known = directory((bob, [token("bob-1"), token("bob-2")]), (charlie, [token("charlie-1")]))
    second = known.identify("bob-2")
    assert second is not None
    assert (second.client, second.token_id) == (bob, "id-bob-2")
    assert second.token_hash == NEW.digest("bob-2")[:16] == known.token_hash("bob-2")
    found = known.identify("charlie-1")
    assert found is not None
    assert found.client is charlie
    assert known.clients == {"bob": bob, "charlie": charlie}


def test_tokens_stored_under_an_older_pepper_still_work() -> None:
    known = directory((client(), [token("kept", OLD)]))
    caller = known.identify("kept")
    assert caller is not None
    assert caller.token_hash == OLD.digest("kept")[:16]


def test_a_token_stored_under_both_peppers_is_good_while_one_of_them_is() -> None:
    retired = Token(token_id="old", key_id=OLD.key_id, digest=OLD.digest("same"), revoked=True)
    caller = directory((client(), [token("same"), retired])).identify("same")
    assert caller is not None
    assert caller.token_id == "id-same"


def test_a_token_of_a_pepper_that_is_gone_is_unknown() -> None:
    assert directory((client(), [token("lost", GONE)])).identify("lost") is None


@pytest.mark.parametrize(
    ("facts", "more", "known"),
    [
        ({}, {}, True),
        ({}, {"expires_at": HOUR}, True),
        ({}, {"expires_at": -1.0}, False),
        ({}, {"expires_at": 0.0}, False),
        ({}, {"revoked": True}, False),
        ({}, {"revoked": True, "expires_at": HOUR}, False),
        ({"enabled": False}, {}, False),
        ({"methods": frozenset()}, {}, True),
    ],
)
def test_expired_and_revoked_tokens_and_disabled_clients_are_unknown(
    facts: dict[str, Any], more: dict[str, Any], known: bool
) -> None:
    """`expires_at` is given from now on."""
    if "expires_at" in more:
        more = more | {"expires_at": time.time() + more["expires_at"]}
    found = directory((client(**facts), [token("bob-1", **more)])).identify("bob-1")
    assert (found is not None) is known


@pytest.mark.parametrize(
    "text", ["", "bob-1 ", " bob-1", "BOB-1", "bob-", "bob-11", "\udcff", "bob-1\0", "x" * 10_000]
)
def test_nothing_but_the_very_token_is_known(text: str) -> None:
    assert directory((client(), [token("bob-1")])).identify(text) is None


def test_a_digest_is_not_a_token() -> None:
    assert directory((client(), [token("bob-1")])).identify(NEW.digest("bob-1")) is None


def test_an_empty_directory_knows_nobody() -> None:
    assert directory().identify("bob-1") is None
