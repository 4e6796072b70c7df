from datetime import UTC, date, datetime, timedelta

import pytest

from clients.expiry import end_of_day, end_of_overlap, parse_period, state_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires_in", "revoked", "name", "level", "words"),
    [
        (None, False, "active", "ok", "active"),
        (timedelta(days=15), False, "active", "ok", "active"),
        (timedelta(days=14), False, "active", "degraded", "expires in 14 days"),
        (timedelta(days=1, hours=23), False, "active", "degraded", "expires in 1 day"),
        (timedelta(hours=23), False, "active", "degraded", "expires in 23 hours"),
        (timedelta(minutes=59), False, "active", "degraded", "expires in less than an hour"),
        (timedelta(0), False, "expired", "failed", "expired"),
        (timedelta(days=-1), False, "expired", "failed", "expired"),
        (timedelta(days=3), True, "revoked", "off", "revoked"),
        (timedelta(days=-3), True, "revoked", "off", "revoked"),
    ],
)
def test_a_tokens_state_is_told_in_words(
    expires_in: timedelta | None, revoked: bool, name: str, level: str, words: str
) -> None:
    expires_at = None if expires_in is None else NOW + expires_in
    assert state_of(expires_at, NOW if revoked else None, NOW) == (name, level, words)


@pytest.mark.parametrize(
    ("expires_in", "overlap", "ends_in"),
    [
        (None, timedelta(0), timedelta(0)),
        (None, timedelta(hours=24), timedelta(hours=24)),
        (timedelta(days=30), timedelta(days=7), timedelta(days=7)),
        (timedelta(days=2), timedelta(days=7), timedelta(days=2)),
        (timedelta(days=7), timedelta(days=7), timedelta(days=7)),
    ],
)
def test_an_overlap_never_makes_a_token_live_longer(
    expires_in: timedelta | None, overlap: timedelta, ends_in: timedelta
) -> None:
    expires_at = None if expires_in is None else NOW + expires_in
    assert end_of_overlap(expires_at, NOW, overlap) - NOW == ends_in


def test_a_day_is_over_at_midnight_utc() -> None:
    assert end_of_day(date(2026, 12, 31)) == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("90d", timedelta(days=90)),
        ("0s", timedelta(0)),
        ("2w", timedelta(days=14)),
        ("24h", timedelta(days=1)),
        ("1234567s", timedelta(seconds=1234567)),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_a_period_is_a_number_and_a_unit(text: str, period: timedelta) -> None:
    assert parse_period(text) == period


@pytest.mark.parametrize("text", ["", "1", "d", "-1d", "1.5h", "1y", "1 d", f"{'9' * 5000}s"])
def test_anything_else_is_no_period(text: str) -> None:
    with pytest.raises(ValueError, match="takes a number and a unit"):
        parse_period(text)


@pytest.mark.parametrize("text", ["36501d", "5215w", "999999w", "99999999w", "3153600001s", f"{'9' * 20}h"])
def test_a_period_past_a_hundred_years_is_told_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"takes at most a hundred years, 36500d\Z"):
        parse_period(text)
