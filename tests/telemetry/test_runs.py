"""Rows that follow one another are passed as one run: nothing may be told otherwise than row by row."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from recorded import call, intent, outcome, serve, writer
from signed import change, found, row

from telemetry.audit import reader
from telemetry.audit.canonical import COLUMNS, Row, canonical
from telemetry.audit.verification import _joined
from telemetry.audit.verifier import ZEROS, Finding, Ledger, Run, Signatures, Walk, row_hash
from telemetry.journal import Journal

CHAIN, ROWS = "c" * 16, 12
MOMENT = "2026-11-25 13:00:00.250000"
CALL_ID = "0123456789abcdef0123456789abcdef"
ATTEMPTS, DECISION = (
    '[{"durationMs":412,"provider":"lm"}]',
    '{"rate":{"granted":true},"routing":{"rule":"rank"}}',
)
ATTEMPTS_AT, STATUS_AT = (2 + COLUMNS.index(name) for name in ("attempts", "status"))
AS_ONE_WOULD_WRITE = '[ {"provider": "lm", "durationMs": 412} ]'
Stored = list[Any]


class _Known(Ledger):
    """Some rows are signed, and some were said to be gone."""

    def __init__(self, marks: dict[int, str], back: set[int]) -> None:
        super().__init__(CHAIN, Signatures([], lambda *_: True))
        self._marks, self._back = marks, back

    def back(self, first: int, last: int) -> set[int]:
        return self._back & set(range(first, last + 1))


def stored(sequence: int, previous: str) -> Stored:
    facts = {"attempts": ATTEMPTS, "decision": DECISION, "sanitised": "{}", "call_id": CALL_ID, "chain": CHAIN,
             "sequence": sequence, "started_at": MOMENT, "status": 200, "model": "mö\x1f\"del"}  # fmt: skip
    values = [facts.get(name, getattr(Row(), name)) for name in COLUMNS]
    kept = [sequence, "", *values]
    kept[1] = row_hash(previous, canonical(reader._row(kept)))
    return kept


def chain_of(count: int) -> list[Stored]:
    rows: list[Stored] = []
    for sequence in range(1, count + 1):
        rows.append(stored(sequence, rows[-1][1] if rows else ZEROS))
    return rows


def one_by_one(page: Sequence[Stored]) -> list[Run]:
    return [run for kept in page for run in reader.hashed([kept])]


def told(
    page: list[Run], marks: dict[int, str], back: set[int]
) -> tuple[list[Finding], int, int, str | None]:
    walk = Walk(_Known(marks, back))
    findings = list(walk.along(page))
    return findings, walk.rows, walk.at, walk.previous


def test_rows_as_they_were_stored_are_one_run() -> None:
    rows = chain_of(ROWS)
    (run,) = reader.hashed(rows)
    assert (run.first, run.claimed) == (1, [kept[1] for kept in rows])
    assert told([run], {ROWS: rows[-1][1]}, set()) == ([], ROWS, ROWS, rows[-1][1])


def test_json_in_another_form_says_the_same() -> None:
    """PostgreSQL's, and that of rows from before it was stored as it is hashed."""
    rows = chain_of(ROWS)
    for kept in (rows[0], *rows[3:7]):
        kept[ATTEMPTS_AT] = AS_ONE_WOULD_WRITE
    runs = reader.hashed(rows)
    assert len(runs) == 1
    assert told(runs, {}, set())[0] == []


def test_a_row_that_was_changed_begins_a_run() -> None:
    rows = chain_of(ROWS)
    rows[4][STATUS_AT] = 500
    first, second = reader.hashed(rows)
    assert (len(first.claimed), second.first, len(second.claimed)) == (4, 5, 8)
    assert [(each.kind, each.sequence) for each in told([first, second], {}, set())[0]] == [("changed", 5)]


def test_a_number_that_was_left_out_ends_a_run_though_the_hashes_fit() -> None:
    rows = chain_of(2)
    rows.append(stored(4, rows[-1][1]))
    assert [run.first for run in reader.hashed(rows)] == [1, 4]


TAMPERED = st.tuples(
    st.sampled_from(
        [
            "status",
            "hash",
            "json",
            "other json",
            "gone",
            "twice",
            "twice and otherwise",
            "swapped",
            "no bytes",
        ]
    ),
    st.integers(0, ROWS - 1),
)


@given(
    st.lists(TAMPERED, max_size=4),
    st.sets(st.integers(1, ROWS)),
    st.sets(st.integers(1, ROWS)),
    st.booleans(),
)
def test_what_was_done_to_rows_is_told_as_row_by_row(
    done: list[tuple[str, int]], signed: set[int], back: set[int], is_forged: bool
) -> None:
    rows = chain_of(ROWS)
    marks = {
        sequence: "f" * 64 if is_forged and sequence % 3 == 0 else rows[sequence - 1][1]
        for sequence in signed
    }
    for what, at in done:
        tamper(rows, what, at % len(rows))
    assert told(reader.hashed(rows), marks, back) == told(one_by_one(rows), marks, back)


