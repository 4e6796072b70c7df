"""Provider credentials at rest: sealed under the newest key, bound to their row, silent when shown."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.secrets import MAX_FILE_BYTES, KeyRing, SealError, from_environment, from_file

OLD, NEW, OTHER = "old-key-of-ada", "new-key-of-ada", "key-of-someone-else"
ROW, OTHER_ROW = "row-1", "row-2"


def refused(ring: KeyRing, sealed: bytes, row: str = ROW) -> str:
    with pytest.raises(SealError) as error:
        ring.open(sealed, bound_to=row)
    assert error.value.__cause__ is None
    return str(error.value)


@given(st.text(), st.text())
def test_what_was_sealed_is_opened(text: str, row: str) -> None:
    ring = KeyRing([NEW])
    assert ring.open(ring.seal(text, bound_to=row), bound_to=row).reveal() == text


def test_the_same_credential_is_sealed_differently_each_time_and_never_in_clear() -> None:
    ring = KeyRing([NEW])
    first, second = (ring.seal("sk-provider", bound_to=ROW) for _ in range(2))
    assert first != second
    assert b"sk-provider" not in first + second


def test_a_credential_moved_to_another_row_is_refused() -> None:
    ring = KeyRing([NEW])
    said = refused(ring, ring.seal("sk-provider", bound_to=ROW), OTHER_ROW)
    assert "another row" in said
    assert "sk-provider" not in said


def test_after_a_rotation_old_values_open_and_new_ones_need_the_new_key() -> None:
    before, both, after = KeyRing([OLD]), KeyRing([NEW, OLD]), KeyRing([NEW])
    sealed_before, sealed_since = before.seal("a", bound_to=ROW), both.seal("b", bound_to=ROW)
    assert both.open(sealed_before, bound_to=ROW).reveal() == "a"
    assert after.open(sealed_since, bound_to=ROW).reveal() == "b"
    assert refused(before, sealed_since) == refused(after, sealed_before)


def test_a_wrong_key_is_refused() -> None:
    assert "No encryption key" in refused(KeyRing([OTHER]), KeyRing([NEW]).seal("a", bound_to=ROW))


def test_any_changed_or_missing_byte_is_refused() -> None:
    ring = KeyRing([NEW])
    sealed = ring.seal("sk", bound_to=ROW)
    for n in range(len(sealed)):
        refused(ring, sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :])
        refused(ring, sealed[:n])
    refused(ring, sealed + b"\0")


def test_a_key_given_twice_is_one_key() -> None:
    ring = KeyRing([NEW, NEW, OLD])
    assert repr(ring) == "<KeyRing of 2>"
    assert KeyRing([NEW]).open(ring.seal("a", bound_to=ROW), bound_to=ROW).reveal() == "a"


def test_a_key_ring_shows_nothing_of_its_keys() -> None:
    shown = f"{KeyRing([NEW, OLD])!r} {KeyRing([NEW, OLD])}"
    assert NEW not in shown
    assert OLD not in shown


def test_the_environment_wins_over_the_file_that_it_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("from-file\nsecond line\n")
    monkeypatch.setenv("ADAS_KEY_FILE", str(tmp_path / "key"))
    found = from_environment("ADAS_KEY")
    assert found is not None
    assert found.reveal() == "from-file"
    monkeypatch.setenv("ADAS_KEY", "  from-environment ")
    found = from_environment("ADAS_KEY")
    assert found is not None
    assert found.reveal() == "from-environment"
    monkeypatch.setenv("ADAS_KEY", "  ")
    monkeypatch.delenv("ADAS_KEY_FILE")
    assert from_environment("ADAS_KEY") is None


@pytest.mark.parametrize(
    "content", [b"", b"  \n\n", b"\xff\xfe", None], ids=["empty", "blank", "binary", "none"]
)
def test_a_file_that_holds_no_credential_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    assert from_file(str(tmp_path / "key")) is None


def test_of_a_large_file_only_the_head_is_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"k" * (MAX_FILE_BYTES * 2))
    found = from_file(str(tmp_path / "key"))
    assert found is not None
    assert len(found.reveal()) == MAX_FILE_BYTES
