"""What the home page reads: points of a range, figures by name, and always as many queries."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from telemetry import rollups
from telemetry.criteria import CLASSES
from telemetry.figures import RANGES, SHOWN_NAMES, UNIT, read
from telemetry.models import CallRollup, RequestLog

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def row(ago: timedelta = timedelta(0), **more: object) -> RequestLog:
    facts: dict[str, object] = {"started_at": NOW - ago, "tool_id": "bob", "provider": "a", "outcome": "ok"}
    facts["status"] = 200
    facts |= {"duration_ms": 100, "first_event_ms": 10, "input_tokens": 3, "output_tokens": 4}
    return RequestLog(**(facts | more))


@pytest.mark.parametrize("name", RANGES)
def test_a_range_has_its_points_and_leaves_out_what_is_older(name: str) -> None:
    span = RANGES[name]
    start = span.start(NOW)
    rollups.add([row(), row(NOW - start), row(NOW - start + timedelta(seconds=1))])
    reading = read(span, NOW)
    assert reading.total.calls == sum(point.figures.calls for point in reading.points) == 2
    assert [one.figures.calls for one in (*reading.providers, *reading.clients)] == [2, 2]
    assert reading.points[0].start == start
    assert NOW - span.step < reading.points[-1].start <= NOW
    assert {b.start - a.start for a, b in zip(reading.points, reading.points[1:], strict=False)} == {
        span.step
    }
    assert 30 <= len(reading.points) <= 96
    assert UNIT[span.whole] * (span.length - 1) <= NOW - start < UNIT[span.whole] * span.length


def test_figures_tell_how_calls_ended_tokens_and_latencies() -> None:
    refused = {
        "provider": "",
        "outcome": "RATE_LIMIT",
        "status": 429,
        "duration_ms": 0,
        "first_event_ms": None,
    }
    by_provider = {"outcome": "RATE_LIMIT", "status": 429, "tool_id": "charlie"}
    rollups.add([row(), row(), row(**by_provider), row(**refused), row(outcome="OF_LATER")])
    total = read(RANGES["1h"], NOW).total
    assert {name: total.count(name) for name in CLASSES} == {
        "served": 2,
        "refused": 2,
        "failed": 1,
        "broken-off": 0,
    }
    assert (total.calls, total.input_tokens, total.output_tokens) == (5, 15, 20)
    assert total.ended["refused"] == (("RATE_LIMIT", 2),)
    assert total.ended["failed"] == (("OF_LATER", 1),)
    assert total.latency is not None
    assert 50 < total.latency.p50 <= total.latency.p99 <= 100
    assert total.first_event is not None
    assert 5 < total.first_event.p50 <= 10


def test_the_busiest_come_first_and_the_rest_is_said_to_be_there() -> None:
    calls = [row(tool_id=f"client-{n:02}") for n in range(SHOWN_NAMES + 5) for _ in range(n + 1)]
    rollups.add(calls)
    reading = read(RANGES["30d"], NOW)
    assert [one.name for one in reading.clients] == [f"client-{n:02}" for n in range(SHOWN_NAMES + 4, 4, -1)]
    assert reading.clients[0].figures.calls == SHOWN_NAMES + 5
    assert reading.more_clients
    assert not reading.more_providers


@pytest.mark.parametrize("name", RANGES)
def test_it_is_five_queries_however_much_there_is(name: str) -> None:
    counts = []
    for many in (0, 1, 50):
        rollups.add([row(timedelta(hours=n), tool_id=f"c-{n}", provider=f"p-{n}") for n in range(many)])
        with CaptureQueriesContext(connection) as captured:
            read(RANGES[name], NOW)
        counts.append(len(captured))
    assert counts == [5, 5, 5]


def test_a_clock_that_went_back_breaks_nothing() -> None:
    rollups.add([row(-timedelta(days=2))])
    reading = read(RANGES["24h"], NOW)
    assert (reading.total.calls, reading.clients) == (0, ())
    assert CallRollup.objects.exists()
