"""The filter as it stands in an address: what is read from it, and what is said of what cannot be read."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from gateway.console import reasons
from telemetry.criteria import CLASSES, Criteria, Detail, Term
from telemetry.filter_form import COLUMNS, PERIODS, STRATEGIES, read_query
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
    query += (
        "&outcome=refused&request=r&trace=x&peer=%3A%3A1&config=7&asked=cpu&strategy=fallback&reason=BUSY"
    )
    query += "&spot=d8d8%20%234206"
    assert criteria(query) == Criteria(
        since=datetime(2026, 1, 1, tzinfo=UTC),
        until=datetime(2026, 2, 1, tzinfo=UTC),
        terms=(
            Term("tool_id", ("bob",)), Term("token_id", ("t",)), Term("provider", ("gpu",)), Term("model", ("m/x",)),
            Term("method", ("chat",)), Term("outcome", CLASSES["refused"]), Term("request_id", ("r",)),
            Term("peer", ("::1",)), Term("config_version", (7,)),
            Term("chain", ("d8d8",)), Term("sequence", (4206,)),
        ),
        trace="x",
        details=(Detail("asked", "cpu"), Detail("strategy", "fallback"), Detail("reason", "BUSY")),
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
        ("peer=abc", "peer", "Write a whole address"),
        ("peer=127.0.0", "peer", "Write a whole address"),
        ("peer=127.0.0.0/8", "peer", "one address, no network"),
        ("spot=4206", "spot", "as a finding does"),
        ("spot=d8d8 %23", "spot", "as a finding does"),
        ("spot=d8d8 %23" + "9" * 19, "spot", "as a finding does"),
        ("strategy=odd", "strategy", "not one of the available choices"),
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


def test_calls_of_models_leave_questions_about_health_and_models_out() -> None:
    (term,) = criteria("method=of-models").terms
    assert term == Term("method", ("chat", "chatStream", "embed"))
    assert read_query("method=of-models").words() == "method of models (chat, chatStream, embed)"


def test_every_strategy_can_be_asked_for() -> None:
    assert STRATEGIES.keys() == reasons.STRATEGY.keys()
    assert read_query("strategy=fallback").words().startswith("chosen: a fallback (a later provider")


@pytest.mark.parametrize(
    ("text", "spellings"),
    [
        ("127.0.0.1", ("127.0.0.1",)),
        (" ::1 ", ("::1",)),
        ("2001:DB8:0::7", ("2001:DB8:0::7", "2001:db8::7")),
    ],
)
def test_an_address_is_found_however_it_is_spelled(text: str, spellings: tuple[str, ...]) -> None:
    (term,) = criteria(f"peer={text}").terms
    assert term == Term("peer", spellings)
    (mapped,) = criteria("peer=::ffff:7f00:1").terms
    assert "::ffff:127.0.0.1" in mapped.values, "as the system names a client of version 4"


@pytest.mark.parametrize(
    "text",
    [
        "d8d87523347d25dc #4206",
        "d8d87523347d25dc#4206",
        "changed     chain d8d87523347d25dc #4206: the row is not",
    ],
)
def test_a_place_in_the_chain_is_read_from_a_finding_too(text: str) -> None:
    form = read_query(urlencode({"spot": text}))
    assert form.is_valid(), form.errors
    assert form.criteria(NOW).terms == (Term("chain", ("d8d87523347d25dc",)), Term("sequence", (4206,)))


def test_a_moment_is_told_as_it_was_understood() -> None:
    form = read_query("since=2026-11-25T23:44:00%2B02:00&until=2026-11-26")
    assert form.is_valid()
    assert form.words() == "from 2026-11-25 21:44:00 UTC, before 2026-11-26 00:00:00 UTC"
    assert form.query() == "since=2026-11-25T23%3A44%3A00%2B02%3A00&until=2026-11-26"
