"""Minted tokens and their digests: shape, checksum, peppers (promise 6)."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.tokens import (
    Minted,
    Pepper,
    checksum,
    is_mistyped,
    mint,
    parse_peppers,
    redact_tokens,
)

SHAPE = re.compile(r"llmc_[0-9A-Za-z]{12}_[0-9A-Za-z]{33}")
TYPED = string.ascii_letters + string.digits + string.punctuation + " äßж漢🙂"
PEPPER = Pepper("a pepper of at least thirty-two characters")


def test_a_minted_token_has_the_documented_shape() -> None:
    minted = mint()
    assert SHAPE.fullmatch(minted.text)
    assert minted.text.split("_")[1] == minted.token_id
    assert minted.text[-6:] == checksum(minted.text[:-6])
    assert not is_mistyped(minted.text)


def test_minted_tokens_are_all_different() -> None:
    minted = [mint() for _ in range(2000)]
    assert len({m.token_id for m in minted}) == len({m.text for m in minted}) == 2000


@pytest.mark.parametrize(
    ("body", "expected"),
    [("", "000000"), ("123456789", "3jZRME"), ("llmc_AAAAAAAAAAAA_" + "b" * 27, "2ME611")],
)
def test_the_checksum_is_the_crc_32_in_base_62(body: str, expected: str) -> None:
    assert checksum(body) == expected


def typos(text: str) -> set[str]:
    """Every other character at every place, every character left out, every neighbours' swap."""
    places = range(len(text))
    replaced = {text[:n] + other + text[n + 1 :] for n in places for other in TYPED}
    shortened = {text[:n] + text[n + 1 :] for n in places}
    swapped = {text[:n] + text[n + 1] + text[n] + text[n + 2 :] for n in places[:-1]}
    return (replaced | shortened | swapped) - {text}


def test_every_one_character_typo_of_a_token_is_found() -> None:
    texts = [mint().text for _ in range(20)]
    after_the_prefix = [typo for text in texts for typo in typos(text) if typo.startswith("llmc_")]
    assert len(after_the_prefix) > 80_000
    assert [typo for typo in after_the_prefix if not is_mistyped(typo)] == []
    print(f"promise 6: {len(after_the_prefix)} one-character typos, 0 passed for a good token")


@pytest.mark.parametrize("foreign", ["", "bob-token", "sk-123", "LLMC_AAAA", "llmc", "xllmc_AAAAAAAAAAAA_x"])
def test_a_foreign_token_is_never_called_mistyped(foreign: str) -> None:
    assert not is_mistyped(foreign)


@pytest.mark.parametrize("cut", ["llmc_", "llmc_A", "llmc_AAAAAAAAAAAA_", "llmc_AAAAAAAAAAAA_" + "a" * 33])
def test_a_cut_or_invented_token_of_our_shape_is_mistyped(cut: str) -> None:
    assert is_mistyped(cut)


def test_a_pepper_has_a_stable_id_and_tells_neither_itself_nor_its_key() -> None:
    same, other = (
        Pepper("a pepper of at least thirty-two characters"),
        Pepper("another one, just as long as that"),
    )
    assert PEPPER.key_id == same.key_id == "0861d494"
    assert PEPPER.key_id != other.key_id
    assert repr(PEPPER) == "<Pepper 0861d494>"
    assert not hasattr(PEPPER, "__dict__")


@given(st.text(st.characters()))
def test_any_text_has_a_digest_of_its_own_under_each_pepper(text: str) -> None:
    digest = PEPPER.digest(text)
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert digest == PEPPER.digest(text)
    assert digest != PEPPER.digest(text + "x")
    assert digest != Pepper("another one, just as long as that").digest(text)


def test_bytes_that_are_no_utf_8_have_a_digest_too() -> None:
    odd = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert PEPPER.digest(odd) != PEPPER.digest("")


def test_peppers_keep_their_order() -> None:
    newest, oldest = parse_peppers(["n" * 40, "o" * 40])
    assert (newest.key_id, oldest.key_id) == (Pepper("n" * 40).key_id, Pepper("o" * 40).key_id)


def test_what_was_minted_is_a_pair_of_id_and_text() -> None:
    token_id, text = minted = mint()
    assert minted == Minted(token_id, text)


def test_tokens_within_a_text_are_redacted_and_what_only_looks_like_one_is_kept() -> None:
    first, second = mint().text, mint().text
    assert redact_tokens(f"a {first}, b{second}c") == ("a [redacted], b[redacted]c", 2)
    for text in ("", "llmc", "llmc_", first[:-7], first[1:], "r-1", "llmc_run_17"):
        assert redact_tokens(text) == (text, 0)


@pytest.mark.parametrize("cut", range(1, 7))
def test_a_token_without_some_of_its_checksum_is_redacted_as_a_whole_one(cut: int) -> None:
    first, second = mint().text[:-cut], mint().text
    assert redact_tokens(f"a {first}, b{first}{second}") == ("a [redacted], b[redacted][redacted]", 3)


@pytest.mark.parametrize(
    "token",
    ["plain-tk", "a (token) of any [shape]*", "ключ Боба", mint().text, mint().text[:-9]],
    ids=["plain", "pattern", "not ASCII", "minted", "cut"],
)
def test_the_token_that_was_presented_is_redacted_whatever_its_shape(token: str) -> None:
    text = f"a {token}{token} b"
    assert redact_tokens(text, token) == ("a [redacted][redacted] b", 2)
    assert redact_tokens("nothing of it", token) == ("nothing of it", 0)
    own = mint().text
    assert redact_tokens(f"{token}, {own}", token) == ("[redacted], [redacted]", 2)


def test_a_presented_token_too_short_to_be_told_from_a_name_redacts_nothing() -> None:
    assert redact_tokens("bob-7 of bob-7.1", "bob-7.1") == ("bob-7 of bob-7.1", 0)
    assert redact_tokens("bob", "") == ("bob", 0)