def tamper(rows: list[Stored], what: str, at: int) -> None:
    kept = rows[at]
    if what == "status":
        kept[STATUS_AT] = 418
    elif what == "hash":
        kept[1] = "e" * 64
    elif what == "json":
        kept[ATTEMPTS_AT] = AS_ONE_WOULD_WRITE
    elif what == "other json":
        kept[ATTEMPTS_AT] = "[]"
    elif what == "gone" and len(rows) > 1:
        del rows[at]
    elif what == "twice":
        rows.insert(at, list(kept))
    elif what == "twice and otherwise":
        rows.insert(at, [*kept[:1], "d" * 64, *kept[2:]])
    elif what == "swapped" and at:
        rows[at - 1][1], kept[1] = kept[1], rows[at - 1][1]
    elif what == "no bytes":
        kept[ATTEMPTS_AT] = "[1"
        kept[1] = row_hash(rows[at - 1][1] if at else ZEROS, b"")


def test_no_json_says_what_belongs_to_another_column() -> None:
    """Which bytes are hashed would be the same."""
    rows = chain_of(3)
    name = "bytesIn"
    bytes_in = 2 + COLUMNS.index("bytes_in")
    honest = [*rows[1][:bytes_in], 1800, *rows[1][bytes_in + 1 :]]
    honest[1] = row_hash(rows[0][1], canonical(reader._row(honest)))
    spilling = list(honest)
    spilling[ATTEMPTS_AT], spilling[bytes_in] = f'{ATTEMPTS},"{name}":1800', 0
    assert len(reader.hashed([rows[0], honest])) == 1
    assert len(reader.hashed([rows[0], spilling])) == 2


@pytest.mark.parametrize("name", [name for name in COLUMNS if name not in ("sequence", "started_at")])
def test_a_blob_is_no_row_of_ours(name: str) -> None:
    """As the reader tells one. The two others are asked for as what they are."""
    rows = chain_of(3)
    rows[1][2 + COLUMNS.index(name)] = {"blob": "00"}
    found = told(reader.hashed(rows), {}, set())[0]
    assert [(each.kind, each.sequence) for each in found] == [("changed", 2)]


def test_nothing_is_linked_by_the_hash_of_no_bytes() -> None:
    rows = chain_of(3)
    tamper(rows, "no bytes", 1)
    rows[2][1] = row_hash(rows[1][1], canonical(reader._row(rows[2])))
    assert [(each.kind, each.sequence) for each in told(reader.hashed(rows), {}, set())[0]] == [
        ("changed", 2)
    ]
    tamper(rows, "no bytes", 0)
    assert told(reader.hashed(rows), {}, set())[0][0].sequence == 1


@pytest.mark.parametrize("text", ["", "[", "[]x", "nul", "[1 2]", '"\udcff"', None, 7, {"blob": "5b5d"}])
def test_what_is_no_json_is_no_row_of_ours(text: object) -> None:
    rows = chain_of(2)
    rows[1][ATTEMPTS_AT] = text
    assert len(reader.hashed(rows)) == 2


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="columns of PostgreSQL have types")
@pytest.mark.parametrize("name", ["call_id", "started_at", "decision", "status", "model", "hash"])
def test_a_blob_in_a_column_is_told_as_a_change(tmp_path: Path, name: str) -> None:
    journal = Journal(tmp_path / "journal")
    serve(journal, 1, 2, 3)
    journal.close()
    assert writer(tmp_path / "journal").run_once() == 3
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute(f"UPDATE telemetry_requestlog SET {name} = CAST({name} AS BLOB) WHERE sequence = 2")
        cursor.execute("PRAGMA ignore_check_constraints = OFF")
    assert ("changed", 2) in found(tmp_path / "journal")


@pytest.mark.django_db
def test_a_row_of_which_the_json_was_written_otherwise_is_as_recorded(tmp_path: Path) -> None:
    """As everything else that writes JSON does, and as the product did."""
    journal = Journal(tmp_path / "journal")
    for n in (1, 2, 3):
        journal.intent(intent(call(n)))
        journal.outcome(outcome(call(n), attempts=(Raw(ATTEMPTS.encode()),), decision=Raw(DECISION.encode())))
    journal.close()
    assert writer(tmp_path / "journal").run_once() == 3
    for sequence in (1, 3):
        change(
            sequence, attempts=row(sequence).attempts, decision=dict(reversed(row(sequence).decision.items()))
        )
    assert found(tmp_path / "journal") == set()


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 6)), max_size=12))
def test_ranges_that_touch_are_joined(found: list[tuple[int, int]]) -> None:
    """However often a tombstone is there, a row is looked for in one range."""
    ranges = sorted((first, first + more) for first, more in found)
    joined = _joined(ranges)
    covered = {n for first, last in ranges for n in range(first, last + 1)}
    assert {n for first, last in joined for n in range(first, last + 1)} == covered
    assert all(one[1] + 1 < other[0] for one, other in pairwise(joined))
