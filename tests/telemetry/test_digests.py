"""Keyed digests: standard HMAC under a derived key, quick enough for every call."""

import hashlib
import hmac
import re
import timeit

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from gateway.asked import canonical, digests_of, prompt_of
from providers.types import ChatRequest, Message
from telemetry.digests import DigestKey

KEY = "an encryption key of the operator's"


@given(st.binary(max_size=300))
def test_it_is_hmac_sha256_under_a_key_derived_for_nothing_else(data: bytes) -> None:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"llm-caller content digest").derive(
        KEY.encode()
    )
    key = DigestKey(KEY)
    expected = hmac.digest(derived, data, hashlib.sha256).hex()
    assert key.digest(data) == f"hmac-sha256:{key.key_id}:{expected}"


def test_it_names_its_key_and_shows_nothing_of_it() -> None:
    one, other = DigestKey(KEY), DigestKey(KEY + "!")
    assert one.key_id != other.key_id
    assert one.digest(b"x") != other.digest(b"x")
    assert re.fullmatch(r"hmac-sha256:[0-9a-f]{8}:[0-9a-f]{64}", one.digest(b"x"))
    assert repr(one) == f"<DigestKey {one.key_id}>"


def test_no_text_has_no_digest_and_odd_text_has_one() -> None:
    key = DigestKey(KEY)
    assert key.of_text("") == ""
    assert key.of_text("é") == key.digest("é".encode())
    assert key.of_text("\ud800").startswith("hmac-sha256:")


@pytest.mark.alone
def test_the_digests_of_a_call_cost_no_more_than_the_standard_library_s_of_the_same_bytes() -> None:
    """Of request, prompt and answer; both are timed in turns, so that a busy machine slows both."""
    key, text = DigestKey(KEY), ("what is asked " * 80)[:1024]
    asked = ChatRequest(messages=(Message(role="system", content="Be brief."), Message("user", text)))

    def ours() -> None:
        digests_of(asked, key)
        key.of_text(text)

    def plain() -> None:
        for data in (canonical(asked), prompt_of(asked).encode(), text.encode()):
            hmac.new(bytes(32), data, hashlib.sha256).hexdigest()

    rounds = 100
    turns = [(timeit.timeit(ours, number=rounds), timeit.timeit(plain, number=rounds)) for _ in range(200)]
    taken, yardstick = (min(times) / rounds * 1e6 for times in zip(*turns, strict=True))
    print(f"digests of request, prompt and answer, 1 KB each: {taken:.1f} µs a call; hmac's {yardstick:.1f}")
    assert taken <= yardstick
