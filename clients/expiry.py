"""When a token ends, and what that makes of it. Pure."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple

WARN_BEFORE = timedelta(days=14)
LONGEST = timedelta(days=36_500)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class State(NamedTuple):
    """`name` for programs, `level` for the eye, `words` for people."""

    name: Literal["active", "expired", "revoked"]
    level: Literal["ok", "degraded", "failed", "off"]
    words: str


def state_of(expires_at: datetime | None, revoked_at: datetime | None, now: datetime) -> State:
    if revoked_at is not None:
        return State("revoked", "off", "revoked")
    if expires_at is None:
        return State("active", "ok", "active")
    if expires_at <= now:
        return State("expired", "failed", "expired")
    if expires_at - now <= WARN_BEFORE:
        return State("active", "degraded", f"expires in {left(expires_at - now)}")
    return State("active", "ok", "active")


def left(period: timedelta) -> str:
    """In whole days, below one in hours: rounded down, so that nobody is told more than there is."""
    count, unit = (period.days, "day") if period.days else (period.seconds // 3600, "hour")
    if not count:
        return "less than an hour"
    return f"{count} {unit}{'' if count == 1 else 's'}"


def end_of_overlap(expires_at: datetime | None, now: datetime, overlap: timedelta) -> datetime:
    """When a token ends that another one follows: after the overlap, never later than it would have anyway."""
    end = now + overlap
    return end if expires_at is None else min(end, expires_at)


def end_of_day(day: date) -> datetime:
    """The moment when the day is over in UTC."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def parse_period(text: str) -> timedelta:
    """`90d`, `12h`: a number and s, m, h, d or w. Raises `ValueError`, also past a hundred years."""
    match = re.fullmatch(r"([0-9]{1,20})([smhdw])", text)
    if match is None:
        raise ValueError("takes a number and a unit of s, m, h, d or w, for example 90d")
    unit = timedelta(**{_UNITS[match[2]]: 1})
    period = unit * min(int(match[1]), LONGEST // unit + 1)  # what is far beyond would overflow
    if period > LONGEST:
        raise ValueError(f"takes at most a hundred years, {LONGEST.days}d")
    return period


def parse_lifetime(text: str) -> timedelta:
    """As `parse_period`, of a token that is to work at all: a moment at least."""
    period = parse_period(text)
    if not period:
        raise ValueError("takes more than nothing; leave it out for a token that does not expire")
    return period
