"""Roll-ups say what the record says: each call once, through replays, crashes, pruning and a rebuild."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from recorded import AT, call, ignore, outcome, serve, writer

from telemetry import rollups
from telemetry.figures import RANGES, read
from telemetry.journal import Journal
from telemetry.models import CallRollup, RequestLog
from telemetry.set_aside import NAME as SET_ASIDE
from telemetry.sums import LARGEST, Sum
from telemetry.writer import PRUNE_EVERY

pytestmark = pytest.mark.django_db(transaction=True)
MOMENT = datetime.fromtimestamp(AT, UTC)
DAY = 86_400


def journalled(folder: Path, *calls: Any) -> Journal:
    journal = Journal(folder)
    for record in calls:
        journal.outcome(record)
    return journal


def kept() -> dict[tuple[str, str, str], int]:
    """(period, dimension, name) → calls, over all starts."""
    found: dict[tuple[str, str, str], int] = {}
    for row in CallRollup.objects.all():
        key = (row.period, row.dimension, row.name)
        found[key] = found.get(key, 0) + row.calls
    return found


def everything() -> dict[rollups.Key, Sum]:
    return {
        (row.period, row.dimension, row.start, row.name): Sum(
            *(getattr(row, name) for name in rollups.SUMMED)
        )
        for row in CallRollup.objects.all()
    }


def expected() -> dict[rollups.Key, Sum]:
    """From the record alone."""
    minutes = rollups.by_minute(RequestLog.objects.all())
    return minutes | rollups.coarser(minutes, "hour") | rollups.coarser(minutes, "day")


def test_the_writer_sums_up_what_it_stores(tmp_path: Path) -> None:
    calls = [
        outcome(call(1), provider="a", duration_ms=40, first_event_ms=9, input_tokens=5, output_tokens=7),
        outcome(call(2), provider="b", tool_id="charlie", outcome="TEMPORARY", started_at=AT + 61),
        outcome(call(3), outcome="RATE_LIMIT", started_at=AT + 3600),
    ]
    journal = journalled(tmp_path, *calls)
    writer(tmp_path).run_once()
    journal.close()
    assert everything() == expected()
    hour = rollups.floor(MOMENT, "hour")
    first = CallRollup.objects.get(period="hour", dimension="provider", name="a")
    assert (first.start, first.calls, first.errors, first.input_tokens, first.output_tokens) == (
        hour,
        1,
        0,
        5,
        7,
    )
    day = {
        name: n for (period, dimension, name), n in kept().items() if (period, dimension) == ("day", "client")
    }
    assert day == {"bob": 2, "charlie": 1}
    refused = CallRollup.objects.get(period="day", dimension="all")
    assert refused.outcomes == {"ok": 1, "TEMPORARY": 1, "RATE_LIMIT": 1}


def test_batches_add_up_and_what_is_read_again_adds_nothing(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    for n in range(1, 6):
        serve(journal, n)
        moving.run_once()
        writer(tmp_path).run_once()  # one that begins at the front of the segment
    journal.close()
    writer(tmp_path).run_once()
    assert everything() == expected()
    assert kept()["minute", "all", ""] == RequestLog.objects.count() == 5


def test_a_batch_that_fails_leaves_no_sums_behind(tmp_path: Path) -> None:
    def fail(_: Mapping[str, datetime]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")

    journal = journalled(tmp_path, outcome(call(1)))
    with pytest.raises(DatabaseError):
        writer(tmp_path, fail).run_once()
    assert not CallRollup.objects.exists()
    writer(tmp_path).run_once()
    journal.close()
    assert kept()["day", "all", ""] == 1


def test_a_call_lost_with_its_process_is_summed_up_too(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    serve(journal, 1)
    journal.close()
    segment = next(tmp_path.glob("*.spool"))
    segment.write_bytes(segment.read_bytes().split(b"\n")[0] + b"\n")
    writer(tmp_path).run_once()
    assert CallRollup.objects.get(period="day", dimension="all").outcomes == {"UNKNOWN": 1}


def test_a_batch_costs_the_same_number_of_queries_for_one_and_for_forty_names(tmp_path: Path) -> None:
    counts = []
    for n, names in enumerate((1, 8)):
        rows = [
            outcome(call(100 * n + i), tool_id=f"client-{n}-{i}", provider=f"p-{n}-{i}") for i in range(names)
        ]
        journal, moving = journalled(tmp_path / str(n), outcome(call(900 + n))), writer(tmp_path / str(n))
        moving.run_once()  # the first batch also begins the file of copies
        for record in rows:
            journal.outcome(record)
        with CaptureQueriesContext(connection) as captured:
            moving.run_once()
        journal.close()
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_absurd_usage_fills_a_sum_up_and_keeps_no_call_from_being_stored(tmp_path: Path) -> None:
    absurd = [outcome(call(n), input_tokens=LARGEST // 3, provider="a") for n in range(5)]
    ordinary = [outcome(call(10 + n), input_tokens=500, output_tokens=7, provider="a") for n in range(3)]
    for part in (absurd, ordinary):
        journal = journalled(tmp_path, *part)
        assert writer(tmp_path).run_once() == len(part)
        journal.close()
    assert not (tmp_path / SET_ASIDE).exists()
    for row in CallRollup.objects.all():
        assert (row.calls, row.input_tokens, row.output_tokens) == (8, LARGEST, 21)
    CallRollup.objects.all().delete()
    rollups.rebuild(MOMENT)
    assert CallRollup.objects.get(period="day", dimension="all").input_tokens == LARGEST
    shown = read(RANGES["24h"], MOMENT + timedelta(minutes=1))
    assert (shown.total.calls, shown.total.input_tokens) == (8, LARGEST)


def test_old_minutes_and_hours_go_and_days_stay(tmp_path: Path) -> None:
    ages = {1: 0, 2: 3 * DAY, 3: 36 * DAY}
    journal = journalled(tmp_path, *(outcome(call(n), started_at=AT - age) for n, age in ages.items()))
    writer(tmp_path).run_once()
    journal.close()
    rollups.prune(MOMENT)
    found = kept()
    assert {period: found[period, "all", ""] for period in ("minute", "hour", "day")} == {
        "minute": 1,
        "hour": 2,
        "day": 3,
    }


def test_the_writer_prunes_at_its_start_and_then_hourly(tmp_path: Path) -> None:
    moving = writer(tmp_path, ignore)
    later = MOMENT + timedelta(days=3)
    for moment, left in ((later, 0), (later + PRUNE_EVERY / 2, 1), (later + PRUNE_EVERY, 0)):
        CallRollup.objects.create(period="minute", dimension="all", start=MOMENT, name="", calls=1)
        moving.keep_up(moment)
        assert CallRollup.objects.filter(period="minute").count() == left
        CallRollup.objects.all().delete()


def recorded(tmp_path: Path, now: datetime) -> dict[rollups.Key, Sum]:
    """A record over months, and the roll-ups that a writer would have left of it."""
    ages = (0, 50, 4000, DAY, 3 * DAY, 34 * DAY, 90 * DAY)
    calls = [
        outcome(call(n), started_at=now.timestamp() - age, provider="a" * (n % 2), duration_ms=n)
        for n, age in enumerate(ages)
    ]
    journal = journalled(tmp_path, *calls)
    writer(tmp_path).run_once()
    journal.close()
    rollups.prune(now)
    return everything()


def test_a_record_without_rollups_is_summed_up_once(tmp_path: Path) -> None:
    before = recorded(tmp_path, MOMENT)
    CallRollup.objects.all().delete()
    moving = writer(tmp_path)
    moving.keep_up(MOMENT)
    assert everything() == before
    with CaptureQueriesContext(connection) as captured:
        rollups.rebuild(MOMENT)
    assert len(captured) == 2, "the oldest call, and whether its day is summed up"


def test_what_an_older_version_summed_up_is_summed_up_anew(tmp_path: Path) -> None:
    before = recorded(tmp_path, MOMENT)
    CallRollup.objects.update(longest_ms=None, longest_first_event_ms=None)
    rollups.rebuild(MOMENT)
    assert everything() == before


def test_what_was_counted_stays_where_old_rows_of_the_record_are_gone(tmp_path: Path) -> None:
    before = recorded(tmp_path, MOMENT)
    RequestLog.objects.filter(started_at__lt=MOMENT - timedelta(days=1)).delete()
    CallRollup.objects.update(longest_ms=None, longest_first_event_ms=None)
    rollups.rebuild(MOMENT)
    after = everything()
    assert {key: part.calls for key, part in after.items()} == {k: part.calls for k, part in before.items()}
    with CaptureQueriesContext(connection) as captured:
        rollups.rebuild(MOMENT)
    assert len(captured) == 2, "it is done"


def test_a_rebuild_that_was_cut_off_begins_again_and_counts_nothing_twice(tmp_path: Path) -> None:
    before = recorded(tmp_path, MOMENT)
    old = CallRollup.objects.filter(start__lt=MOMENT - timedelta(days=2))
    assert old.exists()
    old.delete()
    rollups.rebuild(MOMENT)
    assert everything() == before


def test_without_a_record_there_is_nothing_to_rebuild() -> None:
    rollups.rebuild(MOMENT)
    assert not CallRollup.objects.exists()
