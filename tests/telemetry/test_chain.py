"""The chain goes on over restarts, crashes and restored copies; what cannot be gone on with begins anew."""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from recorded import audit, call, serve, writer

from telemetry.audit.canonical import COLUMNS, Row, canonical, settled, settled_json
from telemetry.audit.keys import KeyFileError, open_signer, signatures
from telemetry.audit.standing import faults
from telemetry.audit.verification import verify
from telemetry.audit.verifier import encoded
from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint, RequestLog

pytestmark = pytest.mark.django_db(transaction=True)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def findings(folder: Path) -> list[str]:
    place = audit(folder)
    return [finding.kind for finding in verify(signatures(place.public_keys()), place.copies).findings]


@given(json_values, st.text())
def test_the_canonical_bytes_are_those_of_the_standard_library(value: object, text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    value = settled(json.loads(json.dumps(value).encode("utf-8", "ignore")))
    try:
        body = canonical(Row(decision={"value": value}, model=text, sequence=3))
    except UnicodeEncodeError:
        return  # a lone surrogate is refused at the edge
    assert encoded(json.loads(body)) == body


def test_the_fields_of_a_row_are_in_the_order_of_their_names_and_cover_every_column() -> None:
    names = [field.encode_name for field in __import__("msgspec").structs.fields(Row)]
    assert names == sorted(names)
    assert set(COLUMNS) == {field.name for field in RequestLog._meta.fields} - {"id", "hash"}


def test_whole_numbers_are_integers_and_others_have_three_decimals() -> None:
    told = settled({"a": [1.0, 0.12345, 1e300, 2**70, True, "x"]})
    assert told == {"a": [1, 0.123, "1e+300", str(2**70), True, "x"]}


@given(json_values)
@example([2**53 - 1, 2**53, -(2**53), 2**64, 10**30, 10**15, -(10**15)])
@example([1e15, 1e16, 1.5e300, -0.0, 0.0004, 5e-324, 9007199254740992.0])
@example({"12345678901234567890": "12345678901234567890", "e": 1.5})
def test_a_text_is_settled_as_what_it_says(value: object) -> None:
    text = json.dumps(value).encode()
    try:
        told = msgspec.json.decode(text)
    except ValueError:
        return  # no text of ours: a lone surrogate
    expected = settled(told)
    assert settled_json(text) == settled_json(msgspec.Raw(text)) == expected
    assert json.dumps(settled_json(text)) == json.dumps(expected), "1 is not 1.0"


def test_another_writer_goes_on_where_one_stopped(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    for n in range(1, 5):
        serve(journal, n)
        writer(tmp_path / "j").run_once()
    journal.close()
    assert list(RequestLog.objects.order_by("sequence").values_list("sequence", flat=True)) == [1, 2, 3, 4]
    assert len(set(RequestLog.objects.values_list("chain", flat=True))) == 1
    assert findings(tmp_path / "j") == []


def test_a_restored_copy_is_not_gone_on_with_and_calls_are_recorded_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    journal, moving = Journal(folder), writer(folder)
    for n in range(1, 5):
        serve(journal, n)
        moving.run_once()
    RequestLog.objects.filter(sequence__gt=2).delete()
    AuditCheckpoint.objects.filter(number__gt=2).delete()
    serve(journal, 9)
    again = writer(folder)
    assert again.run_once() == 1
    journal.close()
    assert len(set(RequestLog.objects.values_list("chain", flat=True))) == 2
    assert set(findings(folder)) == {"restored"}
    assert "restored" in faults(audit(folder).folder)[0]


def test_a_row_put_where_the_next_belongs_does_not_stop_the_record(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    journal, moving = Journal(folder), writer(folder)
    serve(journal, 1)
    moving.run_once()
    forged = RequestLog.objects.get()
    forged.pk, forged.call_id, forged.sequence = None, call(77), 2
    forged.save(force_insert=True)
    serve(journal, 2)
    assert moving.run_once() == 1
    journal.close()
    assert set(findings(folder)) == {"changed", "unsigned"}


def test_copies_that_a_crash_kept_from_the_file_follow_with_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    journal, path = Journal(folder), audit(folder).copies.path
    serve(journal, 1)
    writer(folder).run_once()
    serve(journal, 2)
    writer(folder).run_once()
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1][:40])
    serve(journal, 3)
    writer(folder).run_once()
    journal.close()
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [1, 2, 3]
    assert findings(folder) == []


def test_copies_that_cannot_be_written_are_told_of_and_made_up_for(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    journal, moving, path = Journal(folder), writer(folder), audit(folder).copies.path
    path.mkdir(parents=True)
    serve(journal, 1)
    assert moving.run_once() == 1, "calls are recorded all the same"
    assert "cannot be copied" in faults(audit(folder).folder)[0]
    path.rmdir()
    serve(journal, 2)
    moving.run_once()
    journal.close()
    assert len(path.read_text().splitlines()) == 2
    assert faults(audit(folder).folder) == []


def test_rows_without_a_chain_are_never_signed(tmp_path: Path) -> None:
    """Nor when nothing else is left of what was signed, as far as the database says."""
    folder = tmp_path / "j"
    journal = Journal(folder)
    serve(journal, *range(1, 8))
    writer(folder).run_once()
    RequestLog.objects.update(chain="", sequence=None, hash="", tool_id="mallory")
    AuditCheckpoint.objects.all().delete()
    for _ in range(2):
        serve(journal, 8)
        moving = writer(folder)
        moving.keep_up(datetime.now(UTC))
        moving.run_once()
        assert RequestLog.objects.filter(chain="").count() == 7
        assert "forged" in findings(folder)
    journal.close()


def test_a_chain_without_its_name_is_told_and_another_begins(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    journal = Journal(folder)
    serve(journal, 1)
    writer(folder).run_once()
    place = audit(folder)
    (place.folder / "chain").unlink()
    place.copies.path.unlink()
    serve(journal, 2)
    writer(folder).run_once()
    journal.close()
    assert "names this writer's chain is missing" in faults(place.folder)[0]
    assert RequestLog.objects.values_list("chain", flat=True).distinct().count() == 2


def test_a_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    path.write_text("not a key")
    with pytest.raises(KeyFileError, match=r"signing\.key"):
        open_signer(path, tmp_path)


def test_a_key_prints_nothing_of_itself(tmp_path: Path) -> None:
    signer = open_signer(tmp_path / "signing.key", tmp_path)
    assert (tmp_path / "signing.key").read_text().strip() not in repr(signer)
    assert (tmp_path / "signing.key").stat().st_mode & 0o777 == 0o600
