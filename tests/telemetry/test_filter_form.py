"""The filter as it stands in an address: what is read from it, and what is said of what cannot be read."""

from datetime import UTC, datetime, timedelta

import pytest

from telemetry.criteria import CLASSES, Criteria, Term
from telemetry.filter_form import COLUMNS, PERIODS, read_query
from telemetry.models import FILTERED

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def criteria(query: str) -> Criteria:
    form = read_query(query)
    assert form.is_valid(), form.errors
    return form.criteria(NOW)


def test_an_empty_filter_asks_for_all() -> None:
    assert criteria("") == Criteria()
    assert criteria("client=&outcome=&config=") == Criteria()


@pytest.mark.parametrize("name", PERIODS)
def test_a_period_counts_from_now(name: str) -> None:
    assert criteria(f"period={name}") == Criteria(since=NOW - PERIODS[name][1])
    assert PERIODS[name][1] in [timedelta(hours=1), timedelta(days=1), timedelta(days=7), timedelta(days=30)]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31 13:45", datetime(2026, 1, 31, 13, 45, tzinfo=UTC)),
        ("2026-01-31T13:45:06", datetime(2026, 1, 31, 13, 45, 6, tzinfo=UTC)),
        ("2026-01-31T13:45:06Z", datetime(2026, 1, 31, 13, 45, 6, tzinfo=UTC)),
        ("2026-01-31T13:45:06%2B02:00", datetime(2026, 1, 31, 11, 45, 6, tzinfo=UTC)),
    ],
)
def test_moments_are_utc_unless_they_say_otherwise(text: str, moment: datetime) -> None:
    assert criteria(f"since={text}") == Criteria(since=moment)


def test_a_blank_at_the_end_is_part_of_what_a_client_chose() -> None:
    found = read_query("client=bob+&request=+r-1&model=m+&trace=+x+&token=+t")
    assert found.is_valid()
    assert found.criteria(NOW).terms == (
        Term("tool_id", ("bob ",)),
        Term("token_id", ("t",)),
        Term("model", ("m ",)),
        Term("request_id", (" r-1",)),
    )
    assert found.criteria(NOW).trace == "x"
    assert (
        read_query(found.query()).data == read_query("client=bob+&token=t&model=m+&request=+r-1&trace=x").data
    )


def test_all_filters_combine() -> None:
    query = "since=2026-01-01&until=2026-02-01&client=bob&token=t&provider=gpu&model=m%2Fx&method=chat"
    query += "&outcome=refused&request=r&trace=x&peer=%3A%3A1&config=7"
    assert criteria(query) == Criteria(
        since=datetime(2026, 1, 1, tzinfo=UTC),
        until=datetime(2026, 2, 1, tzinfo=UTC),
        terms=(
            Term("tool_id", ("bob",)), Term("token_id", ("t",)), Term("provider", ("gpu",)), Term("model", ("m/x",)),
            Term("method", ("chat",)), Term("outcome", CLASSES["refused"]), Term("request_id", ("r",)),
            Term("peer", ("::1",)), Term("config_version", (7,)),
        ),
        trace="x",
    )  # fmt: skip
    assert {*COLUMNS.values(), "trace_id"} == set(FILTERED), "each has its index"


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ("period=2h", "period", "not one of the available choices"),
        ("period=1h&since=2026-01-01", "period", "not both"),
        ("since=yesterday", "since", "Write a date and time as"),
        ("since=0001-01-01T00:00%2B14:00", "since", "Write a date and time as"),
        ("since=2026-02-30", "since", "Write a date and time as"),
        ("since=2026-01-02&until=2026-01-01", "until", "before the beginning"),
        ("client=" + "x" * 201, "client", "at most 200"),
        ("client=a%00b", "client", "Null characters"),
        ("method=steal", "method", "not one of the available choices"),
        ("outcome=OK", "outcome", "not one of the available choices"),
        ("config=first", "config", "whole number"),
        ("config=-1", "config", "greater than or equal to 0"),
        ("config=" + "9" * 30, "config", "less than or equal"),
        ("tool_id__exact=bob", "__all__", "not known here: tool_id__exact"),
        ("older=1", "__all__", "no place in the list"),
        (f"older=1-{'0' * 32}&newer=1-{'0' * 32}", "__all__", "no place in the list"),
    ],
)
def test_what_cannot_be_read_is_said_at_its_field(query: str, field: str, said: str) -> None:
    form = read_query(query)
    assert not form.is_valid()
    assert said in str(form.errors[field])


def test_the_address_is_written_in_one_order_without_places_and_spaces() -> None:
    form = read_query(f"outcome=ok&token=+b%26c+&model=&older=1-{'0' * 32}")
    assert form.is_valid()
    assert form.query() == "token=b%26c&outcome=ok"
    assert form.words() == "token id b&c, outcome ok"
    assert read_query("period=7d&since=").words() == "the last 7 days"
