"""What a filter asks for, and a place in the record's order, without a database."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console.reasons import ENDED
from telemetry.criteria import CLASSES, Criteria, Place, Term, class_of, read_place

AT = datetime(2026, 3, 14, 15, 9, 26, 535898, tzinfo=UTC)
ROW = {"tool_id": "bob", "outcome": "ok", "trace_id": "t-1", "call_id": uuid.UUID(int=7), "started_at": AT}
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(4000, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, st.uuids())
def test_a_place_survives_the_address(moment: datetime, call_id: uuid.UUID) -> None:
    assert read_place(Place(moment, call_id).encode()) == (moment, call_id)


@pytest.mark.parametrize(
    "text", ["", "1", "1-2", f"-1-{'0' * 32}", f"1-{'g' * 32}", f"{'9' * 18}-{'0' * 32}", f"١-{'0' * 32}", f"1-{'0' * 32}\n"]
)  # fmt: skip
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no place"):
        read_place(text)


@pytest.mark.parametrize(
    ("criteria", "is_like_that"),
    [
        (Criteria(), True),
        (Criteria(terms=(Term("tool_id", ("bob",)), Term("outcome", CLASSES["served"]))), True),
        (Criteria(terms=(Term("tool_id", ("bob",)), Term("outcome", CLASSES["refused"]))), False),
        (Criteria(since=AT, until=AT + timedelta(seconds=1)), True),
        (Criteria(until=AT), False),
        (Criteria(since=AT + timedelta(microseconds=1)), False),
        (Criteria(trace="t-1"), True),
        (Criteria(trace=str(uuid.UUID(int=7))), True),
        (Criteria(trace="t-2"), False),
    ],
)
def test_a_row_is_judged_as_the_database_would(criteria: Criteria, is_like_that: bool) -> None:
    row: dict[str, Any] = dict(ROW)
    assert criteria.matches(row) is is_like_that


def test_every_outcome_has_one_class_and_words() -> None:
    outcomes = [outcome for found in CLASSES.values() for outcome in found]
    assert sorted(ENDED) == sorted(outcomes)
    assert (class_of("ok"), class_of("DRAINED"), class_of("OF_LATER")) == ("served", "broken-off", "failed")
