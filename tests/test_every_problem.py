"""Every problem of a file at once, each with its own pointer, in words that an operator understands (contract §3)."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import provider_entry, registry

from gateway.configfile import CLIENTS, PROVIDERS, ImportRefused, import_files

pytestmark = pytest.mark.django_db
GOOD = {"baseUrl": "http://localhost:1/v1", "defaultModel": "m", "capabilities": ["chat"]}


def problems(folder: Path, name: str, document: Any) -> list[tuple[str, str]]:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(ImportRefused) as refused:
        import_files({name: path})
    return [(problem.pointer, problem.message) for problem in refused.value.problems]


PROVIDER = {
    "baseUrl": "localhost:1234",
    "defaultModel": "",
    "capabilities": ["chat", "foo", "bar"],
    "scores": {"chat": "95", "chats": 1, "embed": 2_000_000},
    "defaults": {"chat": 5},
    "apiKey": "sk-CANARY",
    "timeouts": {"connectMs": 0, "foo": 1},
    "maxConcurrency": "4",
    "enabled": "yes",
    "kind": "openaii",
    "extra": 1,
    "models": "m",
}


def test_a_file_of_providers_is_judged_whole_whatever_else_is_wrong(tmp_path: Path) -> None:
    document = {
        "providers": {"a": PROVIDER, "a b": {}, "c": GOOD | {"default_model": "m"}, "d": 7},
        "aliases": {"x": "nosuch/m", "y": 3, "z": "c/", "w": "a/m", "\u0007": "a/m"},
        "description": 5,
    }
    known = "known are chat, chatStream, embed"
    assert problems(tmp_path, PROVIDERS, document) == [
        ("/providers/a/baseUrl", "An http:// or https:// URL is needed"),
        ("/providers/a/defaultModel", "Must not be empty"),
        ("/providers/a/capabilities/1", f"Unknown value 'foo'; {known}"),
        ("/providers/a/capabilities/2", f"Unknown value 'bar'; {known}"),
        ("/providers/a/scores/chat", "Has to be a number"),
        ("/providers/a/scores/chats", f"Unknown value 'chats'; {known}"),
        ("/providers/a/scores/embed", "At most 1,000,000"),
        ("/providers/a/defaults/chat", "Has to be a text"),
        ("/providers/a/apiKey", "Has to be an object"),
        ("/providers/a/timeouts/connectMs", "At least 1"),
        ("/providers/a/timeouts/foo", "Unknown field"),
        ("/providers/a/maxConcurrency", "Has to be a whole number"),
        ("/providers/a/enabled", "Has to be true or false"),
        ("/providers/a/kind", "Unknown kind; known are lmstudio, openai, anthropic, openai-compatible"),
        ("/providers/a/extra", "Unknown field"),
        ("/providers/a/models", "Has to be a list of texts"),
        ("/providers/a b", "`baseUrl` is missing"),
        ("/providers/a b", "`defaultModel` is missing"),
        ("/providers/a b", "`capabilities` is missing"),
        ("/providers/a b", "The name has letters, digits, dots, dashes and underscores, at most 100"),
        ("/providers/c/default_model", "Unknown field; did you mean `defaultModel`?"),
        ("/providers/d", "An object is needed"),
        ("/aliases/x", "There is no provider 'nosuch'"),
        ("/aliases/y", "Has to be a text"),
        ("/aliases/z", "An alias names provider/model"),
        ("/aliases/\u0007", "The name: No tabs, line ends or other control characters"),
        ("/description", "Has to be a text"),
    ]


def test_a_registry_is_judged_whole_whatever_else_is_wrong(tmp_path: Path) -> None:
    token = {"id": "t 1", "hash": "x", "expiresAt": "soon"}
    limit = {"maxRequests": 0, "intervalMs": -1}
    first = {
        "toolId": "editor",
        "token": "x",
        "allowedMethods": ["Chat"],
        "rateLimit": limit,
        "enabled": "no",
    }
    document = {
        "version": 2,
        "clients": [
            first,
            {"toolId": "editor", "allowedMethods": ["embed", "embed"]},
            {
                "toolId": "q",
                "allowedNetworks": ["10.0.0.1/33", "foo"],
                "allowedProviders": "gpu",
                "capture": "some",
            },
            {
                "toolId": "r",
                "allowedMethods": ["chat"],
                "tokens": [token, 5],
                "captureDays": 400,
                "notes": [],
            },
            None,
        ],
    }
    methods = "known are chat, chatStream, embed, getHealth, models"
    assert problems(tmp_path, CLIENTS, document) == [
        ("/version", "Unknown field"),
        ("/clients/0/allowedMethods/0", f"Unknown value 'Chat'; {methods}"),
        ("/clients/0/rateLimit/maxRequests", "At least 1"),
        ("/clients/0/rateLimit/intervalMs", "At least 1"),
        ("/clients/0/enabled", "Has to be true or false"),
        ("/clients/1/toolId", "The same toolId appears before with other values"),
        ("/clients/1/allowedMethods", "A method is named twice"),
        ("/clients/2", "`allowedMethods` is missing"),
        ("/clients/2/allowedNetworks/0", "'10.0.0.1/33' is not a network such as 10.1.0.0/16"),
        ("/clients/2/allowedNetworks/1", "'foo' is not a network such as 10.1.0.0/16"),
        ("/clients/2/allowedProviders", "Has to be a list of texts"),
        ("/clients/2/capture", "Unknown value 'some'; known are all, failures, off"),
        ("/clients/3/tokens/0/id", "Only letters, digits, dots, dashes and underscores"),
        ("/clients/3/tokens/0/expiresAt", "Has to be a time such as 2027-01-31T12:00:00Z"),
        ("/clients/3/tokens/1", "An object is needed"),
        ("/clients/3/captureDays", "At most 365"),
        ("/clients/3/notes", "Has to be a text"),
        ("/clients/4", "An object is needed"),
    ]


def test_no_sentence_speaks_of_a_programmer_s_types_or_shows_a_key(tmp_path: Path) -> None:
    found = str(problems(tmp_path, PROVIDERS, {"providers": {"a": PROVIDER, "b": [], "c": {"models": [1]}}}))
    assert not re.search(r"`(str|int|float|array|object|null|bool)|\| null|Expected|length >=|CANARY", found)


@pytest.mark.parametrize("top", [[], 1, "text", None])
def test_a_file_that_is_no_object_is_said_once(tmp_path: Path, top: Any) -> None:
    for name in (PROVIDERS, CLIENTS):
        assert problems(tmp_path, name, json.dumps(top)) == [("", "An object is needed")]


def test_a_file_of_the_other_kind_is_recognised(tmp_path: Path) -> None:
    providers = {"providers": {"a": provider_entry("http://localhost:1/v1")}}
    assert problems(tmp_path, PROVIDERS, registry()) == [
        ("/clients", "This is a client registry: it goes to client-registry.json (import_config --clients)")
    ]
    assert problems(tmp_path, CLIENTS, providers) == [
        ("/providers", "These are providers: they go to providers.json (import_config --providers)")
    ]
    assert problems(tmp_path, PROVIDERS, providers | registry()) == [("/clients", "Unknown field")]


def test_what_cannot_be_kept_hides_nothing_else(tmp_path: Path) -> None:
    entry = json.dumps(GOOD | {"enabled": "yes"}).removesuffix("}")
    text = f'{{"providers": {{"a": {entry}, "scores": {{"chat": NaN}}, "apiKey": {{"env": "no name"}}}}, "b": 1}}}}'
    assert problems(tmp_path, PROVIDERS, text) == [
        ("/providers/a/enabled", "Has to be true or false"),
        ("/providers/a/scores/chat", "is not a number that can be kept: a finite one is needed"),
        ("/providers/a/apiKey/env", "The name of an environment variable is needed, never a key"),
        ("/providers/b", "An object is needed"),
    ]


def test_a_name_that_cannot_be_kept_is_told_at_what_holds_it_beside_all_else(tmp_path: Path) -> None:
    text = '{"description": 1, "providers": {"\\ud800": 5, "b": 1}, "aliases": {"\\u0000": 2, "x": 3}}'
    found = problems(tmp_path, PROVIDERS, text)
    str(found).encode()
    assert [place for place, _ in found] == ["/description", "/providers", "/providers/b", "/aliases"]


def test_the_same_token_or_token_id_in_two_clients_is_named_where_it_is(tmp_path: Path) -> None:
    token = {"id": "t1", "hash": f"hmac-sha256:0badc0de:{'a' * 64}"}
    one = {"toolId": "a", "allowedMethods": [], "enabled": 1, "token": "same", "tokens": [token]}
    found = problems(tmp_path, CLIENTS, {"clients": [one, one | {"toolId": "b", "enabled": True}]})
    assert ("/clients/1", "The same token is registered twice") in found
    assert ("/clients/1/tokens/0/id", "The token id t1 appears twice") in found


def test_two_entries_of_one_client_with_the_same_mistake_do_not_contradict_each_other(tmp_path: Path) -> None:
    bob = {"toolId": "bob", "allowedMethods": ["fly"], "token": "one"}
    found = problems(tmp_path, CLIENTS, {"clients": [bob, bob | {"token": "two"}]})
    assert [place for place, _ in found] == ["/clients/0/allowedMethods/0", "/clients/1/allowedMethods/0"]
