"""The entries of a client registry, gathered."""

import time

from clients.document import ClientEntry, TokenEntry, gather


def client(tool_id: str, *ids: str) -> ClientEntry:
    tokens = tuple(TokenEntry(id=name, hash=f"{tool_id} {n} {name}") for n, name in enumerate(ids))
    return ClientEntry(tool_id=tool_id, allowed_methods=("chat",), tokens=tokens)


def test_a_token_id_that_appears_twice_is_named_once() -> None:
    _, found = gather([(0, client("bob", "t1", "t2", "t1")), (1, client("charlie", "t3", "t1"))])
    assert found == [("/clients", "The token id t1 appears twice")]


def test_many_tokens_are_looked_through_once() -> None:
    entry = client("bob", *(f"t{n}" for n in range(20_000)))
    began = time.process_time()
    assert gather([(0, entry)])[1] == []
    assert time.process_time() - began < 2, "each compared with each takes ten times as long"
