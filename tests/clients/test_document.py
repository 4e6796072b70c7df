"""The entries of a client registry, held against each other."""

import time

from clients.document import ClientEntry, Item, TokenEntry, clashes


def client(place: int, tool_id: str, *ids: str) -> Item:
    tokens = tuple(TokenEntry(id=name, hash=f"{tool_id} {n} {name}") for n, name in enumerate(ids))
    entry = ClientEntry(tool_id=tool_id, allowed_methods=("chat",), tokens=tokens)
    return Item(place, {}, {"tool_id": tool_id, "tokens": tokens}, entry)


def test_a_token_id_that_appears_again_is_named_where_it_does() -> None:
    assert clashes([client(0, "bob", "t1", "t2", "t1"), client(1, "charlie", "t3", "t1")]) == [
        ("/clients/0/tokens/2/id", "The token id t1 appears twice"),
        ("/clients/1/tokens/1/id", "The token id t1 appears twice"),
    ]


def test_many_tokens_are_looked_through_once() -> None:
    items = [client(0, "bob", *(f"t{n}" for n in range(20_000)))]
    began = time.process_time()
    assert clashes(items) == []
    assert time.process_time() - began < 2, "each compared with each takes ten times as long"
