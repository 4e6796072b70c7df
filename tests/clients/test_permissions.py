"""What a caller may do and from where: a table of literals."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.permissions import (
    may_call,
    may_come_from,
    parse_address,
    parse_networks,
    peer_address,
    within,
)
from clients.types import METHODS, Client

PROXIES = parse_networks(["10.0.0.0/8", "2001:db8::/32"])
LOOPBACK = parse_networks(["127.0.0.0/8", "::1/128"])


def client(**more: Any) -> Client:
    return Client(**({"tool_id": "bob", "enabled": True, "methods": frozenset({"chat"})} | more))


def test_charlie_may_only_what_is_granted() -> None:
    charlie = client(methods=frozenset({"getHealth"}))
    assert [method for method in METHODS if may_call(charlie, method)] == ["getHealth"]
    assert not may_call(charlie, "")
    assert not may_call(charlie, "gethealth")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::FFFF:7f00:1", "127.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("127.1", None),
        ("2130706433", None),
        ("0x7f.0.0.1", None),
        ("127.0.0.01", None),
        ("localhost", None),
        ("127.0.0.1:80", None),
        (" 127.0.0.1", None),
        ("", None),
        ("unix:", None),
    ],
)
def test_only_plain_numeric_addresses_are_read(text: str, expected: str | None) -> None:
    assert parse_address(text) == (None if expected is None else parse_address(expected))
    assert (parse_address(text) is None) is (expected is None)


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("128.0.0.1", False),
        ("::2", False),
        ("?", False),
    ],
)
def test_loopback_includes_the_ipv4_mapped_form(address: str, inside: bool) -> None:
    assert within(parse_address(address), LOOPBACK) is inside


def test_a_client_without_networks_comes_from_anywhere_and_one_with_them_from_there() -> None:
    assert may_come_from(client(), "203.0.113.7")
    assert may_come_from(client(), "not an address")
    walled = client(networks=parse_networks(["10.9.0.0/16", "2001:db8:1::/48"]))
    allowed = ["10.9.1.1", "::ffff:10.9.1.1", "2001:db8:1::5"]
    refused = ["10.8.1.1", "::ffff:10.8.1.1", "2001:db8:2::5", "not an address", ""]
    assert [may_come_from(walled, address) for address in allowed + refused] == [True] * 3 + [False] * 5


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.7", ["127.0.0.1"], "203.0.113.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.2"], "198.51.100.2"),
        ("::ffff:10.0.0.1", ["198.51.100.2"], "198.51.100.2"),
        # What the client wrote itself stands left of what the proxy added.
        ("10.0.0.1", ["127.0.0.1, 198.51.100.2"], "198.51.100.2"),
        ("10.0.0.1", ["127.0.0.1", "198.51.100.2"], "198.51.100.2"),
        ("10.0.0.1", ["198.51.100.2, 10.0.0.2 ,10.0.0.3"], "198.51.100.2"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.2:4711"], "198.51.100.2"),
        ("10.0.0.1", ["[2001:db8::9]:443, 10.0.0.2"], "2001:db8::9"),
        ("10.0.0.1", ["[2001:dead::9]:443"], "2001:dead::9"),
        ("10.0.0.1", ["[2001:dead::9]"], "2001:dead::9"),
        ("10.0.0.1", ["2001:dead::9, 2001:db8::1"], "2001:dead::9"),
        ("10.0.0.1", ["198.51.100.2, garbage, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.2, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.2, _hidden:1"], "10.0.0.1"),
        ("10.0.0.1", ["[198.51.100.2"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.2:port"], "10.0.0.1"),
        ("10.0.0.1", [" , ,"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("not an address", ["198.51.100.2"], "not an address"),
    ],
)
def test_the_caller_is_the_last_hop_that_no_trusted_proxy_is(
    peer: str, forwarded: list[str], expected: str
) -> None:
    assert peer_address(peer, forwarded, PROXIES) == expected
    assert peer_address(peer, forwarded, ()) == peer


@given(st.lists(st.text(max_size=30), max_size=5))
def test_whatever_a_stranger_forwards_the_answer_is_an_address(forwarded: list[str]) -> None:
    assert peer_address("203.0.113.7", forwarded, PROXIES) == "203.0.113.7"
    assert parse_address(peer_address("10.0.0.1", forwarded, PROXIES)) is not None


def test_networks_are_read_with_or_without_host_bits() -> None:
    written = parse_networks([" 10.1.2.3/16 ", "192.0.2.1", "2001:db8::1/32", "0.0.0.0/0"])
    assert [str(network) for network in written] == [
        "10.1.0.0/16",
        "192.0.2.1/32",
        "2001:db8::/32",
        "0.0.0.0/0",
    ]
    assert parse_networks([]) == ()


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0/33", "10.0.0.0/-1", "localhost", "10.0.0.0/8/8", "::/129", "*"]
)
def test_what_is_no_network_is_named(text: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_networks(["10.0.0.0/8", text])
    assert str(error.value) == f"{text!r} is not a network such as 10.1.0.0/16"
